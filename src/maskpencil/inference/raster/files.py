"""Read and write raster files window by window with rasterio."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import ImageError, OutputError
from maskpencil.extras import needed_for
from maskpencil.files import written_whole
from maskpencil.images import RGBImage, decoding, naming, tiff
from maskpencil.images.bands import Bands, Levels, choose_bands, empty_pixels
from maskpencil.images.files import HEAD, what_it_is
from maskpencil.label_maps import IGNORE_COLOR
from maskpencil.plain_text import is_utf8
from maskpencil.regular_files import refuse_special

BLOCK = 512
"""The side, in pixels, of the blocks of written files."""

TIFF_DRIVER, JPEG2000_DRIVER = "GTiff", "JP2OpenJPEG"
"""The only GDAL drivers that open files, whatever their names, since other drivers may open further files or URLs."""

_CACHE_MB = 64


@dataclass(frozen=True)
class RasterWindows:
    """A reader of windows of an open raster, with the same pixels as `images.read_pixels` on the whole file.

    Attributes:
        dataset: the open rasterio data set.
        bands: the meaning of the bands: which are colors, gray values or alpha.
        levels: the conversion of the raster's values to 0-255.
        remarks: remarks on how the file is read; each completes a sentence that begins with the file's name.
        jpeg: the reader for JPEG-compressed TIFFs with chroma subsampling; None for other files, which GDAL reads.
    """

    dataset: Any
    bands: Bands
    levels: Levels
    remarks: tuple[str, ...] = ()
    jpeg: tiff.JpegWindows | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The size (height, width) of the raster."""
        return self.dataset.height, self.dataset.width

    def read(self, rows: slice, columns: slice) -> RGBImage:
        """Read the pixels of some rows and columns as RGB, (rows, columns, 3) uint8."""
        return self.levels.to_rgb(self._part(rows, columns), self.dataset.name)

    def empty(self, rows: slice) -> npt.NDArray[np.bool_] | None:
        """Return a mask (rows, W) that is True at empty pixels, see `empty_pixels`; None if no pixel can be empty."""
        bands, window = self.bands, _window(rows, slice(0, self.dataset.width))
        masked = self._has_mask
        if bands.nodata is None and bands.alpha is None and not masked and bands.dtype.kind != "f":
            return None
        alpha = None if bands.alpha is None else self._read([bands.alpha + 1], window=window)[..., 0]
        mask = self._reading(self.dataset.read_masks, 1, window=window) if masked else None
        colors = self._part(rows, slice(0, self.dataset.width))
        return empty_pixels(colors, bands, alpha=alpha, mask=mask)

    def overview(self, size: tuple[int, int]) -> RGBImage:
        """Read the whole raster, scaled to `size` (height, width), as RGB (height, width, 3) uint8."""
        from rasterio.enums import Resampling

        how = Resampling.nearest if self.bands.model == "palette" else Resampling.average
        shape = (len(self.bands.colors), *size)
        return self.levels.to_rgb(self._colors(out_shape=shape, resampling=how), self.dataset.name)

    def count(self) -> None:
        """Read the whole raster to choose the scaling of its values to 0-255, if the scaling depends on the values."""
        height, width = self.size
        for top in range(0, height if self.levels.by_numbers else 0, BLOCK):
            rows = slice(top, min(height, top + BLOCK))
            self.levels.count(self._part(rows, slice(0, width)), self.empty(rows))

    @property
    def _has_mask(self) -> bool:
        from rasterio.enums import MaskFlags

        flags = set(self.dataset.mask_flag_enums[0])
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    def _part(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read the values of the visible bands in some rows and columns, (rows, columns, n)."""
        if self.jpeg is None:
            return self._colors(window=_window(rows, columns))
        with decoding(self.dataset.name):
            return self.jpeg.read(rows, columns)

    def _colors(self, **how: Any) -> npt.NDArray[Any]:
        """Read the values of the visible bands, (H, W, n); `how` is passed on to rasterio."""
        return self._read([band + 1 for band in self.bands.colors], **how)

    def _read(self, bands: list[int], **how: Any) -> npt.NDArray[Any]:
        return np.moveaxis(self._reading(self.dataset.read, bands, **how), 0, 2)

    def _reading(self, read: Callable[..., npt.NDArray[Any]], *arguments: Any, **how: Any) -> npt.NDArray[Any]:
        from rasterio.errors import RasterioIOError

        try:
            return read(*arguments, **how)
        except RasterioIOError as error:
            raise ImageError(
                f"{self.dataset.name}: is damaged or cut short ({_in_short(error)}); replace it or remove it"
            ) from error


class RasterWriter:
    """A writer of rows, from the top down, into the band of an open rasterio data set.

    Rows are kept in memory until they fill a row of blocks, `BLOCK` pixels high.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.start = dataset, 0
        self.waiting: list[npt.NDArray[np.uint8]] = []

    def add(self, rows: npt.NDArray[np.uint8]) -> None:
        """Add the next rows, (rows, W) uint8."""
        self.waiting.append(rows)
        count = sum(map(len, self.waiting)) // BLOCK * BLOCK
        if count:
            together = np.concatenate(self.waiting)
            self._write(together[:count])
            self.waiting = [together[count:].copy()]

    def finish(self) -> None:
        """Write the rows that are still in memory."""
        self._write(np.concatenate(self.waiting))
        self.waiting = []

    def overview(self, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Read the written raster, scaled to `size` (height, width) by nearest neighbor, as (height, width) uint8."""
        labels: npt.NDArray[np.uint8] = self.dataset.read(1, out_shape=size)
        return labels

    def _write(self, rows: npt.NDArray[np.uint8]) -> None:
        from rasterio.windows import Window

        if len(rows):
            self.dataset.write(rows, 1, window=Window(0, self.start, rows.shape[1], len(rows)))
            self.start += len(rows)


@contextmanager
def written_raster(path: Path, like: Any, colors: npt.NDArray[np.uint8] | None) -> Iterator[RasterWriter]:
    """Yield a writer of a one-band GeoTIFF with the size and georeference of `like`, an open rasterio data set.

    The file appears at `path` only when it is complete. `colors` (K, 3) is the palette of a mask, in which 255 is
    nodata; None for other results.

    Raises:
        OutputError: the file cannot be written.
    """
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
    points, points_crs = like.gcps
    if not points:
        profile |= {"crs": like.crs, **({} if like.transform.is_identity else {"transform": like.transform})}
    if colors is not None:
        profile |= {"nodata": IGNORE_INDEX}
    rasterio = _rasterio()
    if not is_utf8(os.fspath(path)):
        raise OutputError(f"{path}: its path is not valid UTF-8, which GDAL needs; give another --out")
    # rasterio's errors are OSErrors, which `written_whole` turns into OutputError
    with written_whole(path) as temporary:
        with rasterio.open(temporary, "w+", **profile) as dataset:
            if points:
                dataset.gcps = points, points_crs or rasterio.CRS()
            if like.rpcs is not None:
                dataset.rpcs = like.rpcs
            if like.tags().get("AREA_OR_POINT") == "Point":
                dataset.update_tags(AREA_OR_POINT="Point")
            if colors is not None:
                palette = {index: tuple(color) for index, color in enumerate(colors.tolist())}
                dataset.write_colormap(1, palette | {IGNORE_INDEX: IGNORE_COLOR})
            yield RasterWriter(dataset)
        _refuse_cut(temporary)


def _refuse_cut(path: Path) -> None:
    """Check that every block of a TIFF file is inside the file, since closing a raster does not report a full disk.

    Raises:
        OSError: a block is incomplete.
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
def opened_raster(path: Path) -> Iterator[RasterWindows]:
    """Open a TIFF or JPEG 2000 file with GDAL and yield a reader of its windows.

    Raises:
        ConfigError: rasterio is not installed.
        ImageError: the file is not a readable raster.
    """
    rasterio = _rasterio()
    if not is_utf8(os.fspath(path)):
        raise ImageError(f"{path}: its path is not valid UTF-8, which GDAL needs; rename the file or folder")
    refuse_special(path, error=ImageError)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # a georeference is optional
        with decoding(os.fspath(path)), naming(os.fspath(path)):
            page, pages = _tiff_page(path)
        try:
            dataset = rasterio.open(os.fspath(path), driver=TIFF_DRIVER if page else JPEG2000_DRIVER)
        except rasterio.errors.RasterioIOError as error:
            with path.open("rb") as file:
                head = file.read(HEAD)
            found, remedy = what_it_is(head)
            raise ImageError(f"{path}: {found} ({_in_short(error)}); {remedy}") from error
        with dataset, path.open("rb") as file:
            with decoding(os.fspath(path)), naming(os.fspath(path)):
                bands = _bands(dataset, page)
                jpeg = tiff.JpegWindows(file, page) if page and page.has_coarse_color else None
            windows = RasterWindows(dataset, bands, Levels(bands), jpeg=jpeg)
            windows.count()
            several = f"only page 1 of {pages} is read; save the others as separate files" if pages > 1 else ""
            turned = "" if page is None or page.orientation == 1 else "its Orientation tag is not applied, as in GDAL"
            remarks = (bands.text, windows.levels.text(os.fspath(path)), several, turned)
            yield replace(windows, remarks=tuple(filter(None, remarks)))


def _tiff_page(path: Path) -> tuple[tiff.TiffPage | None, int]:
    """Return the first page of a TIFF file, and the number of pages; (None, 1) if the file is not a TIFF.

    Raises:
        ImageError: the file is a raw photo; or a file PATH.ovr or PATH.msk, which GDAL also reads, is not a TIFF.
    """
    with path.open("rb") as file:
        if not tiff.is_tiff(file.read(4)):
            return None, 1
        pages = tiff.main_pages(tiff.read_pages(file))
    if tiff.is_raw_photo(pages[0]):
        raise ImageError("is a raw photo (DNG), whatever its name says; develop it to JPEG or TIFF first")
    for suffix in (".ovr", ".msk"):
        beside = path.with_name(path.name + suffix)
        if beside.is_file():
            with beside.open("rb") as file:
                if not tiff.is_tiff(file.read(4)):
                    raise ImageError(f"the file {beside.name} beside it is not a TIFF; remove or recreate that file")
    return pages[0], len(pages)


def _bands(dataset: Any, page: tiff.TiffPage | None) -> Bands:
    """Find the meaning of the bands from the tags of a TIFF `page`, or, if it is None, from GDAL's description."""
    if page is not None:
        bands = page.bands
        if page.photometric in (5, 8) or (page.photometric == 6 and page.compression != 7):
            if dataset.count < 3:
                raise ValueError(f"its PhotometricInterpretation needs 3 bands, but the file has {dataset.count}")
            return replace(bands, count=3, model="rgb", colors=(0, 1, 2), alpha=None)  # GDAL converts to RGB
        return bands
    marks = [mark.name for mark in dataset.colorinterp]
    model, colors, alpha, marked = choose_bands(dataset.count, marks)
    dtype = np.dtype(dataset.dtypes[0])
    bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * dtype.itemsize))
    return Bands(dataset.count, dtype, bits, model, colors, alpha, marked, dataset.nodata)


def _window(rows: slice, columns: slice) -> Any:
    from rasterio.windows import Window

    return Window.from_slices(rows, columns)


def _in_short(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def _rasterio() -> ModuleType:
    with needed_for("--geotiff"):
        import rasterio
        import rasterio.errors
    return rasterio  # type: ignore[no-any-return]
