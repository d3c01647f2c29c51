"""Segment images of any size in tiles, with the same result as for the whole image, without torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from maskpencil.images import RGBImage
from maskpencil.runtimes.base import ALIGNMENT, CoarseScores, Maps, NetworkProfile, Runtime, Wanted
from maskpencil.runtimes.upsampling import Floats, Size

Part: TypeAlias = "slice[int, int, None]"
"""A range of rows or columns: from the first index to the index after the last."""


class Windows(Protocol):
    """An image of which any rectangle of pixels (window) can be read."""

    @property
    def size(self) -> Size:
        """The size (H, W) of the image."""

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """Read the pixels of some rows and columns, (rows, columns, 3) uint8."""


@dataclass(frozen=True)
class ArrayWindows:
    """An image (H, W, 3) uint8 in memory, read as `Windows`."""

    pixels: RGBImage

    @property
    def size(self) -> Size:
        """The size (H, W) of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """Read the pixels of some rows and columns, (rows, columns, 3) uint8."""
        return np.ascontiguousarray(self.pixels[rows, columns])


def tiled_maps(
    runtime: Runtime, image: Windows, wanted: Wanted, *, profile: NetworkProfile, tile: int, start: int = 0
) -> Iterator[tuple[slice, Maps]]:
    """Segment an image in tiles, and yield bands of whole rows with their maps, beginning with the row `start`.

    The image is cut into square tiles with sides of `tile` pixels, a multiple of `ALIGNMENT`, from its upper left
    corner. Each tile is read with a halo that contains all pixels on which its scores depend, so that the scores are
    the same as for the whole image. If scores depend on the whole image, the scores of overlapping tiles are blended
    instead. Only one band of scores is in memory at a time, or all scores of the image if tiles are blended.
    """
    height, width = image.size
    stride = runtime.upsampling.pixel_stride
    grid = (-(-height // ALIGNMENT) * ALIGNMENT // stride, -(-width // ALIGNMENT) * ALIGNMENT // stride)
    bands = _blended_bands if not profile.exact else _exact_bands
    kept: Floats | None = None
    done = start
    # a pixel needs the scores around it: the last rows of a band are computed with the next band, from `kept` scores
    first_band = max(0, start // tile - 1) * tile
    for top, values in bands(runtime, image, grid, profile=profile, tile=tile, stride=stride, first=first_band):
        held = values if kept is None else np.concatenate([kept, values], axis=2)
        first = top // stride - (0 if kept is None else kept.shape[2])
        end = height if top + tile >= height else top + tile - stride
        if end > done:
            scores = CoarseScores(held, image.size, first=first, rows=grid[0])
            rows = slice(done, end)
            yield rows, runtime.maps(scores, image.size, wanted, rows=rows)
            done = end
        kept = held[:, :, -2:]


def _exact_bands(
    runtime: Runtime, image: Windows, grid: Size, *, profile: NetworkProfile, tile: int, stride: int, first: int
) -> Iterator[tuple[int, Floats]]:
    """Yield the index of the first pixel row, and the coarse scores (1, K, tile / stride, w), of each row of tiles.

    `first` is the pixel row of the image at which to begin, a multiple of `tile`. `grid` (h, w) is the size of the
    coarse scores of the whole image, and `stride` their stride in pixels.
    """
    height, width = image.size
    halo = profile.halo
    for top in range(first, height, tile):
        band = None
        for left in range(0, width, tile):
            rows, columns = _window(top, tile, halo, height), _window(left, tile, halo, width)
            values = runtime.fetched(runtime.coarse_scores([image.read(rows, columns)]))
            across = slice((left - columns.start) // stride, _end(left, tile, columns, width, grid[1], stride))
            down = slice((top - rows.start) // stride, _end(top, tile, rows, height, grid[0], stride))
            part = values[:, :, down, across]
            if band is None:
                band = np.empty((1, part.shape[1], part.shape[2], grid[1]), np.float32)
            band[..., left // stride : left // stride + part.shape[3]] = part
        if band is not None:
            yield top, band


def _blended_bands(
    runtime: Runtime, image: Windows, grid: Size, *, profile: NetworkProfile, tile: int, stride: int, first: int
) -> Iterator[tuple[int, Floats]]:
    """Yield the same as `_exact_bands`, but average the scores where tiles overlap.

    The weight of a score grows with its distance to the edges of its tile.
    """
    height, width = image.size
    total = np.zeros((1, runtime.upsampling.classes, *grid), np.float32)
    weights = np.zeros(grid, np.float32)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = (_window(at, tile, profile.halo, of) for at, of in ((top, height), (left, width)))
            values = runtime.fetched(runtime.coarse_scores([image.read(rows, columns)]))
            weight = np.outer(_ramp(values.shape[2]), _ramp(values.shape[3]))
            place = tuple(
                slice(side.start // stride, side.start // stride + length)
                for side, length in zip((rows, columns), values.shape[2:], strict=True)
            )
            total[(slice(None), slice(None), *place)] += values * weight
            weights[place] += weight
    total /= weights
    for top in range(first, height, tile):
        yield top, total[:, :, top // stride : (top + tile) // stride]


def _window(start: int, tile: int, halo: int, length: int) -> Part:
    """Return the rows or columns to read for the tile at `start`, clipped to the image."""
    return slice(max(0, start - halo), min(length, start + tile + halo))


def _end(start: int, tile: int, window: Part, length: int, scores: int, stride: int) -> int:
    """Return the index after the last score of a tile along one axis, counted from the first score of its `window`.

    Along this axis the whole image has `length` pixels and `scores` coarse scores. The last tile includes all remaining
    scores, even those in the network's padding.
    """
    if start + tile >= length:
        return scores - window.start // stride
    return (start + tile - window.start) // stride


def _ramp(length: int) -> npt.NDArray[np.float32]:
    """Return `length` weights that grow linearly from 1, at both ends, toward the middle."""
    near = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1))
    return near.astype(np.float32)
