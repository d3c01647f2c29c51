"""Measure mask files, and turn their pixels into classes by `MaskEncoding`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color
from maskpencil.data.drawing import MaskSource, mask_pixels
from maskpencil.data.faults import EXAMPLES
from maskpencil.errors import DataError, ImageError
from maskpencil.label_maps import IGNORE_COLOR, LabelMap, MaskPixels, PixelRuns

MAX_VALUES = 256
"""The largest number of values of a mask that are counted, the most frequent values; only masks that are compressed
with loss have more values."""

MAX_KEPT_BYTES = 2**28
"""The largest number of bytes of the pixels of measured masks that stay in memory; 10,000 usual masks of a megapixel
fit."""


@dataclass(frozen=True)
class MaskFacts:
    """Counts of the values in one mask of `size` (height, width).

    `values` has the number of pixels by value; a color is the number 0xRRGGBB. `flat` counts, by value, the pixels that
    equal their eight neighbors: values that compression and smoothing add at borders have few such pixels. `others` is
    the number of pixels whose values are not among the `MAX_VALUES` most frequent values. `kept` holds the pixels if
    memory allows. `alpha` is set if pixels are transparent, `remark` is as in `MaskPixels`, and `digest` is equal for
    masks with equal pixels.
    """

    path: MaskSource
    size: tuple[int, int]
    values: dict[int, int]
    colored: bool
    palette: npt.NDArray[np.uint8] | None
    flat: dict[int, int] = field(default_factory=dict)
    others: int = 0
    kept: PixelRuns | None = field(default=None, repr=False, compare=False)
    alpha: "AlphaFacts | None" = None
    remark: str = ""
    digest: int = 0

    def seen(self, alpha: "Alpha") -> "MaskFacts":
        """Return a copy whose counts follow the meaning `alpha` of transparency, see `Alpha`.

        Hidden pixels count as 0 for "background", and are not counted for "ignored". For "mask" the opacities are
        counted in place of the values.
        """
        if alpha == "mask":
            opaque = {255: math.prod(self.size)}
            own = self.alpha.levels if self.alpha else Contents(opaque, opaque)
            return replace(self, values=own.values, flat=own.flat, others=own.others, colored=False, palette=None)
        if alpha == "unused" or self.alpha is None:
            return self
        values, flat = dict(self.alpha.covered.values), dict(self.alpha.covered.flat)
        hidden, hidden_flat = values.pop(HIDDEN, 0), flat.pop(HIDDEN, 0)
        if alpha == "background":
            values[0], flat[0] = values.get(0, 0) + hidden, flat.get(0, 0) + hidden_flat
        values, flat = ({value: counts[value] for value in sorted(counts)} for counts in (values, flat))
        return replace(self, values=values, flat=flat, others=self.alpha.covered.others)

    def read(self) -> MaskPixels:
        """Return the pixels of the mask, from memory if `scan_masks` kept them, or else from the file.

        Raises:
            ImageError: the file is no longer a readable image.
        """
        return self.kept.pixels() if self.kept else mask_pixels(self.path)

    def values_for(self, kind: str) -> dict[int, int]:
        """Return the counts by value as an encoding of this kind reads them; for `color`, all values become colors."""
        return self._for(kind, self.values)

    def flat_for(self, kind: str) -> dict[int, int]:
        """Return the counts of flat pixels by value, as an encoding of this kind reads them."""
        return self._for(kind, self.flat)

    def _for(self, kind: str, values: dict[int, int]) -> dict[int, int]:
        if kind == "objects":
            none = values.get(0, 0)
            others = self.others if values is self.values else 0
            return {number: count for number, count in ((0, none), (1, sum(values.values()) - none + others)) if count}
        if kind != "color" or self.colored:
            return values
        levels = np.array(list(values), dtype=np.int64)
        counts: dict[int, int] = {}
        for number, count in zip(as_numbers(levels, self.palette).tolist(), values.values(), strict=True):
            counts[number] = counts.get(number, 0) + count
        return counts


Alpha = Literal["unused", "mask", "background", "ignored"]
"""The meaning of transparency in all files: "unused" no meaning, "mask" the opacity is the mask, "background"
transparent pixels have the first class, "ignored" they are ignored."""

SMALL_MASK = 2**16
"""Masks of fewer pixels are measured faster by one thread than by four: 120x160 in 0.5 instead of 0.8 ms, but 360x480
in 1.9 instead of 1.3 ms."""

HIDDEN = -1
"""The number given to transparent pixels, which does not occur in files."""

OPAQUE = 128
"""Pixels at borders are hidden if their opacity, 0-255, is below this and below half of the largest opacity."""


@dataclass(frozen=True)
class Contents:
    """The counts of the pixels of an array by value; the fields are described in `MaskFacts`."""

    values: dict[int, int]
    flat: dict[int, int]
    others: int = 0

    @classmethod
    def of(cls, numbers: npt.NDArray[np.integer]) -> "Contents":
        """Count the values in an array of numbers (H, W)."""
        values, others = _most_frequent(numbers)
        return cls(values, _most_frequent(numbers[1:-1, 1:-1][is_flat(numbers)])[0], others)


@dataclass(frozen=True)
class AlphaFacts:
    """The contents of a mask with transparent pixels.

    Attributes:
        levels: the counts of the opacity, 0-255.
        covered: the counts of the mask's values, with the value `HIDDEN` at hidden pixels, see `hidden_pixels`.
        hidden: the number of hidden pixels by the value that they have in the file.
    """

    levels: Contents
    covered: Contents
    hidden: dict[int, int]

    @classmethod
    def of(cls, numbers: npt.NDArray[np.integer], alpha: npt.NDArray[np.uint8]) -> "AlphaFacts":
        """Measure a mask of numbers (H, W) and its alpha channel (H, W)."""
        hidden = hidden_pixels(alpha)
        covered = np.where(hidden, np.int32(HIDDEN), numbers.astype(np.int32))
        return cls(Contents.of(alpha), Contents.of(covered), _most_frequent(numbers[hidden])[0])

    @property
    def is_varied(self) -> bool:
        """Whether some pixels are transparent, but not all."""
        return len(self.levels.values) > 1 and bool(self.hidden) and set(self.covered.values) != {HIDDEN}


def hidden_pixels(alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return a boolean mask (H, W) of the hidden pixels: those that count as transparent.

    These are fully transparent pixels and, at smooth borders, pixels that are more than half transparent. If whole
    areas are partly transparent, as after painting with low opacity, only fully transparent pixels are hidden.
    """
    least = min(OPAQUE, (int(alpha.max()) + 1) // 2)
    partly = (alpha > 0) & (alpha < least)
    if min(alpha.shape) > 2 and partly[1:-1, 1:-1][is_flat(alpha)].any():
        return np.asarray(alpha == 0)
    return np.asarray((alpha == 0) | partly)


def scan_masks(masks: Sequence[MaskSource], report: Callable[[int], None] | None = None) -> list[MaskFacts]:
    """Measure every mask, and keep the pixels of as many as fit in `MAX_KEPT_BYTES`.

    Args:
        masks: the masks.
        report: called with the number of masks measured so far.

    Raises:
        ImageError: files are not readable images; the message names the first of these files and their number.
    """
    facts, room = [], MAX_KEPT_BYTES
    errors: list[ImageError] = []
    first = list(map(_measured, masks[:1]))
    with ThreadPoolExecutor(max_workers=4) as pool:  # decoding releases the global interpreter lock
        measure = map if _are_small(first) else pool.map
        for done, measured in enumerate(chain(first, measure(_measured, masks[1:])), start=1):
            if isinstance(measured, ImageError):
                errors.append(measured)
            else:
                fact, runs = measured
                room -= runs.nbytes
                facts.append(replace(fact, kept=runs) if room >= 0 else fact)
            if report:
                report(done)
    if len(errors) > 1:
        few = "; ".join(str(error).partition("; ")[0] for error in errors[:EXAMPLES])
        more = ", ..." if len(errors) > EXAMPLES else ""
        raise ImageError(f"{few}{more}; {len(errors)} masks cannot be read; maskpencil check lists all, with remedies")
    if errors:
        raise errors[0]
    return facts


def _are_small(measured: Sequence[tuple[MaskFacts, PixelRuns] | ImageError]) -> bool:
    """Return whether the first measured masks are so small that one thread is faster than several threads."""
    return all(isinstance(each, tuple) and math.prod(each[0].size) < SMALL_MASK for each in measured)


def _measured(mask: MaskSource) -> tuple[MaskFacts, PixelRuns] | ImageError:
    try:
        pixels = mask_pixels(mask)
    except ImageError as error:
        return error
    return facts_of(mask, pixels), PixelRuns.of(pixels)


def facts_of(mask: MaskSource, pixels: MaskPixels) -> MaskFacts:
    """Measure the pixels of a mask."""
    colored = pixels.values.ndim == 3
    numbers = as_numbers(pixels.values, None) if colored else pixels.values
    own = Contents.of(numbers)
    height, width = numbers.shape
    alpha = None if pixels.alpha is None else AlphaFacts.of(numbers, pixels.alpha)
    digest = crc32(np.ascontiguousarray(numbers).data, 0 if pixels.alpha is None else crc32(pixels.alpha.tobytes()))
    return MaskFacts(
        mask,
        (height, width),
        own.values,
        colored,
        pixels.palette,
        own.flat,
        own.others,
        alpha=alpha,
        remark=pixels.remark,
        digest=digest,
    )


def count_values(values: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    """Return the sorted values and the number of pixels of each; for uint8, all values 0-255, some with 0 pixels."""
    if values.dtype == np.uint8:  # Pillow counts bytes five times as fast as numpy
        return np.arange(256), np.array(Image.fromarray(np.atleast_2d(values)).histogram())
    return np.unique(values, return_counts=True)


def as_numbers(values: npt.NDArray[np.integer], palette: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.int32]:
    """Turn colors (..., 3), or gray levels or palette indices of any shape, into numbers 0xRRGGBB (...)."""
    if palette is not None:
        colors = np.zeros((256, 3), dtype=np.uint8)  # a file may list fewer colors than it uses
        colors[: len(palette)] = palette
        values = colors[values]
    elif values.ndim < 3:
        return values.astype(np.int32) * 0x010101
    red, green, blue = (values[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def channels(numbers: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], ...]:
    """Split colors 0xRRGGBB into red, green and blue, each of the same shape."""
    return numbers >> 16, numbers >> 8 & 255, numbers & 255


def color_number(color: Color) -> int:
    """Return a color as the number 0xRRGGBB."""
    return color[0] << 16 | color[1] << 8 | color[2]


def _most_frequent(numbers: npt.NDArray[np.integer]) -> tuple[dict[int, int], int]:
    """Return the most frequent values and their counts, ordered by value, and the number of remaining pixels."""
    values, counts = count_values(numbers)
    values, counts = values[counts > 0], counts[counts > 0]
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_VALUES])
    return dict(zip(values[kept].tolist(), counts[kept].tolist(), strict=True)), int(counts.sum() - counts[kept].sum())


def is_flat(numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return a boolean mask (H - 2, W - 2), True at the inner pixels that equal their eight neighbors."""
    like_right = numbers[:, :-1] == numbers[:, 1:]
    in_row = like_right[:, :-1] & like_right[:, 1:]  # (H, W - 2): equal to both neighbors in the row
    like_below = (numbers[:-1] == numbers[1:])[:, 1:-1]
    flat: npt.NDArray[np.bool_] = in_row[:-2] & in_row[1:-1] & in_row[2:] & like_below[:-1] & like_below[1:]
    return flat


NO_CLASS = -1
MAX_SHOWN = 6
"""The largest number of colors that a message lists."""

NEIGHBORHOOD = 17
"""The side, in pixels, of the square around a doubtful pixel in which the class of this pixel must also occur; JPEG
artifacts reach 16 pixels."""


@dataclass(frozen=True)
class MaskEncoding:
    """The encoding of classes in the pixels of a mask file.

    The `kind` is one of:

    - `index`: the number is the class index.
    - `binary`: 0 is the first class, 255 the second class.
    - `color`: a pixel has the color of its class in `classes.palette`.
    - `objects`: 0 or black is the first class, every other value the second class.

    The ignore index of the classes (and 255, unless it is the second class) becomes `IGNORE_INDEX`. For public data
    sets `codes` replaces all these rules: it maps each number or color (0xRRGGBB) that may occur to its class index or
    to `IGNORE_INDEX`. `alpha` is the meaning of transparency, see `Alpha`.

    With `nearest`, for JPEG and smoothed masks, every value is read as the nearest value with a class. If more than two
    values have a class, some pixels are `doubtful`: their value is far from all of these. For such a pixel, only the
    classes of the other pixels in its `NEIGHBORHOOD` that are not doubtful are considered, if there are any.
    """

    kind: Literal["index", "binary", "color", "objects"]
    classes: ClassSet
    codes: Mapping[int, int] | None = None
    nearest: bool = False
    alpha: Alpha = "unused"

    def read(self, mask: MaskSource) -> LabelMap:
        """Read a mask as class indices, (H, W) uint8.

        Raises:
            ImageError: the file is not a readable image.
            DataError: a value or color has no class.
        """
        return self.decode(mask_pixels(mask), mask)

    def decode(self, pixels: MaskPixels, mask: MaskSource) -> LabelMap:
        """Turn the pixels of a mask into class indices, (H, W) uint8; error messages begin with the mask.

        Raises:
            DataError: a value or color has no class.
        """
        hidden = None
        if pixels.alpha is not None and self.alpha in ("background", "ignored"):
            hidden = hidden_pixels(pixels.alpha)
            if self.alpha == "ignored" and hidden.all():
                return np.full(hidden.shape, IGNORE_INDEX, np.uint8)
            painted = pixels.values.copy()
            painted[hidden] = 0 if self.alpha == "background" else painted[~hidden][0]
            pixels = replace(pixels, values=painted)
        label_map = self._decode(self._values(pixels, mask), mask)
        if hidden is not None and self.alpha == "ignored":
            label_map[hidden] = IGNORE_INDEX
        return label_map

    def _decode(self, values: npt.NDArray[np.integer], mask: MaskSource) -> LabelMap:
        if self.nearest:
            return self._decode_nearest(values)
        found, counts = count_values(values)
        meanings = self.meanings(found[counts > 0], mask).astype(np.uint8)
        if values.dtype == np.uint8:  # the usual case: one look-up
            table = np.zeros(256, dtype=np.uint8)
            table[found[counts > 0]] = meanings
            return np.asarray(table[values])
        return np.asarray(meanings[np.searchsorted(found, values)])

    def covers(self, facts: Iterable[MaskFacts]) -> bool:
        """Return whether every value in the masks has a class or is ignored."""
        return all(value in self.table for fact in facts for value in fact.values_for(self.kind))

    def meanings(self, values: npt.NDArray[np.integer], mask: MaskSource) -> npt.NDArray[np.int64]:
        """Return the class of each value (n,), or `IGNORE_INDEX` for ignored values.

        Raises:
            DataError: a value has no class; the message names the mask.
        """
        classes = np.array([self.table.get(int(value), NO_CLASS) for value in values], dtype=np.int64)
        unknown = [int(value) for value in values[classes == NO_CLASS]]
        if unknown:
            raise DataError(f"{mask}: {self.complaint(unknown)}")
        return classes

    @cached_property
    def table(self) -> Mapping[int, int]:
        """The class, or `IGNORE_INDEX`, of each value that has a class; a color is the number 0xRRGGBB."""
        if self.codes is not None:
            return self.codes
        if self.kind == "color":
            table = {color_number(color): i for i, color in enumerate(self.classes.palette)}
            return table if self.nearest else {color_number(IGNORE_COLOR): IGNORE_INDEX} | table
        if self.kind == "binary":
            return {0: 0, 255: 1}
        if self.kind == "objects":
            return {0: 0, 1: 1}
        numbers = {index: index for index in range(len(self.classes))}
        return {IGNORE_INDEX: IGNORE_INDEX, self.classes.ignore_index: IGNORE_INDEX} | numbers

    @cached_property
    def margin(self) -> float:
        """The margin around the values with a class: a value farther than this from all of them is `doubtful`.

        It is a third of the smallest distance between two values with a class, in gray levels or Euclidean in RGB, and
        infinite if only one value has a class.
        """
        points = self._points(np.array(list(self.table)))
        if len(points) < 2:
            return float("inf")
        between = _distances(points, points)
        return float(between[~np.eye(len(points), dtype=bool)].min()) / 3

    def doubtful(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return a boolean array (n,): whether each value is farther than `margin` from the values of all classes."""
        points = self._points(np.array(list(self.table)))
        return np.asarray(_distances(self._points(values), points).min(axis=1) > self.margin)

    def nearest_class(self, value: int) -> int:
        """Return the class, or `IGNORE_INDEX`, of the nearest value that has a class."""
        distances = _distances(self._points(np.array([value])), self._points(np.array(list(self.table))))
        return list(self.table.values())[int(distances.argmin())]

    def complaint(self, unknown: Sequence[int]) -> str:
        """Return the error message, with a remedy, for a mask with values that have no class."""
        few = unknown[:5]
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        shown = self.shown(few)
        if self.codes is not None:
            what = "color" if self.kind == "color" else "value"
            return (
                f"holds the {what} {shown}{more}, which has no meaning in this data set; expected "
                f"{self._known}; correct the mask or remove it with its image"
            )
        if self.kind == "color":
            return f"the color {shown}{more} belongs to no class; add it to the palette in classes.yaml"
        if self.kind == "binary":
            return f"holds the value {shown}{more}; the other masks hold only 0 and 255; save this mask in the same way"
        return (
            f"holds the value {shown}{more}, which is not a class; expected 0 to {len(self.classes) - 1} "
            f"({', '.join(self.classes.names[:3])}{', ...' if len(self.classes) > 3 else ''}) or "
            f"{self.classes.ignore_index} for pixels to ignore; add the class to classes.yaml or correct the mask"
        )

    def shown(self, values: Iterable[int]) -> str:
        """Format values for messages: numbers, or colors as (red, green, blue)."""
        values = list(values)
        if self.kind == "color" or any(n >= 1 << 16 for n in values):  # other numbers have at most 16 bits
            return ", ".join(str((n >> 16, n >> 8 & 255, n & 255)) for n in values)
        return ", ".join(map(str, values))

    @property
    def _known(self) -> str:
        """The values that have a class or are ignored, for messages: a few colors, or numbers as ranges."""
        values = sorted(self.table)
        if self.kind == "color":
            return self.shown(list(self.table)[:MAX_SHOWN]) + (
                f" and {len(values) - MAX_SHOWN} more" if len(values) > MAX_SHOWN else ""
            )
        ends = [value for value in values if value + 1 not in self.table]
        starts = [value for value in values if value - 1 not in self.table]
        return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))

    def _values(self, pixels: MaskPixels, mask: MaskSource) -> npt.NDArray[np.integer]:
        """Return the values (H, W) of a mask that stand for classes: numbers, or colors as 0xRRGGBB."""
        if self.alpha == "mask":
            levels = np.full(pixels.values.shape[:2], 255, np.uint8) if pixels.alpha is None else pixels.alpha
            return as_numbers(levels, None) if self.kind == "color" else levels
        values = as_numbers(pixels.values, pixels.palette) if self.kind == "color" else pixels.values
        if self.kind == "objects":
            return np.asarray(values != 0 if values.ndim == 2 else (values != 0).any(axis=2), dtype=np.uint8)
        if values.ndim != 2:
            raise DataError(
                f"{mask}: is colored, but the other masks hold class numbers; save this mask in the same way"
            )
        return values

    def _points(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Turn values (n,) into points whose distances measure their difference: (n, 3) for colors, else (n, 1)."""
        parts = channels(values) if self.kind == "color" else (values,)
        return np.stack(parts, axis=-1).astype(np.float32)

    def _decode_nearest(self, values: npt.NDArray[np.integer]) -> LabelMap:
        import cv2  # slow to import

        found, places = np.unique(values, return_inverse=True)
        codes, classes = np.array(list(self.table)), np.array(list(self.table.values()), dtype=np.uint8)
        distances = _distances(self._points(found), self._points(codes))  # (n, codes)
        nearest = distances.argmin(axis=1)
        chosen = nearest[places].reshape(values.shape)  # (H, W), a row of the table
        doubtful = (distances.min(axis=1) > self.margin)[places].reshape(values.shape)
        if len(codes) == 2 or not doubtful.any():  # with only two values no third one can be confused
            return np.asarray(classes[chosen])
        square = np.ones((NEIGHBORHOOD, NEIGHBORHOOD), dtype=np.uint8)
        far = np.empty((int(doubtful.sum()), len(codes)), dtype=bool)
        for code in range(len(codes)):
            certain = (~doubtful & (chosen == code)).astype(np.uint8)
            far[:, code] = cv2.dilate(certain, square)[doubtful] == 0
        far[far.all(axis=1)] = False
        chosen[doubtful] = np.where(far, np.inf, distances[places.reshape(values.shape)[doubtful]]).argmin(axis=1)
        return np.asarray(classes[chosen])


def check_values(facts: Iterable[MaskFacts], encoding: MaskEncoding) -> None:
    """Check that every value in the masks has a class or is ignored; if `encoding.nearest` is set, all values pass.

    Raises:
        DataError: a value has no class; the message names its file.
    """
    if encoding.nearest:
        return
    for fact in facts:
        encoding.meanings(np.array(sorted(fact.values_for(encoding.kind))), fact.path)


def count_classes(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> npt.NDArray[np.int64]:
    """Count the pixels of each class in each mask, (masks, K), without pixels that are ignored or have no class."""
    counts = np.zeros((len(facts), len(encoding.classes)), dtype=np.int64)
    if encoding.nearest:  # the class may depend on neighboring pixels, which counts do not include
        with ThreadPoolExecutor(max_workers=4) as pool:
            for row, label_map in enumerate(pool.map(lambda fact: encoding.decode(fact.read(), fact.path), facts)):
                counts[row] = np.bincount(label_map.ravel(), minlength=256)[: counts.shape[1]]
        return counts
    for row, fact in enumerate(facts):
        for value, count in fact.values_for(encoding.kind).items():
            index = encoding.table.get(value, IGNORE_INDEX)
            if index != IGNORE_INDEX:
                counts[row, index] += count
    return counts


def _distances(points: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the distances (n, m) between all points (n, d) and all `others` (m, d)."""
    return np.asarray(np.linalg.norm(points[:, None] - others, axis=-1))
