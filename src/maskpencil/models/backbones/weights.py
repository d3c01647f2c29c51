"""Classifier weights: where they come from, and one strict way to load them."""

import pickle
import struct
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from maskpencil.errors import ModelError

IMAGENET, NONE, BLANK = "imagenet", "none", "blank"
"""Published, untrained, or yet to be loaded: without numbers where the family can be made so."""

_NAMES_SHOWN = 3

# what torch.load was seen to raise for files cut short, files with wrong bytes, and files of other programs
_UNREADABLE = (
    *(OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AssertionError),
    *(pickle.UnpicklingError, struct.error, SafetensorError),
)


def blank_classifier(name: str, **options: object) -> nn.Module:
    """A classifier of torchvision without numbers: on the meta device, which takes neither time nor memory."""
    with torch.device("meta"):
        return models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def load_classifier(classifier: nn.Module, name: str, weights: str | Path, *, unused: Collection[str]) -> None:
    """Fill torchvision's classifier `name` with the ImageNet weights, or with those of a file in torchvision's form.

    `unused` are the beginnings of the names of layers that a backbone does not use.

    Raises:
        ModelError: the weights cannot be had, or do not fit.
    """
    if weights == IMAGENET:
        tensors = published_tensors(name, otherwise=f"pass --weights FILE, or --weights {NONE} to start untrained")
    else:
        tensors = read_tensors(weights)
    load_strictly(classifier, tensors, unused=unused, source=str(weights), expected=f"torchvision's {name}")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file, or from a .pth or .pt file without running code from it.

    Raises:
        ModelError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such weights file; expected a file, or {IMAGENET!r} or {NONE!r}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ModelError(
            f"{path}: cannot be read as weights ({reason_of(error)}); expected a state dict in a .safetensors, .pth "
            "or .pt file; if it was one, copy or download it again"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: holds {type(content).__name__}; expected a state dict, which maps names to tensors")
    others = [name for name, tensor in content.items() if not isinstance(name, str) or not isinstance(tensor, Tensor)]
    if others:
        raise ModelError(
            f"{path}: holds {_listed(map(repr, others))}, which are not tensors; expected a state dict, which maps "
            "names to tensors; if one is inside, save it alone"
        )
    return dict(content)


def load_strictly(
    module: nn.Module, tensors: Mapping[str, Tensor], *, unused: Collection[str], source: str, expected: str
) -> None:
    """Let `module` take over tensors that must have its names and shapes exactly.

    Names that begin with one of `unused` may be missing, present or of other shapes; they are not loaded. `source` and
    `expected` say in the error where the tensors are from and whose they should be.

    Raises:
        ModelError: tensors are missing, unexpected or misshaped.
    """
    beginnings = tuple(unused)
    wanted = {k: v for k, v in module.state_dict().items() if not k.startswith(beginnings)}
    # files from before 2018 lack the batch counts, which nothing here reads
    found = {k: torch.zeros_like(v, device="cpu") for k, v in wanted.items() if k.endswith("num_batches_tracked")}
    found |= {k: v for k, v in tensors.items() if not k.startswith(beginnings)}
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "misshaped": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        told = "; ".join(f"{kind} {_listed(names)}" for kind, names in problems.items() if names)
        raise ModelError(f"{source}: does not fit, {told}; expected the state dict of {expected}")
    module.load_state_dict({k: v.to(wanted[k].dtype) for k, v in found.items()}, strict=False, assign=True)


def published_tensors(name: str, *, otherwise: str) -> dict[str, Tensor]:
    """The best weights that torchvision publishes for its network `name`, from its cache or downloaded into it.

    `otherwise` is what the error advises besides putting the file into the cache by hand.

    Raises:
        ModelError: they cannot be had.
    """
    published = models.get_model_weights(name).DEFAULT
    try:
        with redirect_stdout(sys.stderr):  # torch prints where it downloads from; standard output is for results
            return published.get_state_dict(  # type: ignore[no-any-return]
                progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
            )
    except _UNREADABLE as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
        raise ModelError(
            f"the published weights of {name} cannot be had ({reason_of(error)}); put {published.url} at {file}, "
            f"or {otherwise}"
        ) from error


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words: the first line of the message, without its full stop."""
    if isinstance(error, pickle.UnpicklingError):  # whose text is advice to run the file's code
        return "not a file of tensors alone"
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def _listed(items: Iterable[str]) -> str:
    names = list(items)
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
