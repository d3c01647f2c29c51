"""Read the pixel values of mask files as they are stored, without converting them for display."""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images import tiff
from maskpencil.images.bands import Bands, Levels, Samples
from maskpencil.images.files import decoding, deep_png, head_of, is_tiff, naming, opened_image, upright
from maskpencil.images.read import JPEG2000_HEAD, first_page, jpeg2000_facts, orientation_of

TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Stored:
    """The pixel values of an image file as stored, rotated by its EXIF orientation.

    Attributes:
        values: (H, W) numbers, or (H, W, 3) red, green and blue; in 1-bit images, black is 0 and white 255.
        alpha: (H, W) uint8 or uint16; None if the file has no alpha channel.
        palette: (n, 3) uint8, the color of each number; None if the file has no palette.
        clear: the palette indices of fully transparent colors.
        shown_inverted: whether viewers show large numbers dark, as in a TIFF in which 0 is white.
        bands: the number of bands of a TIFF file, not counting alpha; 1 if the file marks some of its bands as colors
            (RGB, CMYK), and for all other formats.
    """

    values: npt.NDArray[Any]
    alpha: npt.NDArray[np.unsignedinteger] | None = None
    palette: npt.NDArray[np.uint8] | None = None
    clear: tuple[int, ...] = ()
    shown_inverted: bool = False
    bands: int = 1


def read_stored(source: str | os.PathLike[str] | bytes, *, name: str = "") -> Stored:
    """Read the pixel values of the first page of an image file, given as its path or its bytes.

    Raises:
        ImageError: the file is not a readable image, is truncated, or has more than `MAX_PIXELS` pixels; the message
            begins with `name`, by default the path.
    """
    name = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    if isinstance(source, bytes) or Path(source).suffix.lower() in TIFF_SUFFIXES:  # saves opening other files twice
        with decoding(name):
            if is_tiff(source):
                return _of_tiff(source, name)
    with opened_image(source, name=name) as image, decoding(name), naming(name):
        if image.format == "TIFF":
            return _of_tiff(source, name)
        deep = deep_png(image, source)
        if deep is not None:
            deep = tiff.turned(deep, orientation_of(image.getexif()))
            return Stored(deep[..., :3], deep[..., 3] if deep.shape[2] == 4 else None)
        scale = _scale(image, source)
        stored = _of_pillow(upright(image))
    return stored if scale is None else replace(stored, values=_unscaled(stored.values, scale))


def _of_pillow(image: Image.Image) -> Stored:
    if image.mode == "P":
        flat = image.getpalette("RGB")
        palette = np.array(flat, dtype=np.uint8).reshape(-1, 3) if flat else None
        return Stored(np.array(image), palette=palette, clear=_clear(image))
    if image.mode == "1":
        return Stored(np.array(image.convert("L")))
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return Stored(np.array(image))
    if image.mode in ("LA", "PA", "RGBA"):
        alpha = np.array(image.getchannel("A"))
        return Stored(np.array(image.convert("L" if image.mode == "LA" else "RGB")), alpha)
    return Stored(np.array(image.convert("RGB")))


def _scale(image: Image.Image, source: str | os.PathLike[str] | bytes) -> tuple[int, int] | None:
    """Return by which factor Pillow scales the pixel values of a file; None if Pillow does not scale them.

    The factor is a pair: a value in the file, and the value to which Pillow scales this value, such as (15, 255).

    Raises:
        ImageError: Pillow would drop bits of the values.
    """
    if image.format == "PPM" and image.mode in ("L", "I"):
        for *_, given in getattr(image, "tile", ()):  # if Pillow scales: (mode, greatest number)
            if isinstance(given, tuple):
                return given[1], 255 if image.mode == "L" else 65535
    if image.format == "JPEG2000":
        facts = jpeg2000_facts(head_of(source, JPEG2000_HEAD))
        if facts.bits > 8 and facts.count > 1:
            raise ImageError(
                f"is JPEG 2000 with {facts.count} bands of {facts.bits} bits; only 8 bits per band would be read; "
                "convert it: gdal_translate IN.jp2 OUT.tif"
            )
        room = 16 if facts.bits > 8 else 8
        if facts.bits != room and facts.count == 1:  # Pillow shifts the values to the highest bits
            return 1, 1 << (room - facts.bits)
    return None


def _unscaled(values: npt.NDArray[Any], scale: tuple[int, int]) -> npt.NDArray[Any]:
    """Undo Pillow's scaling by the factor `scale` from `_scale`, and return the values (H, W) as stored."""
    greatest, shown = scale
    return ((values.astype(np.int64) * greatest * 2 + shown) // (2 * shown)).astype(values.dtype)


def _clear(image: Image.Image) -> tuple[int, ...]:
    """Return the palette indices of fully transparent colors."""
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        return tuple(number for number, alpha in enumerate(transparency) if alpha == 0)
    return () if transparency is None else (int(transparency),)


def _of_tiff(source: str | os.PathLike[str] | bytes, name: str) -> Stored:
    with naming(name), io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        page = first_page(tiff.read_pages(file))
        bands = page.bands
        seen = bands.colors if bands.alpha is None else (*bands.colors, bands.alpha)
        samples = tiff.turned(page.samples(file, seen), page.orientation)
    colors, alpha = samples[..., : len(bands.colors)], None if bands.alpha is None else samples[..., -1]
    if bands.model == "cmyk":
        values: Samples = Levels(bands).to_rgb(colors, name)
    elif len(bands.colors) == 1:
        values = _numbers(np.ascontiguousarray(colors[..., 0]), bands)
    else:
        values = np.ascontiguousarray(colors)
    return Stored(
        values,
        alpha=alpha if alpha is not None and alpha.dtype in (np.uint8, np.uint16) else None,
        palette=bands.palette,
        shown_inverted=bands.model == "white-is-zero" and bands.bits > 1,
        bands=1 if bands.marked and bands.model in ("rgb", "cmyk") else bands.count - (bands.alpha is not None),
    )


def _numbers(values: Samples, bands: Bands) -> Samples:
    """Return the numbers (H, W) of one band as stored, except in 1-bit gray images: 0 for black, 255 for white."""
    if bands.bits > 1 or bands.model == "palette":
        return values
    white = values == (0 if bands.model == "white-is-zero" else 1)
    return np.where(white, np.uint8(255), np.uint8(0))
