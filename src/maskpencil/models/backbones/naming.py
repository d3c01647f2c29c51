"""Translate the names that other libraries give the tensors of a classifier."""

import re
from collections.abc import Iterable

_EFFICIENTNET_LAYERS = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
_EXPANDED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "se.conv_reduce": "_se_reduce",
    "se.conv_expand": "_se_expand",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
_NOT_EXPANDED = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
    "se.conv_reduce": "_se_reduce",
    "se.conv_expand": "_se_expand",
}


def efficientnet_pytorch_names(names: Iterable[str]) -> dict[str, str]:
    """Map timm's names of an EfficientNet's tensors to those of the library EfficientNet-PyTorch.

    That library numbers the blocks consecutively through all stages, and the batch normalizations in a block from 0, or
    from 1 in a block without an expansion convolution. Names that are not those of an EfficientNet's tensors are left
    out.

    Source: the state dicts of both libraries; https://github.com/lukemelas/EfficientNet-PyTorch
    """
    names = list(names)
    blocks = list(dict.fromkeys(match[0] for name in names if (match := re.match(r"blocks\.\d+\.\d+", name))))
    mapped = {}
    for name in names:
        layer, _, leaf = name.rpartition(".")
        if match := re.match(r"(blocks\.\d+\.\d+)\.(.+)", layer):
            block, inner = match.groups()
            layers = _EXPANDED if f"{block}.conv_pwl.weight" in names else _NOT_EXPANDED
            if inner in layers:
                mapped[name] = f"_blocks.{blocks.index(block)}.{layers[inner]}.{leaf}"
        elif layer in _EFFICIENTNET_LAYERS:
            mapped[name] = f"{_EFFICIENTNET_LAYERS[layer]}.{leaf}"
        elif layer == "classifier":
            mapped[name] = f"_fc.{leaf}"
    return mapped
