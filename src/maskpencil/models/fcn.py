"""Define the fully convolutional network: FCN-32s, FCN-16s and FCN-8s, and FCN-4s and FCN-2s for thin structures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from maskpencil.classes import MAX_CLASSES
from maskpencil.errors import ConfigError
from maskpencil.models.backbones.base import Backbone
from maskpencil.models.geometry import Crop, Grid
from maskpencil.models.surgery import bilinear_upsampling

MAX_CHANNELS = 255
_COARSEST_STRIDE = 32
_UPSAMPLINGS = ("all", "twofold", "none")
RELEASED_STRIDES = (32, 16, 8)
LAST_UPSCORE = {32: "upscore", 16: "upscore16", 8: "upscore8", 4: "upscore4", 2: "upscore_pool1"}
"""The name of the last upsampling by stride. The names are the published names; for stride 2 the name differs, since
`upscore2` is the name of another upsampling."""


@dataclass(frozen=True)
class FCNConfig:
    """The architecture of an FCN.

    Raises:
        ConfigError: a value is out of range.
    """

    num_classes: int
    """The number of classes, 1 to 255."""

    backbone: str = "vgg16"
    """The classifier that computes the features; `maskpencil info backbones` lists the names."""

    stride: int = 8
    """The stride of the finest features in pixels: 32 (no skips), 16 (a skip from pool4), 8 (also from pool3), 4 (also
    from pool2) or 2 (also from pool1)."""

    fully_connected: bool = True
    """Whether fc6 and fc7 are kept, as convolutions, if the backbone has them (VGG, AlexNet)."""

    in_channels: int = 3
    """The number of channels of the images, 1 or more."""

    dropout: float = 0.5
    """The dropout probability after fc6 and before score_fr, from 0 to below 1."""

    learned_upsampling: str = "all"
    """The upsamplings that are learned: "all", "twofold" (all but the last, CVPR 2015) or "none" (released
    networks)."""

    at_once_scales: bool = False
    """Whether pool4 is scaled by 0.01 and pool3 by 0.0001, as in the FCN-8s that is trained in one stage (at once)."""

    as_released: bool = False
    """Whether the network is as the authors released it: padding by 100 pixels, pooling layers that round sizes up, and
    cropped score maps; for VGG and AlexNet only.

    The authors' networks take BGR images. Other networks pad images to multiples of 32 and need no cropping.
    """

    def __post_init__(self) -> None:
        for name, most in (("num_classes", MAX_CLASSES), ("in_channels", MAX_CHANNELS)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise ConfigError(f"{name} must be a whole number from 1 to {most}, but got {value!r}")
        if not isinstance(self.backbone, str) or not self.backbone:
            raise ConfigError(f"backbone must be a name such as 'vgg16', but got {self.backbone!r}")
        if self.stride not in LAST_UPSCORE:
            raise ConfigError(f"stride must be 32, 16, 8, 4 or 2, but got {self.stride!r}")
        if self.stride not in RELEASED_STRIDES and (self.as_released or self.at_once_scales):
            name = "as_released" if self.as_released else "at_once_scales"
            raise ConfigError(f"{name} needs a stride of the released networks, 32, 16 or 8, but got {self.stride}")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be a number from 0 to below 1, but got {self.dropout!r}")
        if self.learned_upsampling not in _UPSAMPLINGS:
            raise ConfigError(
                f"learned_upsampling must be 'all', 'twofold' or 'none', but got {self.learned_upsampling!r}"
            )
        for name in ("fully_connected", "at_once_scales", "as_released"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be true or false, but got {getattr(self, name)!r}")

    @property
    def title(self) -> str:
        """The usual name of the network, such as "FCN-8s on vgg16"."""
        return f"FCN-{self.stride}s{' at once' if self.at_once_scales else ''} on {self.backbone}"

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, as in config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "FCNConfig":
        """Build a configuration from the content of config.json; missing entries take their defaults.

        Raises:
            ConfigError: an entry is unknown, num_classes is missing, or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(entries) - set(known))
        if unknown:
            raise ConfigError(
                f"an FCN has no setting {', '.join(map(repr, unknown))}; its settings are {', '.join(known)}"
            )
        if "num_classes" not in entries:
            raise ConfigError("num_classes is missing; expected the number of classes of the FCN")
        return cls(**entries)


