"""COCO's run-length encoding of masks, as numbers and as text.

Source: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Window
from maskpencil.errors import DataError

_FIRST = ord("0")
_BITS = 5
"""Bits of a number in a character; the next higher bit means that more follow, the highest of the last is the sign."""

_LONGEST = 6
"""Characters of a number: 30 bits, more than any image needs."""


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask of a whole image of `size` (height, width) as the lengths of its runs; a `drawing.Shape`.

    Pixels are counted down the columns, from the left; the runs alternate between outside and inside of the mask.
    """

    class_index: int
    size: tuple[int, int]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, class_index: int, size: tuple[int, int], counts: Sequence[int] | str) -> Self:
        """Take the runs as they stand in a COCO file: as a list of numbers, or as text, see `counts_of_text`.

        Raises:
            DataError: not whole numbers from 0, or not as many pixels as the image has.
        """
        if not isinstance(counts, str) and not {*map(type, counts)} <= {int}:
            raise DataError("its run lengths are not whole numbers; export it again")
        pixels = size[0] * size[1]
        if not isinstance(counts, str) and not all(0 <= count <= pixels for count in counts):
            raise DataError(f"a run is not within the {pixels} pixels of its size; export it again")
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
        """The pixels in the mask."""
        return int(self.counts[1::2].sum())

    def fill(self, size: tuple[int, int]) -> tuple[Window, npt.NDArray[np.bool_]]:
        """See `drawing.Shape`; `size` must be the size of the mask."""
        if size != self.size:
            raise ValueError(f"size must be that of the mask, {self.size}, but got {size}")
        height, _ = size
        ends = np.cumsum(self.counts)
        starts, stops = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
        starts, stops = starts[stops > starts], stops[stops > starts]
        if not len(starts):
            return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=bool)
        left, right = int(starts[0]) // height, -(-int(stops[-1]) // height)
        # runs are apart or touch: where one ends and the next begins, the changes cancel
        changes = np.zeros((right - left) * height + 1, dtype=np.int8)
        np.add.at(changes, starts - left * height, 1)
        np.add.at(changes, stops - left * height, -1)
        inside = np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(right - left, height)
        return (slice(0, height), slice(left, right)), inside.T


def counts_of_text(text: str) -> npt.NDArray[np.int64]:
    """Decode COCO's compressed text to run lengths, (n,).

    A number is written in characters from "0" on, the lowest five bits first. From the fourth run on it is the
    difference to the run before the last.

    Raises:
        DataError: a character that cannot be, or a number without an end.
    """
    digits = np.array([ord(letter) for letter in text], dtype=np.int64) - _FIRST
    if ((digits < 0) | (digits >= 1 << (_BITS + 1))).any() or (len(digits) and digits[-1] >> _BITS):
        raise DataError("its run-length text is damaged or cut short; export it again")
    last = np.flatnonzero(digits >> _BITS == 0)  # the last character of each number
    first = np.append(0, last[:-1] + 1)[: len(last)]
    lengths = last - first + 1
    if (lengths > _LONGEST).any():
        raise DataError("its run-length text holds a number that no image needs; export it again")
    if not len(digits):
        return np.zeros(0, dtype=np.int64)
    shifts = _BITS * (np.arange(len(digits)) - np.repeat(first, lengths))
    numbers = np.add.reduceat((digits & ((1 << _BITS) - 1)) << shifts, first)
    negative = digits[last] >> (_BITS - 1) & 1
    numbers -= negative << (_BITS * lengths)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
