"""Convert the bands of a raster file to RGB, and find its empty pixels.

The readers of TIFF, JPEG 2000 and large rasters all use these functions, so each converts a file to the same RGB.

The color interpretation of each band in the file determines which bands are visible, see `choose_bands`. `Levels` maps
a range of the numbers in the visible bands to 0-255. The range depends on the type of the numbers:

- Whole numbers for which the file declares at most 14 bits: 0 to the greatest number of that many bits, such as 4095
  for 12 bits.
- Numbers for which the file states a scale (and offset), such as 0.0001 for reflectance: 0 to 1 after scaling.
- Other whole numbers of 16 or 32 bits: 0 to 10000, the usual form of reflectance; but 0 to 65535 (32767 if signed) if
  more than one number in 1000 is above 16383. All pixels of the file are counted, never only a window of the file.
  Since there are only two ranges, the files of a data set usually have the same range.
- Floating-point numbers: 0 to 1; a file with numbers far outside this range is an error, see `FLOAT_LIMITS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.errors import ImageError

Samples = npt.NDArray[np.generic]

Model = Literal["gray", "white-is-zero", "palette", "rgb", "cmyk"]
"""The color model of the visible bands."""

REFLECTANCE = 10_000
"""The integer that means full reflectance (1.0) in most satellite products."""

FULL_RANGE_ABOVE = 2**14 - 1
MAX_ABOVE_SHARE = 0.001
"""The largest share of a file's numbers that may be outside a range; if more are outside, the next range is used, or an
error is raised."""

MAX_DECLARED_BITS = 14
"""The largest declared number of bits that determines the range; Sentinel-2 declares 15 bits for reflectance."""

FLOAT_LIMITS = (-1.0, 2.0)
"""The limits within which floating-point numbers count as 0 to 1, since reflectance may be slightly outside 0 to 1."""


@dataclass(frozen=True)
class Bands:
    """The bands of a raster file and how they become RGB; band numbers start at 0.

    Attributes:
        count: the number of bands.
        dtype: the type of the bands' numbers.
        bits: the number of bits that the file declares for each number of a band.
        model: the color model of the bands `colors`.
        colors: the visible bands: one band (gray, palette), three bands (red, green, blue) or four bands (CMYK).
        alpha: the band of transparency; None if there is no such band.
        marked: whether the file itself states which bands are visible, such as by marking a band as red.
        nodata: the number that marks empty pixels, which may be NaN; None if the file does not have one.
        palette: (n, 3) uint8, the color of each number, for the model "palette"; None for other models.
        scale: (factor, offset); number * factor + offset is the reflectance. None if the file does not state them.
    """

    count: int
    dtype: np.dtype[np.generic]
    bits: int
    model: Model
    colors: tuple[int, ...]
    alpha: int | None = None
    marked: bool = True
    nodata: float | None = None
    palette: npt.NDArray[np.uint8] | None = None
    scale: tuple[float, float] | None = None

    @property
    def others(self) -> tuple[int, ...]:
        """The bands that are neither visible nor alpha."""
        return tuple(band for band in range(self.count) if band not in self.colors and band != self.alpha)

    @property
    def is_plain(self) -> bool:
        """Whether the numbers are uint8 from 0 to 255, which are used without conversion."""
        return self.dtype == np.uint8 and self.bits == 8

    @property
    def text(self) -> str:
        """A description of the visible bands for the user; "" if all bands are visible, in their order."""
        if not self.others and self.alpha is None and self.colors == tuple(range(self.count)):
            return ""
        shown = _listed(self.colors)
        names = {"rgb": "red, green, blue", "cmyk": "cyan, magenta, yellow, black"}.get(self.model, "gray")
        if self.model == "palette":
            names = "colors of a palette"
        parts = [f"{shown} {'are' if len(self.colors) > 1 else 'is'} {names}"]
        if not self.marked:
            parts[0] = f"none is marked red, green or blue: {shown} are used for them"
        if self.alpha is not None:
            number = self.alpha + 1
            parts.append(
                f"{number} is alpha, and pixels with alpha 0 are empty (if {number} is not alpha but, say, infrared: "
                f"gdal_edit.py -colorinterp_{number} undefined FILE.tif)"
            )
        if self.others:
            parts.append(f"{_listed(self.others)} {'are' if len(self.others) > 1 else 'is'} left out")
        return f"of {self.count} bands {'; '.join(parts)}"


def choose_bands(
    count: int, marks: Sequence[str], *, base: Model = "gray", alpha: int | None = None
) -> tuple[Model, tuple[int, ...], int | None, bool]:
    """Choose the visible bands.

    Args:
        count: the number of bands.
        marks: the color interpretation of each band, in lower case: red, green, blue, alpha, gray, undefined, ...
        base: the color model in the file's header: gray, white-is-zero, palette or cmyk. It is ignored if bands are
            marked red, green and blue.
        alpha: the band of transparency if `marks` does not name it, such as from the TIFF tag ExtraSamples.

    Returns:
        The color model, the visible bands, the alpha band or None, and whether the file marks the visible bands. Band
        numbers start at 0.
    """
    found = {mark: band for band, mark in reversed(list(enumerate(marks)))}
    alpha = found.get("alpha", alpha)
    if {"red", "green", "blue"} <= found.keys():
        return "rgb", (found["red"], found["green"], found["blue"]), alpha, True
    alpha = alpha if count > 1 else None  # the only band is visible
    free = [band for band in range(count) if band != alpha]
    if base == "palette" or (base == "cmyk" and len(free) >= 4):
        return base, tuple(free[: 4 if base == "cmyk" else 1]), alpha, True
    if len(free) < 3:
        base = "gray" if base == "cmyk" else base
        return base, (found.get("gray", free[0]),), alpha, True
    return "rgb", (free[0], free[1], free[2]), alpha, False


def empty_pixels(
    colors: Samples, bands: Bands, *, alpha: Samples | None = None, mask: Samples | None = None
) -> npt.NDArray[np.bool_] | None:
    """Return the empty pixels (H, W); None if no pixel can be empty.

    A pixel is empty if all its visible bands are the nodata number, if all are NaN, or if its alpha or mask is 0.

    Args:
        colors: (H, W, n), the numbers of the visible bands.
        bands: the meaning of the file's bands.
        alpha: (H, W), the band of transparency, if any.
        mask: (H, W), the mask in the file or next to it, if any.

    Returns:
        (H, W), True at empty pixels.
    """
    signs = []
    if bands.nodata is not None and not np.isnan(bands.nodata):
        signs.append(_equals(colors, bands.nodata).all(axis=2))
    if np.issubdtype(colors.dtype, np.floating):
        signs.append(np.isnan(colors).all(axis=2))
    signs += [part == 0 for part in (alpha, mask) if part is not None]
    if not signs:
        return None
    empty: npt.NDArray[np.bool_] = np.logical_or.reduce(signs)
    return empty


class Levels:
    """The conversion of a file's numbers to 0-255.

    If `by_numbers` is True, the range depends on all numbers of the file, and `count` must have examined every part of
    the file before other methods are called.

    Args:
        bands: the meaning of the file's bands.
    """

    def __init__(self, bands: Bands) -> None:
        self._bands = bands
        self._count = 0
        self._above = dict.fromkeys((REFLECTANCE, FULL_RANGE_ABOVE, 65535), 0)
        self._least, self._most, self._outside = np.inf, -np.inf, 0

    @property
    def by_numbers(self) -> bool:
        """Whether `count` must examine all pixels of the file before `to_rgb` can convert them."""
        bands = self._bands
        if bands.model in ("palette", "cmyk") or bands.scale is not None:
            return False
        return bands.dtype.kind == "f" or bands.bits > MAX_DECLARED_BITS

    def count(self, colors: Samples, empty: npt.NDArray[np.bool_] | None) -> None:
        """Examine the numbers (H, W, n) of a part of the file, except the pixels that `empty` (H, W) marks."""
        values = colors if empty is None else colors[~empty]
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
            self._outside += int(((values < FLOAT_LIMITS[0]) | (values > FLOAT_LIMITS[1])).sum())  # type: ignore[operator]
        if not values.size:
            return
        self._count += values.size
        self._least, self._most = min(self._least, float(values.min())), max(self._most, float(values.max()))
        if values.dtype.kind != "f" and self._most > REFLECTANCE:
            for limit in self._above:
                self._above[limit] += int((values > limit).sum())  # type: ignore[operator]

    def span(self, name: str) -> tuple[float, float]:
        """Return (low, high), the numbers that are mapped to 0 and 255; errors begin with the file's `name`.

        Raises:
            ImageError: too many numbers are outside the expected range.
        """
        bands = self._bands
        if bands.scale is not None:
            factor, offset = bands.scale
            return -offset / factor, (1 - offset) / factor
        if bands.dtype.kind == "f":
            if self._outside > MAX_ABOVE_SHARE * self._count:
                raise ImageError(
                    f"{name}: holds floating-point numbers from {self._least:g} to {self._most:g}; expected 0 to 1; "
                    f"rescale them, for example: gdal_translate -ot Float32 -scale {self._least:g} {self._most:g} 0 1 "
                    "IN.tif OUT.tif"
                )
            return 0.0, 1.0
        if bands.bits <= MAX_DECLARED_BITS:
            return 0.0, 2.0 ** (bands.bits - (bands.dtype.kind == "i")) - 1
        if self._above[65535] > MAX_ABOVE_SHARE * self._count:
            raise ImageError(
                f"{name}: holds whole numbers up to {self._most:.0f}; expected at most 65535; rescale them, for "
                f"example: gdal_translate -ot UInt16 -scale 0 {self._most:.0f} 0 65535 IN.tif OUT.tif"
            )
        if self._above[FULL_RANGE_ABOVE] > MAX_ABOVE_SHARE * self._count:
            return 0.0, 32767.0 if bands.dtype == np.int16 else 65535.0
        return 0.0, float(REFLECTANCE)

    def text(self, name: str) -> str:
        """Return how the numbers of the image `name` are mapped to 0-255, for the user; "" if they are not mapped."""
        bands = self._bands
        if bands.is_plain or bands.model in ("palette", "cmyk") or (bands.bits < 8):
            return ""
        low, high = self.span(name)
        what = "floating-point numbers" if bands.dtype.kind == "f" else f"{bands.bits}-bit numbers"
        why = " by the scale in the file" if bands.scale else ""
        text = f"{what} {low:g} to {high:g} become 0 to 255{why}"
        clipped = self._above[REFLECTANCE]
        if self.by_numbers and high == REFLECTANCE and clipped > 0.01 * self._count:
            text += f", {clipped / self._count:.1%} are above"
        return text

    def to_rgb(self, colors: Samples, name: str) -> npt.NDArray[np.uint8]:
        """Convert the visible bands (H, W, n) of a part of the image `name` to RGB, (H, W, 3) uint8, contiguous."""
        bands = self._bands
        if bands.model == "palette" and bands.palette is not None:
            table = np.zeros((256, 3), np.uint8)
            table[: len(bands.palette)] = bands.palette[:256]
            return table[np.clip(colors[..., 0].astype(np.int64), 0, 255)]
        shown = colors.astype(np.uint8, copy=False) if bands.is_plain else self._to_bytes(colors, name)
        if bands.model == "cmyk":
            return np.array(Image.fromarray(np.ascontiguousarray(shown), "CMYK").convert("RGB"))
        if bands.model == "white-is-zero":
            shown = 255 - shown
        return np.ascontiguousarray(shown if shown.shape[2] == 3 else np.repeat(shown[..., :1], 3, axis=2))

    def _to_bytes(self, colors: Samples, name: str) -> npt.NDArray[np.uint8]:
        low, high = (0.0, 2.0**self._bands.bits - 1) if self._bands.model == "cmyk" else self.span(name)
        if colors.dtype in (np.uint8, np.uint16):
            table = _to_bytes(np.arange(256**colors.dtype.itemsize), low, high)
            return table[colors.astype(np.uint16, copy=False)]
        return _to_bytes(colors, low, high)


def _to_bytes(values: Samples, low: float, high: float) -> npt.NDArray[np.uint8]:
    numbers = np.nan_to_num(values.astype(np.float64), posinf=high, neginf=low, nan=low).clip(low, high)
    return np.round((numbers - low) / (high - low) * 255).astype(np.uint8)


def _equals(values: Samples, number: float) -> npt.NDArray[np.bool_]:
    """Return a boolean array: whether each value equals `number` at the precision of the values' type."""
    if values.dtype.kind != "f":
        info = np.iinfo(values.dtype.name)
        if not info.min <= number <= info.max or number != int(number):
            return np.zeros(values.shape, dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):  # a number that is too large becomes infinite
        return np.asarray(values == values.dtype.type(number))


def _listed(bands: Sequence[int]) -> str:
    numbers = [str(band + 1) for band in bands]
    return numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
