"""Read the weights of VGG16 and VGG19 from the HDF5 files of Keras: of version 2 (.h5) and of version 3 (.weights.h5).

Keras stores a convolution's kernel as (height, width, inputs, outputs), a dense layer's as (inputs, outputs), and
flattens a map by rows, columns and then channels; torch has (outputs, inputs, height, width), (outputs, inputs) and
flattens by channels first.

Sources: keras/src/applications/vgg16.py and keras/src/saving/saving_lib.py of https://github.com/keras-team/keras
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskpencil.errors import ModelError
from maskpencil.extras import needed_for

SUFFIXES = (".h5", ".hdf5", ".keras")

_LAYER = re.compile(r"block\d_conv\d|fc1|fc2|predictions")
_DENSE = ("fc1", "fc2", "predictions")
_OPTIMIZER = ("optimizer", "optimizer_weights")
_POOL5 = (7, 7, 512)  # rows, columns and channels of the map that fc1 takes
_STAGES = {13: (2, 2, 3, 3, 3), 16: (2, 2, 4, 4, 4)}  # the convolutions of VGG16 and VGG19

Array = npt.NDArray[Any]


def read_keras_vgg(path: Path) -> dict[str, Tensor]:
    """Read a VGG's tensors by Keras's layer names, such as block1_conv1.weight, with axes in PyTorch's order.

    Layers with other names, such as the layers that a detector adds to a VGG, are left out.

    Raises:
        ModelError: the file is missing or damaged, or holds no VGG.
        ConfigError: h5py is not installed.
    """
    with needed_for("reading Keras weights"):
        import h5py
    if not path.is_file():
        raise ModelError(f"{path}: there is no such weights file")
    if path.suffix == ".keras":
        raise ModelError(f"{path}: is a whole Keras model; save its weights with model.save_weights('vgg.weights.h5')")
    try:
        with h5py.File(path, "r") as file:
            arrays = _arrays(file, path.stat().st_size)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{path}: cannot be read as Keras weights ({reason}); if it is a Keras file, it may be damaged: copy or "
            "download it again"
        ) from error
    layers = _named(arrays)
    if not layers:
        raise ModelError(
            f"{path}: holds no VGG16 or VGG19; expected layers named block1_conv1 to block5_conv3, as in "
            "keras.applications; other Keras networks are not supported"
        )
    return {name: _in_torchs_layout(name, array) for name, array in layers.items()}


def _arrays(file: Any, size: int) -> dict[str, Array]:
    """Return {path: array} for the floating-point arrays of an HDF5 file of `size` bytes; links are not followed.

    Version 3 of Keras numbers the layers and stores their names as attributes; these names are added to the paths.

    Raises:
        ValueError: an array is stored in another file, or is larger than the file.
    """
    import h5py

    arrays: dict[str, Array] = {}

    def visit(place: str, entry: Any) -> None:
        if not isinstance(entry, h5py.Dataset) or place.split("/")[0] in _OPTIMIZER or entry.dtype.kind != "f":
            return
        if entry.nbytes > size or entry.is_virtual or entry.external:
            raise ValueError(f"{place} is not stored in the file")
        noted = entry.parent.attrs.get("name", "")
        arrays[f"{place.rpartition('/')[0]}/{noted}/{place.rpartition('/')[2]}"] = entry[()]

    file.visititems(visit)
    return arrays


def _named(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Map the names of a VGG's tensors, such as block1_conv1.weight, to their arrays; return {} if there is no VGG."""
    layers = {}
    for place, array in arrays.items():
        if names := [part for part in place.split("/")[:-1] if _LAYER.fullmatch(part)]:
            layers[f"{names[-1]}.{'weight' if array.ndim > 1 else 'bias'}"] = array
    return layers or _numbered(arrays)


def _numbered(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Map the names of a VGG's tensors to the arrays of layers that are only numbered (conv2d, conv2d_1, ..., dense).

    The layers are named in their order; return {} if the number of convolutions is not that of VGG16 or VGG19.
    """
    groups: dict[str, dict[str, Array]] = {}
    for place, array in arrays.items():
        groups.setdefault(place.rpartition("/")[0], {})["weight" if array.ndim > 1 else "bias"] = array
    ordered = sorted(groups, key=lambda place: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", place)])
    convolutions = [place for place in ordered if groups[place].get("weight", np.empty(0)).ndim == 4]
    dense = [place for place in ordered if groups[place].get("weight", np.empty(0)).ndim == 2]
    counts = _STAGES.get(len(convolutions))
    if counts is None:
        return {}
    names = [f"block{stage}_conv{i}" for stage, count in enumerate(counts, 1) for i in range(1, count + 1)]
    named = dict(zip(names, convolutions, strict=False)) | dict(zip(_DENSE, dense, strict=False))
    return {f"{name}.{leaf}": array for name, place in named.items() for leaf, array in groups[place].items()}


def _in_torchs_layout(name: str, array: Array) -> Tensor:
    tensor = torch.from_numpy(array.astype(np.float32, copy=False))
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    if tensor.ndim == 2:
        rows, columns, channels = _POOL5
        if name == "fc1.weight" and len(tensor) == rows * columns * channels:
            tensor = tensor.reshape(*_POOL5, -1).permute(2, 0, 1, 3).flatten(0, 2)
        return tensor.T.contiguous()
    return tensor
