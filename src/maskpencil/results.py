"""Results never replace what is the user's: what an earlier run wrote is recorded beside it, and only that is replaced.

A folder of results holds `MARKER`: a line for each file, with its size and a checksum, added before the file appears.
So the record is right after every interruption, and files that the user has put or changed there are not taken for
results. It holds no times: equal runs leave equal folders.
"""

import json
import os
import stat
import unicodedata
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any

from maskpencil.errors import OutputError
from maskpencil.files import locked, recorded_below, refuse_unwritable, remove_leftovers, temporary_beside

MARKER = ".maskpencil-results.jsonl"
"""The name of the record in a folder of results."""

MOST_BYTES = 2**27
"""Of a record, some two million files; a larger one is not ours."""

MOST_JSON_BYTES = 2**27

SPARE_LINES = 1000
"""Lines beyond two for each file, before a record is rewritten without its outdated lines."""

CHECKED_BYTES = 2**18
"""Of a file's beginning, and again of its end, that its checksum covers: all of most masks and overlays."""

JUNK = frozenset({"thumbs.db", "desktop.ini"})
"""Files, in lower case, that desktops put into every folder."""

FEW = 3
"""How many files are named in a message."""

_HEAD = {"maskpencil": "results", "lines": "file, bytes, checksum"}

Stamp = tuple[int, int]
"""The size of a file in bytes, and the CRC-32 of its first and last `CHECKED_BYTES`."""


class Results:
    """What earlier runs have written into a folder; made by `find_results`."""

    def __init__(self, folder: Path, stamps: Mapping[str, Sequence[Stamp]]) -> None:
        self.folder, self._stamps = folder, stamps

    def names(self, path: Path) -> bool:
        """Whether a path below the folder is, by its name, that of a result."""
        return _key(self.folder, path) in self._stamps

    def wrote(self, path: Path, status: os.stat_result) -> bool:
        """Whether a file below the folder, with this status of itself and no link's target, is as it was written."""
        stamps = self._stamps.get(_key(self.folder, path), ())
        if stat.S_ISREG(status.st_mode) and any(status.st_size == size for size, _ in stamps):
            with suppress(OSError):  # it may not be read, which is no file that we wrote
                return _stamp(path) in stamps
        return False

    @property
    def is_long(self) -> bool:
        """Whether most lines of the record are out of date."""
        return sum(map(len, self._stamps.values())) > 2 * len(self._stamps) + SPARE_LINES

    def to_bytes(self) -> bytes:
        """Return the record without outdated lines; of a killed run's file the line before the last may hold."""
        lines = ([name, *stamp] for name, stamps in self._stamps.items() for stamp in stamps[-2:])
        return b"".join(map(_line, (_HEAD, *lines)))


def find_results(folder: Path) -> Results | None:
    """Read which files in a folder are results of earlier runs; None where it is no folder of results."""
    path = folder / MARKER
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MOST_BYTES:
        return None
    stamps: dict[str, list[Stamp]] = {}
    with path.open("rb") as file:
        head = file.readline(len(_line(_HEAD)))
        if head and _parsed(head) != _HEAD:  # another process may have made it just now
            return None
        for line in file:
            match _parsed(line):
                case [str(name), int(size), int(checksum)]:
                    stamps.setdefault(name, []).append((size, checksum))
    return Results(folder, stamps)


@contextmanager
def recorded_results(folder: Path) -> Iterator[None]:
    """Record the files that the block writes below a folder, which other processes may do at the same time.

    Nothing is made before the first of these files.

    Raises:
        OutputError: the record cannot be written.
    """
    with closing(_Record(folder)) as record, recorded_below(folder, record):
        yield


def refuse_to_replace(out: Path, files: Sequence[Path], *, sources: Iterable[Path], alone: Sequence[Path] = ()) -> None:
    """Make sure before the work that results replace nothing but results of earlier runs as these were written.

    What killed processes left among them is removed.

    Args:
        out: the folder that the results go to.
        files: all files to be written, below `out`: in a folder of it, such as `out / "masks"`, or right in it.
        sources: the files that are read.
        alone: folders below `out` that will hold nothing but what is written now; `clear` empties them.

    Raises:
        OutputError: a result would replace a source or a file of the user, or lie among the user's files.
    """
    if ".." in out.parts:  # of a folder that is yet to be made leads back, too
        place = out.resolve()
        files, alone = ([place / path.relative_to(out) for path in paths] for paths in (files, alone))
        out = place
    if not out.is_dir() or not (files or alone):
        return
    depth = len(out.parts)
    kinds = sorted(out / name for name in {p.parts[depth] for p in (*files, *alone) if len(p.parts) > depth + 1})
    remove_leftovers(out, deep=False)
    for kind in kinds:
        remove_leftovers(kind)
    others = [path for kind in kinds for path in _visible_files(kind)]
    replaced = {path: status for path in files if (status := _status(path))}
    replaced |= {path: path.lstat() for folder in alone for path in _visible_files(folder)}
    results = find_results(out)  # after the folders were looked at: a file is recorded before it appears
    if results is None and os.path.lexists(out / MARKER):
        raise OutputError(f"{out / MARKER}: is no record of results; move it away, or give another --out")
    results = results or Results(out, {})
    _refuse_sources(replaced, sources)
    for path, status in replaced.items():
        if not results.wrote(path, status):
            found = "was changed since it was written" if results.names(path) else "was not written by an earlier run"
            raise OutputError(f"{path}: {found} and would be replaced; move it away, or give another --out")
    foreign = [path for path in others if not results.names(path)]
    if foreign:
        kind = out / foreign[0].parts[depth]
        names = [str(path.relative_to(kind)) for path in foreign if path.is_relative_to(kind)]
        shown = ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
        raise OutputError(
            f"{kind}: holds what no earlier run has written ({shown}), and results are not mixed with that; give "
            "another --out"
        )
    _shorten(out, results)


