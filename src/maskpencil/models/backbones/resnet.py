"""Define ResNet, ResNeXt and Wide ResNet (He et al., CVPR 2016, and others) with torchvision's layer names."""

from typing import cast

from torch import Tensor
from torchvision import models

from maskpencil.models.backbones.base import Backbone, BackboneOptions, Family
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE


class ResNet(Backbone):
    """A ResNet with the features layer2, layer3 and layer4, the last block of each stride.

    Args:
        name: a name of the family.
        classifier: torchvision's network of that name, whose layers are used.
    """

    def __init__(self, name: str, classifier: models.ResNet) -> None:
        last = classifier.fc.in_features  # each stage has twice the channels of the one before
        super().__init__(name, channels={8: last // 4, 16: last // 2, 32: last})
        self.conv1, self.bn1 = classifier.conv1, classifier.bn1
        self.relu, self.maxpool = classifier.relu, classifier.maxpool
        self.layer1, self.layer2 = classifier.layer1, classifier.layer2
        self.layer3, self.layer4 = classifier.layer3, classifier.layer4

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        x = self.relu(self.bn1(self.conv1(images)))  # 1/2
        x = self.layer1(self.maxpool(x))  # 1/4
        layer2 = self.layer2(x)  # (N, C/4, H/8, W/8)
        layer3 = self.layer3(layer2)  # (N, C/2, H/16, W/16)
        layer4 = self.layer4(layer3)  # (N, C, H/32, W/32)
        return {8: layer2, 16: layer3, 32: layer4}


def create(name: str, options: BackboneOptions) -> ResNet:
    """Create a ResNet, see `create_backbone`."""
    loaded = None
    if options.weights == NONE:
        classifier = models.get_model(name, weights=None)
    else:
        classifier = blank_classifier(name)
        if options.pretrained:
            loaded = load_classifier(classifier, name, options.weights, unused=["fc."])
    backbone = ResNet(name, cast(models.ResNet, classifier))
    backbone.take_record(loaded)
    backbone.take_channels(options.in_channels, "conv1")
    return backbone


FAMILY = Family(
    "ResNet",
    (
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
        *("wide_resnet50_2", "wide_resnet101_2"),
    ),
    "torchvision",
    create,
)
