"""Read the weights of classifiers, and load them strictly: all names and shapes must match."""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from maskpencil.classes import MAX_CLASSES
from maskpencil.errors import ModelError, non_finite_weights
from maskpencil.parsing import shown
from maskpencil.regular_files import open_regular

AUTO, IMAGENET, NONE, BLANK = "auto", "imagenet", "none", "blank"
"""The values of `weights` that are not paths: pretrained weights, weights trained on ImageNet alone, random weights, or
no weights yet, for a caller that loads tensors next (the network is on the meta device, if the family allows it)."""

_NAMES_SHOWN = 3
_LONGEST_NAME = 100
COUNTS = "num_batches_tracked"
"""The ending of the names of batch counts, which old files lack, and which are not used here."""

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The dtypes of .safetensors files by their names in the file; a file with another dtype cannot be read."""

# observed errors of torch.load for truncated files, files with wrong bytes, and files of other programs
UNREADABLE = (
    *(OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AssertionError),
    *(pickle.UnpicklingError, struct.error, SafetensorError),
)
"""The errors that libraries raise for files that they cannot read as weights, or cannot download."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file, or from a .pth or .pt file without running code from it.

    Raises:
        ModelError: the file is missing, damaged, or holds something else.
    """
    return checked_tensors(read_content(path), path)


def read_content(path: str | Path) -> Any:
    """Read a .safetensors, .pth or .pt file, without running code from it.

    Raises:
        ModelError: the file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such weights file; expected a file, or {AUTO!r} or {NONE!r}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        _refuse_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of tensors that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: cannot be read as weights ({reason_of(error)}); expected a state dict in a .safetensors, .pth "
            "or .pt file; if this is one, it may be damaged: copy or download it again"
        ) from error


def checked_tensors(content: object, path: str | Path) -> dict[str, Tensor]:
    """Return the content of a weights file as a state dict.

    Raises:
        ModelError: the content is not a state dict, or not all values of a tensor are stored in the file.
    """
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: holds {type(content).__name__}; expected a state dict, which maps names to tensors")
    others = [name for name, tensor in content.items() if not isinstance(name, str) or not isinstance(tensor, Tensor)]
    if others:
        raise ModelError(
            f"{path}: holds {listed(map(_as_text, others))}, which are not tensors; expected a state dict, which maps "
            "names to tensors; if one of its entries is a state dict, save only this entry"
        )
    if unreal := [name for name, tensor in content.items() if not _is_real(tensor)]:
        raise ModelError(
            f"{path}: holds {listed(unreal)}, whose numbers are not all stored in the file; expected dense tensors; "
            "save the state dict again with contiguous tensors"
        )
    return dict(content)


def _as_text(name: object) -> str:
    """Format a name for an error message; return the type of an object that is neither text nor a whole number.

    Formatting other objects may never end.
    """
    return shown(name) if isinstance(name, str | int) else type(name).__name__


def _is_real(tensor: Tensor) -> bool:
    """Return whether a tensor is dense and all its values are stored.

    A tensor with stride 0 can repeat a single stored value 10^12 times.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _refuse_packed(path: Path) -> None:
    """Check that a torch file has no compressed entries, which could expand to any size and which torch never writes.

    Raises:
        ValueError: entries are compressed, or the zip file is damaged.
    """
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is a damaged zip file: {error}") from error
    unpacked = sum(part.file_size for part in parts)
    if unpacked > path.stat().st_size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError(f"its entries are compressed and would expand to {unpacked >> 20} MiB")


def shapes_in(path: Path) -> dict[str, Tensor]:
    """Read the names, shapes and dtypes of a .safetensors file as tensors on the meta device, without values.

    Raises:
        ModelError: the file is missing, not regular, or its header is damaged.
    """
    try:
        with open_regular(path), safe_open(path, framework="pt") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 - it is not a mapping
            return {
                name: torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
                for name, part in slices.items()
            }
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: cannot be read as weights ({reason_of(error)}); copy or download it again"
        ) from error


def refuse_misfit(
    module: nn.Module | Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    *,
    unused: Collection[str],
    source: str,
    expected: str,
) -> None:
    """Check that names, shapes and types of `tensors` match those of a module; arguments as for `load_strictly`.

    `module` may also be a state dict. All tensors may be on the meta device.

    Raises:
        ModelError: tensors are missing, unexpected or misshaped, or hold integers instead of floats.
    """
    beginnings = tuple(unused)
    own = module.state_dict() if isinstance(module, nn.Module) else module
    wanted = {k: v for k, v in own.items() if not k.startswith(beginnings)}
    found = {k: v for k, v in tensors.items() if not k.startswith(beginnings)}
    both = [(name, found[name], tensor) for name, tensor in wanted.items() if name in found]
    problems = {
        # files from before 2018 lack the batch counts, which are not used here
        "missing": [name for name in wanted if name not in found and not name.endswith(COUNTS)],
        "unexpected": [name for name in found if name not in wanted],
        "misshaped": [
            f"{name} {tuple(one.shape)} instead of {tuple(other.shape)}"
            for name, one, other in both
            if one.shape != other.shape
        ],
        "not floating-point": [
            f"{name} ({one.dtype})" for name, one, other in both if other.is_floating_point() > one.is_floating_point()
        ],
    }
    if any(problems.values()):
        misfits = "; ".join(f"{kind} {listed(names)}" for kind, names in problems.items() if names)
        raise ModelError(f"{source}: does not fit, {misfits}; expected the state dict of {expected}")


def refuse_non_finite(tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Check that the weights of a network, and the statistics of its normalization layers, are finite.

    Raises:
        ModelError: a tensor holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise non_finite_weights(source, name)


def class_count(scores: Tensor, name: str, *, source: str) -> int:
    """Return the number of classes K of a score layer, whose weights `scores` are (K, C, 1, 1) and named `name`.

    Raises:
        ModelError: there are more classes than a label map can hold, or the tensor has another shape.
    """
    if scores.ndim != 4 or not 1 <= len(scores) <= MAX_CLASSES:
        raise ModelError(
            f"{source}: {name} has the shape {tuple(scores.shape)}; expected (K, C, 1, 1) for K classes, 1 to "
            f"{MAX_CLASSES}"
        )
    return len(scores)


def load_strictly(
    module: nn.Module, tensors: Mapping[str, Tensor], *, unused: Collection[str], source: str, expected: str
) -> None:
    """Load tensors into `module`; their names and shapes must match exactly.

    Args:
        module: the network to load into.
        tensors: a state dict.
        unused: name prefixes of tensors that are not loaded; they may be missing, present or of other shapes.
        source: the origin of the tensors, for errors.
        expected: the network to which they should belong, for errors.

    Raises:
        ModelError: tensors are missing, unexpected or misshaped.
    """
    refuse_misfit(module, tensors, unused=unused, source=source, expected=expected)
    beginnings = tuple(unused)
    wanted = {k: v for k, v in module.state_dict().items() if not k.startswith(beginnings)}
    found = {k: torch.zeros_like(v, device="cpu") for k, v in wanted.items() if k.endswith(COUNTS)}
    found |= {k: v for k, v in tensors.items() if not k.startswith(beginnings)}
    module.load_state_dict({k: v.to(wanted[k].dtype) for k, v in found.items()}, strict=False, assign=True)


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, without its full stop."""
    if isinstance(error, pickle.UnpicklingError):  # its text advises to run the file's code
        return "not a file of tensors only"
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")


def listed(items: Iterable[str]) -> str:
    """Join the first `_NAMES_SHOWN` names, shorten long names, and add the number of the names left out."""
    names = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..." for name in items]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
