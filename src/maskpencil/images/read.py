"""Read image files of any format as RGB uint8, or only their headers.

Other packages open image files through `maskpencil.images`, except `inference.raster`, which reads parts of rasters.
"""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images import tiff
from maskpencil.images.bands import Bands, Levels, empty_pixels
from maskpencil.images.files import (
    ORIENTATION,
    check_size,
    decoding,
    deep_png,
    head_of,
    is_tiff,
    naming,
    opened_image,
    read_exif,
)
from maskpencil.images.pixels import (
    ImageSource,
    Pixels,
    RGBImage,
    array_to_pixels,
    is_tensor,
    refuse_wide,
    tensor_to_pixels,
    to_pixels,
)
from maskpencil.parsing import shown

MAX_BYTES = 2**31
"""The largest number of bytes of all bands of a decoded TIFF page; it limits the number of bands of a large image."""

_SEVERAL = ("AVIF", "GIF", "PNG", "WEBP")
"""Pillow's names of formats that may hold several images, without MPO, whose further images are previews or other
views."""

JPEG2000_HEAD = 2**16
"""The number of bytes at the start of a JPEG 2000 file in which its header is searched."""

_START, _COLOR = b"\xff\x4f\xff\x51", b"colr\x01"
_GRAY = 17


@dataclass(frozen=True)
class Header:
    """The header of an image file.

    `mode` is Pillow's mode, such as "RGB". `size` is (height, width) as stored. `orientation` is the EXIF orientation,
    1 to 8: 1 is upright; for other values viewers rotate or mirror the image, and from 5 on they exchange height and
    width. `pages` is the number of images in the file.
    """

    mode: str
    size: tuple[int, int]
    orientation: int
    pages: int = 1

    @property
    def shown_size(self) -> tuple[int, int]:
        """The (height, width) of the upright image, as `read_image` returns it."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of an image file, without decoding its pixels.

    Raises:
        ImageError: the file is not a readable image, or has more than `MAX_PIXELS` pixels.
    """
    name = os.fspath(path)
    with decoding(name):
        if is_tiff(path):
            with Path(path).open("rb") as file, naming(name):
                pages = tiff.read_pages(file)
                page = first_page(pages)
                mode = {"palette": "P", "rgb": "RGB", "cmyk": "CMYK"}.get(page.bands.model, "L")
            return Header(mode, page.size, page.orientation, len(tiff.main_pages(pages)))
        with opened_image(path) as image:
            return Header(
                image.mode, (image.height, image.width), orientation_of(read_exif(image, path)), _pages(image)
            )


def encoded_size(content: bytes) -> tuple[int, int]:
    """Return the (height, width) of an encoded image as stored, without decoding its pixels.

    The EXIF orientation is not applied.

    Raises:
        ImageError: the bytes are not an image in a known format, or the image has more than `MAX_PIXELS` pixels.
    """
    name = "the image"
    with decoding(name):
        if is_tiff(content):
            with io.BytesIO(content) as file, naming(name):
                return first_page(tiff.read_pages(file)).size
        with opened_image(content, name=name) as image:
            return image.height, image.width


def read_image(source: ImageSource) -> RGBImage:
    """Decode an image to RGB; `read_pixels` describes `source` and the conversion.

    Returns:
        (H, W, 3) uint8, 0-255, contiguous.

    Raises:
        ImageError: the image is not readable, is truncated, or has more than `MAX_PIXELS` pixels; or its pixels are
            floats, booleans or integers of more than 16 bits, whose range is unknown; the message says how to convert
            them.
    """
    return read_pixels(source).rgb


