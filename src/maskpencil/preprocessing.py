"""Scale and normalize RGB images as for the network's training; the settings are stored with the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage, fitted_size, scaled
from maskpencil.parsing import shown

if TYPE_CHECKING:
    import torch

# torch is imported inside functions: the other runtimes prepare images without it


def stacked(images: Sequence[RGBImage]) -> "torch.Tensor":
    """Stack images of one size, (H, W, 3) uint8 each, into one uint8 tensor (N, 3, H, W)."""
    import torch

    return torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2)


MIN_STD, MAX_NUMBER = 1e-6, 1e6
"""The smallest standard deviation, and the largest mean or standard deviation, for which float32 is precise enough."""

MAX_SIDE, MAX_PIXELS = 2**16, 2**24
"""Limits of `image_size`, so that the scaled images fit into memory."""


@dataclass(frozen=True)
class Preprocessing:
    """The settings with which images are prepared for a network.

    Attributes:
        mean: the means of the RGB channels, in 0..1.
        std: the standard deviations of the RGB channels, in 0..1.
        image_size: None (each image's own size), a number (the longer side is scaled down to at most this many pixels,
            keeping the aspect ratio) or (height, width) (scaled to exactly this size).
        channel_order: the order of the channels that the network takes, rgb or bgr.

    Raises:
        ConfigError: `mean` or `std` is not three numbers or is out of range, a size is below 1 or too large, or the
            channel order is unknown.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | tuple[int, int] | None = None
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(_is_sound, numbers)) or min(self.std) < MIN_STD:
            raise ConfigError(
                f"mean and std must be three numbers each, at most {MAX_NUMBER:g}, and std at least {MIN_STD:g}, but "
                f"got {shown(self.mean)} and {shown(self.std)}"
            )
        if self.channel_order not in ("rgb", "bgr"):
            raise ConfigError(f"channel_order must be rgb or bgr, but got {shown(self.channel_order)}")
        size = (1, 1) if self.image_size is None else self.image_size
        sides = size if isinstance(size, tuple) else (size, size)
        if len(sides) != 2 or not all(
            isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides
        ):
            raise ConfigError(f"image_size must be one or two whole numbers above 0, but got {shown(self.image_size)}")
        if max(sides) > MAX_SIDE or (isinstance(size, tuple) and sides[0] * sides[1] > MAX_PIXELS):
            raise ConfigError(
                f"image_size must be at most {MAX_SIDE} pixels a side and {MAX_PIXELS >> 20} million in all, but got "
                f"{shown(self.image_size)}"
            )

    @property
    def fill(self) -> tuple[int, int, int]:
        """The mean color (red, green, blue), 0-255, with which images are padded; normalization turns it into 0."""
        red, green, blue = (round(value * 255) for value in self.mean)
        return red, green, blue

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which an image of `size` (height, width) is scaled for the network."""
        return fitted_size(size, self.image_size)

    def resize(self, image: RGBImage) -> RGBImage:
        """Scale an image to its working size, bilinear and anti-aliased."""
        return scaled(image, self.working_size((image.shape[0], image.shape[1])))

    def normalize(self, images: "torch.Tensor") -> "torch.Tensor":
        """Normalize uint8 RGB images (N, 3, H, W) to float32: scale to 0..1, subtract `mean` and divide by `std`.

        The channels of the result are in `channel_order`; it is stored in memory with the channels last.
        """
        import torch

        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1) * 255
        normalized = (images.float() - mean) / std
        if self.channel_order == "bgr":
            normalized = normalized.flip(1)
        return normalized.contiguous(memory_format=torch.channels_last)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain lists and numbers, as stored in config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "Preprocessing":
        """Build the settings from the content of config.json.

        Raises:
            KeyError: `mean` or `std` is missing.
            ConfigError: see `Preprocessing`.
        """
        size = entries.get("image_size")
        return cls(
            _as_tuple(entries["mean"]),
            _as_tuple(entries["std"]),
            tuple(size) if isinstance(size, list) else size,
            entries.get("channel_order", "rgb"),
        )


def _as_tuple(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"mean and std must be three numbers, but got {shown(value)}")
    return tuple(value)


def _is_sound(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) <= MAX_NUMBER
