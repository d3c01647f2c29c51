"""What every backbone gives: features at strides 8, 16 and 32, and the normalization its weights expect."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones.weights import BLANK, NONE
from maskpencil.models.geometry import Grid
from maskpencil.models.surgery import RGB, adapt_input_channels, renormalize

STRIDES = (8, 16, 32)

ChannelOrder = Literal["rgb", "bgr"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RELEASED_MEAN = (122.67892 / 255, 116.66877 / 255, 104.00699 / 255)
RELEASED_STD = (1 / 255, 1 / 255, 1 / 255)
"""The authors' nets take images in 0..255 less the mean, their channels in the order BGR."""

RELEASED_PADDING = 100
"""Pixels around an image in the authors' nets: the maps are then never smaller than what is cropped of them."""


class Backbone(nn.Module, ABC):
    """A classifier's trunk.

    Args:
        name: the name it was asked for.
        channels: the number of channels C_s of the features of each stride s in `STRIDES`.
        mean: of the RGB channels, in 0..1, of the images its weights were trained on.
        std: their standard deviation, in 0..1.
        in_channels: channels of the images.
        channel_order: of its images, rgb or bgr.
        grids: where the cells of the features of each stride look at; by default each at its own tile of the image.
    """

    def __init__(
        self,
        name: str,
        *,
        channels: Mapping[int, int],
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        in_channels: int = RGB,
        channel_order: ChannelOrder = "rgb",
        grids: Mapping[int, Grid] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.channel_order = channel_order
        self.grids = dict(grids or {stride: Grid.in_place(stride) for stride in STRIDES})
        self.channels = {stride: channels[stride] for stride in STRIDES}
        self.in_channels = in_channels
        self._rgb_mean, self._rgb_std = mean, std

    @property
    def mean(self) -> tuple[float, ...]:
        """What to subtract from each of the `in_channels` channels, scaled to 0..1."""
        return _for_channels(self._rgb_mean, self.in_channels)

    @property
    def std(self) -> tuple[float, ...]:
        """What to divide each channel by, after subtracting the mean."""
        return _for_channels(self._rgb_std, self.in_channels)

    @abstractmethod
    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Normalized images (N, C, H, W), H and W multiples of 32 -> {s: (N, C_s, H/s, W/s) for s in 8, 16, 32}.

        Backbones with `grids` of their own take any size and give larger maps.
        """

    def take_released_images(self, first_convolution: str) -> None:
        """Turn from RGB images of its own mean and deviation to those that the authors' nets take."""
        conv = cast(nn.Conv2d, self.get_submodule(first_convolution))
        mean, std = torch.tensor(self._rgb_mean), torch.tensor(self._rgb_std)
        released_mean, released_std = torch.tensor(RELEASED_MEAN), torch.tensor(RELEASED_STD)
        if not conv.weight.is_meta:
            renormalize(conv, scale=released_std / std, shift=(released_mean - mean) / std)
            conv.weight = nn.Parameter(conv.weight.detach().flip(1))
        self._rgb_mean, self._rgb_std, self.channel_order = RELEASED_MEAN, RELEASED_STD, "bgr"

    def take_channels(self, in_channels: int, *first_convolutions: str) -> None:
        """Turn from RGB to `in_channels` channels, starting from the RGB filters; see `adapt_input_channels`.

        Raises:
            ConfigError: no convolutions are named, they do not take RGB, or in_channels is below 1.
        """
        if in_channels == self.in_channels:
            return
        if not first_convolutions:
            raise ConfigError(
                f"the backbone {self.name!r} has no first convolution that could be adapted to {in_channels} channels; "
                "choose another backbone, or --weights none"
            )
        for name in first_convolutions:
            conv = cast(nn.Conv2d, self.get_submodule(name))
            self.set_submodule(name, adapt_input_channels(conv, in_channels))
        self.in_channels = in_channels


@dataclass(frozen=True)
class BackboneOptions:
    """What is asked of a backbone besides its name; see `create_backbone`."""

    weights: str | Path
    in_channels: int
    fully_connected: bool
    dropout: float
    as_released: bool = False

    @property
    def pretrained(self) -> bool:
        """Whether there are weights to load."""
        return self.weights not in (NONE, BLANK)


@dataclass(frozen=True)
class Family:
    """Backbones that are made alike: their names, the library they come from, and how to make one."""

    title: str
    names: tuple[str, ...]
    source: str
    create: Callable[[str, BackboneOptions], Backbone]


def initialize(module: nn.Module) -> None:
    """Give every convolution a fresh start after He et al., ICCV 2015, on the CPU; biases 0, normalizations neutral.

    The variance is kept from layer to layer going forward, so that deep networks without normalization can be trained.
    """
    module.to_empty(device="cpu")
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def _for_channels(rgb: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    kept = rgb if in_channels >= len(rgb) else ()
    return kept + (sum(rgb) / len(rgb),) * (in_channels - len(kept))
