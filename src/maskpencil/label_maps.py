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
from maskpencil.images import ORIENTATION, Stored, encoded, read_stored, save_image

IGNORE_COLOR = (224, 224, 192)
"""The color of ignored pixels: the cream of Pascal VOC's borders."""

LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MaskPixels:
    """The values of a mask file, before they are mapped to classes.

    `values` is (H, W) for one-channel files (palette indices stay indices) and (H, W, 3) for color files. `palette` is
    (n, 3) uint8, None if the file has no palette; `alpha` (H, W) is the opacity, 0-255, None if all pixels are opaque.
    `remark` is "" for ordinary files; else it describes how the file was read, and continues a sentence that begins
    with "masks", such as "are TIFF files in which 0 is white...".
    """

    values: npt.NDArray[np.integer]
    palette: npt.NDArray[np.uint8] | None
    alpha: npt.NDArray[np.uint8] | None = None
    remark: str = ""


@dataclass(frozen=True)
class PixelRuns:
    """The pixels of a mask as runs of equal values, row by row.

    Args:
        size: (height, width) of the mask.
        values: the value of each run, (n) or (n, 3).
        lengths: the number of pixels of each run, (n).
        palette: see `MaskPixels`.
        alpha: the opacity of each run, (n); see `MaskPixels`.
    """

    size: tuple[int, int]
    values: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.int32]
    palette: npt.NDArray[np.uint8] | None
    alpha: npt.NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, pixels: MaskPixels) -> Self:
        """Compress the pixels of a mask."""
        height, width, *channels = pixels.values.shape
        values = pixels.values.reshape(height * width, *channels)
        differ = values[1:] != values[:-1]
        differ = differ.any(axis=1) if channels else differ
        alpha = None if pixels.alpha is None else pixels.alpha.ravel()
        if alpha is not None:
            differ = differ | (alpha[1:] != alpha[:-1])
        starts = np.concatenate(([0], np.flatnonzero(differ) + 1))
        lengths = np.diff(starts, append=height * width).astype(np.int32)
        return cls((height, width), values[starts], lengths, pixels.palette, None if alpha is None else alpha[starts])

    @property
    def nbytes(self) -> int:
        """The memory of the runs in bytes."""
        return self.values.nbytes + self.lengths.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    def pixels(self) -> MaskPixels:
        """Restore the pixels of the mask."""
        values = np.repeat(self.values, self.lengths, axis=0)
        alpha = None if self.alpha is None else np.repeat(self.alpha, self.lengths).reshape(self.size)
        return MaskPixels(values.reshape(*self.size, *values.shape[1:]), self.palette, alpha)


def read_mask_pixels(source: str | os.PathLike[str] | bytes, *, name: str = "") -> MaskPixels:
    """Read a mask file without changing a value: palette indices stay indices, 16-bit numbers stay 16-bit.

    Numbers are read as stored, even from a TIFF in which 0 is white. Whole numbers stored as floats are converted to
    integers. Messages call the file `name`, by default its path.

    Raises:
        ImageError: the file is not a readable image, is truncated, has more than `MAX_PIXELS` pixels, or is not a mask:
            its numbers are not whole, or its bands are not colors.
    """
    name = name or ("the mask" if isinstance(source, bytes) else os.fspath(source))
    stored = read_stored(source, name=name)
    values, alpha = stored.values, _opacity(stored)
    remark = (
        "are TIFF files in which 0 is white: the stored numbers are read, not the inverted ones"
        if stored.shown_inverted
        else ""
    )
    if values.dtype.kind == "f":
        values = _whole(values, name)
    if values.ndim == 3 and (values == values[..., :1]).all():  # three equal channels are a gray image
        return MaskPixels(np.ascontiguousarray(values[..., 0]), None, alpha, remark)
    if stored.bands > 1:
        raise ImageError(
            f"{name}: holds {stored.bands} bands of numbers that are not colors; expected one band of class "
            "numbers; save the band of the classes alone, for example: gdal_translate -b 1 IN.tif OUT.tif"
        )
    if values.ndim == 2:
        palette, cleared = _with_clear_black(stored)
        return MaskPixels(values, palette, alpha, _CLEARED if cleared else remark)
    if _are_objects(values):
        return MaskPixels(values[..., 0].astype(np.uint8), None, alpha, _OBJECTS)
    return MaskPixels(_as_colors(values, name), None, alpha, remark)


def _opacity(stored: Stored) -> npt.NDArray[np.uint8] | None:
    """Return the opacity (H, W) of a mask file, 0-255; None if all pixels are opaque."""
    alpha = stored.alpha
    if alpha is None or (alpha == np.iinfo(alpha.dtype).max).all():
        return None
    return alpha.astype(np.uint8) if alpha.dtype == np.uint8 else _high_bytes(alpha)


