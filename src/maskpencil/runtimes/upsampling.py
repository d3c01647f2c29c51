"""From the scores of cells to the pixels that are shown: the last upsampling and the scaling after it, as matrices.

Both are interpolations along rows and columns, so both together are one matrix a side: a block of pixels is
`down @ cells @ across.T`, and needs but the cells around it. Without torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]

LARGEST_BLOCK = 512
"""The longest side of a block: the matrices stay small, whatever the image."""

BLOCK_BYTES = 2**25
"""The most bytes of a block's logits."""


@dataclass(frozen=True)
class Upscoring:
    """How a network comes from cells (N, K, h, w) to logits of its image.

    Cells of a `stride` are upsampled by a transposed convolution of `kernel_size`, of whose output the image starts
    at row and column `origin`. The kernel is bilinear, or `kernel` (K, K / groups, k, k) where it has learned
    otherwise. Without a stride the cells are stretched to the image, as torchvision's networks do it.
    """

    classes: int
    stride: int | None
    kernel_size: int = 0
    origin: int = 0
    kernel: Floats | None = None

    @property
    def in_place(self) -> bool:
        """Whether the cells are tiles of the image, so that those of a part of it are a part of the cells."""
        return self.stride is not None and (self.kernel_size, 2 * self.origin) == (2 * self.stride, self.stride)

    @property
    def cell(self) -> int:
        """The side of a cell in pixels, where the cells are `in_place`."""
        return self.kernel_size // 2

    @property
    def groups(self) -> int:
        """Of the transposed convolution by `kernel`: 1, or one a class."""
        return 1 if self.kernel is None else self.classes // self.kernel.shape[1]

    def blocks(self, cells: Size, *, working: Size, shown: Size, rows: slice = slice(None)) -> Iterator["Block"]:
        """The blocks of pixels that make up the `rows` of an image (H, W) `shown`, which the network saw as `working`.

        `cells` is the (height, width) of its map of cells.
        """
        top, bottom, _ = rows.indices(shown[0])
        height = max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * self.classes * min(shown[1], LARGEST_BLOCK))))
        for first in range(top, bottom, height):
            end = min(bottom, first + height)
            down = self._side((first, end), cells[0], working[0], shown[0], cut=working == shown)
            for left in range(0, shown[1], LARGEST_BLOCK):
                right = min(shown[1], left + LARGEST_BLOCK)
                across = self._side((left, right), cells[1], working[1], shown[1], cut=working == shown)
                yield Block((slice(first, end), slice(left, right)), down, across)

    def _side(self, pixels: tuple[int, int], cells: int, working: int, shown: int, *, cut: bool) -> "Side":
        """What one side of a block needs: `pixels` are the first and the one after the last.

        A learned upsampling makes just what is shown where that is only to be `cut`.
        """
        places, weights = _scaled(np.arange(*pixels), working, shown)  # (n, 2) pixels of the network's image
        if self.stride is None:
            places, weights = _scaled(np.arange(*pixels), cells, shown)
            return _side(places, weights)
        if self.kernel is None:
            middle = (places + self.origin - (self.kernel_size - 1) / 2) / self.stride  # in cells
            low = np.floor(middle).astype(np.int64)
            share = middle - low
            places, weights = (
                np.concatenate([low, low + 1], axis=1),
                np.concatenate([(1 - share) * weights, share * weights], axis=1),
            )
            inside = (places >= 0) & (places < cells)  # there are no scores outside, and so nothing is added
            return _side(places.clip(0, cells - 1), np.where(inside, weights, 0))
        upscored = places + self.origin
        first = max(0, -(-(int(upscored.min()) - self.kernel_size + 1) // self.stride))
        end = min(cells, int(upscored.max()) // self.stride + 1)
        local = upscored - first * self.stride
        if cut:
            return Side(slice(first, end), None, int(local.min()))
        side = _side(local, weights, length=(end - first - 1) * self.stride + self.kernel_size)
        return Side(slice(first, end), side.matrix, 0)


@dataclass(frozen=True)
class Side:
    """Rows, or columns, of a block: the `cells` they come from, and the matrix (pixels, cells) that makes them.

    After a learned upsampling the matrix takes its output; without one the output is cut, from `offset` on.
    """

    cells: slice
    matrix: Floats | None
    offset: int = 0


@dataclass(frozen=True)
class Block:
    """A block of pixels: where it stands in the image, and how its rows and columns are made."""

    place: tuple[slice, slice]
    down: Side
    across: Side

    def moved(self, rows: int) -> "Block":
        """The block of cells of which so many more rows come first."""
        cells = slice(self.down.cells.start + rows, self.down.cells.stop + rows)
        return replace(self, down=replace(self.down, cells=cells))


def _scaled(pixels: npt.NDArray[np.int64], source: int, target: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Which two of `source` pixels make each of some of `target` pixels, and their weights: (n, 2) both.

    As bilinear interpolation has it, with pixels as squares and the outermost repeated.
    """
    if source == target:
        return np.stack([pixels, pixels], axis=1), np.tile(np.array([1, 0], np.float32), (len(pixels), 1))
    place = ((pixels + 0.5) * (source / target) - 0.5).clip(0)
    low = np.floor(place).astype(np.int64).clip(max=source - 1)
    share = (place - low).astype(np.float32)
    return np.stack([low, np.minimum(low + 1, source - 1)], axis=1), np.stack([1 - share, share], axis=1)


def _side(places: npt.NDArray[np.int64], weights: npt.NDArray[np.floating], *, length: int | None = None) -> Side:
    """The matrix of weighted places, over those from the first to the last that is used, or over `length` of them."""
    first = 0 if length else int(places.min())
    end = length or int(places.max()) + 1
    matrix = np.zeros((len(places), end - first), dtype=np.float32)
    for column in range(places.shape[1]):
        np.add.at(matrix, (np.arange(len(places)), places[:, column] - first), weights[:, column])
    return Side(slice(first, end), matrix)
