"""Record what each run wrote, so that later runs replace only these results and no file of the user.

A folder of results holds a record, the file `MARKER`. For each result it has a line with the name, the size and a
checksum. The line is added before the result appears, so that the record is complete after every interruption. Files
that the user added or changed do not match the record and so do not count as results. The record contains no times, so
that equal runs produce equal folders.
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

MAX_RECORD_BYTES = 2**27
"""The largest size of a record in bytes, which has room for two million files; a larger file is not a record."""

MAX_JSON_BYTES = 2**27

SPARE_LINES = 1000
"""A record is rewritten without its outdated lines if it has more than two lines for each file and this many further
lines."""

CHECKED_BYTES = 2**18
"""The number of bytes at a file's beginning, and also at its end, that its checksum covers: most masks and overlays are
covered completely."""

JUNK = frozenset({"thumbs.db", "desktop.ini"})
"""The names, in lower case, of files that desktops put into every folder."""

MAX_LISTED_FILES = 3
"""The largest number of files that a message names."""

_HEAD = {"maskpencil": "results", "lines": "file, bytes, checksum"}

Stamp = tuple[int, int]
"""The size of a file in bytes, and the CRC-32 of its first and last `CHECKED_BYTES`."""


class Results:
    """The files that earlier runs wrote into a folder, according to its record; `find_results` creates this object."""

    def __init__(self, folder: Path, stamps: Mapping[str, Sequence[Stamp]]) -> None:
        self.folder, self._stamps = folder, stamps

    def names(self, path: Path) -> bool:
        """Return whether the record lists a file below the folder, even if the file was changed since."""
        return _key(self.folder, path) in self._stamps

    def wrote(self, path: Path, status: os.stat_result) -> bool:
        """Return whether a file below the folder is unchanged since a run wrote it.

        Args:
            path: the file.
            status: the result of `os.lstat`, which does not follow links.
        """
        stamps = self._stamps.get(_key(self.folder, path), ())
        if stat.S_ISREG(status.st_mode) and any(status.st_size == size for size, _ in stamps):
            with suppress(OSError):  # a file without read permission is not a result
                return _stamp(path) in stamps
        return False

    @property
    def is_long(self) -> bool:
        """Whether the record should be rewritten without its outdated lines, see `SPARE_LINES`."""
        return sum(map(len, self._stamps.values())) > 2 * len(self._stamps) + SPARE_LINES

    def to_bytes(self) -> bytes:
        """Return the record with only the last two lines of each file.

        When a run replaces a file, it first adds a line for the new file. If it is killed before it replaces the file,
        the old file remains, and the second-last line describes it.
        """
        lines = ([name, *stamp] for name, stamps in self._stamps.items() for stamp in stamps[-2:])
        return b"".join(map(_line, (_HEAD, *lines)))


def find_results(folder: Path) -> Results | None:
    """Read which files in a folder are results of earlier runs; return None if the folder has no record."""
    path = folder / MARKER
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_RECORD_BYTES:
        return None
    stamps: dict[str, list[Stamp]] = {}
    with path.open("rb") as file:
        head = file.readline(len(_line(_HEAD)))
        if head and _parsed(head) != _HEAD:  # it is empty if another process has just made it
            return None
        for line in file:
            match _parsed(line):
                case [str(name), int(size), int(checksum)]:
                    stamps.setdefault(name, []).append((size, checksum))
    return Results(folder, stamps)


@contextmanager
def recorded_results(folder: Path) -> Iterator[None]:
    """Record the files that the `with` block writes below a folder; other processes may write there at the same time.

    The record is created with the first file.

    Raises:
        OutputError: the record cannot be written.
    """
    with closing(_Record(folder)) as record, recorded_below(folder, record):
        yield


def refuse_to_replace(out: Path, files: Sequence[Path], *, sources: Iterable[Path], alone: Sequence[Path] = ()) -> None:
    """Check, before the work, that results would replace only unchanged results of earlier runs.

    Temporary files that killed processes left where the results will be written are removed.

    Args:
        out: the folder for the results.
        files: all files to be written, in `out` itself or in folders below it, such as `out / "masks"`.
        sources: the input files, which no result may replace.
        alone: folders below `out` that will hold only the new results; `clear` empties them.

    Raises:
        OutputError: a result would replace an input or a file that the user added or changed, or a folder for results
            below `out`, such as `out / "masks"`, holds a file that the user added.
    """
    if ".." in out.parts:  # also through a folder that does not exist yet
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
    results = find_results(out)  # after listing the folders: a file is recorded before it appears
    if results is None and os.path.lexists(out / MARKER):
        raise OutputError(f"{out / MARKER}: is not a record of results; move it away, or give another --out")
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
        shown = ", ".join(names[:MAX_LISTED_FILES]) + (", ..." if len(names) > MAX_LISTED_FILES else "")
        raise OutputError(
            f"{kind}: holds files that no earlier run wrote ({shown}); expected an empty folder or earlier results; "
            "move these files away, or give another --out"
        )
    _shorten(out, results)


def clear(out: Path, folder: Path) -> None:
    """Remove a folder of earlier results below `out`, except for files that were changed or added since.

    Raises:
        OutputError: a file cannot be removed.
    """
    results = find_results(out)
    if results is None:
        return
    try:
        for path in list(_visible_files(folder)):
            if results.wrote(path, path.lstat()):
                path.unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror}); remove it yourself") from error
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(place).rmdir()


def refuse_to_replace_file(path: Path, *, keys: Collection[str] | None = None) -> None:
    """Check, before the work, that an output file can be written, and is new or an earlier output.

    Args:
        path: the file that the user names.
        keys: an existing JSON file with all of these keys is an earlier output, which may be replaced; if None, no
            existing file may be replaced.

    Raises:
        OutputError: the file cannot be written, or exists and is not an earlier output.
    """
    refuse_unwritable(path)
    if os.path.lexists(path) and not (keys and not path.is_symlink() and _has_keys(path, keys)):
        found = "exists and was not written by this command" if keys else "exists, and existing files are not replaced"
        raise OutputError(f"{path}: {found}; give another name, or move it away")


class _Record:
    """A callable that adds a line to the record of a folder for each file; any thread may call it.

    The first call opens the record. Calls after `close` do nothing. There may be such calls if two runs in one process
    write to the same folder: the `_Record` of each run is called for the files of both runs, so a thread of one run may
    still call the `_Record` of the other run when the other run has just ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._file: FileIO | None = None
        self._is_closed, self._lock = False, Lock()

    def __call__(self, path: Path, made: Path) -> None:
        if any(part.startswith(".") for part in path.parts[len(self._folder.parts) : -1]):
            return  # a temporary folder, which will be moved
        with self._lock:
            if not self._is_closed:
                self._file = self._file or self._opened()
                # in one write, so that lines of other processes do not cut into it
                self._file.write(_line([_key(self._folder, path), *_stamp(made)]))

    def close(self) -> None:
        """Close the record."""
        with self._lock:
            self._is_closed = True
            self._stack.close()

    def _opened(self) -> FileIO:
        self._stack.enter_context(locked(self._folder, exclusive=False))
        file = self._stack.enter_context((self._folder / MARKER).open("ab+", buffering=0))
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            file.write(_line(_HEAD))
        else:
            file.seek(size - 1)
            if file.read(1) != b"\n":  # the last line was cut, as by a full disk
                file.write(b"\n")
        return file


def _shorten(folder: Path, results: Results) -> None:
    """Rewrite the record of a folder if most of its lines are outdated, unless another process is adding to it."""
    if not results.is_long:
        return
    with locked(folder, exclusive=True) as is_locked:
        latest = find_results(folder) if is_locked else None
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
            raise OutputError(f"{path}: is an input that a result would replace; give another --out")


def _visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder and the links to folders, except hidden files, hidden links and `JUNK`."""
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
    """Return the name of a file in the record of `folder`: its path below `folder`, in lower case and normalized.

    The name is the same for all paths that Windows or macOS treat as one file, such as A.png and a.png.
    """
    below = "/".join(path.parts[len(folder.parts) :])
    return unicodedata.normalize("NFC", below).casefold()


def _has_keys(path: Path, keys: Collection[str]) -> bool:
    if path.stat().st_size > MAX_JSON_BYTES:
        return False
    entries = _parsed(path.read_bytes())
    return isinstance(entries, dict) and entries.keys() >= set(keys)


def _line(entry: object) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _parsed(text: bytes) -> Any:
    """Return the value of a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
