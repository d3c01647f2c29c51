"""Files that other programs may read appear whole or not at all; what a killed process left is removed."""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maskpencil.errors import OutputError
from maskpencil.regular_files import special_kind

PATIENCE = 2.0
"""Seconds to wait for a process that removes leftovers from a folder, which takes milliseconds."""

JUST_BEGUN = 1.0
"""Seconds for which an empty temporary folder counts as that of a process that is alive."""

_TEMPORARY = re.compile(r"\.maskpencil-[0-9a-f]{12}(\..*)?", flags=re.DOTALL)

Record = Callable[[Path, Path], None]
"""Gets a path that is about to appear, and where its file lies until then."""

_recorders: list[tuple[Path, Record]] = []


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; after the block it is flushed to disk and renamed to `path`.

    When the block raises, `path` stays as it was and the temporary file is removed. The temporary name keeps the
    suffix, so writers that choose their format by it work. Missing parent folders are made. What a process leaves that
    is killed meanwhile, `remove_leftovers` removes.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent, alone=False):
            temporary = _begun(path)
            permissions = temporary.stat().st_mode
            try:
                yield temporary
                temporary.chmod(permissions)  # the writer may have put another file in its place
                _flush(temporary)
                _announce(path, temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def cache_folder(kind: str) -> Path:
    """`maskpencil/KIND` in `$XDG_CACHE_HOME`, or in `~/.cache` where that is not set to an absolute path."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "maskpencil" / kind


def remove_leftovers(folder: str | os.PathLike[str], *, deep: bool = True) -> None:
    """Remove, in a folder and unless `deep` is false in those below, what processes left that died while writing there.

    Other processes may be writing there: what is theirs, and every file that `written_whole` did not begin, stays.
    Where the file system cannot lock folders nothing is removed.
    """
    for place, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        left = [name for name in names if _TEMPORARY.fullmatch(name)]
        if left:
            with locked(Path(place), alone=True) as alone:
                for name in left if alone else ():
                    with suppress(OSError):  # it may not be removed, or was just now
                        Path(place, name).unlink()


def temporary_beside(path: Path) -> Path:
    """Give a name that no file has, which ends as that of `path` does, for what `remove_leftovers` may remove."""
    suffix = path.suffix if len(path.suffix.encode(errors="surrogateescape")) < 100 else ""
    return path.with_name(f".maskpencil-{secrets.token_hex(6)}{suffix}")


@contextmanager
def recorded_below(folder: Path, record: Record) -> Iterator[None]:
    """Let `record` be called, from any thread, before a file below `folder` appears.

    Those are the files that `written_whole` writes, and those of folders that are written whole and `fresh`.
    """
    entry = (folder, record)
    _recorders.append(entry)
    try:
        yield
    finally:
        _recorders.remove(entry)


@contextmanager
def folder_written_whole(path: str | os.PathLike[str], *, fresh: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`; after the block it takes the place of the folder `path`.

    When the block raises, `path` stays as it was. At every moment either the old or the new folder is whole on disk:
    the old one is moved to a hidden name just before the new one is moved in, and removed after. What a process left
    that died in between, `recover_folder` puts right.

    Args:
        path: the folder to write.
        fresh: whether `path` must be missing or empty, so that nothing is ever replaced.

    Raises:
        OutputError: the folder cannot be written, another process is writing it, or it is not `fresh`.
    """
    path = Path(path)
    new, old = _beside(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        in_use = f"{path}: is being written by another process; wait until that has ended, or give another --out"
        until = time.monotonic() + PATIENCE
        while True:
            recover_folder(path)
            if fresh and path.is_dir() and any(path.iterdir()):
                raise OutputError(
                    f"{path}: is not empty, and nothing is mixed into it; give another --out, or remove it"
                )
            try:
                new.mkdir()  # which succeeds in one process alone
                break
            except FileExistsError as error:
                if _is_locked(new) or time.monotonic() >= until:
                    raise OutputError(in_use) from error
                time.sleep(0.05)  # a process that was killed just now may have left it
        made = new.stat()
        with locked(new, alone=False):
            found = new.stat()
            if (found.st_ino, found.st_ctime_ns) != (made.st_ino, made.st_ctime_ns):  # this took long, see JUST_BEGUN
                raise OutputError(in_use)
            try:
                yield new
                permissions = new.stat().st_mode & 0o666
                for file in new.rglob("*"):
                    if file.is_file():
                        file.chmod(permissions)  # safetensors gives its files to their owner alone
                    _flush(file)
                _flush(new)
                if fresh:
                    for file in new.rglob("*"):
                        if file.is_file():
                            _announce(path / file.relative_to(new), file)
                    if os.name == "nt" and path.exists():
                        path.rmdir()
                elif path.exists():
                    path.rename(old)
                new.rename(path)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            finally:
                _put_right(path)
            _flush(path.parent)


def recover_folder(path: str | os.PathLike[str]) -> None:
    """Put right what a process left that died in the middle of `folder_written_whole(path)`.

    The old folder is brought back where the new one had not taken its place, and what was half-written is removed.
    While another process is writing the folder nothing is done.
    """
    path = Path(path)
    new, _ = _beside(path)
    if not new.is_dir():
        _put_right(path)
        return
    with suppress(FileNotFoundError), locked(new, alone=True) as alone:  # its writer may end just now
        # a process that has just made the folder is about to lock it
        has_begun = any(new.iterdir()) or time.time() - new.stat().st_mtime > JUST_BEGUN
        if alone is not False and has_begun:
            _put_right(path)
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def locked(folder: Path, *, alone: bool) -> Iterator[bool | None]:
    """Lock a folder for the block; the system frees it when the process dies.

    A lock that is not `alone` is for all that write in the folder, and waits for one that is: at most `PATIENCE`.

    Returns:
        Whether it is locked; None where that cannot be done, as on Windows and some network file systems.
    """
    if sys.platform == "win32":
        yield None
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + (0 if alone else PATIENCE)
        locked: bool | None = False
        while not locked:
            try:
                fcntl.flock(handle, fcntl.LOCK_NB | (fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
                locked = True
            except BlockingIOError:
                if time.monotonic() >= until:
                    break
                time.sleep(0.01)
            except OSError:
                locked = None
                break
        yield locked
    finally:
        os.close(handle)


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


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a `numbered_folder` for the block; where nothing is in it at the end it is removed.

    Raises:
        OutputError: the folder cannot be made.
    """
    folder = numbered_folder(path)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something
            folder.rmdir()


def refuse_unwritable(path: str | os.PathLike[str]) -> None:
    """Refuse before the work what `written_whole` would refuse after it; remove what a killed process left beside.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, deep=False)
        with locked(path.parent, alone=False):
            _begun(path).unlink()


def _begun(path: Path) -> Path:
    """Make the temporary file that becomes `path`."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind := special_kind(path):  # which a file would replace
        raise OutputError(f"{path}: is {kind}, and files are written beside their place; name a file")
    temporary = temporary_beside(path)
    temporary.touch(exist_ok=False)
    return temporary


def _is_locked(folder: Path) -> bool:
    """Whether another process writes in a folder now."""
    with suppress(FileNotFoundError), locked(folder, alone=True) as alone:
        return alone is False
    return False


def _announce(path: Path, made: Path) -> None:
    """Call the recorders of a path that is about to appear as `made` is now."""
    for folder, record in tuple(_recorders):
        if path.parts[: len(folder.parts)] == folder.parts:
            record(path, made)


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
    """Return where the new folder is written and where the old one waits."""
    return path.with_name(f".{path.name}.maskpencil-new"), path.with_name(f".{path.name}.maskpencil-old")


def _put_right(path: Path) -> None:
    """Bring the old folder back where the new one has not taken its place, or else remove it."""
    _, old = _beside(path)
    if old.exists() and not path.exists():
        with suppress(FileNotFoundError):  # another process was faster
            old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
