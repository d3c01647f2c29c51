"""Write arrays as .npy and .npz files, and read .npz files from senders that are not trusted."""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

Form = tuple[type[np.generic], tuple[int, ...]]
"""The expected dtype and shape of an array."""

HEADER_BYTES = 2**10
"""The largest size in bytes of an array's .npy header, and of each .zip header with the array's name."""


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return an array as the content of a .npy file."""
    file = io.BytesIO()
    npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the content of an .npz file.

    Only arrays of whole numbers are compressed, since arrays of floats would hardly shrink.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            if array.dtype.kind in "iu":
                archive.writestr(info, npy_bytes(array), zipfile.ZIP_DEFLATED, compresslevel=1)
            else:
                with archive.open(info, "w") as entry:
                    npy.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def largest_npz(forms: Mapping[str, Form]) -> int:
    """Return the largest size in bytes that an .npz file of arrays with these names, dtypes and shapes can have."""
    return sum(_size(form) + _size(form) // 100 + 4 * HEADER_BYTES for form in forms.values()) + HEADER_BYTES


def read_npz(content: bytes, forms: Mapping[str, Form]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz file that must have exactly the names, dtypes and shapes in `forms`.

    No object is unpickled, and no more memory is taken than for the expected arrays.

    Raises:
        ValueError: the content is not a complete .npz file, or a name, dtype or shape differs.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if len(archive.infolist()) != len(forms) or sizes.keys() != {f"{name}.npy" for name in forms}:
                raise ValueError(f"it holds {', '.join(sizes)[:200] or 'nothing'}; expected {', '.join(forms)}")
            return {name: _read_npy(archive, f"{name}.npy", form) for name, form in forms.items()}
    except ValueError:
        raise
    except Exception as error:  # those of zipfile, zlib, lzma, struct and ast have no common class
        raise ValueError(f"it is not a complete .npz file ({error})") from error


def _read_npy(archive: zipfile.ZipFile, name: str, form: Form) -> npt.NDArray[Any]:
    dtype, shape = form
    size = _size(form)
    with archive.open(name) as entry:
        content = entry.read(size + HEADER_BYTES + 1)
    file = io.BytesIO(content)
    if npy.read_magic(file) != (1, 0):
        raise ValueError(f"{name} has another version of the .npy format; expected version 1.0")
    found_shape, is_fortran, found_dtype = npy.read_array_header_1_0(file, max_header_size=HEADER_BYTES)
    found = f"{found_dtype} of the shape {found_shape}"
    if found_dtype != np.dtype(dtype) or found_shape != shape or is_fortran:
        raise ValueError(f"{name} is {found}; expected {np.dtype(dtype)} of the shape {shape}")
    if len(content) - file.tell() != size:
        raise ValueError(f"{name} has {len(content) - file.tell()} bytes; expected {size} for {found}")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)


def _size(form: Form) -> int:
    dtype, shape = form
    return np.dtype(dtype).itemsize * math.prod(shape)
