"""Define AlexNet, the FCN paper's fastest trunk, as in torchvision (arXiv 1404.5997) and as in Caffe."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.errors import ConfigError
from maskpencil.models.backbones.base import (
    RELEASED_MEAN,
    RELEASED_PADDING,
    RELEASED_STD,
    Backbone,
    BackboneOptions,
    Family,
    initialize,
)
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE
from maskpencil.models.geometry import Grid
from maskpencil.models.surgery import convolutionalize


class AlexNet(Backbone):
    """AlexNet with the features conv2, conv5 and fc7, or pool5 without the fully connected layers.

    Args:
        name: "alexnet".
        classifier: torchvision's AlexNet, whose layers are used.
        fully_connected: whether fc6 and fc7 are kept, as convolutions.
        dropout: the dropout probability between fc6 and fc7.
        finest: the finest stride whose features are returned, 8 at least.
    """

    # Geometry. conv1 (11x11, stride 4) gets padding 4, and the 3/2 pools round up, so that strides 8, 16 and 32 divide
    # the image exactly. Cell 0 of conv1 is then centered on pixel 1 (instead of 1.5, the center of four pixels), and
    # each pool moves the center of cell 0 by one of the finer cells: 1 + 4 + 8 + 16 = 29 at pool5 (instead of 15.5).
    # The 6x6 kernel of fc6 has no central cell: padding 3 before and 2 after keeps the size and moves the center back
    # by half a cell of 32 pixels, to 13.
    _CONV1_PADDING = (4, 4)
    _FC6_PADDING = (3, 2, 3, 2)  # left, right, top, bottom

    def __init__(self, name: str, classifier: nn.Module, *, fully_connected: bool, dropout: float, finest: int) -> None:
        channels = {8: 192, 16: 256, 32: 4096 if fully_connected else 256}
        super().__init__(name, channels=channels, finest=finest)
        layers = cast(nn.Sequential, classifier.features)
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = (
            layer for layer in layers if isinstance(layer, nn.Conv2d)
        )
        self.conv1.padding = self._CONV1_PADDING
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fully_connected = fully_connected
        if fully_connected:
            linear6, linear7, _ = (m for m in cast(nn.Sequential, classifier.classifier) if isinstance(m, nn.Linear))
            # pool5 of the classifier's 224x224 images is 6x6
            self.fc6 = convolutionalize(linear6, 256, 6, padding=0)
            self.drop6 = nn.Dropout(dropout)
            self.fc7 = convolutionalize(linear7, 4096, 1, padding=0)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        relu = functional.relu
        x = relu(self.conv1(images))  # (N, 64, H/4, W/4)
        conv2 = relu(self.conv2(self.pool(x)))  # (N, 192, H/8, W/8)
        x = relu(self.conv3(self.pool(conv2)))  # (N, 384, H/16, W/16)
        x = relu(self.conv4(x))
        conv5 = relu(self.conv5(x))  # (N, 256, H/16, W/16)
        x = self.pool(conv5)  # (N, 256, H/32, W/32)
        if self.fully_connected:
            x = self.drop6(relu(self.fc6(functional.pad(x, self._FC6_PADDING))))  # (N, 4096, H/32, W/32)
            x = relu(self.fc7(x))
        return {8: conv2, 16: conv5, 32: x}


class ReleasedAlexNet(Backbone):
    """Caffe's AlexNet, as in the authors' FCN-AlexNet.

    It has grouped convolutions, local response normalization, and 100 pixels of padding around the image. Its features
    are conv2, conv5 and fc7; the layers have the published names. torchvision's weights do not fit.

    Source: Krizhevsky et al., NIPS 2012, as in voc-fcn-alexnet of the authors' release.

    Args:
        name: "alexnet".
        dropout: the dropout probability between fc6 and fc7.
    """

    def __init__(self, name: str, *, dropout: float) -> None:
        super().__init__(
            name,
            channels={8: 256, 16: 256, 32: 4096},
            mean=RELEASED_MEAN,
            std=RELEASED_STD,
            channel_order="bgr",
        )
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4, padding=RELEASED_PADDING)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Conv2d(256, 4096, 6)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.drop6 = nn.Dropout(dropout)
        conv2 = Grid().through(self.conv1, self.pool, self.conv2)
        conv5 = conv2.through(self.pool, self.conv3, self.conv4, self.conv5)
        self.grids = {8: conv2, 16: conv5, 32: conv5.through(self.pool, self.fc6, self.fc7)}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features of images of any size, see `Backbone.forward`.

        The map of stride s is larger than H/s x W/s, because of the padding.
        """
        relu = functional.relu
        x = self.norm(self.pool(relu(self.conv1(images))))  # 1/8
        conv2 = relu(self.conv2(x))  # (N, 256, H/8, W/8)
        x = self.norm(self.pool(conv2))  # 1/16
        x = relu(self.conv4(relu(self.conv3(x))))
        conv5 = relu(self.conv5(x))  # (N, 256, H/16, W/16)
        x = self.drop6(relu(self.fc6(self.pool(conv5))))  # (N, 4096, H/32, W/32)
        return {8: conv2, 16: conv5, 32: relu(self.fc7(x))}


def create(name: str, options: BackboneOptions) -> Backbone:
    """Create an AlexNet, see `create_backbone`."""
    if options.as_released:
        return _create_as_released(name, options)
    classifier = blank_classifier(name)
    loaded = None
    if options.pretrained:
        loaded = load_classifier(
            classifier,
            name,
            options.weights,
            unused=["classifier.6."] if options.fully_connected else ["classifier."],
            optional=["classifier."] if options.fully_connected else [],
        )
    fully_connected = options.fully_connected and not (loaded and loaded.lacks_fully_connected)
    backbone = AlexNet(
        name, classifier, fully_connected=fully_connected, dropout=options.dropout, finest=options.stride
    )
    backbone.take_record(loaded)
    backbone.take_channels(options.in_channels, "conv1")
    if options.weights == NONE:
        initialize(backbone)
    return backbone


def _create_as_released(name: str, options: BackboneOptions) -> ReleasedAlexNet:
    if options.pretrained:
        raise ConfigError(
            f"the authors' AlexNet is Caffe's, which torchvision's weights ({options.weights}) do not fit; "
            "import the authors' .caffemodel, or pass --weights none"
        )
    with torch.device("meta"):
        backbone = ReleasedAlexNet(name, dropout=options.dropout)
    backbone.take_channels(options.in_channels, "conv1")
    if options.weights == NONE:
        initialize(backbone)
    return backbone


FAMILY = Family("AlexNet", ("alexnet",), "torchvision", create)
