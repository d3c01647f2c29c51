"""From RGB pixels to what the network was trained on; it travels with the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage, fitted_size, scaled
from maskpencil.parsing import shown

if TYPE_CHECKING:
    import torch

# torch is imported inside functions: images are prepared without it where another runtime has the network


def stacked(images: Sequence[RGBImage]) -> "torch.Tensor":
    """Stack images of one size, (H, W, 3) uint8 each, into one tensor (N, 3, H, W)."""
    import torch

    return torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2)


MIN_STD, MAX_NUMBER = 1e-6, 1e6
"""Of deviations and means; beyond them float32 loses the image."""

MAX_SIDE, MAX_PIXELS = 2**16, 2**24
"""Of `image_size`: what every image is scaled to has to fit into memory."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared.

    `mean` and `std` are of the RGB channels in 0..1. `image_size` is None (as they come), a number (the longer side is
    scaled down to at most that many pixels, the shape kept) or (height, width) (scaled to exactly that). The network
    gets the channels in `channel_order`, rgb or bgr.

    Raises:
        ConfigError: not three channels, a std of 0, a size below 1, or another order.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | tuple[int, int] | None = None
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(_is_sound, numbers)) or min(self.std) < MIN_STD:
            raise ConfigError(
                f"mean and std must be three numbers, std above 0, but got {shown(self.mean)} and {shown(self.std)}"
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
        """The mean color, 0-255, with which images are padded: 0 after normalization."""
        red, green, blue = (round(value * 255) for value in self.mean)
        return red, green, blue

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) at which the network sees an image of (height, width) `size`."""
        return fitted_size(size, self.image_size)

    def resize(self, image: RGBImage) -> RGBImage:
        """Bring an image to its working size, bilinear and anti-aliased."""
        return scaled(image, self.working_size((image.shape[0], image.shape[1])))

    def normalize(self, images: "torch.Tensor") -> "torch.Tensor":
        """Turn uint8 RGB images (N, 3, H, W) into float32 with mean 0 and deviation 1 a channel, channels last."""
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
        """Build from the content of config.json."""
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
