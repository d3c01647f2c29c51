"""Read the numbers of an image file as they are stored, not as they are shown: what masks need."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.images import tiff
from maskpencil.images.bands import Bands, Levels, Samples
from maskpencil.images.files import decoding, deep_png, is_tiff, naming, opened_image, upright
from maskpencil.images.read import first_page, orientation_of


@dataclass(frozen=True)
class Stored:
    """The numbers of an image file, upright.

    Attributes:
        values: (H, W) numbers, or (H, W, 3) red, green and blue; black and white of one bit are 0 and 255.
        alpha: (H, W) uint8 or uint16; None where the file has none.
        palette: (n, 3) uint8 colors of the numbers, where the file has them.
        shown_inverted: whether the file is shown inverted, as a TIFF that says "white is zero".
        bands: how many bands of numbers there are that are not marked as colors or alpha, where they are several.
    """

    values: npt.NDArray[Any]
    alpha: npt.NDArray[np.unsignedinteger] | None = None
    palette: npt.NDArray[np.uint8] | None = None
    shown_inverted: bool = False
    bands: int = 1


def read_stored(source: str | os.PathLike[str] | bytes, *, name: str = "") -> Stored:
    """Read the numbers of an image file; of several pages the first. Messages call it `name`, by default its path.

    Raises:
        ImageError: not a readable image, truncated, or over `MAX_PIXELS`.
    """
    name = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    with decoding(name):
        if is_tiff(source):
            with naming(name):
                return _of_tiff(source, name)
    with opened_image(source, name=name) as image, decoding(name):
        deep = deep_png(image, source)
        if deep is not None:
            deep = tiff.turned(deep, orientation_of(image.getexif()))
            return Stored(deep[..., :3], deep[..., 3] if deep.shape[2] == 4 else None)
        return _of_pillow(upright(image))


def _of_pillow(image: Image.Image) -> Stored:
    if image.mode == "P":
        flat = image.getpalette("RGB")
        palette = np.array(flat, dtype=np.uint8).reshape(-1, 3) if flat else None
        return Stored(np.array(image), palette=palette)
    if image.mode == "1":
        return Stored(np.array(image.convert("L")))
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return Stored(np.array(image))
    if image.mode in ("LA", "PA", "RGBA"):
        alpha = np.array(image.getchannel("A"))
        return Stored(np.array(image.convert("L" if image.mode == "LA" else "RGB")), alpha)
    return Stored(np.array(image.convert("RGB")))


def _of_tiff(source: str | os.PathLike[str] | bytes, name: str) -> Stored:
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
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
    """Return the numbers of one band; one bit has no number but the black and white that it is shown in."""
    if bands.bits > 1 or bands.model == "palette":
        return values
    white = values == (0 if bands.model == "white-is-zero" else 1)
    return np.where(white, np.uint8(255), np.uint8(0))
