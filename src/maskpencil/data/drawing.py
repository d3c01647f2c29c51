"""Draw masks that are given as shapes over an image: polygons, bitmaps, run lengths, boxes and ellipses."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from maskpencil.classes import MAX_CLASSES
from maskpencil.errors import DataError, ImageError
from maskpencil.images import pages_of
from maskpencil.label_maps import LabelMap, MaskPixels, read_mask_pixels

Window = tuple[slice, slice]
Points = npt.NDArray[np.float32]
"""(n, 2): (x, y) on the grid of pixel edges, where pixel [row, column] is the square with upper left corner
(column, row)."""


class Shape(Protocol):
    """A region of one class in an image, such as a polygon."""

    @property
    def class_index(self) -> int:
        """The index of the class, or `IGNORE_INDEX`."""

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """Return the pixels of the shape in an image of `size` (height, width).

        The result is a window (rows, columns) of the image, and a boolean mask (h, w) of the shape in this window.
        """


@dataclass(frozen=True)
class Polygon:
    """A polygon of closed rings, an outer ring and its holes.

    It covers the pixels whose centers lie inside an odd number of rings.
    """

    class_index: int
    rings: tuple[Points, ...]

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """Return the pixels of the polygon, see `Shape.fill`; pixels outside the image are cut off."""
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
    """A boolean mask of `size` (height, width), whose upper left pixel lies at `corner` (row, column) of the image.

    `packed` holds its bits, compressed by zlib.
    """

    class_index: int
    corner: tuple[int, int]
    size: tuple[int, int]
    packed: bytes

    @classmethod
    def of(cls, class_index: int, mask: npt.NDArray[np.bool_], corner: tuple[int, int] = (0, 0)) -> Self:
        """Create a bitmap from a boolean mask (h, w), whose upper left pixel lies at `corner` (row, column)."""
        return cls(class_index, corner, (mask.shape[0], mask.shape[1]), zlib.compress(np.packbits(mask).tobytes(), 1))

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """Return the pixels of the bitmap, see `Shape.fill`; pixels outside the image are cut off."""
        (top, left), (height, width) = self.corner, self.size
        bits = np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8)
        mask = np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
        first_row, first_column = max(0, -top), max(0, -left)
        mask = mask[first_row : max(first_row, size[0] - top), first_column : max(first_column, size[1] - left)]
        top, left = top + first_row, left + first_column
        return (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])), mask


@dataclass(frozen=True, eq=False)
class Drawing:
    """The mask of an image of `size` (height, width) as shapes; later shapes lie over earlier shapes.

    `path` is the file that holds the shapes, and `name` is the name of the entry for this image in the file; error
    messages contain both. Pixels without a shape have the class index `background`, which may be `IGNORE_INDEX`.
    """

    path: Path
    name: str
    size: tuple[int, int]
    shapes: Sequence[Shape]
    background: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.path.stem == Path(self.name).stem else f"{self.path} ({self.name})"

    def draw(self) -> LabelMap:
        """Draw the shapes, and return the label map, (H, W) uint8."""
        label_map = np.full(self.size, self.background, dtype=np.uint8)
        for shape in self.shapes:
            window, inside = shape.fill(self.size)
            label_map[window][inside] = shape.class_index
        return label_map


@dataclass(frozen=True)
class Layers:
    """A mask in several black-and-white files: white pixels have the class of the file, and later files lie on top.

    `name` is the name of the image, and `files` are the files with their class indices. Pixels that are white in no
    file have class 0.
    """

    name: str
    files: tuple[tuple[Path, int], ...]

    def __str__(self) -> str:
        return str(self.files[0][0])

    @property
    def path(self) -> Path:
        """The folder of the first file, for messages."""
        return self.files[0][0].parent

    def draw(self) -> LabelMap:
        """Join the files, and return the label map, (H, W) uint8.

        Raises:
            ImageError: a file is not a readable image, or differs in size from the first file.
        """
        label_map: LabelMap = np.zeros(area_of(read_mask_pixels(self.files[0][0])).shape, dtype=np.uint8)
        for path, class_index in self.files:
            area = area_of(read_mask_pixels(path))
            if area.shape != label_map.shape:
                raise ImageError(
                    f"{path}: is {area.shape[1]} x {area.shape[0]} pixels, but {self} is {label_map.shape[1]} x "
                    f"{label_map.shape[0]}; expected all masks of an image to have one size; scale or remove this mask"
                )
            label_map[area] = class_index
        return label_map


def area_of(pixels: MaskPixels) -> npt.NDArray[np.bool_]:
    """Return a boolean mask (H, W) of the white pixels of a mask: pixels brighter than half of its brightest pixel.

    The brightness of a color is the value of its brightest channel. In a mask with an alpha channel, only opaque pixels
    can be white; if none of them is bright enough, all opaque pixels count as white.
    """
    values, palette = pixels.values, pixels.palette
    if palette is not None:
        values = palette[np.minimum(values, len(palette) - 1)]
    light = values.max(axis=2) if values.ndim == 3 else values
    area = np.asarray((light > 0) & (2 * light.astype(np.int64) > int(light.max(initial=0))))
    if pixels.alpha is None:
        return area
    opaque = pixels.alpha > 127
    return opaque & area if (opaque & area).any() else opaque


@dataclass(frozen=True)
class ClassPages:
    """A mask file with one page per class: on each page, the pixels of the class hold one number, all others 0.

    The number 1 or 255 on page n stands for class n, where the first page is page 1; any other number is the class
    index itself.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> MaskPixels:
        """Return the label map as `MaskPixels`; pixels that are 0 on all pages have class 0.

        Raises:
            ImageError: the file is not a readable image, a page is colored, has another size, or holds several numbers
                besides 0, or two pages mark the same class or the same pixel.
        """
        label_map: LabelMap | None = None
        used: set[int] = set()
        for number, (content, _) in enumerate(pages_of(self.path), start=1):
            values = read_mask_pixels(content, name=f"{self.path} (page {number})").values
            found = [] if values.ndim != 2 else [value for value in np.unique(values).tolist() if value]
            stamped = found[0] if found and found[0] not in (1, 255) else number
            wrong = ""
            if values.ndim != 2:
                wrong = "is colored"
            elif len(found) > 1:
                wrong = "holds more than one number besides 0"
            elif found and not 0 < stamped < MAX_CLASSES:
                wrong = f"holds the number {stamped}, which is not a class index"
            elif found and stamped in used:
                wrong = f"holds class {stamped}, as an earlier page does"
            if wrong:
                raise self._refusal(number, wrong)
            if label_map is None:
                label_map = np.zeros(values.shape, np.uint8)
            if values.shape != label_map.shape:
                raise self._refusal(number, "differs from page 1 in size")
            if not found:
                continue
            if label_map[values > 0].any():
                raise self._refusal(number, "overlaps an earlier page")
            label_map[values > 0] = stamped
            used.add(stamped)
        if label_map is None:
            raise ImageError(f"{self.path}: has no pages; replace it or remove it")
        return MaskPixels(label_map, None)

    def _refusal(self, page: int, fault: str) -> ImageError:
        return ImageError(
            f"{self.path}: page {page} {fault}; expected one page per class, since the image has one page; save one "
            "label map for each image"
        )


