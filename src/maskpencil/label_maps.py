"""Read and write label maps as palette PNGs, and read mask files without changing their values."""

import os
import zlib
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import ImageError
from maskpencil.images import ORIENTATION, decoding, opened_image, save_image, upright

IGNORE_COLOR = (224, 224, 192)
"""The color of ignored pixels: the cream of Pascal VOC's borders."""

LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MaskPixels:
    """The values of a mask file, before they are mapped to classes.

    `values` is (H, W) for one-channel files (palette indices stay indices) and (H, W, 3) for colored ones. `palette`
    is (n, 3) uint8, or None if the file has none.
    """

    values: npt.NDArray[np.integer]
    palette: npt.NDArray[np.uint8] | None


@dataclass(frozen=True)
class RunLengths:
    """The pixels of a mask as runs of equal values in reading order.

    Args:
        size: (height, width) of the mask.
        values: the value of each run, (n) or (n, 3).
        lengths: the number of pixels of each run, (n).
        palette: see `MaskPixels`.
    """

    size: tuple[int, int]
    values: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.int32]
    palette: npt.NDArray[np.uint8] | None

    @classmethod
    def of(cls, pixels: MaskPixels) -> Self:
        """Compress the pixels of a mask."""
        height, width, *channels = pixels.values.shape
        values = pixels.values.reshape(height * width, *channels)
        differ = values[1:] != values[:-1]
        starts = np.flatnonzero(np.concatenate(([True], differ.any(axis=1) if channels else differ)))
        lengths = np.diff(starts, append=height * width).astype(np.int32)
        return cls((height, width), values[starts], lengths, pixels.palette)

    @property
    def nbytes(self) -> int:
        """The memory that they take."""
        return self.values.nbytes + self.lengths.nbytes

    def pixels(self) -> MaskPixels:
        """Return the pixels again."""
        values = np.repeat(self.values, self.lengths, axis=0)
        return MaskPixels(values.reshape(*self.size, *values.shape[1:]), self.palette)


def read_mask_pixels(path: str | os.PathLike[str]) -> MaskPixels:
    """Read a mask file without changing a value: palette indices stay indices, 16-bit numbers stay 16-bit.

    Raises:
        ImageError: not a readable image, truncated, over `MAX_PIXELS`, or of floating-point numbers.
    """
    with opened_image(path) as opened, decoding(os.fspath(path)):
        image = upright(opened)
        if image.mode == "P":
            flat = image.getpalette("RGB")
            palette = np.array(flat, dtype=np.uint8).reshape(-1, 3) if flat else None
            return MaskPixels(np.array(image), palette)
        if image.mode == "F":
            raise ImageError(f"{path}: holds floating-point numbers; expected whole class numbers or colors")
        if image.mode in ("1", "L", "LA"):
            return MaskPixels(np.array(image if image.mode == "L" else image.convert("L")), None)
        if image.mode.startswith("I"):
            return MaskPixels(np.array(image), None)
        values = np.array(image.convert("RGB"))
        first = values[..., 0]
        if (values == first[..., None]).all():  # three equal channels are a gray image
            return MaskPixels(first.copy(), None)
        return MaskPixels(values, None)


def turned_as_shown(label_map: LabelMap, orientation: int) -> LabelMap:
    """Rotate and mirror a label map (H, W) by an EXIF `orientation` from 1 to 8."""
    image = Image.fromarray(label_map)
    image.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(image))


def read_label_map(path: str | os.PathLike[str]) -> LabelMap:
    """Read a label map that `write_label_map` wrote.

    Returns:
        (H, W) uint8 class indices, `IGNORE_INDEX` at ignored pixels.

    Raises:
        ImageError: not a readable one-channel 8-bit image.
    """
    values = read_mask_pixels(path).values
    if values.ndim != 2 or values.dtype != np.uint8:
        raise ImageError(
            f"{path}: has {values.ndim}-d {values.dtype} values; expected one 8-bit channel of class numbers"
        )
    return values.astype(np.uint8)


def write_label_map(path: str | os.PathLike[str], label_map: LabelMap, colors: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) class indices as a palette PNG whose first colors are `colors` (K, 3), those of the classes.

    Compressed by run lengths only, which takes a third of the time and a quarter more space.

    Raises:
        OutputError: the file cannot be written.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE_INDEX] = IGNORE_COLOR
    image = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8))  # mode L
    image.putpalette(palette.tobytes())
    save_image(path, image, "PNG", compress_type=zlib.Z_RLE)
