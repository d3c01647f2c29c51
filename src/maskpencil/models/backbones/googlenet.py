"""Define GoogLeNet (Szegedy et al., CVPR 2015) without its auxiliary classifiers, with torchvision's layer names."""

from torch import Tensor, nn
from torchvision import models

from maskpencil.models.backbones.base import Backbone, BackboneOptions, Family
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE

_SIDE_BRANCHES = ("aux1.", "aux2.")
_STAGES = {
    2: ("conv1",),
    4: ("maxpool1", "conv2", "conv3"),
    8: ("maxpool2", "inception3a", "inception3b"),
    16: ("maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),
    32: ("maxpool4", "inception5a", "inception5b"),
}
"""The layers that lead to the features of each stride."""


class GoogLeNet(Backbone):
    """GoogLeNet with the features conv1, conv3, inception3b, inception4e, inception5b: the last layer of each stride.

    The published weights expect pixels in -1..1, and torchvision's network rescales ImageNet-normalized images to this
    range (`transform_input`): ((p - 0.485) / 0.229) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5 equals (p - 0.5) / 0.5, and
    likewise for the other channels. This class omits the rescaling, and has the `mean` and `std` 0.5 instead.

    Args:
        name: googlenet.
        classifier: torchvision's network of that name, whose layers are used.
        finest: the finest stride whose features are returned.
    """

    def __init__(self, name: str, classifier: nn.Module, *, finest: int) -> None:
        channels = {2: 64, 4: 192, 8: 480, 16: 832, 32: 1024}
        super().__init__(name, channels=channels, finest=finest, mean=(0.5,) * 3, std=(0.5,) * 3)
        for layer in (layer for stage in _STAGES.values() for layer in stage):
            self.add_module(layer, classifier.get_submodule(layer))

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        return self.features_of(images, _STAGES)


def create(name: str, options: BackboneOptions) -> GoogLeNet:
    """Create a GoogLeNet, see `create_backbone`."""
    loaded = None
    if options.weights == NONE:
        classifier = models.googlenet(weights=None, aux_logits=False, init_weights=True)
    else:
        classifier = blank_classifier(name, aux_logits=False, init_weights=False)
        if options.pretrained:
            loaded = load_classifier(classifier, name, options.weights, unused=["fc.", *_SIDE_BRANCHES])
    backbone = GoogLeNet(name, classifier, finest=options.stride)
    backbone.take_record(loaded)
    backbone.take_channels(options.in_channels, "conv1.conv")
    return backbone


FAMILY = Family("GoogLeNet", ("googlenet",), "torchvision", create)
