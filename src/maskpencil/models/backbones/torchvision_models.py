"""Build the classifiers of torchvision, and load pretrained weights into them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torchvision import models

from maskpencil.errors import ModelError
from maskpencil.models.backbones.checkpoints import ClassifierFile, read_classifier
from maskpencil.models.backbones.matching import Loaded, Match, match
from maskpencil.models.backbones.sources import find_weights
from maskpencil.models.backbones.weights import load_strictly


def blank_classifier(name: str, **options: object) -> nn.Module:
    """Build a classifier of torchvision on the meta device, where tensors have no values and take no memory."""
    with torch.device("meta"):
        return models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def load_classifier(
    classifier: nn.Module,
    name: str,
    weights: str | Path,
    *,
    unused: Collection[str],
    optional: Collection[str] = (),
    namings: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
) -> Loaded:
    """Load pretrained weights into torchvision's classifier `name`, and return a record of what was loaded.

    Args:
        classifier: the network, which may be on the meta device.
        name: torchvision's name of the network.
        weights: as in `find_weights`.
        unused: name prefixes of layers that the backbone does not use.
        optional: name prefixes of further layers, which are left out if the file has none of them.
        namings: for each kind of file, see `ClassifierFile`, other libraries' names of the tensors, see `match`.

    Raises:
        ModelError: the weights cannot be downloaded or read, or do not fit.
    """
    found = find_weights(name, "torchvision", weights)
    file = read_classifier(found.file)
    file.refuse_other_kinds("torch", *(namings or {}), source=found.file)
    expected = f"torchvision's {name}"
    others = (namings or {}).get(file.kind, ())
    left_out = [*unused]
    try:
        result = _matched(classifier, file, left_out, others, str(found.file), expected)
    except ModelError as error:
        left_out += optional
        try:
            result = _matched(classifier, file, left_out, others, str(found.file), expected)
        except ModelError:
            raise error from None
        if _has_any(result.left, optional, others):
            raise ModelError(
                f"{error}; the file's convolutions fit: to use them alone, pass --fully-connected false"
            ) from None
    load_strictly(classifier, result.tensors, unused=left_out, source=str(found.file), expected=expected)
    return Loaded(found.origin, result, left_out != [*unused], file.kind, file.note)


def _matched(
    classifier: nn.Module,
    file: ClassifierFile,
    left_out: Collection[str],
    namings: Sequence[Mapping[str, str]],
    source: str,
    expected: str,
) -> Match:
    tensors = classifier.state_dict()
    beginnings = tuple(left_out)
    return match(
        file.tensors,
        {name: tensor for name, tensor in tensors.items() if not name.startswith(beginnings)},
        unused=[name for name in tensors if name.startswith(beginnings)],
        namings=namings,
        source=source,
        expected=expected,
    )


def _has_any(names: Collection[str], optional: Collection[str], namings: Sequence[Mapping[str, str]]) -> bool:
    """Return whether one of the tensor `names` of a file belongs to an optional layer, in any naming."""
    own = tuple(optional)
    theirs = [name for naming in namings for ours, name in naming.items() if ours.startswith(own)]
    return any(name.startswith(start) or f".{start}" in name for name in names for start in (*own, *theirs))
