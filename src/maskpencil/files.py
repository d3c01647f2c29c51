"""Write files and folders whole or not at all, and remove the temporary files of killed processes."""

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
"""Seconds to wait for a process that is removing leftovers from a folder, which takes milliseconds."""

MAX_EMPTY_AGE = 1.0
"""The age in seconds up to which an empty temporary folder may belong to a running process."""

_TEMPORARY = re.compile(r"\.maskpencil-[0-9a-f]{12}(\..*)?", flags=re.DOTALL)

Record = Callable[[Path, Path], None]
"""A callback that is called just before a file appears, with its path and the temporary path of its content."""

_recorders: list[tuple[Path, Record]] = []


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to `path`; after the `with` block, flush the file to disk and rename it to `path`.

    If the `with` block raises, `path` stays as it was and the temporary file is removed. The temporary name keeps the
    suffix, since some libraries choose the format by the suffix. Missing parent folders are made. If the process is
    killed within the `with` block, `remove_leftovers` removes the temporary file later.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent, exclusive=False):
            temporary = _temporary_file(path)
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
    """Return `maskpencil/KIND` in `$XDG_CACHE_HOME`, or in `~/.cache` if this variable holds no absolute path."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "maskpencil" / kind


def remove_leftovers(folder: str | os.PathLike[str], *, deep: bool = True) -> None:
    """Remove the temporary files of killed processes from a folder and, if `deep`, from all folders below it.

    The temporary files of running processes stay, and so does every file that `written_whole` did not make. Nothing is
    removed on file systems that cannot lock folders.
    """
    for place, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        left = [name for name in names if _TEMPORARY.fullmatch(name)]
        if left:
            with locked(Path(place), exclusive=True) as is_locked:
                for name in left if is_locked else ():
                    with suppress(OSError):  # no permission, or already removed
                        Path(place, name).unlink()


def temporary_beside(path: Path) -> Path:
    """Return an unused path next to `path`, with its suffix, for a temporary file.

    If the process is killed and leaves the file, `remove_leftovers` recognizes it by its name and removes it.
    """
    suffix = path.suffix if len(path.suffix.encode(errors="surrogateescape")) < 100 else ""
    return path.with_name(f".maskpencil-{secrets.token_hex(6)}{suffix}")


@contextmanager
def recorded_below(folder: Path, record: Record) -> Iterator[None]:
    """Call `record` each time just before a file appears below `folder`, while the `with` block runs.

    `record` may be called from any thread. It is called for files that `written_whole` writes, and for files in folders
    that `folder_written_whole` writes if its argument `fresh` is True.
    """
    entry = (folder, record)
    _recorders.append(entry)
    try:
        yield
    finally:
        _recorders.remove(entry)


@contextmanager
def folder_written_whole(path: str | os.PathLike[str], *, fresh: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, which replaces the folder `path` after the `with` block.

    If the `with` block raises, `path` stays as it was. At every moment either the old or the new folder is whole on
    disk: the old folder is renamed to a hidden name just before the new folder is renamed to `path`, and is removed
    afterwards. If the process dies between these steps, `recover_folder` repairs the folder.

    Args:
        path: the folder to write.
        fresh: require that `path` is missing or empty, so that nothing is replaced.

    Raises:
        OutputError: the folder cannot be written, another process is writing it, or `fresh` is set and the folder is
            not empty.
    """
    path = Path(path)
    new, old = _beside(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        in_use = f"{path}: is being written by another process; wait until it has ended, or give another --out"
        until = time.monotonic() + PATIENCE
        while True:
            recover_folder(path)
            if fresh and path.is_dir() and any(path.iterdir()):
                raise OutputError(
                    f"{path}: is not empty; expected a new or an empty folder; give another --out, or empty this folder"
                )
            try:
                new.mkdir()  # succeeds in one process only
                break
            except FileExistsError as error:
                if _is_locked(new) or time.monotonic() >= until:
                    raise OutputError(in_use) from error
                time.sleep(0.05)  # it may be that of a process that was just killed
        made = new.stat()
        with locked(new, exclusive=False):
            found = new.stat()
            if (found.st_ino, found.st_ctime_ns) != (made.st_ino, made.st_ctime_ns):  # taken over, see MAX_EMPTY_AGE
                raise OutputError(in_use)
            try:
                yield new
                permissions = new.stat().st_mode & 0o666
                for file in new.rglob("*"):
                    if file.is_file():
                        file.chmod(permissions)  # safetensors makes files that only their owner can read
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
                _restore_or_remove(path)
            _flush(path.parent)


def recover_folder(path: str | os.PathLike[str]) -> None:
    """Repair a folder whose writing process died within `folder_written_whole(path)`.

    The old folder is restored if the new folder had not yet replaced it, and a half-written new folder is removed.
    Nothing is done while another process is writing the folder.
    """
    path = Path(path)
    new, _ = _beside(path)
    if not new.is_dir():
        _restore_or_remove(path)
        return
    with suppress(FileNotFoundError), locked(new, exclusive=True) as is_locked:  # its writer may end meanwhile
        # a process that has just made the folder is about to lock it
        has_begun = any(new.iterdir()) or time.time() - new.stat().st_mtime > MAX_EMPTY_AGE
        if is_locked is not False and has_begun:
            _restore_or_remove(path)
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def locked(folder: Path, *, exclusive: bool) -> Iterator[bool | None]:
    """Lock a folder while the `with` block runs; the system releases the lock if the process dies.

    Args:
        folder: an existing folder.
        exclusive: try once to take an exclusive lock, which excludes all other locks; if False, take a shared lock, and
            wait for it at most `PATIENCE` seconds while an exclusive lock is held.

    Yields:
        Whether the folder is locked; None if folders cannot be locked, as on Windows and some network file systems.
    """
    if sys.platform == "win32":
        yield None
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + (0 if exclusive else PATIENCE)
        locked: bool | None = False
        while not locked:
            try:
                fcntl.flock(handle, fcntl.LOCK_NB | (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH))
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
    """Return the name of a folder, or of a file without its suffixes, after which a folder of results is named."""
    path = Path(path).resolve()
    return path.name if path.is_dir() else path.name.partition(".")[0]


def run_name(model: str | os.PathLike[str]) -> str:
    """Return the name of a model: NAME for runs/train/NAME/model, otherwise the name of the folder or exported file."""
    path = Path(model).resolve()
    name = path.name if path.is_dir() else path.stem
    return (path.parent.name if name == "model" else name) or "model"


def named(path: Path) -> Path:
    """Return a path with a name to which a number or a suffix can be added; paths such as "." and ".." are resolved."""
    return path.resolve() if path.name in ("", "..") else path


def numbered_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path`, or the first unused folder of `path`-2, `path`-3, ..., so that nothing is overwritten.

    An existing empty folder counts as unused.

    Raises:
        OutputError: the folder cannot be made.
    """
    path = named(Path(path))
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
    """Yield a `numbered_folder`, and remove it after the `with` block if it is empty.

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
    """Check, before a long computation, that `written_whole` can write `path`.

    The temporary files of killed processes next to `path` are removed.

    Raises:
        OutputError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, deep=False)
        with locked(path.parent, exclusive=False):
            _temporary_file(path).unlink()


def _temporary_file(path: Path) -> Path:
    """Make the temporary file that will become `path`, and return its path.

    Raises:
        OSError: `path` is a folder, or the file cannot be made.
        OutputError: `path` is a named pipe, a device or a socket.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind := special_kind(path):  # renaming would replace it
        raise OutputError(f"{path}: is {kind}, which cannot be written to; name a regular file")
    temporary = temporary_beside(path)
    temporary.touch(exist_ok=False)
    return temporary


def _is_locked(folder: Path) -> bool:
    """Return whether another process is writing in a folder."""
    with suppress(FileNotFoundError), locked(folder, exclusive=True) as is_locked:
        return is_locked is False
    return False


def _announce(path: Path, made: Path) -> None:
    """Call the functions of `recorded_below` for `path`, which is about to appear; `made` is its temporary file."""
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
            f"{path}: cannot be written ({reason}); choose a folder you may write to, or free some space"
        ) from error


def _beside(path: Path) -> tuple[Path, Path]:
    """Return the temporary paths, next to `path`, of the new folder and of the old folder."""
    return path.with_name(f".{path.name}.maskpencil-new"), path.with_name(f".{path.name}.maskpencil-old")


def _restore_or_remove(path: Path) -> None:
    """Restore the old folder if the new folder has not replaced it; otherwise remove the old folder."""
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
