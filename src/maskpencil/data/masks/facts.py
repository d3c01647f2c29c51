"""Measure mask files: their values and colors, and which of them fill areas."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskpencil.classes import Color
from maskpencil.data.drawing import MaskSource, mask_pixels
from maskpencil.label_maps import MaskPixels

MAX_VALUES = 256
"""The most frequent values kept of a mask; only compressed or smoothed masks have more."""


@dataclass(frozen=True)
class MaskFacts:
    """The contents of one mask of `size` (height, width): value -> pixels; a color is the number 0xRRGGBB.

    `flat` counts, by value, the pixels equal to their eight neighbors: values that compression and smoothing add at
    borders have few or none. `others` is the number of pixels with values beyond `MAX_VALUES`.
    """

    path: MaskSource
    size: tuple[int, int]
    values: dict[int, int]
    colored: bool
    palette: npt.NDArray[np.uint8] | None
    flat: dict[int, int] = field(default_factory=dict)
    others: int = 0

    def values_for(self, kind: str) -> dict[int, int]:
        """Return the counts for an encoding of a kind: for `color`, gray and palette masks are turned into colors."""
        return self._for(kind, self.values)

    def flat_for(self, kind: str) -> dict[int, int]:
        """Return the flat pixels for an encoding of a kind."""
        return self._for(kind, self.flat)

    def _for(self, kind: str, values: dict[int, int]) -> dict[int, int]:
        if kind != "color" or self.colored:
            return values
        levels = np.array(list(values), dtype=np.int64)
        counts: dict[int, int] = {}
        for number, count in zip(as_numbers(levels, self.palette).tolist(), values.values(), strict=True):
            counts[number] = counts.get(number, 0) + count
        return counts


def scan_masks(masks: Sequence[MaskSource], report: Callable[[int], None] | None = None) -> list[MaskFacts]:
    """Measure every mask; `report` is called with the number done.

    Raises:
        ImageError: a file is not a readable image.
    """
    facts = []
    with ThreadPoolExecutor(max_workers=4) as pool:  # decoding leaves the interpreter lock
        for done, fact in enumerate(pool.map(lambda mask: facts_of(mask, mask_pixels(mask)), masks), start=1):
            facts.append(fact)
            if report:
                report(done)
    return facts


def facts_of(mask: MaskSource, pixels: MaskPixels) -> MaskFacts:
    """Measure the pixels of a mask."""
    colored = pixels.values.ndim == 3
    numbers = as_numbers(pixels.values, None) if colored else pixels.values
    values, others = _most_frequent(numbers)
    flat, _ = _most_frequent(numbers[1:-1, 1:-1][is_flat(numbers)])
    height, width = numbers.shape
    return MaskFacts(mask, (height, width), values, colored, pixels.palette, flat, others)


def count_values(values: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    """Return the values in order and how often each occurs, which may be 0."""
    if values.dtype == np.uint8:  # Pillow counts bytes five times as fast as numpy
        return np.arange(256), np.array(Image.fromarray(np.atleast_2d(values)).histogram())
    return np.unique(values, return_counts=True)


def as_numbers(values: npt.NDArray[np.integer], palette: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.int32]:
    """Turn colors (..., 3), or gray levels or palette indices of any shape, into numbers 0xRRGGBB (...)."""
    if palette is not None:
        colors = np.zeros((256, 3), dtype=np.uint8)  # a file may list fewer than it uses
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
    """Return the most frequent values with their counts, in the order of the values, and the count of the others."""
    values, counts = count_values(numbers)
    values, counts = values[counts > 0], counts[counts > 0]
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_VALUES])
    return dict(zip(values[kept].tolist(), counts[kept].tolist(), strict=True)), int(counts.sum() - counts[kept].sum())


def is_flat(numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return the mask (H - 2, W - 2) of the inner pixels that equal their eight neighbors."""
    like_right = numbers[:, :-1] == numbers[:, 1:]
    in_row = like_right[:, :-1] & like_right[:, 1:]  # (H, W - 2): equal to both neighbors in the row
    like_below = (numbers[:-1] == numbers[1:])[:, 1:-1]
    flat: npt.NDArray[np.bool_] = in_row[:-2] & in_row[1:-1] & in_row[2:] & like_below[:-1] & like_below[1:]
    return flat
