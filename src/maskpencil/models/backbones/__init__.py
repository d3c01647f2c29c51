"""Backbones: classifier trunks, one family a file.

VGG, AlexNet, GoogLeNet and the ResNets are torchvision's; every other is timm's, by its timm name.
"""

import difflib
from pathlib import Path

from torch import nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones import alexnet, googlenet, resnet, timm_models, vgg
from maskpencil.models.backbones.base import STRIDES, Backbone, BackboneOptions, Family
from maskpencil.models.backbones.weights import BLANK, IMAGENET

__all__ = ["FAMILIES", "STRIDES", "Backbone", "Family", "create_backbone", "list_backbones", "normalizes_batches"]

FAMILIES: tuple[Family, ...] = (vgg.FAMILY, alexnet.FAMILY, googlenet.FAMILY, resnet.FAMILY, timm_models.FAMILY)
"""All families; the names of timm's are a selection, since any timm name will do."""

RELEASED = (vgg.FAMILY, alexnet.FAMILY)
"""The families of the authors' nets."""


def create_backbone(
    name: str,
    *,
    weights: str | Path = IMAGENET,
    in_channels: int = 3,
    fully_connected: bool = True,
    dropout: float = 0.5,
    as_released: bool = False,
) -> Backbone:
    """Make a backbone by its name.

    Args:
        name: one of torchvision's families, or else any timm model with features at strides 8, 16 and 32. The prefix
            `timm/` asks for timm's model where both have the name.
        weights: "imagenet" (downloaded once, then kept), "none" (untrained), or the file of a classifier's state dict
            in torchvision's or timm's own form (.safetensors, .pth or .pt); "blank" where tensors are loaded next.
        in_channels: channels of the images; filters for other than RGB start as in `surgery.adapt_input_channels`.
        fully_connected: whether fc6 and fc7 are kept, as convolutions, where the family has them (VGG, AlexNet).
        dropout: between fc6 and fc7, where they are kept.
        as_released: whether it is padded as in the authors' nets, and takes BGR images (VGG, AlexNet).

    Raises:
        ConfigError: there is no such backbone, it lacks the strides, or the channels do not suit it.
        ModelError: the weights cannot be had, are damaged, or do not fit.
    """
    if in_channels < 1:
        raise ConfigError(f"in_channels must be 1 or more, but got {in_channels}")
    family = _family(name)
    if as_released and not (family in RELEASED and fully_connected):
        families = " or ".join(family.title for family in RELEASED)
        raise ConfigError(
            f"as_released must be false unless the backbone is of the family {families}, with its fully connected "
            f"layers, but got {name!r} {'with' if fully_connected else 'without'} them"
        )
    return family.create(name, BackboneOptions(weights, in_channels, fully_connected, dropout, as_released))


def normalizes_batches(name: str) -> bool:
    """Return whether a backbone has batch normalization, which keeps training from scratch stable at high rates.

    Raises:
        ConfigError: there is no such backbone.
    """
    return any(isinstance(layer, nn.BatchNorm2d) for layer in create_backbone(name, weights=BLANK).modules())


def list_backbones() -> list[str]:
    """List the names of torchvision's families, and of a selection of timm's models."""
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
