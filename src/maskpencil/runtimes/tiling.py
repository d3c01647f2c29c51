"""Images of any size, part by part: what comes out is what the whole image would give. Without torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from maskpencil.images import RGBImage
from maskpencil.runtimes.base import ALIGNMENT, Cells, Footprint, Maps, Runtime, Wanted
from maskpencil.runtimes.upsampling import Floats, Size

Part: TypeAlias = "slice[int, int, None]"
"""From a first row or column to one after the last."""


class Windows(Protocol):
    """An image that is read part by part."""

    @property
    def size(self) -> Size:
        """(H, W)."""

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """The pixels of some rows and columns, (rows, columns, 3) uint8."""


@dataclass(frozen=True)
class ArrayWindows:
    """An image that is in memory."""

    pixels: RGBImage

    @property
    def size(self) -> Size:
        """See `Windows`."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """See `Windows`."""
        return np.ascontiguousarray(self.pixels[rows, columns])


def tiled_maps(
    runtime: Runtime, image: Windows, wanted: Wanted, *, footprint: Footprint, tile: int, start: int = 0
) -> Iterator[tuple[slice, Maps]]:
    """The maps of an image, from the row `start` on, as bands of whole rows with their place.

    The image is cut into tiles of `tile` pixels a side, a multiple of `ALIGNMENT`, on a grid from its corner. A tile
    is read with as much around it as its cells depend on, less where the image ends, so that its cells are those of
    the whole image. Where they depend on all of it the tiles' cells are blended into each other instead. Memory
    holds one band of cells at a time.
    """
    height, width = image.size
    stride = runtime.upscoring.cell
    grid = (-(-height // ALIGNMENT) * ALIGNMENT // stride, -(-width // ALIGNMENT) * ALIGNMENT // stride)
    bands = _blended_bands if not footprint.exact else _exact_bands
    kept: Floats | None = None
    done = start
    # a pixel needs the cells around it: rows near the end of a band wait for the next, with the band's last cells
    first_band = max(0, start // tile - 1) * tile
    for top, values in bands(runtime, image, grid, footprint=footprint, tile=tile, stride=stride, first=first_band):
        held = values if kept is None else np.concatenate([kept, values], axis=2)
        first = top // stride - (0 if kept is None else kept.shape[2])
        end = height if top + tile >= height else top + tile - stride
        if end > done:
            cells = Cells(held, image.size, first=first, rows=grid[0])
            rows = slice(done, end)
            yield rows, runtime.maps(cells, image.size, wanted, rows=rows)
            done = end
        kept = held[:, :, -2:]


def _exact_bands(
    runtime: Runtime, image: Windows, grid: Size, *, footprint: Footprint, tile: int, stride: int, first: int
) -> Iterator[tuple[int, Floats]]:
    """The cells (1, K, tile / stride, w) of one row of tiles after the other, with the row of pixels they start at."""
    height, width = image.size
    halo = footprint.halo
    for top in range(first, height, tile):
        band = None
        for left in range(0, width, tile):
            rows, columns = _window(top, tile, halo, height), _window(left, tile, halo, width)
            values = runtime.fetched(runtime.cells([image.read(rows, columns)]))
            across = slice((left - columns.start) // stride, _end(left, tile, columns, width, grid[1], stride))
            down = slice((top - rows.start) // stride, _end(top, tile, rows, height, grid[0], stride))
            part = values[:, :, down, across]
            if band is None:
                band = np.empty((1, part.shape[1], part.shape[2], grid[1]), np.float32)
            band[..., left // stride : left // stride + part.shape[3]] = part
        if band is not None:
            yield top, band


def _blended_bands(
    runtime: Runtime, image: Windows, grid: Size, *, footprint: Footprint, tile: int, stride: int, first: int
) -> Iterator[tuple[int, Floats]]:
    """As `_exact_bands`, of cells that are the mean of all tiles that see them, weighted by how far inside they are."""
    height, width = image.size
    total = np.zeros((1, runtime.upscoring.classes, *grid), np.float32)
    weights = np.zeros(grid, np.float32)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = (_window(at, tile, footprint.halo, of) for at, of in ((top, height), (left, width)))
            values = runtime.fetched(runtime.cells([image.read(rows, columns)]))
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
    """What is read of a side for the tile at `start`: clipped where the image ends."""
    return slice(max(0, start - halo), min(length, start + tile + halo))


def _end(start: int, tile: int, window: Part, length: int, cells: int, stride: int) -> int:
    """The cell of a window after the last that is kept; at the image's end all that its padding gives."""
    if start + tile >= length:
        return cells - window.start // stride
    return (start + tile - window.start) // stride


def _ramp(length: int) -> npt.NDArray[np.float32]:
    """Weights that grow from the ends to the middle."""
    near = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1))
    return near.astype(np.float32)