def _whole(values: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.integer]:
    """Convert whole numbers stored as floats to uint8 if they are in 0..255, else to int32.

    Raises:
        ImageError: a number is not whole, or is too large for int32.
    """
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any() or np.abs(numbers).max() >= 2**31:
        raise ImageError(
            f"{name}: holds floating-point numbers that are not integers below 2**31; expected integer class numbers "
            "or colors; save the mask with an integer data type"
        )
    fits = numbers.min() >= 0 and numbers.max() <= 255
    return numbers.astype(np.uint8 if fits else np.int32)


_CLEARED = "have transparent colors in their palette, which are read as black (0) if colors identify the classes"


def _with_clear_black(stored: Stored) -> tuple[npt.NDArray[np.uint8] | None, bool]:
    """Return the palette with fully transparent colors set to black, and whether any color changed.

    Transparent pixels then have the same color in all files. No color changes if opaque pixels already use black.
    """
    palette = stored.palette
    if palette is None or not stored.clear:
        return palette, False
    used = [number for number in np.unique(stored.values).tolist() if number < len(palette)]
    clear = [number for number in used if number in stored.clear]
    others = [number for number in used if number not in stored.clear]
    if not palette[clear].any() or not palette[others].any(axis=1).all():
        return palette, False
    palette = palette.copy()
    palette[clear] = 0
    return palette, True


_OBJECTS = "hold 16-bit class numbers in red and object numbers in green: the class numbers are read"


def _are_objects(values: npt.NDArray[np.integer]) -> bool:
    """Return whether 16-bit channels (H, W, 3) hold class numbers (red), object numbers (green) and zeros (blue).

    The result is False if pixels with the same object number have different class numbers.
    """
    if values.dtype != np.uint16 or values[..., 2].any() or not 0 < values[..., 0].max() < IGNORE_INDEX:
        return False
    objects = np.unique(values[..., :2][values[..., 1] > 0], axis=0)  # (n, 2): class and number
    return len(np.unique(objects[:, 1])) == len(objects)


def _as_colors(values: npt.NDArray[np.integer], name: str) -> npt.NDArray[np.uint8]:
    """Convert colors of 16 bits per channel (H, W, 3) to 8 bits.

    Raises:
        ImageError: a color cannot be represented exactly in 8 bits.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype == np.uint16:
        for one in (257, 256):  # the usual factors by which 8-bit colors are widened
            if not (values % one).any():
                return (values // one).astype(np.uint8)
    ranges = (f"{channel} {values[..., place].min()} to {values[..., place].max()}" for place, channel in _CHANNELS)
    raise ImageError(
        f"{name}: holds numbers of {8 * values.dtype.itemsize} bits in three channels ({', '.join(ranges)}), "
        "which are not 8-bit colors; expected one channel of class numbers; save the channel of the classes "
        "alone, for example red: gdal_translate -b 1 IN.png OUT.png"
    )


_CHANNELS = ((0, "red"), (1, "green"), (2, "blue"))


def _high_bytes(values: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint8]:
    return (values >> 8).astype(np.uint8)


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
        ImageError: the file is not a readable 8-bit image with one channel.
    """
    values = read_mask_pixels(path).values
    if values.ndim != 2 or values.dtype != np.uint8:
        raise ImageError(
            f"{path}: has {values.ndim}-d {values.dtype} values; expected one 8-bit channel of class numbers"
        )
    return values.astype(np.uint8)


def file_palette(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the palette (256, 3) of a mask file for the colors (K, 3) of the classes."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE_INDEX] = IGNORE_COLOR
    return palette


def write_label_map(path: str | os.PathLike[str], label_map: LabelMap, colors: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) class indices as a palette PNG; `colors` (K, 3) are the colors of the classes.

    The PNG is compressed by run lengths only: this takes a third of the time of Pillow's default and a quarter more
    space.

    Raises:
        OutputError: the file cannot be written.
    """
    save_image(path, _palette_image(label_map, colors), "PNG", **_COMPRESSION)


def label_map_png(label_map: LabelMap, colors: npt.NDArray[np.uint8]) -> bytes:
    """Return the content of the file that `write_label_map` writes."""
    return encoded(_palette_image(label_map, colors), "PNG", **_COMPRESSION)


_COMPRESSION = {"compress_type": zlib.Z_RLE}


def _palette_image(label_map: LabelMap, colors: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8))  # mode L
    image.putpalette(file_palette(colors).tobytes())
    return image