def read_pixels(source: ImageSource) -> Pixels:
    """Decode an image to RGB, and find its empty pixels.

    The image is rotated and mirrored by its EXIF orientation. If a file has several pages, only the first is read.
    Transparent pixels are blended over white; but in TIFF and JPEG 2000 files transparency only marks empty pixels, as
    in GDAL. The module `maskpencil.images.bands` describes which bands of TIFF and JPEG 2000 files are visible and how
    their numbers are mapped to 0-255. In other formats 16-bit numbers from 0 to 65535 are mapped to 0-255.

    Args:
        source: a path (a leading ~ is the home folder), encoded bytes, a file opened for reading bytes (read from its
            start if it can be rewound), a Pillow image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a torch
            tensor (H, W), (1, H, W), (3, H, W) or (4, H, W). Arrays and tensors hold uint8 (0-255) or uint16 (0-65535)
            in the order red, green, blue; an image in OpenCV's order, blue, green, red, is given as
            `image[..., ::-1]`.

    Raises:
        ImageError: the image is not readable, is truncated, or has more than `MAX_PIXELS` pixels; or its pixels are
            floats, booleans or integers of more than 16 bits, whose range is unknown; the message says how to convert
            them.
    """
    if isinstance(source, np.ndarray):
        return array_to_pixels(source)
    if isinstance(source, Image.Image):
        with decoding("the image"):
            refuse_wide(source)
            return to_pixels(source, "the image")
    if is_tensor(source):
        return tensor_to_pixels(source)
    file, name = _as_file(source)
    with decoding(name):
        if is_tiff(file):
            return _tiff_pixels(file, name)
        with opened_image(file, name=name) as image:
            pages = _pages(image)
            if image.format == "JPEG2000":
                return _jpeg2000_pixels(image, file, name)
            deep = None if "transparency" in image.info else deep_png(image, file)
            if deep is not None:
                return replace(array_to_pixels(tiff.turned(deep, orientation_of(image.getexif()))), pages=pages)
            return replace(to_pixels(image, name), pages=pages)


