"""Define the interface of backbones: features at strides 32 to 2, and the normalization of input images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones.matching import Loaded
from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.weights import BLANK, NONE
from maskpencil.models.geometry import Grid
from maskpencil.models.surgery import RGB, adapt_input_channels, renormalize

STRIDES = (2, 4, 8, 16, 32)
"""The strides at which a backbone can have features; every backbone has features at `COMMON_STRIDE` and above."""

COMMON_STRIDE = 8

ChannelOrder = Literal["rgb", "bgr"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RELEASED_MEAN = (122.67892 / 255, 116.66877 / 255, 104.00699 / 255)
RELEASED_STD = (1 / 255, 1 / 255, 1 / 255)
"""The authors' networks take images in 0..255 minus the mean, in the channel order BGR."""

RELEASED_PADDING = 100
"""Pixels of padding around an image in the authors' networks, so that maps are large enough for any crop."""


class Backbone(nn.Module, ABC):
    """A classifier's trunk, which computes features at several strides.

    Args:
        name: the name with which `create_backbone` created it.
        channels: s -> C_s, the number of channels of the features at stride s, for each stride that the trunk has.
        finest: the finest stride whose features are returned.
        mean: the mean of each RGB channel, in 0..1, of the images that its weights were trained on.
        std: the standard deviation of each RGB channel of these images, in 0..1.
        in_channels: the number of channels of the input images.
        channel_order: the channel order of the input images, rgb or bgr.
        grids: for each stride s, the image positions of the cells of the feature map; by default, each cell has the
            position of a tile of s x s pixels.

    Raises:
        ConfigError: the trunk has no features at the stride `finest`.
    """

    def __init__(
        self,
        name: str,
        *,
        channels: Mapping[int, int],
        finest: int = COMMON_STRIDE,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        in_channels: int = RGB,
        channel_order: ChannelOrder = "rgb",
        grids: Mapping[int, Grid] | None = None,
    ) -> None:
        super().__init__()
        if finest not in channels:
            raise _lacks_stride(name, finest, channels)
        self.name = name
        self.channel_order = channel_order
        self.channels = {stride: channels[stride] for stride in STRIDES if stride >= finest}
        self.grids = dict(grids or {stride: Grid.in_place(stride) for stride in self.channels})
        self.in_channels = in_channels
        self._rgb_mean, self._rgb_std = mean, std
        self.origin: Origin | None = None
        """Where its pretrained weights come from."""
        self.loaded: Loaded | None = None
        """The record of the tensors that were loaded from a file; None if a library loaded its own weights."""

    def take_record(self, loaded: Loaded | None) -> None:
        """Store the record of the loaded weights and their origin; do nothing if no weights were loaded (None)."""
        if loaded:
            self.origin, self.loaded = loaded.origin, loaded

    def take_normalization(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Replace the mean and standard deviation of RGB images by those with which the weights were trained."""
        self._rgb_mean, self._rgb_std = mean, std

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean to subtract from each of the `in_channels` channels, for images in 0..1."""
        return _for_channels(self._rgb_mean, self.in_channels)

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation by which to divide each channel after subtracting the mean."""
        return _for_channels(self._rgb_std, self.in_channels)

    @abstractmethod
    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Map normalized images (N, C, H, W) to features {s: (N, C_s, H/s, W/s) for s in self.channels}.

        H and W are multiples of 32. Backbones with their own `grids` take any size and return larger maps.
        """

    def features_of(self, images: Tensor, stages: Mapping[int, Sequence[str]]) -> dict[int, Tensor]:
        """Apply layers one after another, and return the features as `forward` does.

        Args:
            images: as for `forward`.
            stages: for each stride, the finest first, the names of the layers that lead from the previous stride
                to its features.
        """
        features = {}
        x = images
        for stride, stage in stages.items():
            for layer in stage:
                x = self.get_submodule(layer)(x)
            if stride in self.channels:
                features[stride] = x  # (N, C, H/stride, W/stride)
        return features

    def take_released_images(self, first_convolution: str) -> None:
        """Adapt the backbone to images as the FCN authors' networks take them: BGR in 0..255, minus the mean.

        The weights of the convolution named `first_convolution` are changed so that its output stays the same as for
        the normalized RGB image, except at the border.
        """
        conv = cast(nn.Conv2d, self.get_submodule(first_convolution))
        mean, std = torch.tensor(self._rgb_mean), torch.tensor(self._rgb_std)
        released_mean, released_std = torch.tensor(RELEASED_MEAN), torch.tensor(RELEASED_STD)
        if not conv.weight.is_meta:
            renormalize(conv, scale=released_std / std, shift=(released_mean - mean) / std)
            conv.weight = nn.Parameter(conv.weight.detach().flip(1))
        self._rgb_mean, self._rgb_std, self.channel_order = RELEASED_MEAN, RELEASED_STD, "bgr"

    def take_channels(self, in_channels: int, *first_convolutions: str) -> None:
        """Replace the named convolutions, which take RGB images, by convolutions that take `in_channels` channels.

        See `adapt_input_channels` for the weights of the new channels.

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
    """The arguments of `create_backbone` besides the name."""

    weights: str | Path
    in_channels: int
    fully_connected: bool
    dropout: float
    stride: int = COMMON_STRIDE
    as_released: bool = False

    @property
    def pretrained(self) -> bool:
        """Whether there are weights to load."""
        return self.weights not in (NONE, BLANK)


@dataclass(frozen=True)
class Family:
    """Backbones that the same function creates: their title, their names, their library (`source`), the function."""

    title: str
    names: tuple[str, ...]
    source: str
    create: Callable[[str, BackboneOptions], Backbone]


def _lacks_stride(name: str, stride: int, strides: Iterable[int]) -> ConfigError:
    known = ", ".join(map(str, sorted(strides)))
    return ConfigError(
        f"the backbone {name!r} has no features at stride {stride}, only at {known}; choose one of these strides, or "
        "another backbone, such as vgg16 or resnet18"
    )


def initialize(module: nn.Module) -> None:
    """Move a module to the CPU and initialize its convolutions after He et al., ICCV 2015.

    Biases are 0, and batch normalizations have scale 1 and shift 0. The variance of activations is kept from layer to
    layer in the forward pass, so that deep networks without normalization can be trained.
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
