"""Define GoogLeNet (Szegedy et al., CVPR 2015) without its side branches, with torchvision's layer names."""

from torch import Tensor, nn
from torchvision import models

from maskpencil.models.backbones.base import Backbone, BackboneOptions, Family
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE

_SIDE_BRANCHES = ("aux1.", "aux2.")
_TRUNK = (
    ("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b"),  # 1/8
    ("maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),  # 1/16
    ("maxpool4", "inception5a", "inception5b"),  # 1/32
)


class GoogLeNet(Backbone):
    """GoogLeNet with the features inception3b, inception4e and inception5b, the last block of each stride.

    The published weights expect pixels in -1..1, and torchvision's network rescales ImageNet-normalized images to this
    range (`transform_input`): ((p - 0.485) / 0.229) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5 equals (p - 0.5) / 0.5, and
    likewise for the other channels. A mean and std of 0.5 therefore have the same effect.

    Args:
        name: googlenet.
        classifier: torchvision's network of that name, whose layers are used.
    """

    def __init__(self, name: str, classifier: nn.Module) -> None:
        super().__init__(name, channels={8: 480, 16: 832, 32: 1024}, mean=(0.5,) * 3, std=(0.5,) * 3)
        for layer in (layer for stage in _TRUNK for layer in stage):
            self.add_module(layer, classifier.get_submodule(layer))

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        features = {}
        x = images
        for stride, stage in zip(self.channels, _TRUNK, strict=True):
            for layer in stage:
                x = self.get_submodule(layer)(x)
            features[stride] = x  # (N, C, H/stride, W/stride)
        return features


def create(name: str, options: BackboneOptions) -> GoogLeNet:
    """Create a GoogLeNet, see `create_backbone`."""
    loaded = None
    if options.weights == NONE:
        classifier = models.googlenet(weights=None, aux_logits=False, init_weights=True)
    else:
        classifier = blank_classifier(name, aux_logits=False, init_weights=False)
        if options.pretrained:
            loaded = load_classifier(classifier, name, options.weights, unused=["fc.", *_SIDE_BRANCHES])
    backbone = GoogLeNet(name, classifier)
    backbone.take_record(loaded)
    backbone.take_channels(options.in_channels, "conv1.conv")
    return backbone


FAMILY = Family("GoogLeNet", ("googlenet",), "torchvision", create)
