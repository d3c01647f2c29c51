"""Convert a classifier to a fully convolutional network that scores every window of an image, without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision import models

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models.backbones import alexnet, create_backbone, googlenet, resnet, timm_models, vgg
from maskpencil.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from maskpencil.models.backbones.sources import find_weights
from maskpencil.models.backbones.torchvision_models import blank_classifier
from maskpencil.models.backbones.weights import AUTO, NONE, load_strictly, read_tensors
from maskpencil.models.surgery import convolutionalize

WINDOW = 224
"""The height and width of the classifiers' training images, and of the window to which one score belongs."""

STRIDE = 32
"""The distance of neighboring cells in pixels."""

_KERNELS = {**dict.fromkeys(vgg.FAMILY.names, 7), **dict.fromkeys(alexnet.FAMILY.names, 6)}
"""The side, in cells, of the feature map of one window, which is the input of the fully connected layers."""

_POOLED = 7
"""The side, in cells, of the feature map of one window, in networks that average this map."""

FAMILIES = (vgg.FAMILY, alexnet.FAMILY, googlenet.FAMILY, resnet.FAMILY)


class DenseClassifier(nn.Module):
    """A classifier whose fully connected layers are convolutions, so that it scores every window of an image.

    Source: Long, Shelhamer and Darrell, CVPR 2015, section 3.1 and figure 2.

    Args:
        trunk: maps normalized images (N, 3, H, W) to features.
        head: maps features to scores of K classes, with one cell for each window of `WINDOW` x `WINDOW` pixels; the
            windows are `STRIDE` pixels apart.
        categories: the names of the K classes.
        mean: the mean of each RGB channel, in 0..1, by which images are normalized.
        std: the standard deviation of each RGB channel, in 0..1.
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
        """Map normalized images (N, 3, H, W), H and W at least `WINDOW`, to scores (N, K, h, w), one cell per window.

        h is (H - 224) / 32 + 1, rounded down or, for some networks and sizes, up; likewise w.
        """
        features = self.trunk(images)
        scores: Tensor = self.head(features[STRIDE] if isinstance(features, dict) else features)
        return scores


def dense_classifier(name: str, *, weights: str | Path = AUTO) -> DenseClassifier:
    """Create a dense classifier from torchvision's VGG, AlexNet, GoogLeNet or ResNet, or from a model of timm.

    Args:
        name: the name of the classifier. A timm model must end in global average pooling of features of stride 32,
            followed by the classifying layers.
        weights: "auto", "imagenet", "none", or the file of a state dict that includes the last layer. For a network of
            torchvision, the file determines the number of classes.

    Raises:
        ConfigError: there is no such classifier, or it cannot be converted.
        ModelError: the weights cannot be downloaded or do not fit.
    """
    if not any(name in family.names for family in FAMILIES):
        return timm_classifier(name, weights)
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


def timm_classifier(name: str, weights: str | Path) -> DenseClassifier:
    """Create a dense classifier from a model of timm, see `dense_classifier`."""
    if not timm_models.is_known(name):
        raise _not_convertible(name)
    model = name.removeprefix(timm_models.PREFIX)
    net, source = timm_models.load_whole(model, weights)
    head = TimmHead(net)
    with torch.inference_mode(), torch.device("meta"):
        try:
            blank = timm_models.blank(model).eval()
            features = TimmTrunk(blank)(torch.empty(1, 3, WINDOW, WINDOW))
            shape = TimmHead(blank)(features).shape
        except (AttributeError, RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise _not_convertible(name) from error
    if features.shape[-2:] != (_POOLED, _POOLED) or shape[-2:] != (1, 1):
        raise _not_convertible(name)
    categories = timm_models.categories(source) or [f"class_{index}" for index in range(shape[1])]
    return DenseClassifier(
        TimmTrunk(net), head, categories=categories, mean=tuple(source["mean"]), std=tuple(source["std"])
    )


class TimmTrunk(nn.Module):
    """The layers of a timm model before its pooling."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.channels_last = getattr(net, "output_fmt", None) == "NHWC"

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (N, 3, H, W) to features (N, C, h, w)."""
        features: Tensor = cast(Any, self.net).forward_features(images)
        return features.permute(0, 3, 1, 2) if self.channels_last else features


class TimmHead(nn.Module):
    """The pooling and the following layers of a timm model, applied to every 7x7 window of a feature map."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = [net]  # the trunk holds its layers
        self.pool = nn.AvgPool2d(_POOLED, stride=1)
        self.channels_last = getattr(net, "output_fmt", None) == "NHWC"

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, h, w) to scores (N, K, h - 6, w - 6)."""
        pooled = self.pool(features)
        count, channels, height, width = pooled.shape
        cells = pooled.permute(0, 2, 3, 1).reshape(-1, channels, 1, 1)  # the mean of one cell is itself
        if self.channels_last:
            cells = cells.permute(0, 2, 3, 1)
        scores: Tensor = cast(Any, self.net[0]).forward_head(cells)
        return scores.reshape(count, height, width, -1).permute(0, 3, 1, 2)


def _not_convertible(name: str) -> ConfigError:
    families = ", ".join(family.title for family in FAMILIES)
    return ConfigError(
        f"{name!r} cannot be converted to a fully convolutional network; expected one of torchvision's {families}, or "
        "a model of timm that averages features of stride 32, such as tf_efficientnet_lite0"
    )


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
    """Create a dense GoogLeNet or ResNet, whose last layer takes the mean of the feature map of a window."""
    trunk = create_backbone(name, weights=weights)
    linear = nn.Linear(trunk.channels[STRIDE], len(categories))
    if tensors:
        linear.load_state_dict({key: tensors[f"fc.{key}"] for key in ("weight", "bias")})
    head = nn.Sequential(nn.AvgPool2d(_POOLED, stride=1), convolutionalize(linear, linear.in_features, 1, padding=0))
    return DenseClassifier(trunk, head, categories=categories, mean=trunk.mean, std=trunk.std)


def aligned(images: Tensor) -> Tensor:
    """Pad normalized images (N, 3, H, W) so that each scored window is centered on a 32x32 tile of the image.

    The scores of the padded images are (N, K, ceil(H / 32), ceil(W / 32)), one cell per tile, the first tile in the top
    left corner. The padding is 0, which is the mean color.
    """
    height, width = images.shape[-2:]
    border = (WINDOW - STRIDE) // 2
    return torch.nn.functional.pad(images, (border, border + -width % STRIDE, border, border + -height % STRIDE))
