"""The architectures that a model folder can hold."""

from collections.abc import Mapping
from typing import Any

from maskpencil.errors import ConfigError
from maskpencil.models.backbones.weights import BLANK
from maskpencil.models.build import build_fcn
from maskpencil.models.fcn import FCN, FCNConfig
from maskpencil.models.foreign.torchvision_fcn import TorchvisionFCN, TorchvisionFCNConfig

Network = FCN | TorchvisionFCN

_FCN, _TORCHVISION = "FCN", "torchvision"


def describe(network: Network) -> dict[str, Any]:
    """The architecture of a network as plain values, as in config.json."""
    return {"name": _FCN if isinstance(network, FCN) else _TORCHVISION, **network.config.to_dict()}


def rebuild(architecture: Mapping[str, Any]) -> Network:
    """A network of the architecture that `describe` told, whose tensors are still to be loaded.

    Raises:
        ConfigError: this version does not know the architecture, or a value is out of range.
    """
    name, settings = architecture["name"], {key: value for key, value in architecture.items() if key != "name"}
    if name == _FCN:
        return build_fcn(FCNConfig.from_dict(settings), weights=BLANK)
    if name == _TORCHVISION:
        return TorchvisionFCN(TorchvisionFCNConfig(**settings))
    raise ConfigError(f"the architecture is {name!r}; this version knows {_FCN} and {_TORCHVISION}")
