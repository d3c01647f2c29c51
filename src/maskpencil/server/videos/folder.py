"""Keep the files of a server's videos in a private folder; if the server is killed, the next server removes it."""

import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maskpencil.errors import ConfigError
from maskpencil.files import locked
from maskpencil.regular_files import reason_of

PREFIX = "maskpencil-videos-"

MARKER = ".maskpencil-server"
"""The name of the empty file that marks a folder as made and locked by a server."""

MAX_EMPTY_AGE = 60.0
"""The age in seconds up to which an empty folder is kept, since it may be that of a server that is starting."""

_NAME = re.compile(re.escape(PREFIX) + "[0-9a-f]{16}")


@contextmanager
def private_folder(base: Path | None) -> Iterator[Path]:
    """Yield a new folder that only this user can read, and remove it with its content after the `with` block.

    The folder is locked during the block. Folders of servers that were killed are removed first.

    Args:
        base: the folder in which to make it; None is the system's folder for temporary files.

    Raises:
        ConfigError: the folder cannot be made.
    """
    try:
        place = Path(tempfile.gettempdir()) if base is None else base
        remove_abandoned(place)
        folder = place / f"{PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
    except OSError as error:
        named = "the system's temporary folder" if base is None else f"--video-folder {base}"
        raise ConfigError(
            f"{named}: no folder for videos can be made there ({reason_of(error)}); give an existing folder that you "
            "may write to: --video-folder DIR"
        ) from error
    with locked(folder, exclusive=False):
        try:
            (folder / MARKER).touch()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(base: Path) -> None:
    """Remove from `base` the folders of servers that no longer run.

    A folder is kept if it is locked, belongs to another user, or was not made by a server.
    """
    for entry in os.scandir(base):
        with suppress(OSError):  # it was removed meanwhile, or its file system cannot lock folders
            if _NAME.fullmatch(entry.name) and _is_own(entry):
                with locked(Path(entry.path), exclusive=True) as is_locked:
                    if is_locked:
                        _remove(Path(entry.path))


def _is_own(entry: "os.DirEntry[str]") -> bool:
    found = entry.stat(follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())


def _remove(folder: Path) -> None:
    """Remove a folder that this process has locked, if it has the marker, or is empty and older than `MAX_EMPTY_AGE`.

    Raises:
        OSError: the folder is older, has no marker and holds files.
    """
    if (folder / MARKER).is_file():
        shutil.rmtree(folder, ignore_errors=True)
    elif time.time() - folder.stat().st_mtime > MAX_EMPTY_AGE:
        folder.rmdir()  # raises OSError if it holds anything
