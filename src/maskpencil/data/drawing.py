"""`Drawing`: a mask given as shapes over an image and drawn on demand."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from maskpencil.label_maps import LabelMap, MaskPixels, read_mask_pixels

Window = tuple[slice, slice]
Points = npt.NDArray[np.float32]
"""(n, 2), (x, y) on the grid of the pixels' edges: pixel [row, column] is the square from (column, row) on."""


class Shape(Protocol):
    """An area of one class in an image."""

    @property
    def class_index(self) -> int:
        """The class, or `IGNORE_INDEX`."""

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """Return the shape's pixels in an image of `size` (height, width): a window and the mask (h, w) inside it."""


@dataclass(frozen=True)
class Polygon:
    """The pixels whose centers lie in an odd number of the closed rings: an outer ring and its holes."""

    class_index: int
    rings: tuple[Points, ...]

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """See `Shape`; what lies outside of the image is cut off."""
        height, width = size
        corners = np.concatenate(self.rings)
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)), (left, top), (width, height)).astype(int)
        # an edge that crosses the center line of a row flips inside and outside for all pixels to its right
        changes = np.zeros((bottom - top, right - left + 1), dtype=np.uint8)
        for ring in self.rings:
            rows, places = _crossings(ring.astype(np.float64), top, bottom)
            columns = np.ceil(np.clip(places, left, right) - 0.5).astype(np.int64) - left
            np.bitwise_xor.at(changes, (rows - top, columns), 1)
        inside = np.bitwise_xor.accumulate(changes[:, :-1], axis=1).astype(bool)
        return (slice(top, bottom), slice(left, right)), inside


@dataclass(frozen=True)
class Bitmap:
    """A boolean mask whose upper left pixel lies at `corner` (row, column) of the image; it is stored packed."""

    class_index: int
    corner: tuple[int, int]
    size: tuple[int, int]
    packed: bytes

    @classmethod
    def of(cls, class_index: int, mask: npt.NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> Self:
        """Pack a mask (h, w)."""
        return cls(class_index, corner, (mask.shape[0], mask.shape[1]), zlib.compress(np.packbits(mask).tobytes(), 1))

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """See `Shape`; what lies outside of the image is cut off."""
        (top, left), (height, width) = self.corner, self.size
        bits = np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8)
        mask = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
        first_row, first_column = max(0, -top), max(0, -left)
        mask = mask[first_row : max(first_row, size[0] - top), first_column : max(first_column, size[1] - left)]
        top, left = top + first_row, left + first_column
        return (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])), mask


@dataclass(frozen=True, eq=False)
class Drawing:
    """The mask of an image of `size` (height, width): shapes, the later ones over the earlier ones.

    `path` is the file of the shapes and `name` its entry for this image; errors name both. Pixels without a shape have
    the class `background`, which may be `IGNORE_INDEX`.
    """

    path: Path
    name: str
    size: tuple[int, int]
    shapes: Sequence[Shape]
    background: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.path.stem == Path(self.name).stem else f"{self.path} ({self.name})"

    def draw(self) -> LabelMap:
        """Return the label map, (H, W) uint8."""
        label_map = np.full(self.size, self.background, dtype=np.uint8)
        for shape in self.shapes:
            window, inside = shape.fill(self.size)
            label_map[window][inside] = shape.class_index
        return label_map


MaskSource = Path | Drawing
"""The source of a mask: an image file or shapes."""


def mask_pixels(mask: MaskSource) -> MaskPixels:
    """Read a mask file, or draw the shapes as class numbers.

    Raises:
        ImageError: the file is not a readable image that may hold classes.
    """
    return MaskPixels(mask.draw(), None) if isinstance(mask, Drawing) else read_mask_pixels(mask)


def _crossings(
    ring: npt.NDArray[np.float64], top: int, bottom: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find where the edges of a ring cross the center lines of rows `top` to `bottom`: rows and positions x."""
    start, end = ring, np.roll(ring, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(np.clip(upper, top, bottom) - 0.5).astype(np.int64)  # the center line of row r is at r + 0.5
    after = np.ceil(np.clip(lower, top, bottom) - 0.5).astype(np.int64)
    counts = after - first
    sides = np.repeat(np.arange(len(ring)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[sides]
    share = (rows + 0.5 - start[sides, 1]) / (end[sides, 1] - start[sides, 1])
    return rows, start[sides, 0] + share * (end[sides, 0] - start[sides, 0])
