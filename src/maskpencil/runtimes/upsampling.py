"""Express the last upsampling and the scaling to the size of the image as matrices, without torch.

Upsampling and scaling are both interpolations along rows and columns, so together they are one matrix for the rows and
one for the columns: a block of pixels is `down @ scores @ across.T`, and needs only the coarse scores around the block.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]
"""A height and a width."""

LARGEST_BLOCK = 512
"""The longest side of a block in pixels, which limits the size of the matrices."""

BLOCK_BYTES = 2**25
"""The limit in bytes for the logits of a block."""


@dataclass(frozen=True)
class Upsampling:
    """The last upsampling of a network, from coarse scores (N, K, h, w) to logits of the image.

    Args:
        classes: the number of classes, K.
        stride: the stride of the transposed convolution; None to scale the scores to the size of the image, as
            torchvision's networks do.
        kernel_size: the kernel size of the transposed convolution.
        origin: the row, and equally the column, of the transposed convolution's output at which the image begins.
        kernel: the learned kernel (K, K / groups, k, k); None for a bilinear kernel.
    """

    classes: int
    stride: int | None
    kernel_size: int = 0
    origin: int = 0
    kernel: Floats | None = None

    @property
    def in_place(self) -> bool:
        """Whether each score belongs to a fixed square of the image, so that tiles can be computed separately."""
        return self.stride is not None and (self.kernel_size, 2 * self.origin) == (2 * self.stride, self.stride)

    @property
    def pixel_stride(self) -> int:
        """The stride of the coarse scores in pixels, if they are `in_place`."""
        return self.kernel_size // 2

    @property
    def groups(self) -> int:
        """The groups of the transposed convolution: 1, or one per class."""
        return 1 if self.kernel is None else self.classes // self.kernel.shape[1]

    def blocks(self, grid: Size, *, working: Size, shown: Size, rows: slice = slice(None)) -> Iterator["Block"]:
        """Yield the blocks of pixels that together cover the given `rows` of an image.

        All sizes are (height, width): `grid` of the coarse scores, `working` of the image as the network gets it, and
        `shown` of the image itself.
        """
        top, bottom, _ = rows.indices(shown[0])
        height = max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * self.classes * min(shown[1], LARGEST_BLOCK))))
        for first in range(top, bottom, height):
            end = min(bottom, first + height)
            down = self._side((first, end), grid[0], working[0], shown[0], cut=working == shown)
            for left in range(0, shown[1], LARGEST_BLOCK):
                right = min(shown[1], left + LARGEST_BLOCK)
                across = self._side((left, right), grid[1], working[1], shown[1], cut=working == shown)
                yield Block((slice(first, end), slice(left, right)), down, across)

    def _side(self, pixels: tuple[int, int], grid: int, working: int, shown: int, *, cut: bool) -> "Side":
        """Return how the rows of a block, or its columns, are computed.

        `pixels` is the range of the rows or columns: the first index and the index after the last. `grid`, `working`
        and `shown` are the heights, or the widths, of the sizes that `blocks` describes. With `cut`, the block is cut
        from the output of a learned upsampling without interpolation, which requires that `working` equals `shown`.
        """
        places, weights = _scaled(np.arange(*pixels), working, shown)  # (n, 2) pixels of the network's image
        if self.stride is None:
            places, weights = _scaled(np.arange(*pixels), grid, shown)
            return _side(places, weights)
        if self.kernel is None:
            middle = (places + self.origin - (self.kernel_size - 1) / 2) / self.stride  # in scores
            low = np.floor(middle).astype(np.int64)
            share = middle - low
            places, weights = (
                np.concatenate([low, low + 1], axis=1),
                np.concatenate([(1 - share) * weights, share * weights], axis=1),
            )
            inside = (places >= 0) & (places < grid)  # outside there are no scores to add
            return _side(places.clip(0, grid - 1), np.where(inside, weights, 0))
        upscored = places + self.origin
        first = max(0, -(-(int(upscored.min()) - self.kernel_size + 1) // self.stride))
        end = min(grid, int(upscored.max()) // self.stride + 1)
        local = upscored - first * self.stride
        if cut:
            return Side(slice(first, end), None, int(local.min()))
        side = _side(local, weights, length=(end - first - 1) * self.stride + self.kernel_size)
        return Side(slice(first, end), side.matrix, 0)


@dataclass(frozen=True)
class Side:
    """How to compute a block along one axis: multiply the scores in `span` by `matrix` (pixels, scores).

    With a learned upsampling, the scores in `span` are upsampled first, and the result is multiplied by the matrix; or,
    if `matrix` is None, the block is cut from the result, where it begins at the index `offset`.
    """

    span: slice
    matrix: Floats | None
    offset: int = 0


@dataclass(frozen=True)
class Block:
    """A block of pixels: its `place` (rows, columns) in the image; `down` computes its rows, `across` its columns."""

    place: tuple[slice, slice]
    down: Side
    across: Side

    def moved(self, rows: int) -> "Block":
        """Return this block for scores with `rows` more rows at their top, or with fewer rows if `rows` is negative."""
        span = slice(self.down.span.start + rows, self.down.span.stop + rows)
        return replace(self, down=replace(self.down, span=span))


def _scaled(pixels: npt.NDArray[np.int64], source: int, target: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the two source pixels from which each target pixel is interpolated, and their weights, both (n, 2).

    `source` and `target` are lengths in pixels. The interpolation is bilinear between pixel centers; border pixels are
    repeated.
    """
    if source == target:
        return np.stack([pixels, pixels], axis=1), np.tile(np.array([1, 0], np.float32), (len(pixels), 1))
    place = ((pixels + 0.5) * (source / target) - 0.5).clip(0)
    low = np.floor(place).astype(np.int64).clip(max=source - 1)
    share = (place - low).astype(np.float32)
    return np.stack([low, np.minimum(low + 1, source - 1)], axis=1), np.stack([1 - share, share], axis=1)


def _side(places: npt.NDArray[np.int64], weights: npt.NDArray[np.floating], *, length: int | None = None) -> Side:
    """Return a `Side` whose matrix interpolates: pixel i is the sum of the values at `places[i]` times `weights[i]`.

    `places` and `weights` are (n, m). The columns of the matrix are the positions from the smallest to the largest of
    `places`, or, with `length`, the positions 0 to `length` - 1.
    """
    first = 0 if length else int(places.min())
    end = length or int(places.max()) + 1
    matrix = np.zeros((len(places), end - first), dtype=np.float32)
    for column in range(places.shape[1]):
        np.add.at(matrix, (np.arange(len(places)), places[:, column] - first), weights[:, column])
    return Side(slice(first, end), matrix)
