"""Define ResNet, ResNeXt and Wide ResNet (He et al., CVPR 2016, and others) with torchvision's layer names."""

from typing import cast

from torch import Tensor
from torchvision import models

from maskpencil.models.backbones.base import Backbone, BackboneOptions, Family
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE

_STAGES = {2: ("conv1", "bn1", "relu"), 4: ("maxpool", "layer1"), 8: ("layer2",), 16: ("layer3",), 32: ("layer4",)}
"""The layers that lead to the features of each stride."""


class ResNet(Backbone):
    """A ResNet with the features conv1, layer1, layer2, layer3 and layer4, the last layer of each stride.

    Args:
        name: a name of the family.
        classifier: torchvision's network of that name, whose layers are used.
        finest: the finest stride whose features are returned.
    """

    def __init__(self, name: str, classifier: models.ResNet, *, finest: int) -> None:
        last = classifier.fc.in_features  # each stage has twice the channels of the one before
        channels = {2: 64, 4: last // 8, 8: last // 4, 16: last // 2, 32: last}
        super().__init__(name, channels=channels, finest=finest)
        self.conv1, self.bn1 = classifier.conv1, classifier.bn1
        self.relu, self.maxpool = classifier.relu, classifier.maxpool
        self.layer1, self.layer2 = classifier.layer1, classifier.layer2
        self.layer3, self.layer4 = classifier.layer3, classifier.layer4

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        return self.features_of(images, _STAGES)


def create(name: str, options: BackboneOptions) -> ResNet:
    """Create a ResNet, see `create_backbone`."""
    loaded = None
    if options.weights == NONE:
        classifier = models.get_model(name, weights=None)
    else:
        classifier = blank_classifier(name)
        if options.pretrained:
            loaded = load_classifier(classifier, name, options.weights, unused=["fc."])
    backbone = ResNet(name, cast(models.ResNet, classifier), finest=options.stride)
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
