"""Create backbones (classifier trunks) by name, one family per file.

VGG, AlexNet, GoogLeNet and the ResNets come from torchvision, all others from timm by their timm names.
"""

import difflib
from pathlib import Path

from torch import nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones import alexnet, googlenet, resnet, timm_models, vgg
from maskpencil.models.backbones.base import COMMON_STRIDE, Backbone, BackboneOptions, Family
from maskpencil.models.backbones.weights import AUTO, BLANK

__all__ = ["FAMILIES", "Backbone", "Family", "create_backbone", "list_backbones", "normalizes_batches"]

FAMILIES: tuple[Family, ...] = (vgg.FAMILY, alexnet.FAMILY, googlenet.FAMILY, resnet.FAMILY, timm_models.FAMILY)
"""All families; timm's lists only a selection of the names that it accepts."""

RELEASED = (vgg.FAMILY, alexnet.FAMILY)
"""The families of the networks that the FCN authors released."""


def create_backbone(
    name: str,
    *,
    weights: str | Path = AUTO,
    in_channels: int = 3,
    fully_connected: bool = True,
    dropout: float = 0.5,
    stride: int = COMMON_STRIDE,
    as_released: bool = False,
) -> Backbone:
    """Create a backbone by its name.

    Args:
        name: a network of torchvision's families, or any timm model with features at strides 8, 16 and 32. The prefix
            `timm/` selects timm's model if torchvision has a network of the same name.
        weights: "auto" (pretrained weights from an installed package, the library's cache or a download), "imagenet"
            (as "auto", but only weights trained on ImageNet alone), "none" (random values), "blank" (no values yet; the
            caller loads tensors next), or the path of a classifier's weights file (.safetensors, .pth or .pt; for VGG
            also Keras or Caffe files).
        in_channels: the number of channels of the images; if it is not 3, see `surgery.adapt_input_channels`.
        fully_connected: whether fc6 and fc7 are kept, as convolutions, if the family has them (VGG, AlexNet).
        dropout: the dropout probability between fc6 and fc7, if they are kept.
        stride: the finest stride whose features are returned.
        as_released: whether images are padded by 100 pixels and have the channel order BGR, as in the networks of the
            FCN paper's authors (VGG, AlexNet).

    Raises:
        ConfigError: there is no such backbone, it has no features at `stride`, or its first convolution cannot be
            adapted to `in_channels`.
        ModelError: the weights cannot be downloaded, are damaged, or do not fit.
    """
    if in_channels < 1:
        raise ConfigError(f"in_channels must be 1 or more, but got {in_channels}")
    family = _family(name)
    if as_released and not (family in RELEASED and fully_connected):
        families = " or ".join(family.title for family in RELEASED)
        raise ConfigError(
            f"as_released needs a backbone of the family {families} with fully_connected true, but got {name!r} with "
            f"fully_connected {'true' if fully_connected else 'false'}"
        )
    options = BackboneOptions(weights, in_channels, fully_connected, dropout, stride, as_released)
    return family.create(name, options)


def normalizes_batches(name: str) -> bool:
    """Return whether a backbone has batch normalization.

    With batch normalization, training from scratch is stable at high learning rates.

    Raises:
        ConfigError: there is no such backbone.
    """
    return any(isinstance(layer, nn.BatchNorm2d) for layer in create_backbone(name, weights=BLANK).modules())


def list_backbones() -> list[str]:
    """List the names of torchvision's backbones, and of a selection of timm's models."""
    return [name for family in FAMILIES for name in family.names]


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name in family.names:
            return family
    if timm_models.is_known(name):
        return timm_models.FAMILY
    known = dict.fromkeys([*list_backbones(), *timm_models.known_names()])
    close = difflib.get_close_matches(name.removeprefix(timm_models.PREFIX), known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "'maskpencil info backbones' lists them"
    raise ConfigError(f"there is no backbone {name!r}; {hint}")
