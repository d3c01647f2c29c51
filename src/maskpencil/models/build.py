"""From a configuration to a network with weights."""

from pathlib import Path

from maskpencil.models.backbones import create_backbone
from maskpencil.models.fcn import FCN, FCNConfig


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
