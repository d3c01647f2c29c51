"""Build the classifiers of torchvision, and load pretrained weights into them."""

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn
from torchvision import models

from maskpencil.models.backbones.origin import Origin
from maskpencil.models.backbones.sources import find_weights
from maskpencil.models.backbones.weights import load_strictly, read_tensors


def blank_classifier(name: str, **options: object) -> nn.Module:
    """Build a classifier of torchvision on the meta device, without numbers, which takes neither time nor memory."""
    with torch.device("meta"):
        return models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def load_classifier(classifier: nn.Module, name: str, weights: str | Path, *, unused: Collection[str]) -> Origin:
    """Load pretrained weights into torchvision's classifier `name`, and return where they come from.

    `weights` are as in `find_weights`; `unused` are name prefixes of layers that the backbone does not use.

    Raises:
        ModelError: the weights cannot be downloaded or read, or do not fit.
    """
    found = find_weights(name, "torchvision", weights)
    tensors = read_tensors(found.file)
    load_strictly(classifier, tensors, unused=unused, source=str(found.file), expected=f"torchvision's {name}")
    return found.origin
