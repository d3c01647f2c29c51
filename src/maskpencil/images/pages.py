"""Count the pages of image files, and split a file into its pages: those of a TIFF, or the frames of an animation."""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images.files import decoding, is_tiff, naming, opened_image
from maskpencil.images.tiff import MAX_PAGES

PAGED_SUFFIXES = frozenset({".gif", ".png", ".tif", ".tiff", ".webp"})
"""The suffixes, in lower case, of formats that may hold several pages."""

_HEAD = 4096
"""The number of bytes at the start of a file that are examined; they contain the acTL chunk of an animated PNG."""

_SUBFILE, _COMPRESSION = 254, 259
_PLACES = {273: 279, 324: 325}  # TIFF tag of the offsets of strips or tiles: tag of their sizes
_ELSEWHERE = frozenset({330, 34665, 34853, 40965, 513, 514, 519, 520, 521})
"""TIFF tags that hold offsets of other data in the file; they are not copied, since the offsets would be wrong."""

_OLD_JPEG = 6
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""The number of bytes of a value, by the TIFF type number."""


def count_pages(path: str | os.PathLike[str]) -> int:
    """Return the number of pages or frames of an image file; 1 if the file cannot be read.

    Masks and smaller copies of the image in a TIFF do not count. Only the headers are read, which takes less than a
    tenth of a millisecond for most files.
    """
    if Path(path).suffix.lower() not in PAGED_SUFFIXES:
        return 1
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
            if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return max(1, len(_Tiff(file).main_pages(whole=False)))
        if head[:4] in (b"\x89PNG", b"GIF8") or (head[8:15] == b"WEBPVP8" and head[15:16] == b"X"):
            animated = head[:4] == b"GIF8" or (b"acTL" in head if head[:1] == b"\x89" else head[20] & 2)
            if animated:
                with opened_image(path) as image:
                    return int(getattr(image, "n_frames", 1))
    except (ImageError, OSError, EOFError, ValueError, SyntaxError, struct.error):  # raised again by reading pixels
        pass
    return 1


def pages_of(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, str]]:
    """Yield each page or frame of an image file as a separate file: (its bytes, its suffix, .tif or .png).

    Pages of a TIFF are not decoded, so numbers, bands and metadata stay as they are. Frames of animations become PNG.

    Raises:
        ImageError: the file is not a readable image, or its pages are in old-style JPEG.
    """
    name = os.fspath(path)
    with decoding(name), naming(name):
        if is_tiff(path):
            with Path(path).open("rb") as file:
                tiff = _Tiff(file)
                for place in tiff.main_pages():
                    yield tiff.alone(place), ".tif"
            return
        with opened_image(path) as image:
            for number in range(int(getattr(image, "n_frames", 1))):
                image.seek(number)
                yield _as_png(image), ".png"


def _as_png(image: Image.Image) -> bytes:
    frame = image.copy()
    if frame.mode not in (
        "L",
        "LA",
        "RGB",
        "RGBA",
        "I;16",
    ):  # also frames with a palette, which may differ from frame to frame
        frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
    encoded = io.BytesIO()
    frame.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


@dataclass(frozen=True)
class _Entry:
    """A TIFF tag of a page: its type number, the number of its values, and their bytes."""

    kind: int
    count: int
    value: bytes


class _Tiff:
    """A reader that copies single pages of an open TIFF or BigTIFF file without decoding them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = file.seek(0, os.SEEK_END)
        header = self._read(0, 16)
        self._order = "<" if header[:2] == b"II" else ">"
        self._big = header[2:4] in (b"+\0", b"\0+")
        self._word = "Q" if self._big else "I"  # an offset
        self._count = "Q" if self._big else "H"  # the number of tags of a page
        self._entry = 20 if self._big else 12
        self._first = self._numbers(self._word, header[8:] if self._big else header[4:8])[0]

    def main_pages(self, *, whole: bool = True) -> list[int]:
        """Return the file offsets of the pages that are neither masks nor smaller copies.

        If all pages are masks or smaller copies, return the offset of the first page.

        Args:
            whole: whether an offset outside the file is an error; if not, the list of pages ends there.

        Raises:
            EOFError: a page is outside the file, and `whole` is True.
        """
        places: dict[int, None] = {}  # the pages in order; in a damaged file the next page may be an earlier page
        main = []
        place = self._first
        while place and place not in places and len(places) < MAX_PAGES:
            places[place] = None
            try:
                count = self._numbers(self._count, self._read(place, struct.calcsize(self._count)))[0]
                start = place + struct.calcsize(self._count)
                after = start + count * self._entry
                entries = self._read(start, count * self._entry)
                following = self._numbers(self._word, self._read(after, struct.calcsize(self._word)))[0]
            except EOFError:
                if whole:
                    raise
                break
            if not self._subfile(entries) & 5:
                main.append(place)
            place = following
        return main or list(places)[:1]

    def alone(self, place: int) -> bytes:
        """Return a TIFF file that contains only the page at offset `place`.

        Raises:
            ImageError: the page has no pixels, or is in old-style JPEG.
        """
        tags = self._tags(place)
        if self._value(tags, _COMPRESSION) == (_OLD_JPEG,):
            raise ImageError(
                "holds pages in old-style JPEG (TIFF compression 6), which cannot be separated; save the pages as "
                "separate files"
            )
        offsets = next((tag for tag in _PLACES if tag in tags), None)
        if offsets is None or _PLACES[offsets] not in tags:
            raise ImageError("is damaged or cut short (a page without pixels); replace it or remove it")
        sizes = self._value(tags, _PLACES[offsets])
        blocks = [self._read(*where) for where in zip(self._value(tags, offsets), sizes, strict=True)]
        head = struct.pack(f"{self._order}2sHHHQ", b"II" if self._order == "<" else b"MM", 43, 8, 0, 16)
        if not self._big:
            head = struct.pack(f"{self._order}2sHI", b"II" if self._order == "<" else b"MM", 42, 8)
        start = len(head) + struct.calcsize(self._count) + len(tags) * self._entry + struct.calcsize(self._word)
        kind = 16 if self._big else 4
        width = struct.calcsize(self._word)
        tags[offsets] = _Entry(kind, len(blocks), bytes(len(blocks) * width))  # offsets follow below
        room = sum(len(entry.value) for entry in tags.values() if len(entry.value) > width)
        places, end = [], start + room
        for block in blocks:
            places.append(end)
            end += len(block)
        packed = struct.pack(f"{self._order}{len(places)}{self._word}", *places)
        tags[offsets] = _Entry(kind, len(blocks), packed)
        directory, values = struct.pack(f"{self._order}{self._count}", len(tags)), b""
        for tag, entry in sorted(tags.items()):
            directory += struct.pack(f"{self._order}HH{self._word}", tag, entry.kind, entry.count)
            if len(entry.value) > width:
                directory += struct.pack(f"{self._order}{self._word}", start + len(values))
                values += entry.value
            else:
                directory += entry.value.ljust(width, b"\0")
        return b"".join((head, directory, bytes(width), values, *blocks))

    def _tags(self, place: int) -> dict[int, _Entry]:
        count = self._numbers(self._count, self._read(place, struct.calcsize(self._count)))[0]
        entries = self._read(place + struct.calcsize(self._count), count * self._entry)
        width = struct.calcsize(self._word)
        tags = {}
        for start in range(0, len(entries), self._entry):
            tag, kind = self._numbers("HH", entries[start : start + 4])
            number = self._numbers(self._word, entries[start + 4 : start + 4 + width])[0]
            size = _SIZES.get(kind, 0) * number
            inside = entries[start + 4 + width : start + self._entry]
            if not size or tag in _ELSEWHERE:
                continue
            value = inside[:size] if size <= width else self._read(self._numbers(self._word, inside)[0], size)
            tags[tag] = _Entry(kind, number, value)
        return tags

    def _value(self, tags: dict[int, _Entry], tag: int) -> tuple[int, ...]:
        entry = tags.get(tag)
        kinds = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
        if entry is None or entry.kind not in kinds:
            return ()
        return self._numbers(f"{entry.count}{kinds[entry.kind]}", entry.value)

    def _subfile(self, entries: bytes) -> int:
        for start in range(0, len(entries), self._entry):
            tag, kind = self._numbers("HH", entries[start : start + 4])
            if tag == _SUBFILE:
                place = start + (12 if self._big else 8)
                return self._numbers("H" if kind == 3 else "I", entries[place : place + (2 if kind == 3 else 4)])[0]
        return 0

    def _numbers(self, kinds: str, content: bytes) -> tuple[int, ...]:
        return struct.unpack(f"{self._order}{kinds}", content)

    def _read(self, place: int, size: int) -> bytes:
        """Read bytes at an offset.

        Raises:
            EOFError: the bytes extend beyond the end of the file, which is therefore damaged.
        """
        if place + size > self._end:
            raise EOFError("it ends within a page")
        self._file.seek(place)
        return self._file.read(size)
