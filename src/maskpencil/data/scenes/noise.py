"""Cloudy noise, for skies, asphalt and everything else that must not look flat."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Canvas = npt.NDArray[np.float32]

SIDE = 256


@lru_cache(maxsize=1)
def noise_tile() -> Canvas:
    """A tile (256, 256) of noise from 0 to 1 that repeats without a seam."""
    rng = np.random.default_rng(0)
    tile = np.zeros((SIDE, SIDE), dtype=np.float32)
    for cells in (8, 16, 32, 64, 128):
        lattice = np.pad(rng.random((cells, cells), dtype=np.float32), (0, 1), mode="wrap")
        place = np.arange(SIDE) * cells / SIDE
        low = place.astype(np.int64)
        part = smooth_step((place - low).astype(np.float32))
        rows = lattice[low] * (1 - part[:, np.newaxis]) + lattice[low + 1] * part[:, np.newaxis]
        tile += (rows[:, low] * (1 - part) + rows[:, low + 1] * part) / np.float32(cells**0.8)
    tile -= tile.min()
    tile /= tile.max()
    return tile


def noise_at(x: Canvas, y: Canvas) -> Canvas:
    """The noise at places counted in the tile's pixels, blended between them; the arguments have one shape."""
    tile = noise_tile()
    left, top = np.floor(x), np.floor(y)
    dx, dy = x - left, y - top
    i, j = left.astype(np.int32) % SIDE, top.astype(np.int32) % SIDE
    i1, j1 = (i + 1) % SIDE, (j + 1) % SIDE
    upper = tile[j, i] * (1 - dx) + tile[j, i1] * dx
    lower = tile[j1, i] * (1 - dx) + tile[j1, i1] * dx
    return (upper * (1 - dy) + lower * dy).astype(np.float32, copy=False)


def smooth_step(x: Canvas) -> Canvas:
    """0 up to 0, 1 from 1 on, and a soft way between."""
    part: Canvas = np.clip(x, 0, 1)
    stepped: Canvas = part * part * (3 - 2 * part)
    return stepped
