"""Unpack archives from untrusted sources: no files outside of the folder, no links, no decompression bombs.

All sizes are checked before anything is written, and no header can make the reader use more memory than
`MAX_DIRECTORY_BYTES` allows.
"""

import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from maskpencil.errors import DataError, OutputError

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
OTHER_ENDINGS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".tbz2", ".txz")
"""Suffixes of archives that are recognized, but not unpacked."""

MAX_DIRECTORY_BYTES = 20 * 2**20
"""The largest size of an archive's table of contents, enough for some 200,000 files; Python needs about twenty times as
much memory."""

MAX_HEADER_BYTES = 2**20
MAX_DEPTH = 32
HEADER_BYTES = 512
BLOCK_BYTES = 2**20

Kind = Literal["file", "folder", "link"]

MAX_RATIO = 100
"""The largest compression ratio: images hardly shrink, uncompressed masks shrink by a few dozen times."""

HARMLESS_BYTES = 2**26
MAX_FILES = 1_000_000
HARMLESS_FILES = 10_000
PACKED_BYTES_A_FILE = 100
"""The smallest size of a packed image with its name; only empty files take less."""

SHARE_OF_FREE_SPACE = 0.9


class Budget:
    """The limits, in bytes and in files, for unpacking an archive.

    Args:
        source: the archive, which messages name.
        packed_bytes: the size of the archive.
        target: a folder on the disk to unpack to; None if nothing is written.
    """

    def __init__(self, source: Path, packed_bytes: int, target: Path | None) -> None:
        self._source = source
        self._max_bytes = max(HARMLESS_BYTES, MAX_RATIO * packed_bytes)
        self._max_files = min(MAX_FILES, HARMLESS_FILES + packed_bytes // PACKED_BYTES_A_FILE)
        self._free_bytes = self._max_bytes
        if target is not None:
            self._free_bytes = int(shutil.disk_usage(target).free * SHARE_OF_FREE_SPACE)
        self._bytes = self._files = 0

    def claim(self, size: int, *, files: int = 1) -> None:
        """Count `size` bytes and `files` files before they are written.

        Raises:
            DataError: the archive holds more bytes or files than a harmless archive of its size.
            OutputError: the disk has too little free space.
        """
        self._bytes += size
        self._files += files
        if self._files > self._max_files:
            raise DataError(
                f"{self._source}: holds more than {self._max_files} files, too many for a harmless file of its size; "
                "unpack it yourself if you trust it, and open the folder"
            )
        if self._bytes > self._max_bytes:
            raise DataError(
                f"{self._source}: unpacks to more than {self._max_bytes >> 20} MiB, over {MAX_RATIO} times its size, "
                "like a decompression bomb; unpack it yourself if you trust it, and open the folder"
            )
        if self._bytes > self._free_bytes:
            raise OutputError(
                f"{self._source}: unpacks to more than the {self._free_bytes >> 20} MiB that can be spared on the disk "
                "of the cache; free some space, or set XDG_CACHE_HOME to a folder on another disk"
            )


def is_archive(path: Path) -> bool:
    """Return whether `path` is an archive that can be unpacked: a file whose name ends like that of an archive.

    Raises:
        DataError: the file is an archive of an unsupported format.
    """
    name = path.name.lower()
    if not name.endswith((*ARCHIVE_ENDINGS, *OTHER_ENDINGS)) or not path.is_file():
        return False
    if not name.endswith(ARCHIVE_ENDINGS):
        raise DataError(
            f"{path}: is an archive of an unsupported format; expected .zip, .tar.gz or .tar; unpack it yourself"
        )
    return True


def unpack_archive(path: Path, target: Path) -> tuple[str, ...]:
    """Unpack the files of an archive into the empty folder `target`, and return notes on what was left out.

    Hidden files, files that macOS adds, links and devices are left out.

    Raises:
        DataError: the archive is damaged, encrypted, cut short or malicious.
        OutputError: the disk has too little free space.
    """
    contents = _Contents(path, Budget(path, path.stat().st_size, target))
    unpack = _unpack_zip if path.name.lower().endswith(".zip") else _unpack_tar
    with _reading(path):
        unpack(path, contents, target)
    return contents.notes()


class _Contents:
    """A register of the files in an archive: it checks their names, and returns the path to which each is written."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self._path = path
        self._budget = budget
        self._taken: dict[str, str] = {}
        self._folders: set[tuple[str, ...]] = set()
        self._hidden: list[str] = []
        self._links: list[str] = []
        self._archives: list[str] = []

    def place(self, name: str, kind: Kind, size: int) -> Path | None:
        """Register an entry of the archive, and return the path to which it is written, relative to the target folder.

        Return None if it is not written: a link, a folder or a hidden file. `size` is its size in bytes.

        Raises:
            DataError: the name leads out of the folder, is invalid or is taken, or the archive exceeds its `Budget`.
            OutputError: the disk has too little free space.
        """
        if size < 0:
            raise DataError(f"{self._path}: states a negative size of {_shown(name)}; download or pack it again")
        self._budget.claim(size + HEADER_BYTES)
        parts = self._parts(name)
        if kind == "link":
            self._links.append(name)
        elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
            self._hidden += [name] * (kind == "file")
        elif kind == "file" and parts:
            self._take(parts)
            if parts[-1].lower().endswith((*ARCHIVE_ENDINGS, *OTHER_ENDINGS)):
                self._archives.append(name)
            return Path(*parts)
        return None

    def notes(self) -> tuple[str, ...]:
        """Return notes on the files that were left out or not unpacked further.

        Raises:
            DataError: the archive holds no files.
        """
        if not self._taken:
            raise DataError(f"{self._path}: holds no files; expected images and masks")
        said = (
            (self._hidden, "hidden files left out"),
            (self._links, "links left out"),
            (self._archives, "archives inside are left packed"),
        )
        return tuple(
            f"{len(names)} {what} ({_shown(names[0])}{', ...' * (len(names) > 1)})" for names, what in said if names
        )

    def _parts(self, name: str) -> tuple[str, ...]:
        pieces = name.replace("\\", "/").split("/")  # Windows programs may use backslashes
        outside = name[:1] in ("/", "\\") or re.match("[A-Za-z]:", name) or ".." in pieces
        if outside or any(ord(letter) < 32 for letter in name) or (os.name == "nt" and ":" in name):
            raise DataError(
                f"{self._path}: holds the file {_shown(name)}, which leads out of the folder or has an invalid name; "
                "do not trust this archive"
            )
        parts = tuple(piece for piece in pieces if piece not in ("", "."))
        if len(parts) > MAX_DEPTH:
            raise DataError(
                f"{self._path}: nests folders {len(parts)} deep; expected at most {MAX_DEPTH}; pack it with fewer "
                "nested folders"
            )
        return parts

    def _take(self, parts: tuple[str, ...]) -> None:
        """Register the path of a file; raise an error if another path is the same, at least on Windows or macOS."""
        for end in range(1, len(parts)):
            if parts[:end] not in self._folders:
                self._folders.add(parts[:end])
                self._clash("/".join(parts[:end]) + "/")
        name = "/".join(parts)
        if self._taken.get(_key(name)) == name:
            raise DataError(
                f"{self._path}: holds two files named {_shown(name)}; pack it again with only one of the two files"
            )
        self._clash(name)

    def _clash(self, name: str) -> None:
        other = self._taken.setdefault(_key(name), name)
        if other != name:
            raise DataError(
                f"{self._path}: holds {_shown(other)} and {_shown(name)}, which are the same name on Windows and "
                "macOS; rename one and pack it again"
            )


class _Guarded:
    """A file from which only the allowed number of bytes can be read, whatever a header demands."""

    def __init__(self, path: Path, file: BinaryIO | gzip.GzipFile) -> None:
        self._path, self._file, self._left = path, file, 0
        self.last = b""

    def allow(self, size: int) -> None:
        self._left = size

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        self.last = self._file.read(wanted)
        if len(self.last) > self._left:
            raise DataError(
                f"{self._path}: has a table of contents that is too long to be safe to read; unpack it yourself if you "
                "trust it, and open the folder"
            )
        self._left -= len(self.last)
        return self.last

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET and offset < 0:
            raise EOFError("a header points before the start of the file")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _unpack_zip(path: Path, contents: _Contents, target: Path) -> None:
    with path.open("rb") as file:
        guarded = _Guarded(path, file)
        guarded.allow(MAX_DIRECTORY_BYTES)
        with zipfile.ZipFile(guarded) as archive:
            places = []
            for info in archive.infolist():
                _check_packing(path, info)
                places.append((info, contents.place(info.orig_filename, _kind(info), info.file_size)))
            for info, place in places:
                if place:
                    guarded.allow(MAX_HEADER_BYTES)
                    with archive.open(info) as packed:
                        _write(target / place, packed.read, info.file_size, guarded)


def _check_packing(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x41:  # encrypted, or strongly so
        raise DataError(
            f"{path}: is encrypted ({_shown(info.orig_filename)}); unpack it with its password, and open the folder"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: packs {_shown(info.orig_filename)} by method {info.compress_type}; expected deflate, which every "
            "program writes; unpack it yourself, and open the folder"
        )


def _kind(info: zipfile.ZipInfo) -> Kind:
    if info.orig_filename.endswith(("/", "\\")):
        return "folder"
    kinds: dict[int, Kind] = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
    return kinds.get(stat.S_IFMT(info.external_attr >> 16), "link")  # the file type, if the packer stored it


def _unpack_tar(path: Path, contents: _Contents, target: Path) -> None:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        guarded = _Guarded(path, file)
        guarded.allow(MAX_HEADER_BYTES)
        with tarfile.TarFile(fileobj=guarded) as archive:  # type: ignore[arg-type]  # it only reads and seeks
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # it would grow with the archive
                if member.issparse():
                    raise DataError(
                        f"{path}: stores {_shown(member.name)} as a sparse file; pack it again without --sparse"
                    )
                kind: Kind = "file" if member.isreg() else "folder" if member.isdir() else "link"
                if place := contents.place(member.name, kind, member.size):
                    guarded.seek(member.offset_data)
                    _write(target / place, guarded.read, member.size, guarded)
                guarded.allow(MAX_HEADER_BYTES)
        if guarded.last.strip(b"\0") or len(guarded.last) < HEADER_BYTES:  # a block of zeros is the end
            raise EOFError("the end is missing")


def _write(path: Path, read: Callable[[int], bytes], size: int, guarded: _Guarded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while size > 0:
            guarded.allow(4 * BLOCK_BYTES)  # incompressible data grow a little when packed
            block = read(min(size, BLOCK_BYTES))
            if not block:
                raise EOFError(f"{_shown(path.name)} ends early")
            file.write(block)
            size -= len(block)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn all exceptions of a damaged archive into one `DataError`."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, EOFError),
        *(ValueError, OverflowError, NotImplementedError, RecursionError),
    ) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:120] or type(error).__name__
        raise DataError(
            f"{path}: is damaged, cut short or not an archive ({reason}); download or pack it again"
        ) from error
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read (permission denied); check its permissions") from error


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.rstrip("/")).casefold()


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
