"""Find files that are byte-for-byte copies of each other, reading only files of the same size."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from pathlib import Path

FIRST_BYTES = 2**16
"""The number of bytes at the start of each file that are compared first; different files almost always differ there."""


def find_copies(files: Iterable[Path]) -> list[list[Path]]:
    """Return the groups of two or more files with the same content, each group in the order of `files`.

    A file that occurs several times in `files` counts once; files that cannot be read are left out.
    """
    groups = _alike(dict.fromkeys(files), _size)
    groups = [same for group in groups for same in _alike(group, _hash_of_beginning)]
    return [same for group in groups for same in _alike(group, _hash)]


def _alike(files: Iterable[Path], measure: Callable[[Path], Hashable]) -> list[list[Path]]:
    """Return the groups of two or more files for which `measure` returns equal values, without unreadable files."""
    groups: dict[Hashable, list[Path]] = defaultdict(list)
    for path in files:
        with suppress(OSError):  # unreadable files are reported where images are read
            groups[measure(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int:
    return os.stat(path).st_size  # noqa: PTH116 - twice as fast as pathlib


def _hash_of_beginning(path: Path) -> bytes:
    return _hash(path, FIRST_BYTES)


def _hash(path: Path, length: int = -1) -> bytes:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(length), digest_size=16).digest()