MaskSource = Path | Drawing | Layers | ClassPages
"""The source of a mask: an image file, shapes, several files, or a file with a page for each class."""


def files_of(mask: MaskSource) -> tuple[Path, ...]:
    """Return the files of a mask."""
    if isinstance(mask, Layers):
        return tuple(path for path, _ in mask.files)
    return (mask,) if isinstance(mask, Path) else (mask.path,)


def mask_pixels(mask: MaskSource) -> MaskPixels:
    """Read the values of a mask file, or the class numbers of a mask given as shapes, several files or TIFF pages.

    Raises:
        ImageError: the file is not a readable image, or its pixels cannot be classes.
    """
    if isinstance(mask, Drawing | Layers):
        return MaskPixels(mask.draw(), None)
    return mask.read() if isinstance(mask, ClassPages) else read_mask_pixels(mask)


def _crossings(
    ring: npt.NDArray[np.float64], top: int, bottom: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Find where the edges of a ring cross the center lines of the rows from `top` to before `bottom`.

    Return two arrays (n,): the row and the x coordinate of each crossing.
    """
    start, end = ring, np.roll(ring, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(np.clip(upper, top, bottom) - 0.5).astype(np.int64)  # the center line of row r is at r + 0.5
    after = np.ceil(np.clip(lower, top, bottom) - 0.5).astype(np.int64)
    counts = after - first
    sides = np.repeat(np.arange(len(ring)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[sides]
    share = (rows + 0.5 - start[sides, 1]) / (end[sides, 1] - start[sides, 1])
    return rows, start[sides, 0] + share * (end[sides, 0] - start[sides, 0])


_FIRST = ord("0")
_BITS = 5
"""The number of bits of a number that one character of COCO's run-length text holds. The next higher bit of the
character is set if the number continues in the next character. The highest bit of a number is its sign."""

_LONGEST = 6
"""The largest number of characters of a number: 30 bits, more than any image needs."""


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask of a whole image of `size` (height, width) as the lengths `counts` (n,) of its runs; a `Shape`.

    A run is a sequence of pixels inside or outside the mask. Runs go down the columns, starting with the left column;
    the first run is outside the mask, the second inside, and so on.
    """

    class_index: int
    size: tuple[int, int]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, class_index: int, size: tuple[int, int], counts: Sequence[int] | str) -> Self:
        """Create a mask from the runs in a COCO file: a list of numbers, or text, see `counts_of_text`.

        Raises:
            DataError: the runs are not whole numbers of 0 or more, do not add up to the number of pixels of the image,
                or are damaged text.
        """
        if not isinstance(counts, str) and not {*map(type, counts)} <= {int}:
            raise DataError("its run lengths are not whole numbers; export it again")
        pixels = size[0] * size[1]
        if not isinstance(counts, str) and not all(0 <= count <= pixels for count in counts):
            raise DataError(f"a run length is not between 0 and the {pixels} pixels of its size; export it again")
        runs = counts_of_text(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
        if (runs < 0).any():
            raise DataError("a run length is negative; export it again")
        if int(runs.sum()) != pixels:
            raise DataError(
                f"its run lengths add up to {int(runs.sum())} pixels, but its size {list(size)} has {pixels}; export "
                "it again"
            )
        return cls(class_index, size, runs)

    @property
    def area(self) -> int:
        """The number of pixels in the mask."""
        return int(self.counts[1::2].sum())

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """Return the pixels of the mask, see `Shape.fill`.

        Raises:
            ValueError: `size` is not the size of the mask.
        """
        if size != self.size:
            raise ValueError(f"size must be that of the mask, {self.size}, but got {size}")
        height, _ = size
        ends = np.cumsum(self.counts)
        starts, stops = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
        starts, stops = starts[stops > starts], stops[stops > starts]
        if not len(starts):
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=bool)
        left, right = int(starts[0]) // height, -(-int(stops[-1]) // height)
        # where one run ends and the next begins, the changes cancel
        changes = np.zeros((right - left) * height + 1, dtype=np.int8)
        np.add.at(changes, starts - left * height, 1)
        np.add.at(changes, stops - left * height, -1)
        inside = np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(right - left, height)
        return (slice(0, height), slice(left, right)), inside.T


