"""Convert a classifier to a fully convolutional network that scores every window of an image, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torchvision import models

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models.backbones import alexnet, create_backbone, googlenet, resnet, vgg
from maskpencil.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from maskpencil.models.backbones.sources import find_weights
from maskpencil.models.backbones.torchvision_models import blank_classifier
from maskpencil.models.backbones.weights import AUTO, NONE, load_strictly, read_tensors
from maskpencil.models.surgery import convolutionalize

WINDOW = 224
"""The height and width of the classifiers' training images, and of the window to which one score belongs."""

STRIDE = 32
"""Pixels from one cell to the next."""

_KERNELS = {**dict.fromkeys(vgg.FAMILY.names, 7), **dict.fromkeys(alexnet.FAMILY.names, 6)}
"""The side, in cells, of the feature map of a window, the input of the fully connected layers."""

_POOLED = 7
"""The side, in cells, of the feature map of a window, which the other families average."""

FAMILIES = (vgg.FAMILY, alexnet.FAMILY, googlenet.FAMILY, resnet.FAMILY)


class DenseClassifier(nn.Module):
    """A classifier whose fully connected layers are convolutions, so that it scores every window of an image.

    Source: Long, Shelhamer and Darrell, CVPR 2015, section 3.1 and figure 2.

    Args:
        trunk: maps normalized images (N, 3, H, W) to features.
        head: maps features to scores of K classes, one cell for each window of `WINDOW` pixels, every `STRIDE` pixels.
        categories: the names of the K classes.
        mean: the mean of each RGB channel of its images, in 0..1.
        std: their standard deviation, in 0..1.
    """

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        *,
        categories: Sequence[str],
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self.categories, self.mean, self.std = tuple(categories), mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (N, 3, H, W) of `WINDOW` pixels or more to scores (N, K, h, w), one cell per window.

        h is (H - 224) / 32 + 1, likewise w; if H or W is not a multiple of 32, there may be one more cell.
        """
        features = self.trunk(images)
        scores: Tensor = self.head(features[STRIDE] if isinstance(features, dict) else features)
        return scores


def dense_classifier(name: str, *, weights: str | Path = AUTO) -> DenseClassifier:
    """Create a dense classifier from torchvision's VGG, AlexNet, GoogLeNet or ResNet, with its own last layer.

    `weights` is "auto", "imagenet", "none" or a file of a state dict with torchvision's layer names and any number of
    classes.

    Raises:
        ConfigError: the classifier belongs to another family.
        ModelError: the weights cannot be downloaded or do not fit.
    """
    if not any(name in family.names for family in FAMILIES):
        families = ", ".join(family.title for family in FAMILIES)
        raise ConfigError(
            f"{name!r} cannot be converted to a fully convolutional network; expected one of torchvision's {families}"
        )
    tensors = _tensors(name, weights)
    last = next((tensors[key] for key in ("classifier.6.weight", "fc.weight") if key in tensors), None)
    if tensors and last is None:
        raise ModelError(f"{weights}: has no last layer (classifier.6 or fc); expected a whole state dict of {name}")
    categories = models.get_model_weights(name).DEFAULT.meta["categories"]
    if last is not None and len(last) != len(categories):
        categories = [f"class_{index}" for index in range(len(last))]
    if name in _KERNELS:
        return _of_fully_connected(name, tensors, categories, source=str(weights))
    return _of_pooled(name, tensors, categories, weights)


def _tensors(name: str, weights: str | Path) -> dict[str, Tensor]:
    if weights == NONE:
        return {}
    return read_tensors(find_weights(name, "torchvision", weights).file)


def _of_fully_connected(
    name: str, tensors: dict[str, Tensor], categories: Sequence[str], *, source: str
) -> DenseClassifier:
    """Create a dense VGG or AlexNet; the input of its fc6 is the whole feature map of a window."""
    if tensors:
        classifier = blank_classifier(name, num_classes=len(categories))
        load_strictly(classifier, tensors, unused=(), source=source, expected=f"torchvision's {name}")
    else:
        classifier = models.get_model(name, weights=None)
    linear6, linear7, linear8 = (m for m in cast(nn.Sequential, classifier.classifier) if isinstance(m, nn.Linear))
    kernel = _KERNELS[name]
    channels = linear6.in_features // kernel**2
    head = nn.Sequential(
        convolutionalize(linear6, channels, kernel, padding=0),
        nn.ReLU(inplace=True),
        convolutionalize(linear7, linear7.in_features, 1, padding=0),
        nn.ReLU(inplace=True),
        convolutionalize(linear8, linear8.in_features, 1, padding=0),
    )
    return DenseClassifier(cast(nn.Module, classifier.features), head, categories=categories)


def _of_pooled(
    name: str, tensors: dict[str, Tensor], categories: Sequence[str], weights: str | Path
) -> DenseClassifier:
    """Create a dense GoogLeNet or ResNet; the input of its last layer is the mean of the feature map of a window."""
    trunk = create_backbone(name, weights=weights)
    linear = nn.Linear(trunk.channels[STRIDE], len(categories))
    if tensors:
        linear.load_state_dict({key: tensors[f"fc.{key}"] for key in ("weight", "bias")})
    head = nn.Sequential(nn.AvgPool2d(_POOLED, stride=1), convolutionalize(linear, linear.in_features, 1, padding=0))
    return DenseClassifier(trunk, head, categories=categories, mean=trunk.mean, std=trunk.std)


def aligned(images: Tensor) -> Tensor:
    """Pad normalized images (N, 3, H, W) so that the cells of the map are tiles of 32 pixels, from the top left corner.

    The map of the padded images is (N, K, ceil(H / 32), ceil(W / 32)). The padding is 0, which is the mean color.
    """
    height, width = images.shape[-2:]
    border = (WINDOW - STRIDE) // 2
    return torch.nn.functional.pad(images, (border, border + -width % STRIDE, border, border + -height % STRIDE))
