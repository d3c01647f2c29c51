"""Write images that EXIF rotates with rotated pixels, for tools that ignore EXIF."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageOps

from maskpencil.images import ORIENTATION, decoding, is_tiff, opened_image, read_header, save_image

TURNED = range(2, 9)
"""EXIF orientations that rotate or mirror; other values do nothing."""

_EXIF_IFD, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},  # no library here turns a JPEG without decoding it
    "PNG": {"compress_level": 6},
    "WEBP": {"lossless": True, "exact": True, "method": 1},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
"""The options of each format: lossless, and the least loss for JPEG."""


def is_turned(path: Path) -> bool:
    """Return whether EXIF or XMP rotates or mirrors an image; its pixels are not decoded.

    Raises:
        ImageError: it is not a readable image.
    """
    with decoding(str(path)):
        if is_tiff(path):  # of any bands, which Pillow may not know
            return read_header(path).orientation in TURNED
    with opened_image(path) as image, decoding(str(path)):
        # Pillow's own way for PNG decodes all pixels to look behind them
        is_plain_png = image.format == "PNG" and not _has_late_metadata(path)
        exif = Image.Image.getexif(image) if is_plain_png else image.getexif()
        return exif.get(ORIENTATION, 1) in TURNED


def write_upright(source: Path, target: Path) -> None:
    """Write an image with its pixels rotated as EXIF says, in its own format, without an orientation.

    The file is whole or not there. Kept are mode and depth, EXIF's other entries (not in TIFF), the ICC profile and the
    resolution. PNG, TIFF and WebP lose nothing; JPEG is encoded once more, at quality 100 and 4:4:4. Of several frames
    the first is written.

    Raises:
        ImageError: `source` is not a readable image.
        OutputError: `target` cannot be written.
    """
    with opened_image(source) as image:
        with decoding(str(source)):
            own = image.format or ""
            file_format = "JPEG" if own == "MPO" else own  # a phone's JPEG with more images behind it
            image.load()  # turns a TIFF
            turned = ImageOps.exif_transpose(image)
        exif = turned.getexif()
        details = exif.get_ifd(_EXIF_IFD)
        if _WIDTH in details and _HEIGHT in details:
            details[_WIDTH], details[_HEIGHT] = turned.size
        metadata = {name: turned.info[name] for name in ("icc_profile", "dpi", "xmp") if turned.info.get(name)}
        save_image(target, turned, file_format, exif=exif, **metadata, **_OPTIONS.get(file_format, {}))


def _has_late_metadata(path: Path) -> bool:
    """Return whether a PNG has anything but pixels and its end after the first chunk of pixels."""
    with path.open("rb") as file:
        file.seek(8)  # the signature
        kinds = _chunks(file)
    after = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return any(kind not in (b"IDAT", b"IEND") for kind in after)


def _chunks(file: BinaryIO) -> list[bytes]:
    """Return the kinds of a PNG's chunks, up to its end or to where it is cut."""
    kinds = []
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        kinds.append(kind)
        file.seek(length + 4, 1)  # the content and its checksum
    return kinds
