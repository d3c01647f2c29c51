"""Raster files, read and written window by window by rasterio."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import ConfigError, ImageError, OutputError
from maskpencil.files import refuse_special, written_whole
from maskpencil.images import RGBImage, read_image
from maskpencil.label_maps import IGNORE_COLOR
from maskpencil.plain_text import is_utf8

BLOCK = 512
"""The side of the blocks of the files that are written, in pixels."""

_CACHE_MB = 64


@dataclass(frozen=True)
class RasterWindows:
    """An open raster as `Windows`: its first three bands, or its one as grey; 16 bits are scaled to 8."""

    dataset: Any

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.dataset.height, self.dataset.width

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """See `Windows`."""
        from rasterio.windows import Window

        return self._read(window=Window.from_slices(rows, columns))

    def overview(self, size: tuple[int, int]) -> RGBImage:
        """The whole raster at (height, width) `size`."""
        from rasterio.enums import Resampling

        bands = 3 if self.dataset.count >= 3 else 1
        return self._read(out_shape=(bands, *size), resampling=Resampling.average)

    def _read(self, **how: Any) -> RGBImage:
        from rasterio.errors import RasterioIOError

        try:
            bands = self.dataset.read([1, 2, 3] if self.dataset.count >= 3 else [1], **how)  # (1 or 3, H, W)
        except RasterioIOError as error:
            raise ImageError(
                f"{self.dataset.name}: is damaged or cut short ({_in_short(error)}); replace it or remove it"
            ) from error
        return read_image(np.ascontiguousarray(np.moveaxis(bands, 0, 2)))


class RasterWriter:
    """Takes rows from the uppermost down and writes them in whole rows of blocks."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.start = dataset, 0
        self.waiting: list[npt.NDArray[np.uint8]] = []

    def add(self, rows: npt.NDArray[np.uint8]) -> None:
        """Add (rows, W)."""
        self.waiting.append(rows)
        count = sum(map(len, self.waiting)) // BLOCK * BLOCK
        if count:
            together = np.concatenate(self.waiting)
            self._write(together[:count])
            self.waiting = [together[count:].copy()]

    def finish(self) -> None:
        """Write what still waits."""
        self._write(np.concatenate(self.waiting))
        self.waiting = []

    def overview(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """What was written, at (height, width) `size`: of each place one pixel."""
        labels: npt.NDArray[np.uint8] = self.dataset.read(1, out_shape=size)
        return labels

    def _write(self, rows: npt.NDArray[np.uint8]) -> None:
        from rasterio.windows import Window

        if len(rows):
            self.dataset.write(rows, 1, window=Window(0, self.start, rows.shape[1], len(rows)))
            self.start += len(rows)


@contextmanager
def written_raster(path: Path, like: Any, colors: npt.NDArray[np.uint8] | None) -> Iterator[RasterWriter]:
    """Give what writes one band of the raster `like`, whole or not at all; class `colors` (K, 3) make it a palette."""
    profile = {
        "driver": "GTiff",
        "width": like.width,
        "height": like.height,
        "count": 1,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    if like.crs is not None:
        profile |= {"crs": like.crs, "transform": like.transform}
    if colors is not None:
        profile |= {"nodata": IGNORE_INDEX}
    rasterio = _rasterio()
    if not is_utf8(os.fspath(path)):
        raise OutputError(f"{path}: its path is not valid UTF-8, which GDAL needs; choose another with --out")
    # rasterio's errors are operating system errors, of which `written_whole` makes ours
    with written_whole(path) as temporary:
        with rasterio.open(temporary, "w+", **profile) as dataset:
            if colors is not None:
                palette = {index: tuple(color) for index, color in enumerate(colors.tolist())}
                dataset.write_colormap(1, palette | {IGNORE_INDEX: IGNORE_COLOR})
            yield RasterWriter(dataset)
        _refuse_cut(temporary)


def _refuse_cut(path: Path) -> None:
    """Make sure that every block of a TIFF file lies within it: closing a raster reports no full disk.

    Raises:
        OSError: one does not.
    """
    size = path.stat().st_size
    with _rasterio().open(path) as dataset:
        for (row, column), _ in dataset.block_windows(1):
            place, length = (
                int(dataset.get_tag_item(f"BLOCK_{name}_{column}_{row}", "TIFF", bidx=1) or 0)
                for name in ("OFFSET", "SIZE")
            )
            if place + length > size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def opened_raster(path: Path) -> Iterator[Any]:
    """Open a raster as a rasterio data set.

    Raises:
        ConfigError: rasterio is not installed.
        ImageError: it is not a raster that can be read, or its numbers are not of 8 or 16 bits.
    """
    rasterio = _rasterio()
    if not is_utf8(os.fspath(path)):
        raise ImageError(f"{path}: its path is not valid UTF-8, which GDAL needs; rename it")
    refuse_special(path, error=ImageError)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
        try:
            dataset = rasterio.open(os.fspath(path))
        except rasterio.errors.RasterioIOError as error:
            if not path.is_file():
                raise ImageError(f"{path}: there is no such file") from error
            raise ImageError(
                f"{path}: cannot be read as a raster ({_in_short(error)}); replace it or remove it"
            ) from error
        with dataset:
            kinds = set(dataset.dtypes[:3])
            if not kinds <= {"uint8", "uint16"}:
                raise ImageError(
                    f"{path}: holds {', '.join(sorted(kinds))} numbers; expected 8 or 16 bits a band; convert it first"
                )
            yield dataset


def _in_short(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def _rasterio() -> ModuleType:
    try:
        import rasterio
        import rasterio.errors
    except ModuleNotFoundError as error:
        raise ConfigError("--geotiff needs rasterio; install it with pip install 'maskpencil[geo]'") from error
    return rasterio  # type: ignore[no-any-return]
