"""Tell regular files from special ones, and read files that a stranger may have written: only regular ones.

A named pipe would block the reader, and a device such as /dev/zero never ends.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from maskpencil.errors import DataError, MaskPencilError

_SPECIAL = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """Name what kind of special file a path is, such as "a named pipe"; None for files, folders and what is not there.

    Reading a special file may wait for ever, or never end.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - names with a NUL byte or of any length, too
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return next((kind for is_kind, kind in _SPECIAL if is_kind(mode)), "a device")


def refuse_special(path: str | os.PathLike[str], *, error: type[MaskPencilError] = DataError) -> None:
    """Make sure before a file is read that it is no named pipe, device or socket.

    Raises:
        MaskPencilError: it is one; of the class `error`.
    """
    kind = special_kind(path)
    if kind:
        raise error(f"{os.fspath(path)}: is {kind}; expected a regular file; copy what it holds to a file")


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


def read_lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers from 1; `expected` says in errors what it should hold.

    Raises:
        DataError: it cannot be read.
    """
    refuse_special(path)
    try:
        return numbered_lines(path.read_text(encoding="utf-8-sig"))  # Windows editors begin files with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {expected}") from error


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def reason_of(error: OSError) -> str:
    """Say why a file cannot be read, in a few words without its name."""
    return error.strerror or str(error)


def _refuse_special(mode: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))
