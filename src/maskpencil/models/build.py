"""Build networks from a configuration, from the architecture in a model folder, or from the tensors of another net."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.errors import ConfigError
from maskpencil.models.backbones import create_backbone
from maskpencil.models.backbones.weights import BLANK
from maskpencil.models.fcn import FCN, FCNConfig
from maskpencil.models.importers.torchvision_fcn import TorchvisionFCN, TorchvisionFCNConfig

Network = FCN | TorchvisionFCN
"""What a model folder can hold."""

_FCN, _TORCHVISION = "FCN", "torchvision"

_CLASS_LAYERS = ("score", "upscore")
"""How the names of the layers begin that have a channel for each class."""


def build_fcn(config: FCNConfig, *, weights: str | Path = "imagenet") -> FCN:
    """Make the network that `config` describes, its backbone with the given classifier weights.

    `weights` is "imagenet", "none" or a file; see `create_backbone`. The head starts untrained.

    Raises:
        ConfigError: the backbone does not exist or does not suit.
        ModelError: the weights cannot be had, are damaged, or do not fit.
    """
    backbone = create_backbone(
        config.backbone,
        weights=weights,
        in_channels=config.in_channels,
        fully_connected=config.fully_connected,
        dropout=config.dropout,
        as_released=config.as_released,
    )
    return FCN(config, backbone=backbone)


def describe(network: Network) -> dict[str, Any]:
    """Return the architecture of a network as plain values, as in config.json."""
    return {"name": _FCN if isinstance(network, FCN) else _TORCHVISION, **network.config.to_dict()}


def rebuild(architecture: Mapping[str, Any]) -> Network:
    """Make a network of an architecture as `describe` returns it, whose tensors are still to be loaded.

    Raises:
        ConfigError: this version does not know the architecture, or a value is out of range.
    """
    name, settings = architecture["name"], {key: value for key, value in architecture.items() if key != "name"}
    if name == _FCN:
        return build_fcn(FCNConfig.from_dict(settings), weights=BLANK)
    if name == _TORCHVISION:
        return TorchvisionFCN(TorchvisionFCNConfig(**settings))
    raise ConfigError(f"the architecture is {name!r}; this version knows {_FCN} and {_TORCHVISION}")


def transplant(tensors: Mapping[str, Tensor], network: nn.Module) -> list[str]:
    """Copy every tensor that has the name and shape of one of the network's own into it.

    Returns the names of its layers that got nothing, or not everything, and so keep their initial weights: skips that a
    coarser net does not have, and scores where the number of classes differs.
    """
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    return list(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in fitting))


def in_class_order(tensors: Mapping[str, Tensor], names: Sequence[str], wanted: Sequence[str]) -> dict[str, Tensor]:
    """Bring the tensors of an FCN of the classes `names` into the order of the classes `wanted`.

    Scores, (K, C, 1, 1) and (K,), and upsamplings, (K, K, k, k) or (K, 1, k, k), have a channel for each class. Where
    the classes are not the same ones in another order these layers are left out: their channels mean something else.
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
