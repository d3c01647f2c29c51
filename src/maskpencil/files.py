"""Files that other programs may read appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskpencil.errors import OutputError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; after the block it is flushed to disk and renamed to `path`.

    When the block raises, `path` stays as it was and the temporary file is removed. The temporary name keeps the
    suffix, so writers that choose their format by it work. Missing parent folders are made.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _output_errors(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside `path`; after the block it takes the place of `path`, whatever stood there.

    At every moment either the old or the new folder is whole on disk: the old one is moved to `path` + ".old" just
    before the new one is moved in, and removed after. `recover_folder` undoes a swap that was cut short.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _output_errors(path):
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for file in temporary.rglob("*"):
                _flush(file)
            _flush(temporary)
            old = _old(path)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.rename(old)
            temporary.rename(path)
            _flush(path.parent)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(path: str | os.PathLike[str]) -> None:
    """Bring back the old folder when a process died in the middle of `folder_written_whole(path)`."""
    path = Path(path)
    if not path.exists() and _old(path).exists():
        _old(path).rename(path)


def numbered_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path`, or the first free one of `path`-2, `path`-3, ... so that nothing is overwritten.

    An existing empty folder counts as free.

    Raises:
        OutputError: the folder cannot be made.
    """
    path = Path(path)
    candidate, number = path, 1
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                candidate.mkdir()
                return candidate
            except FileExistsError:
                if candidate.is_dir() and not any(candidate.iterdir()):
                    return candidate
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: cannot be written ({reason}); choose a place you may write to, with --out, or free some space"
        ) from error


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
