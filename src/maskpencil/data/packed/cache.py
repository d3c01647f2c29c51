"""Write unpacked data into the user's cache once, whole or not at all."""

import errno
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maskpencil.data.packed.archives import ARCHIVE_ENDINGS
from maskpencil.errors import OutputError
from maskpencil.files import cache_folder, folder_written_whole

VERSION = 1
"""The version of the cache, part of every name in it; after a change, archives are unpacked again."""

NOTES = ".notes.txt"
CACHE = "unpacked"


def made_once(
    source: Path, files: Sequence[Path], make: Callable[[Path], tuple[str, ...]]
) -> tuple[Path, tuple[str, ...]]:
    """Return the cache folder of packed data and the notes on it; create the folder if it does not exist yet.

    Args:
        source: the packed data, for the name of the folder and for messages.
        files: the files of the packed data; if their size or date has changed, another folder is created.
        make: fills the folder that is passed to it, and returns notes.

    Raises:
        OutputError: the cache cannot be written.
    """
    place = cache_folder(CACHE) / f"{_plain(source.name)}-{_fingerprint(source, files)}"
    try:
        if not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            with _exclusive(place.with_name(f".{place.name}.lock")):
                if not place.is_dir():  # another process may have made it in the meantime
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
def _exclusive(lock: Path) -> Iterator[None]:
    """Lock the file `lock` while the `with` block runs, after waiting for other processes to release it.

    The operating system releases the lock of a process that dies.
    """
    with lock.open("a") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError as error:
                    if error.errno != errno.EDEADLK:  # Windows waits for only ten seconds
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
