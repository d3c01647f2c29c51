"""Read the weights of a classifier from a torch, Keras or Caffe file, which may be a whole training checkpoint."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskpencil.errors import ModelError
from maskpencil.models.backbones.keras_files import SUFFIXES as KERAS_SUFFIXES
from maskpencil.models.backbones.keras_files import read_keras_vgg
from maskpencil.models.backbones.weights import checked_tensors, listed, read_content
from maskpencil.models.importers.caffe import read_caffemodel

_ENTRIES = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "teacher", "state_dict", "model_state_dict"),
    *("model_state", "model", "network", "net", "backbone", "encoder", "student"),
)
"""The entries of checkpoints that hold a network, the most preferred first, such as averages of the weights."""

_MAX_DEPTH = 4


@dataclass(frozen=True)
class ClassifierFile:
    """The tensors of a weights file, and their place in it.

    Args:
        tensors: name -> tensor, with axes in PyTorch's order.
        entry: the entry of a training checkpoint from which the tensors come, such as "teacher"; "" for a file that is
            a plain state dict.
        others: the names of other entries that hold networks, which are not used.
        kind: "torch", "keras" or "caffe"; networks from Keras and Caffe files take BGR images in 0..255, minus the
            mean.
    """

    tensors: Mapping[str, Tensor]
    entry: str = ""
    others: tuple[str, ...] = ()
    kind: str = "torch"

    @property
    def note(self) -> str:
        """A text for the log that names the chosen entry of a training checkpoint; "" for a plain state dict."""
        besides = f" (not {listed(self.others)})" if self.others else ""
        return f"from its entry {self.entry!r}{besides}" if self.entry else ""

    def refuse_other_kinds(self, *kinds: str, source: Path) -> None:
        """Check that the file is of one of the `kinds` that a backbone takes; `source` is the path of the file.

        Raises:
            ModelError: the file is of another kind.
        """
        if self.kind not in kinds:
            raise ModelError(
                f"{source}: is a {self.kind.title()} file, from which only VGG16 and VGG19 are read; give a "
                ".safetensors, .pth or .pt file"
            )


def read_classifier(path: str | Path) -> ClassifierFile:
    """Read the weights of a classifier.

    Args:
        path: a .safetensors, .pth or .pt file with a state dict or a training checkpoint, a Keras file of VGG16 or
            VGG19 (.h5), or a .caffemodel.

    Raises:
        ModelError: the file is missing or damaged, or holds no tensors.
    """
    path = Path(path)
    if path.suffix in KERAS_SUFFIXES:
        return ClassifierFile(read_keras_vgg(path), kind="keras")
    if path.suffix == ".caffemodel":
        return ClassifierFile(read_caffemodel(path), kind="caffe")
    with torch.serialization.safe_globals([Namespace]):  # the arguments of the program that trained it: plain data
        content = read_content(path)
    found = list(_networks(content, ""))
    if isinstance(content, Mapping) and found and not _is_state_dict(content):
        content_of = dict(found)
        best = min(content_of, key=_preference)
        others = tuple(name for name in content_of if name != best)
        return ClassifierFile(checked_tensors(content_of[best], path), best, others)
    return ClassifierFile(checked_tensors(content, path))


def _networks(content: object, entry: str) -> list[tuple[str, Mapping[str, Any]]]:
    """List the networks in a checkpoint: their paths, such as state.model, and their state dicts.

    `entry` is the path of `content` in the checkpoint; "" for the whole checkpoint.
    """
    if not isinstance(content, Mapping) or entry.count(".") > _MAX_DEPTH:
        return []
    if entry and _is_state_dict(content):
        return [(entry, content)]
    return [
        pair
        for name in _ENTRIES
        if name in content
        for pair in _networks(content[name], f"{entry}.{name}" if entry else name)
    ]


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(tensor, Tensor) for tensor in content.values())


def _preference(entry: str) -> int:
    return _ENTRIES.index(entry.partition(".")[0])
