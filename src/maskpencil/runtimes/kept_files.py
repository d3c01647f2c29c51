"""Where converted and compiled networks are kept: a cache that is only used where nobody else can write into it.

What is kept is checked when it is read, and made anew where it is damaged. Without torch.
"""

import os
import stat
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.files import cache_folder

Bytes = npt.NDArray[np.uint8]

_MARK = b"maskpencil kept "
_TRAILER = len(_MARK) + 8


def own_cache(kind: str) -> Path | None:
    """Find or make the cache folder of a `kind`; None where there can be none that is this user's alone to write.

    A folder that is a link, belongs to somebody else, or that everybody may write into, is not used: what others put
    there would be run.
    """
    folder = cache_folder(kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder if is_own(folder.parent) and is_own(folder) else None
    except OSError:
        return None


def is_own(folder: Path) -> bool:
    """Whether a path is a folder, not a link, of this user, that not everybody may write into.

    Raises:
        OSError: it cannot be looked at.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    return os.name == "nt" or (found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWOTH)


def keep_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill the folder `place`, which appears whole or not at all, in place of a damaged one.

    Several processes may do so at the same time; where it cannot be written nothing is kept.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
            ready, old = Path(temporary) / place.name, Path(temporary) / "old"
            ready.mkdir()
            write(ready)
            if place.is_symlink() or place.is_file():
                place.unlink()
            elif place.exists():
                place.rename(old)
            ready.rename(place)
    except OSError:  # another process was faster, or the disk is full: it is made again when it is needed
        return


def keep_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file that `read_kept` finds whole, or nothing where it cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.write(_trailer(content))
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def kept_size(path: Path) -> int:
    """Say how many bytes `keep_bytes` wrote; 0 where there is nothing of its own that could be read."""
    try:
        found = path.lstat()
        return max(0, found.st_size - _TRAILER) if is_own(path.parent) and stat.S_ISREG(found.st_mode) else 0
    except OSError:
        return 0


def read_kept(path: Path, array: Bytes) -> bool:
    """Read what `keep_bytes` wrote into an array of `kept_size`; false where it is not what was written."""
    buffer = array.data
    try:
        with path.open("rb") as file:
            if file.readinto(buffer) != len(buffer):
                return False
            trailer = file.read(_TRAILER + 1)
    except OSError:
        return False
    return trailer == _trailer(buffer)


def _trailer(content: bytes | memoryview) -> bytes:
    return _MARK + zlib.crc32(content).to_bytes(4, "little") + (len(content) % 2**32).to_bytes(4, "little")
