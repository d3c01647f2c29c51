"""Define VGG (Simonyan and Zisserman, ICLR 2015), the FCN paper's main trunk, with the published layer names."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from maskpencil.models.backbones.base import (
    RELEASED_PADDING,
    Backbone,
    BackboneOptions,
    Family,
    initialize,
)
from maskpencil.models.backbones.torchvision_models import blank_classifier, load_classifier
from maskpencil.models.backbones.weights import NONE
from maskpencil.models.geometry import Grid, Window
from maskpencil.models.surgery import convolutionalize

_PUBLISHED: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv",
    nn.BatchNorm2d: "bn",
    nn.ReLU: "relu",
    nn.MaxPool2d: "pool",
}


AUTHORS_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
AUTHORS_STD = (1 / 255, 1 / 255, 1 / 255)
"""The mean and standard deviation, in 0..1, of RGB images for weights from Keras and Caffe files.

As for VGG's authors, the mean of each channel is subtracted from images in 0..255, which are not scaled."""


_DENSE = ("classifier.0", "classifier.3", "classifier.6")
"""torchvision's names of the fully connected layers."""


class VGG(Backbone):
    """VGG with the features pool1, pool2, pool3, pool4 and fc7, or pool5 without the fully connected layers.

    The layers are conv1_1, bn1_1 (in the _bn networks), relu1_1, ..., pool5, fc6, relu6, drop6, fc7, relu7. The dropout
    after fc7 belongs to the head.

    Args:
        name: vgg11, vgg13, vgg16 or vgg19, with or without _bn.
        classifier: torchvision's network of that name, whose layers are used.
        fully_connected: whether fc6 and fc7 are kept, as convolutions.
        dropout: the dropout probability between fc6 and fc7.
        finest: the finest stride whose features are returned.
        as_released: whether images are padded by 100 pixels, and fc6 has no padding, as in the authors' networks.
    """

    def __init__(
        self,
        name: str,
        classifier: nn.Module,
        *,
        fully_connected: bool,
        dropout: float,
        finest: int,
        as_released: bool = False,
    ) -> None:
        channels = {2: 64, 4: 128, 8: 256, 16: 512, 32: 4096 if fully_connected else 512}
        super().__init__(name, channels=channels, finest=finest)
        self.stages: list[list[str]] = [[] for _ in range(5)]
        self._take_layers(cast(nn.Sequential, classifier.features))
        if fully_connected:
            linear6, linear7, _ = (m for m in cast(nn.Sequential, classifier.classifier) if isinstance(m, nn.Linear))
            # pool5 of the classifier's 224x224 images is 7x7; padding 3 keeps the size of the map
            self.fc6 = convolutionalize(linear6, 512, 7, padding=0 if as_released else 3)
            self.relu6 = nn.ReLU(inplace=True)
            self.drop6 = nn.Dropout(dropout)
            self.fc7 = convolutionalize(linear7, 4096, 1, padding=0)
            self.relu7 = nn.ReLU(inplace=True)
            self.stages[-1] += ["fc6", "relu6", "drop6", "fc7", "relu7"]
        if as_released:
            self._pad_as_released()

    def _pad_as_released(self) -> None:
        """Pad images by 100 pixels in conv1_1, and let pooling layers round sizes up.

        This changes the image positions of the cells of the feature maps, which are recomputed.
        """
        cast(nn.Conv2d, self.conv1_1).padding = (RELEASED_PADDING, RELEASED_PADDING)
        grid = Grid()
        for i, stage in enumerate(self.stages, start=1):
            layers = [self.get_submodule(name) for name in stage]
            for pool in (layer for layer in layers if isinstance(layer, nn.MaxPool2d)):
                pool.ceil_mode = True
            grid = grid.through(*(layer for layer in layers if isinstance(layer, Window)))
            self.grids[2**i] = grid

    def take_authors_images(self) -> None:
        """Adapt the weights, which were trained on BGR images in 0..255, minus the mean, to normalized RGB images.

        The input channels of the first filters are reversed. `mean` and `std` become those of VGG's authors.
        """
        convolution = cast(nn.Conv2d, self.conv1_1)
        convolution.weight = nn.Parameter(convolution.weight.detach().flip(1))
        self.take_normalization(AUTHORS_MEAN, AUTHORS_STD)

    def _take_layers(self, layers: nn.Sequential) -> None:
        """Add torchvision's numbered layers under published names, such as conv1_1; a pooling layer ends a stage."""
        stage = number = 1
        for layer in layers:
            kind = _PUBLISHED[type(layer)]
            name = f"{kind}{stage}" if kind == "pool" else f"{kind}{stage}_{number}"
            self.add_module(name, layer)
            self.stages[stage - 1].append(name)
            if kind == "relu":
                number += 1
            elif kind == "pool":
                stage, number = stage + 1, 1

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Compute the features, see `Backbone.forward`."""
        return self.features_of(images, {2**i: stage for i, stage in enumerate(self.stages, start=1)})


def create(name: str, options: BackboneOptions) -> VGG:
    """Create a VGG, see `create_backbone`."""
    classifier = blank_classifier(name)
    loaded = None
    if options.pretrained:
        loaded = load_classifier(
            classifier,
            name,
            options.weights,
            unused=["classifier.6."] if options.fully_connected else ["classifier."],
            optional=["classifier."] if options.fully_connected and not options.as_released else [],
            namings=_namings(classifier),
        )
    fully_connected = options.fully_connected and not (loaded and loaded.lacks_fully_connected)
    backbone = VGG(
        name,
        classifier,
        fully_connected=fully_connected,
        dropout=options.dropout,
        finest=options.stride,
        as_released=options.as_released,
    )
    backbone.take_record(loaded)
    if loaded and loaded.kind != "torch":
        backbone.take_authors_images()
    if options.as_released:
        backbone.take_released_images("conv1_1")
    backbone.take_channels(options.in_channels, "conv1_1")
    if options.weights == NONE:
        initialize(backbone)
    return backbone


def _namings(classifier: nn.Module) -> dict[str, list[dict[str, str]]]:
    """Return other libraries' names of the tensors of torchvision's `classifier`, for each kind of file.

    The kinds are torch, keras and caffe; the names have the form that `match` takes as `namings`.
    """
    names, stage, number = {}, 1, 1
    for index, layer in enumerate(cast(nn.Sequential, classifier.features)):
        if isinstance(layer, nn.Conv2d):
            names[f"features.{index}"] = (stage, number)
            number += 1
        elif isinstance(layer, nn.MaxPool2d):
            stage, number = stage + 1, 1

    def renamed(dense: Sequence[str], convolution: str | None = None) -> dict[str, str]:
        layers = dict(zip(_DENSE, dense, strict=True))
        if convolution:
            layers |= {name: convolution.format(*place) for name, place in names.items()}
        parts = {name: name.rpartition(".") for name in classifier.state_dict()}
        return {name: f"{layers.get(layer, layer)}.{leaf}" for name, (layer, _, leaf) in parts.items()}

    features = [name for name in classifier.state_dict() if name.startswith("features.")]
    return {
        "torch": [
            renamed(("pre_logits.fc1", "pre_logits.fc2", "head.fc")),  # timm
            {name: name.removeprefix("features.") for name in features},  # the sequence of convolutions alone
        ],
        "keras": [renamed(("fc1", "fc2", "predictions"), "block{}_conv{}")],
        "caffe": [renamed(("fc6", "fc7", "fc8"), "conv{}_{}")],
    }


FAMILY = Family(
    "VGG",
    tuple(f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")),
    "torchvision",
    create,
)