def _as_file(source: Any) -> tuple[str | bytes, str]:
    """Return the path or the encoded bytes of an image given as a path, as bytes or as an open file, and its name.

    The name, for messages, is the path, or "the image" if there is no path.

    Raises:
        ImageError: `source` is of another type, or cannot be read as bytes.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the image"
    if isinstance(source, str | os.PathLike):
        path = os.path.expanduser(os.fsdecode(source))  # noqa: PTH111 - Path.expanduser fails without a home
        return path, path
    if not hasattr(source, "read"):
        raise ImageError(
            "an image must be a path, encoded bytes, a file opened with 'rb', a Pillow image, an array or a tensor, "
            f"but got {shown(source)} of {type(source).__name__}"
        )
    name = getattr(source, "name", None)
    name = name if isinstance(name, str) else "the image"
    try:
        if hasattr(source, "seekable") and source.seekable():
            source.seek(0)
        content = source.read()
    except (OSError, ValueError) as error:  # for example, it is closed
        raise ImageError(f"{name}: cannot be read ({error}); give a file that is open for reading") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: is open as text; open it with mode 'rb', or give its path")
    return content, name


def _pages(image: Image.Image) -> int:
    """Return the number of images in an opened file."""
    return int(getattr(image, "n_frames", 1)) if image.format in _SEVERAL else 1


def orientation_of(exif: Image.Exif) -> int:
    """Return the orientation in EXIF entries, 1 to 8; 1 if the orientation is missing or invalid."""
    value = exif.get(ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _tiff_pixels(source: str | os.PathLike[str] | bytes, name: str) -> Pixels:
    """Read the first page of a TIFF file as RGB; errors begin with `name`."""
    path = None if isinstance(source, bytes) else Path(source)
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file, naming(name):
        pages = tiff.read_pages(file)
        page = first_page(pages)
        bands = page.bands
        seen = bands.colors if bands.alpha is None else (*bands.colors, bands.alpha)
        samples = page.samples(file, seen)
        mask = _tiff_mask(file, page, pages, path)
    alpha = None if bands.alpha is None else samples[..., -1]
    found = _seen(samples[..., : len(bands.colors)], bands, name, alpha=alpha, mask=mask)
    return replace(
        found,
        rgb=np.ascontiguousarray(tiff.turned(found.rgb, page.orientation)),
        empty=None if found.empty is None else tiff.turned(found.empty, page.orientation),
        pages=len(tiff.main_pages(pages)),
        has_place=page.has_place or (path is not None and tiff.has_world_file(path)),
    )


def first_page(pages: list[tiff.TiffPage]) -> tiff.TiffPage:
    """Return the first page of a TIFF file that is neither a mask nor a smaller copy; only this page is read.

    Raises:
        ImageError: the page is too large, has no pixels, or belongs to a raw photo.
    """
    page = tiff.main_pages(pages)[0]
    check_size(page.size)
    height, width = page.size
    if 0 in page.size:
        raise ImageError("has no pixels; replace it or remove it")
    if tiff.is_raw_photo(page):
        raise ImageError("is a raw photo (DNG), whatever its name says; develop it to JPEG or TIFF first")
    if height * width * page.count * page.bits // 8 > MAX_BYTES:
        raise ImageError(
            f"is {width} x {height} pixels with {page.count} bands of {page.bits} bits, more than can be read at "
            "once; cut it into smaller images, or predict it with --geotiff"
        )
    return page


def _tiff_mask(
    file: IO[bytes], page: tiff.TiffPage, pages: list[tiff.TiffPage], path: Path | None
) -> npt.NDArray[np.generic] | None:
    """Read the mask (H, W) of a TIFF page, 0 at empty pixels, from another page or from a mask file.

    Return None if the page has no mask.

    Args:
        file: the open TIFF file.
        page: the page.
        pages: all pages of the file.
        path: the path of the file, next to which a mask file is searched; None if the image is in memory.

    Raises:
        ImageError: the mask file has another size than the page.
    """
    within = tiff.mask_of(page, pages)
    if within:
        return within.samples(file, (0,))[..., 0]
    if path is None or not tiff.mask_file(path).is_file():
        return None
    with tiff.mask_file(path).open("rb") as beside:
        first = tiff.read_pages(beside, most=1)[0]
        if first.size != page.size:
            raise ImageError(
                f"its TIFF mask file {tiff.mask_file(path).name} has another size than the image; remove it, "
                "or create it again"
            )
        return first.samples(beside, (0,))[..., 0]


def _jpeg2000_pixels(image: Image.Image, source: str | os.PathLike[str] | bytes, name: str) -> Pixels:
    facts = jpeg2000_facts(head_of(source, JPEG2000_HEAD))
    if facts.called_gray and facts.count > 1:  # GDAL's form of bands without colors, which Pillow cannot open
        with opened_image(head_of(source, -1)[facts.start :]) as bare:
            values = np.array(bare)
    else:
        values = np.array(image)
    bits = facts.bits
    samples = values if values.ndim == 3 else values[..., None]
    if bits > 8 and samples.shape[2] > 1:
        raise ImageError(
            f"{name}: is JPEG 2000 with {samples.shape[2]} bands of {bits} bits; expected 8 bits; predict it with "
            "--geotiff, or convert it: gdal_translate IN.jp2 OUT.tif"
        )
    if image.mode.startswith("I"):
        samples = samples.astype(np.uint16) >> np.uint16(16 - bits)
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        samples = np.array(image.convert("RGB"))
    count = samples.shape[2]
    alpha = samples[..., -1] if count in (2, 4) else None
    colors = samples[..., : count - (alpha is not None)]
    bands = Bands(
        count=count,
        dtype=samples.dtype,
        bits=max(8, bits),
        model="rgb" if colors.shape[2] == 3 else "gray",
        colors=tuple(range(colors.shape[2])),
        alpha=None if alpha is None else count - 1,
    )
    return _seen(colors, bands, name, alpha=alpha)


@dataclass(frozen=True)
class Jpeg2000Facts:
    """The header of a JPEG 2000 file.

    Attributes:
        start: the offset of the codestream (the header of the pixels, and the pixels) in the file.
        count: the number of bands.
        bits: the number of bits of the first band's numbers.
        called_gray: whether the file declares the color space to be gray, even if it has several bands.
    """

    start: int
    count: int
    bits: int
    called_gray: bool


def jpeg2000_facts(head: bytes) -> Jpeg2000Facts:
    """Read the header of a JPEG 2000 file from its first bytes.

    Raises:
        ValueError: the header is cut short.
    """
    start = head.find(_START)
    if start < 0 or len(head) < start + 43:
        raise ValueError("its header is cut short")
    color = head.find(_COLOR, 0, start)
    return Jpeg2000Facts(
        start=start,
        count=int.from_bytes(head[start + 40 : start + 42]),
        bits=(head[start + 42] & 127) + 1,
        called_gray=color >= 0 and int.from_bytes(head[color + 7 : color + 11]) == _GRAY,
    )


def _seen(
    colors: npt.NDArray[np.generic],
    bands: Bands,
    name: str,
    *,
    alpha: npt.NDArray[np.generic] | None = None,
    mask: npt.NDArray[np.generic] | None = None,
) -> Pixels:
    """Convert the numbers (H, W, n) of the visible bands to RGB, and find the empty pixels.

    Args:
        colors: the numbers of all pixels of the image.
        bands: the meaning of the bands.
        name: the name of the image, with which errors begin.
        alpha: (H, W), the band of transparency, if any.
        mask: (H, W), 0 at empty pixels, if any.
    """
    empty, levels = empty_pixels(colors, bands, alpha=alpha, mask=mask), Levels(bands)
    if levels.by_numbers:
        levels.count(colors, empty)
    rgb = levels.to_rgb(colors, name)
    return Pixels(rgb, empty if empty is not None and empty.any() else None, 1, bands.text, levels.text(name))
