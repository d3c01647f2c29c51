"""Build networks from a configuration or from the architecture in a model folder, and transfer tensors to them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones import create_backbone
from maskpencil.models.backbones.base import COMMON_STRIDE
from maskpencil.models.backbones.weights import AUTO, BLANK
from maskpencil.models.fcn import FCN, FCNConfig
from maskpencil.models.importers.torchvision_fcn import TorchvisionFCN, TorchvisionFCNConfig

Network = FCN | TorchvisionFCN
"""The networks that a model folder can hold."""

_FCN, _TORCHVISION = "FCN", "torchvision"

_CLASS_LAYERS = ("score", "upscore")
"""The name prefixes of layers with a channel for each class."""


def build_fcn(config: FCNConfig, *, weights: str | Path = AUTO) -> FCN:
    """Build an FCN from its configuration, with classifier weights in the backbone and an untrained head.

    fc6 and fc7 are left out if the weights have no fc6 and fc7. `weights` is "auto", "imagenet", "none" or a file, see
    `create_backbone`.

    Raises:
        ConfigError: the backbone does not exist, or does not suit the configuration.
        ModelError: the weights cannot be downloaded, are damaged, or do not fit.
    """
    backbone = create_backbone(
        config.backbone,
        weights=weights,
        in_channels=config.in_channels,
        fully_connected=config.fully_connected,
        dropout=config.dropout,
        stride=min(config.stride, COMMON_STRIDE),
        as_released=config.as_released,
    )
    if backbone.loaded and backbone.loaded.lacks_fully_connected:
        config = replace(config, fully_connected=False)
    return FCN(config, backbone=backbone)


def describe(network: Network) -> dict[str, Any]:
    """Return the architecture of a network as plain values, as in config.json."""
    return {"name": _FCN if isinstance(network, FCN) else _TORCHVISION, **network.config.to_dict()}


def rebuild(architecture: Mapping[str, Any]) -> Network:
    """Build a network from an architecture in the form that `describe` returns; the caller then loads its tensors.

    Raises:
        ConfigError: this version does not support the architecture, or a value is out of range.
    """
    name, settings = architecture["name"], {key: value for key, value in architecture.items() if key != "name"}
    if name == _FCN:
        return build_fcn(FCNConfig.from_dict(settings), weights=BLANK)
    if name == _TORCHVISION:
        return TorchvisionFCN(TorchvisionFCNConfig(**settings))
    raise ConfigError(f"the architecture is {name!r}; expected {_FCN} or {_TORCHVISION}; update maskpencil")


def transplant(tensors: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Copy into the network every tensor whose name and shape match a tensor of the network.

    Returns:
        The names of the network's layers without a match, which keep their initial weights, such as the skip layers
        of an FCN-8s if the tensors are those of an FCN-16s, or score layers if the number of classes differs.
    """
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    return list(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in fitting))


def in_class_order(tensors: Mapping[str, Tensor], names: Sequence[str], wanted: Sequence[str]) -> dict[str, Tensor]:
    """Reorder the class channels in the tensors of an FCN from the class order `names` to the order `wanted`.

    Score layers, (K, C, 1, 1) and (K,), and upsamplings, (K, K, k, k) or (K, 1, k, k), have a channel for each class.
    These tensors are left out if the two lists do not hold the same classes.
    """
    if {*names} != {*wanted}:
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(_CLASS_LAYERS)}
    order = torch.tensor([names.index(name) for name in wanted])
    ordered = {}
    for name, tensor in tensors.items():
        if name.startswith(_CLASS_LAYERS):
            tensor = tensor[order]
            if name.startswith("upscore") and tensor.shape[1] == len(order):
                tensor = tensor[:, order]
        ordered[name] = tensor
    return ordered