def counts_of_text(text: str) -> npt.NDArray[np.int64]:
    """Decode COCO's compressed text to run lengths, (n,).

    A number takes one or more characters. The code of a character minus the code of "0" holds five bits of the number,
    the lowest bits first, and a sixth bit that is set if the number continues. From the fourth run on, a number is the
    difference from the run two places before.

    Raises:
        DataError: the text holds an invalid character, or a number is too long or cut short.
    """
    digits = np.array([ord(letter) for letter in text], dtype=np.int64) - _FIRST
    if ((digits < 0) | (digits >= 1 << (_BITS + 1))).any() or (len(digits) and digits[-1] >> _BITS):
        raise DataError("its run-length text is damaged or cut short; export it again")
    last = np.flatnonzero(digits >> _BITS == 0)  # the last character of each number
    first = np.append(0, last[:-1] + 1)[: len(last)]
    lengths = last - first + 1
    if (lengths > _LONGEST).any():
        raise DataError("its run-length text holds a number that is too large for any image; export it again")
    if not len(digits):
        return np.zeros(0, dtype=np.int64)
    shifts = _BITS * (np.arange(len(digits)) - np.repeat(first, lengths))
    numbers = np.add.reduceat((digits & ((1 << _BITS) - 1)) << shifts, first)
    negative = digits[last] >> (_BITS - 1) & 1
    numbers -= negative << (_BITS * lengths)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


Ring = npt.NDArray[np.float64]
"""(n, 2): points (x, y), where the last point is connected to the first point; y points down."""

SAGITTA = 0.02
"""The largest distance, in pixels, of an ellipse from the polygon that approximates it."""

CORNERS = (16, 1024)
"""The smallest and the largest number of corners of an approximated ellipse."""


def box(left: float, top: float, width: float, height: float) -> Ring:
    """Return the four corners of a rectangle as a ring, from the upper left corner clockwise."""
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def ellipse(center: tuple[float, float], radii: tuple[float, float]) -> Ring:
    """Return a polygon that approximates an ellipse with axes along x and y.

    `center` is (x, y) and `radii` (along x, along y), in pixels.
    """
    largest = max(abs(radii[0]), abs(radii[1]), 1.0)
    count = round(min(CORNERS[1], max(CORNERS[0], math.pi / math.acos(1 - SAGITTA / largest))))
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    ring: Ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + center
    return ring


def turned(ring: Ring, degrees: float, about: tuple[float, float]) -> Ring:
    """Rotate a ring by `degrees` about the point `about` (x, y), clockwise as seen on the screen."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (ring - about).T
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + about
