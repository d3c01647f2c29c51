"""Build torchvision's own fully convolutional networks, trained on COCO with the classes of Pascal VOC."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from maskpencil.classes import MAX_CLASSES
from maskpencil.errors import ConfigError
from maskpencil.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD, ChannelOrder
from maskpencil.models.backbones.sources import published_tensors
from maskpencil.models.backbones.weights import class_count, load_strictly

NAMES = ("fcn_resnet50", "fcn_resnet101")

IMAGE_SIZE = 693
"""The longer side of a 3:4 image whose shorter side has 520 pixels, as in the training of these networks."""

_AUXILIARY = ("aux_classifier.",)


@dataclass(frozen=True)
class TorchvisionFCNConfig:
    """The name of torchvision's network, and its number of classes.

    Raises:
        ConfigError: torchvision has no such network, or the number of classes is out of range.
    """

    num_classes: int
    network: str = NAMES[0]

    def __post_init__(self) -> None:
        if not isinstance(self.num_classes, int) or not 1 <= self.num_classes <= MAX_CLASSES:
            raise ConfigError(
                f"num_classes must be a whole number from 1 to {MAX_CLASSES}, but got {self.num_classes!r}"
            )
        if self.network not in NAMES:
            raise ConfigError(f"torchvision's network must be one of {', '.join(NAMES)}, but got {self.network!r}")

    @property
    def in_channels(self) -> int:
        """The number of channels of the images."""
        return 3

    @property
    def title(self) -> str:
        """The usual name of the network, such as "torchvision's fcn_resnet50"."""
        return f"torchvision's {self.network}"

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, as in config.json."""
        return asdict(self)


class TorchvisionFCN(nn.Module):
    """A dilated ResNet with scores at stride 8, which are upsampled in one step; the auxiliary classifier is left out.

    The network is built on the meta device, without memory for its tensors, until tensors are loaded into it.

    Source: torchvision.models.segmentation.fcn.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    channel_order: ChannelOrder = "rgb"

    def __init__(self, config: TorchvisionFCNConfig) -> None:
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.net = models.get_model(
                config.network, weights=None, weights_backbone=None, num_classes=config.num_classes, aux_loss=False
            )

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (N, 3, H, W) to logits (N, K, H, W)."""
        logits: Tensor = self.net(images)["out"]
        return logits

    def coarse_scores(self, images: Tensor) -> Tensor:
        """Map normalized images (N, 3, H, W) to scores (N, K, H/8, W/8), which `forward` upsamples to (H, W)."""
        scores: Tensor = self.net.classifier(self.net.backbone(images)["out"])
        return scores


def is_torchvision_fcn(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors look like a state dict of one of torchvision's fully convolutional networks."""
    return "classifier.4.weight" in tensors and "backbone.layer4.0.conv1.weight" in tensors


def load_torchvision_fcn(tensors: Mapping[str, Tensor], *, source: str) -> TorchvisionFCN:
    """Build a torchvision network from its state dict; `source` is the origin of the tensors, for errors.

    Raises:
        ModelError: tensors are missing, unexpected or misshaped.
    """
    name = NAMES["backbone.layer3.22.conv1.weight" in tensors]  # the 23rd block, which ResNet-50 lacks
    classes = class_count(tensors["classifier.4.weight"], "classifier.4.weight", source=source)
    model = TorchvisionFCN(TorchvisionFCNConfig(classes, name))
    load_strictly(model.net, tensors, unused=_AUXILIARY, source=source, expected=model.config.title)
    return model


def torchvision_fcn(name: str) -> TorchvisionFCN:
    """Build one of torchvision's networks with the weights that torchvision publishes, from its cache or by download.

    Raises:
        ConfigError: there is no such network.
        ModelError: the weights cannot be downloaded or read.
    """
    TorchvisionFCNConfig(1, name)
    tensors = published_tensors(name, otherwise="import a file of them with maskpencil import")
    return load_torchvision_fcn(tensors, source=f"torchvision/{name}")
