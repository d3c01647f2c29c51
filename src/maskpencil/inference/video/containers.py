"""Find out whether a video file is complete, by the sizes in its container's headers.

FFmpeg reads a truncated file as if it ended there. Only headers are read here; the data between them are skipped.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MP4_BOXES = frozenset(
    kind.encode()
    for kind in (
        *("ftyp", "styp", "moov", "mdat", "free", "skip", "wide", "moof", "mfra", "sidx", "ssix", "uuid"),
        *("meta", "udta", "pnot", "PICT", "prft", "emsg", "pdin"),
    )
)
_EBML = bytes.fromhex("1a45dfa3")
_EBML_IDS = 4  # the longest ID of an element, in bytes
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_TS_SYNC, _TS_SIZES, _TS_LOOKS = 0x47, ((188, 0), (192, 4), (204, 0)), 5  # packet size, offset of the sync byte

_MAX_HEADERS = 1_000_000
"""The largest number of headers that are read, since a crafted file that contains only headers would take hours."""


@dataclass(frozen=True)
class Structure:
    """Facts from the headers of a video file."""

    is_cut: bool = False
    """Whether the file ends earlier than its headers state."""

    has_unread_video: bool = False
    """Whether the file holds a complete second MP4, which FFmpeg skips, after the first MP4."""


def read_structure(path: str | os.PathLike[str]) -> Structure:
    """Read from the headers of an MP4, MOV, Matroska, WebM, AVI, WMV or MPEG-TS file whether the file is complete.

    Files of other kinds, and files with meaningless headers, count as complete.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        if start[4:8] in _MP4_BOXES:
            return _mp4(file, size)
        if start[:4] == _EBML:
            return Structure(is_cut=_matroska_is_cut(file, size))
        if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            return Structure(is_cut=_avi_is_cut(file, size))
        if start == _ASF_HEADER:
            return Structure(is_cut=_asf_is_cut(file, size))
        return Structure(is_cut=_ts_is_cut(file, size))


def _mp4(file: BinaryIO, size: int) -> Structure:
    """Walk over the boxes of an MP4 or MOV file, which begin with a size and a type.

    The size has 32 bits; 1 means that a 64-bit size follows the type, 0 that the box extends to the end of the file.
    """
    at, starts = 0, 0
    for _ in range(_MAX_HEADERS):
        head = _read(file, at, 16)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if kind not in _MP4_BOXES or 0 < length < 8:  # some cameras append other data after the last box
            break
        starts += kind == b"ftyp"
        if length == 0:
            break
        at += length
    return Structure(is_cut=at > size, has_unread_video=starts > 1)


def _matroska_is_cut(file: BinaryIO, size: int) -> bool:
    """Return whether a Matroska file is cut short, by walking over its elements.

    An element may have an unknown size, as in live recordings; then the elements inside it are read one by one.
    """
    at = 0
    for _ in range(_MAX_HEADERS):
        if at >= size:
            break
        head = _read(file, at, _EBML_IDS + 8)
        id_length = 9 - head[0].bit_length()
        if id_length > _EBML_IDS:
            return False  # no element begins here
        if id_length >= len(head):
            return True
        size_length = 9 - head[id_length].bit_length()
        if size_length > 8:
            return False
        if id_length + size_length > len(head):
            return True
        at += id_length + size_length
        stated = int.from_bytes(head[id_length : id_length + size_length], "big") - (1 << 7 * size_length)
        if stated != (1 << 7 * size_length) - 1:  # all ones: unknown
            at += stated
    return at > size


def _avi_is_cut(file: BinaryIO, size: int) -> bool:
    """Return whether an AVI file is cut short, by walking over its RIFF chunks; a long file has several."""
    at = 0
    for _ in range(_MAX_HEADERS):
        if at + 8 > size:
            break
        kind, length = struct.unpack("<4sI", _read(file, at, 8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):  # the writer did not fill in the size
            return False
        at += 8 + length
        if at > size:
            return True
        at += length % 2
    return False


def _asf_is_cut(file: BinaryIO, size: int) -> bool:
    (end,) = struct.unpack("<Q", _read(file, 16, 8))
    at = 30
    for _ in range(_MAX_HEADERS):
        if at + 48 > min(end, size):
            break
        kind, length = struct.unpack("<16sQ", _read(file, at, 24))
        if kind == _ASF_FILE:
            (stated,) = struct.unpack("<Q", _read(file, at + 40, 8))
            return bool(stated > size)
        if length < 24:
            return False
        at += length
    return False


def _ts_is_cut(file: BinaryIO, size: int) -> bool:
    for packet, offset in _TS_SIZES:
        places = range(offset, offset + packet * _TS_LOOKS, packet)
        if places[-1] < size and all(_read(file, place, 1)[0] == _TS_SYNC for place in places):
            return size % packet != 0
    return False


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