class FCN(nn.Module):
    """A classifier converted to a network that scores every pixel.

    The layers have the published names. Score layers are initialized to 0, upsamplings to bilinear interpolation.

    Source: Long, Shelhamer and Darrell, CVPR 2015; Shelhamer et al., PAMI 2017.

    Args:
        config: the architecture.
        backbone: the backbone that `config` names.
    """

    def __init__(self, config: FCNConfig, *, backbone: Backbone) -> None:
        super().__init__()
        classes = config.num_classes
        learned, last_learned = config.learned_upsampling != "none", config.learned_upsampling == "all"
        self.config = config
        self.backbone = backbone
        # the released scales bring pool4 and pool3 to the magnitude of the scores to which they are added
        self.scale_pool4, self.scale_pool3 = (0.01, 0.0001) if config.at_once_scales else (1.0, 1.0)
        self.drop7 = nn.Dropout(config.dropout)
        self.score_fr = _score(backbone.channels[32], classes)
        grid = backbone.grids[32]
        if config.stride <= 16:
            self.upscore2 = _upsampling(config, 2, grid, learned=learned)
            self.score_pool4 = _score(backbone.channels[16], classes)
            grid = grid.through(self.upscore2)
            self.score_pool4c = Crop(grid.offset_of(backbone.grids[16]))
        if config.stride <= 8:
            self.upscore_pool4 = _upsampling(config, 2, grid, learned=learned)
            self.score_pool3 = _score(backbone.channels[8], classes)
            grid = grid.through(self.upscore_pool4)
            self.score_pool3c = Crop(grid.offset_of(backbone.grids[8]))
        if config.stride <= 4:
            self.upscore_pool3 = _upsampling(config, 2, grid, learned=learned)
            self.score_pool2 = _score(backbone.channels[4], classes)
            grid = grid.through(self.upscore_pool3)
        if config.stride <= 2:
            self.upscore_pool2 = _upsampling(config, 2, grid, learned=learned)
            self.score_pool1 = _score(backbone.channels[2], classes)
            grid = grid.through(self.upscore_pool2)
        last = _upsampling(config, config.stride, grid, learned=last_learned)
        self.add_module(LAST_UPSCORE[config.stride], last)
        self.score = Crop(Grid().offset_of(grid.through(last)))

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (N, C, H, W) of any size to logits (N, K, H, W)."""
        return self.logits(self.features(images), images.shape[-2:])  # (N, K, H, W)

    def features(self, images: Tensor) -> dict[int, Tensor]:
        """Map normalized images (N, C, H, W) to the backbone's features {s: (N, C_s, H/s, W/s)}, sizes rounded up."""
        features: dict[int, Tensor] = self.backbone(images if self.config.as_released else _padded(images))
        return features

    def logits(self, features: Mapping[int, Tensor], size: Sequence[int]) -> Tensor:
        """Map the features of images of `size` (H, W) to logits (N, K, H, W)."""
        logits: Tensor = self.score(self.last_upscore(self.fused(features)), size)
        return logits

    def coarse_scores(self, images: Tensor) -> Tensor:
        """Map normalized images (N, C, H, W) to scores (N, K, H/s, W/s) at the finest stride s.

        `last_upscore` upsamples these scores to the size of the image.
        """
        return self.fused(self.features(images))

    def fused(self, features: Mapping[int, Tensor]) -> Tensor:
        """Map features {s: (N, C_s, H/s, W/s)} to the sum of all strides' scores, (N, K, H/s, W/s) at the finest s."""
        score: Tensor = self.score_fr(self.drop7(features[32]))  # (N, K, H/32, W/32)
        if self.config.stride <= 16:
            score = self.upscore2(score)  # (N, K, H/16, W/16)
            score = score + self.score_pool4c(self.score_pool4(features[16] * self.scale_pool4), score.shape[-2:])
        if self.config.stride <= 8:
            score = self.upscore_pool4(score)  # (N, K, H/8, W/8)
            score = score + self.score_pool3c(self.score_pool3(features[8] * self.scale_pool3), score.shape[-2:])
        if self.config.stride <= 4:
            score = self.upscore_pool3(score) + self.score_pool2(features[4])  # (N, K, H/4, W/4)
        if self.config.stride <= 2:
            score = self.upscore_pool2(score) + self.score_pool1(features[2])  # (N, K, H/2, W/2)
        return score

    @property
    def last_upscore(self) -> nn.ConvTranspose2d:
        """The layer that upsamples the finest scores (N, K, H/s, W/s) to at least the image size, (N, K, H, W)."""
        return cast(nn.ConvTranspose2d, self.get_submodule(LAST_UPSCORE[self.config.stride]))


def _score(channels: int, classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, classes, kernel_size=1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _upsampling(config: FCNConfig, stride: int, grid: Grid, *, learned: bool) -> nn.ConvTranspose2d:
    """Make a layer that upsamples scores on `grid` by `stride`.

    If `config.as_released` is set, the layer has no padding, so that its output must be cropped.
    """
    if not config.as_released:
        return bilinear_upsampling(config.num_classes, stride, learned=learned)
    # scores centered on whole pixels (AlexNet's) need an odd kernel, 63 instead of 64, to stay on whole pixels
    kernel_size = 2 * stride - 1 if grid.origin == int(grid.origin) else 2 * stride
    return bilinear_upsampling(config.num_classes, stride, learned=learned, kernel_size=kernel_size, padding=0)


def _padded(images: Tensor) -> Tensor:
    """Pad normalized images on the right and at the bottom to multiples of 32 with 0, the mean color."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % _COARSEST_STRIDE, 0, -height % _COARSEST_STRIDE))
