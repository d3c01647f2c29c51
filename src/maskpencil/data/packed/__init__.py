"""Unpack data into a cache once, then read it like any folder."""

import errno
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.packed.archives import ARCHIVE_ENDINGS, is_archive, unpack_archive
from maskpencil.data.packed.hugging_face import class_files, find_shards, write_images
from maskpencil.errors import OutputError
from maskpencil.files import cache_folder, folder_written_whole

VERSION = 1
"""Part of every cache name: a higher number makes every archive be unpacked anew."""

NOTES = ".notes.txt"
CACHE = "unpacked"


@dataclass(frozen=True)
class Unpacked:
    """A folder to read, and notes on its source."""

    folder: Path
    notes: tuple[str, ...] = ()


def unpacked(root: Path) -> Unpacked:
    """Return the folder to read for `root`: the folder itself, or the cache with its unpacked content.

    An archive (`.zip`, `.tar`, `.tar.gz`) is unpacked; of a Hugging Face data set in `.parquet` files, or as
    `save_to_disk` writes it, the images are written out. Both go to a folder in `files.cache_folder`, made once,
    whole or not at all, and made anew when the packed files change. Any other path is returned unchanged,
    whether it exists or not.

    Raises:
        DataError: the packed data is damaged, has no images and masks, or is malicious.
        OutputError: the cache cannot be written.
    """
    folder = root
    notes: tuple[str, ...] = ()
    if is_archive(root):
        folder, notes = _made_once(root, [root], partial(unpack_archive, root))
        folder = _without_wrapping(folder)
    shards = find_shards(folder)
    if shards:
        packed = [shard.path for shard in shards] + class_files(folder)
        folder, more = _made_once(folder, packed, partial(write_images, folder, shards))
        notes = (*notes, *more)
    return Unpacked(folder, notes)


def _made_once(
    source: Path, files: Sequence[Path], make: Callable[[Path], tuple[str, ...]]
) -> tuple[Path, tuple[str, ...]]:
    """Return the cache folder of the packed `files`, which `make` fills, and the notes on it."""
    place = cache_folder(CACHE) / f"{_plain(source.name)}-{_fingerprint(source, files)}"
    try:
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with _alone(place.with_name(f".{place.name}.lock")):
                if not place.is_dir():  # another process may have made it meanwhile
                    with folder_written_whole(place) as target:
                        notes = make(target)
                        (target / NOTES).write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")
        notes = tuple((place / NOTES).read_text(encoding="utf-8").splitlines()) if (place / NOTES).is_file() else ()
    except OSError as error:
        raise _not_written(source, error) from error
    except OutputError as error:
        if isinstance(error.__cause__, OSError):
            raise _not_written(source, error.__cause__) from error
        raise
    return place, (f"unpacked once, into {place}", *notes)


def _not_written(source: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{source}: cannot be unpacked into {cache_folder(CACHE)} ({error.strerror or error}); free some space, or set "
        "XDG_CACHE_HOME to a folder you may write to"
    )


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process holds `lock`; the system releases it when a process dies."""
    with lock.open("a") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError as error:
                    if error.errno != errno.EDEADLK:  # it waits for ten seconds alone
                        raise
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fingerprint(source: Path, files: Sequence[Path]) -> str:
    facts = [f"{VERSION} {source.resolve()}"]
    for file in files:
        status = file.stat()
        facts.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()[:12]


def _plain(name: str) -> str:
    ending = next((e for e in (*ARCHIVE_ENDINGS, ".parquet") if name.lower().endswith(e)), "")
    return re.sub(r"[^\w.-]+", "-", name.removesuffix(name[len(name) - len(ending) :]))[:40].strip(".-") or "data"


def _without_wrapping(folder: Path) -> Path:
    """Return the only folder inside, as archives often have one, unless its name has a meaning."""
    while True:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir():
            return folder
        name = inside[0].name.lower()
        if name in (*IMAGE_FOLDERS, *MASK_FOLDERS) or any(name in aliases for aliases in SPLIT_ALIASES.values()):
            return folder
        folder = inside[0]
