"""Rasters of any size: read window by window, their masks written so, the georeference kept."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, ImageError
from maskpencil.files import written_whole
from maskpencil.images import IGNORE_COLOR, RGBImage, read_image, scaled, write_image
from maskpencil.inference.raster_regions import write_raster_regions
from maskpencil.inference.rows_done import Rows, RowsDone
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

    @property
    def origin(self) -> dict[str, object] | None:
        """All that the maps follow from, as plain values; None where that is not known."""

    def bands(self, picture: Windows, wanted: Wanted, *, start: int = 0) -> Iterator[tuple[slice, Maps]]:
        """The maps of a picture as bands of whole rows, from the row `start` down."""


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
    entropy: bool = False,
    overlay: bool = True,
    opacity: float = 0.5,
    regions: bool = False,
    min_area: int = 1,
    region_classes: Sequence[str] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> None:
    """Colour a raster window by window: masks/STEM.tif, an overlays/STEM.png for a look, and as `predict` is asked to.

    Memory is that of the network and of a band of rows, whatever the raster. Each file is written whole or not at all;
    rows that are done wait in a hidden folder beside the mask, from which the same call goes on after an interruption.
    `regions` gives regions/STEM.geojson, see `write_raster_regions`, with `min_area` and `region_classes`. `on_rows`
    hears (rows done, of).

    Raises:
        ConfigError: rasterio is not installed, or the model cannot be run in tiles.
        ImageError: it is not a raster that can be read, or its numbers are not of 8 or 16 bits.
        KeyboardInterrupt: Ctrl-C was pressed; it says how to go on.
        OutputError: a file cannot be written.
    """
    rasterio = _rasterio()
    wanted = Wanted(confidence=confidence, entropy=entropy)
    with _opened(rasterio, path) as dataset:
        windows = RasterWindows(dataset)
        done = _rows_done(segmenter, path, out / "masks" / stem, wanted)
        try:
            for rows, maps in segmenter.bands(windows, wanted, start=done.count):
                done.add(_written_rows(maps))
                if on_rows:
                    on_rows(rows.stop, windows.size[0])
        except ImageError:
            done.remove()
            raise
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(
                f"{path.name}: {done.count} of {windows.size[0]} rows are kept: go on with --out {out}"
            ) from stop
        with ExitStack() as files:
            writers: dict[str, _RasterWriter] = {}
            for band in done:
                for name, values in band.items():
                    if name not in writers:
                        colors = segmenter.classes.colors if name == "masks" else None
                        file = _written(rasterio, out / name / f"{stem}.tif", dataset, colors)
                        writers[name] = files.enter_context(file)
                    writers[name].add(values)
            for writer in writers.values():
                writer.finish()
            if regions:
                place = out / "regions" / f"{stem}.geojson"
                mask = writers["masks"].dataset
                write_raster_regions(mask, place, segmenter.classes, min_area=min_area, wanted=region_classes)
            if overlay:
                height, width = windows.size
                share = min(1.0, OVERVIEW / max(height, width))
                size = max(1, round(height * share)), max(1, round(width * share))
                labels = writers["masks"].overview(size)
                seen = Prediction(scaled(windows.overview(size), size), labels, None, segmenter.classes)
                write_image(out / "overlays" / f"{stem}.png", seen.overlay(opacity=opacity))
        done.remove()


def _rows_done(segmenter: GivesBands, path: Path, place: Path, wanted: Wanted) -> RowsDone:
    """What is done of a raster, whose results are called as `place` is."""
    origin, status = segmenter.origin, path.stat()
    facts = origin and {
        **origin,
        "wanted": asdict(wanted),
        "raster": [os.fspath(path.resolve()), status.st_size, status.st_mtime_ns],
    }
    return RowsDone(place.with_name(f".{place.name}.unfinished"), facts)


def _written_rows(maps: Maps) -> Rows:
    """What is written of some rows."""
    greys = {"confidence": maps.confidence, "entropy": maps.entropy}
    return {
        "masks": maps.labels[0],
        **{name: grayscale(values[0]) for name, values in greys.items() if values is not None},
    }


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
    rasterio: ModuleType, path: Path, like: Any, colors: npt.NDArray[np.uint8] | None
) -> Iterator[_RasterWriter]:
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
    # rasterio's errors are operating system errors, of which `written_whole` makes ours
    with written_whole(path) as temporary, rasterio.open(temporary, "w+", **profile) as dataset:
        if colors is not None:
            palette = {index: tuple(color) for index, color in enumerate(colors.tolist())}
            dataset.write_colormap(1, palette | {IGNORE_INDEX: IGNORE_COLOR})
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