def clear(out: Path, folder: Path) -> None:
    """Remove a folder below `out` with results of earlier runs, but for what was changed or put there since.

    Raises:
        OutputError: something cannot be removed.
    """
    results = find_results(out)
    if results is None:
        return
    try:
        for path in list(_visible_files(folder)):
            if results.wrote(path, path.lstat()):
                path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror}); remove it") from error
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it holds something
            Path(place).rmdir()


def refuse_to_replace_file(path: Path, *, keys: Collection[str] | None = None) -> None:
    """Make sure before the work that a file which the user names for an output can be written, and is new or ours.

    Args:
        path: the file.
        keys: of JSON files, those that ours have at the top: such a file is replaced. Other files never are.

    Raises:
        OutputError: the file cannot be written, or is there and not ours.
    """
    refuse_unwritable(path)
    if os.path.lexists(path) and not (keys and not path.is_symlink() and _has_keys(path, keys)):
        found = "exists and was not written by this command" if keys else "exists, and nothing is replaced"
        raise OutputError(f"{path}: {found}; give another name, or move it away")


class _Record:
    """Adds lines to the record of a folder, which is opened with the first; from any thread.

    A thread of another run into the same folder may still call it after it was closed, and records by its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._file: FileIO | None = None
        self._is_closed, self._lock = False, Lock()

    def __call__(self, path: Path, made: Path) -> None:
        if any(part.startswith(".") for part in path.parts[len(self._folder.parts) : -1]):
            return  # it waits to be moved elsewhere
        with self._lock:
            if not self._is_closed:
                self._file = self._file or self._opened()
                # in one piece, which other processes do not part
                self._file.write(_line([_key(self._folder, path), *_stamp(made)]))

    def close(self) -> None:
        """Close the record."""
        with self._lock:
            self._is_closed = True
            self._stack.close()

    def _opened(self) -> FileIO:
        self._stack.enter_context(locked(self._folder, alone=False))
        file = self._stack.enter_context((self._folder / MARKER).open("ab+", buffering=0))
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            file.write(_line(_HEAD))
        else:
            file.seek(size - 1)
            if file.read(1) != b"\n":  # a full disk cut the last line
                file.write(b"\n")
        return file


def _shorten(folder: Path, results: Results) -> None:
    """Write the record of a folder anew where most of its lines are out of date, unless somebody adds to it."""
    if not results.is_long:
        return
    with locked(folder, alone=True) as alone:
        latest = find_results(folder) if alone else None
        if latest:
            temporary = temporary_beside(folder / MARKER)
            temporary.write_bytes(latest.to_bytes())
            temporary.replace(folder / MARKER)


def _refuse_sources(replaced: Mapping[Path, os.stat_result], sources: Iterable[Path]) -> None:
    if not replaced:
        return
    identities = {(status.st_dev, status.st_ino) for path in sources if (status := _status(path, follow=True))}
    for path in replaced:
        status = _status(path, follow=True)
        if status and (status.st_dev, status.st_ino) in identities:
            raise OutputError(f"{path}: is to be read, and a result would replace it; give another --out")


def _visible_files(folder: Path) -> Iterator[Path]:
    """Give the files below a folder, and the links to folders, but for hidden ones and `JUNK`."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower() not in JUNK:
                yield Path(place, name)
        yield from (path for name in folders if (path := Path(place, name)).is_symlink())


def _status(path: Path, *, follow: bool = False) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat(follow_symlinks=follow)
    return None


def _stamp(path: Path) -> Stamp:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        checksum = zlib.crc32(file.read(CHECKED_BYTES))
        if size > CHECKED_BYTES:
            file.seek(max(CHECKED_BYTES, size - CHECKED_BYTES))
            checksum = zlib.crc32(file.read(CHECKED_BYTES), checksum)
        return size, checksum


def _key(folder: Path, path: Path) -> str:
    """Return the name of a file below a folder of results, alike for names of one file on Windows and macOS."""
    below = "/".join(path.parts[len(folder.parts) :])
    return unicodedata.normalize("NFC", below).casefold()


def _has_keys(path: Path, keys: Collection[str]) -> bool:
    if path.stat().st_size > MOST_JSON_BYTES:
        return False
    entries = _parsed(path.read_bytes())
    return isinstance(entries, dict) and entries.keys() >= set(keys)


def _line(entry: object) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _parsed(text: bytes) -> Any:
    """Return what a text of JSON holds, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
