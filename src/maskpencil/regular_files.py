"""Read files that a stranger may have written: only regular ones, and only up to a limit.

A named pipe would block the reader, and a device such as /dev/zero never ends.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading, never waiting for whoever writes to a pipe.

    Raises:
        OSError: the file cannot be opened, or is a folder, pipe, socket or device.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    _refuse_special(Path(path).stat().st_mode, path)  # before it is opened: opening a device may already act on it
    with os.fdopen(os.open(path, flags), "rb") as file:
        _refuse_special(os.fstat(file.fileno()).st_mode, path)
        yield file


def read_regular(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: the file cannot be read, is not regular, or is larger.
    """
    with open_regular(path) as file:
        content = b"" if os.fstat(file.fileno()).st_size > limit else file.read(limit + 1)
        if os.fstat(file.fileno()).st_size > limit or len(content) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit >> 10} KiB", os.fspath(path))
        return content


def reason_of(error: OSError) -> str:
    """Say why a file cannot be read, in a few words without its name."""
    return error.strerror or str(error)


def _refuse_special(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))
