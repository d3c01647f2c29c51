"""Rasters of any size: read window by window, their masks written so, the georeference kept."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, ImageError
from maskpencil.files import written_whole
from maskpencil.images import IGNORE_COLOR, RGBImage, read_image, scaled, write_image
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import Maps, Wanted
from maskpencil.runtimes.tiling import Windows
from maskpencil.visualize import grayscale

RASTER_SUFFIXES = frozenset({".jp2", ".tif", ".tiff"})

BLOCK = 512
"""The side of the blocks of the files that are written, in pixels."""

OVERVIEW = 2048
"""The longest side of the overlay, which is for a look."""

_CACHE_MB = 64


@runtime_checkable
class GivesBands(Protocol):
    """The part of `Segmenter` that rasters need."""

    @property
    def classes(self) -> ClassSet:
        """What the label maps' indices mean."""

    def bands(self, picture: Windows, wanted: Wanted) -> Iterator[tuple[slice, Maps]]:
        """The maps of a picture as bands of whole rows, from the uppermost down."""


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


def predict_raster(
    segmenter: GivesBands,
    path: Path,
    out: Path,
    stem: str,
    *,
    confidence: bool = False,
    overlay: bool = True,
    opacity: float = 0.5,
    on_rows: Callable[[int, int], None] | None = None,
) -> None:
    """Colour a raster window by window: masks/STEM.tif, as asked for confidence/STEM.tif, overlays/STEM.png for a look.

    Memory is that of the network and of a band of rows, whatever the raster. Each file is written whole or not at all.
    `on_rows` hears (rows done, of).

    Raises:
        ConfigError: rasterio is not installed, or the model cannot be run in tiles.
        ImageError: it is not a raster that can be read, or its numbers are not of 8 or 16 bits.
        OutputError: a file cannot be written.
    """
    rasterio = _rasterio()
    places = [("masks", "labels"), *([("confidence", "confidence")] if confidence else [])]
    with _opened(rasterio, path) as dataset, ExitStack() as files:
        windows = RasterWindows(dataset)
        colors = {index: tuple(color) for index, color in enumerate(segmenter.classes.colors.tolist())}
        writers = {
            name: files.enter_context(
                _written(rasterio, out / folder / f"{stem}.tif", dataset, colors if name == "labels" else None)
            )
            for folder, name in places
        }
        for rows, maps in segmenter.bands(windows, Wanted(confidence=confidence)):
            writers["labels"].add(maps.labels[0])
            if maps.confidence is not None and confidence:
                writers["confidence"].add(grayscale(maps.confidence[0]))
            if on_rows:
                on_rows(rows.stop, windows.size[0])
        for writer in writers.values():
            writer.finish()
        if overlay:
            height, width = windows.size
            share = min(1.0, OVERVIEW / max(height, width))
            size = max(1, round(height * share)), max(1, round(width * share))
            labels = writers["labels"].overview(size)
            seen = Prediction(scaled(windows.overview(size), size), labels, None, segmenter.classes)
            write_image(out / "overlays" / f"{stem}.png", seen.overlay(opacity=opacity))


class _RasterWriter:
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
def _written(
    rasterio: ModuleType, path: Path, like: Any, colors: dict[int, tuple[int, ...]] | None
) -> Iterator[_RasterWriter]:
    """Give what writes one band of the raster `like`, whole or not at all; class `colors` make it a palette."""
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
    # rasterio's errors are operating system errors, of which `written_whole` makes ours
    with written_whole(path) as temporary, rasterio.open(temporary, "w+", **profile) as dataset:
        if colors is not None:
            dataset.write_colormap(1, colors | {IGNORE_INDEX: IGNORE_COLOR})
        yield _RasterWriter(dataset)


@contextmanager
def _opened(rasterio: ModuleType, path: Path) -> Iterator[Any]:
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
    except ImportError as error:
        raise ConfigError("--geotiff needs rasterio; install it with pip install maskpencil[geo]") from error
    return rasterio  # type: ignore[no-any-return]
