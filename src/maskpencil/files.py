"""Files that other programs may read appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
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
    temporary = _begun(path)
    permissions = temporary.stat().st_mode
    try:
        with _output_errors(path):
            yield temporary
            temporary.chmod(permissions)  # the writer may have put another file in its place
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder(kind: str) -> Path:
    """`maskpencil/KIND` in `$XDG_CACHE_HOME`, or in `~/.cache` where that is not set to an absolute path."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "maskpencil" / kind


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove, in a folder and those below, what a process left that died in the middle of `written_whole`.

    Only the folder's one writer may call this.
    """
    for path in Path(folder).rglob(".*"):
        if re.fullmatch(r"\..*\.[0-9a-f]{8}(\.[^.]*)?", path.name) and path.is_file():
            path.unlink()


@contextmanager
def folder_written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside `path`; after the block it takes the place of the folder `path`.

    When the block raises, `path` stays as it was. At every moment either the old or the new folder is whole on disk:
    the old one is moved to a hidden name just before the new one is moved in, and removed after. What a process left
    that died in between, `recover_folder` puts right. A folder must have one writer at a time.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = Path(path)
    new, old = _beside(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(path)
        new.mkdir()
    try:
        with _output_errors(path):
            yield new
            permissions = new.stat().st_mode & 0o666
            for file in new.rglob("*"):
                if file.is_file():
                    file.chmod(permissions)  # safetensors gives its files to their owner alone
                _flush(file)
            _flush(new)
            if path.exists():
                path.rename(old)
            new.rename(path)
            _flush(path.parent)
    finally:
        recover_folder(path)


def recover_folder(path: str | os.PathLike[str]) -> None:
    """Put right what a process left that died in the middle of `folder_written_whole(path)`.

    The old folder is brought back where the new one had not taken its place, and what was half-written is removed. Only
    the folder's writer may call this, since a swap in progress looks the same.
    """
    path = Path(path)
    new, old = _beside(path)
    if old.exists() and not path.exists():
        old.rename(path)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)


def short_name(path: str | os.PathLike[str]) -> str:
    """What results of a folder or file are called after: its name, a file's without its suffixes."""
    path = Path(path).resolve()
    return path.name if path.is_dir() else path.name.partition(".")[0]


def numbered_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path`, or the first free one of `path`-2, `path`-3, ... so that nothing is overwritten.

    An existing empty folder counts as free.

    Raises:
        OutputError: the folder cannot be made.
    """
    path = Path(path)
    if path.name in ("", ".."):  # "." has no name a number could be added to
        path = path.resolve()
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


def refuse_unwritable(path: str | os.PathLike[str]) -> None:
    """Say before the work what `written_whole` would say after it.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    _begun(Path(path)).unlink()


def _begun(path: Path) -> Path:
    """The temporary file that becomes `path`."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary.touch(exist_ok=False)
    return temporary


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: cannot be written ({reason}); choose a place you may write to, or free some space"
        ) from error


def _beside(path: Path) -> tuple[Path, Path]:
    """Where the new folder is written and where the old one waits."""
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
