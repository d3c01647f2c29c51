"""Segment rasters of any size window by window; interrupted work resumes; regions become GeoJSON."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ImageError, OutputError
from maskpencil.files import remove_leftovers, written_whole
from maskpencil.images import scaled, write_image
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.raster.files import RasterWriter, opened_raster, written_raster
from maskpencil.inference.sources import Source
from maskpencil.plain_text import json_text
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, model_digest
from maskpencil.runtimes.base import Maps, Wanted
from maskpencil.visualize import grayscale

OVERVIEW = 2048
"""The longest side of the overlay, in pixels."""

_ENDINGS = {"overlays": "jpg", "regions": "geojson"}

FACTS = "facts.json"
"""The name of the file with the facts in the folder of `RowsDone`."""

Rows = dict[str, npt.NDArray[np.uint8]]
"""The values (rows, W) to write for a band of rows, by kind of result: masks, confidence, entropy."""

Remark = Callable[[Sequence[str], str], None]
"""A function that receives remarks on how a file was read; the arguments are `texts` and `levels` of `Remarks.add`."""


class RowsDone:
    """The rows of a raster that are segmented so far, stored in files so that a later run can resume.

    Each call of `add` stores the next rows, from the top down, in one file. Iteration yields the stored rows in this
    order. Only one object at a time may write to the folder.

    Args:
        folder: the folder of the files.
        facts: everything that determines the result (model, raster, options), as plain values; stored rows of an
            earlier run with equal facts are kept, others are removed. With None all stored rows are removed.

    Raises:
        OutputError: the folder cannot be written, or holds other files.
    """

    def __init__(self, folder: Path, facts: Mapping[str, object] | None) -> None:
        self.folder = folder
        described = "" if facts is None else json.dumps(facts, sort_keys=True)
        known = folder / FACTS
        if not known.is_file() and folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise OutputError(
                f"{folder}: holds files other than the rows of an earlier run; move the folder, or give another --out"
            )
        if not described or not known.is_file() or known.read_text(encoding="utf-8") != described:
            self.remove()
            with written_whole(known) as temporary:
                temporary.write_text(described, encoding="utf-8")
        remove_leftovers(folder)
        self._files = sorted(folder.glob("*.npz"))

    @property
    def count(self) -> int:
        """The number of rows stored so far."""
        return int(self._files[-1].stem) if self._files else 0

    def add(self, rows: Rows) -> None:
        """Store the next rows.

        Raises:
            OutputError: the rows cannot be written.
        """
        height = len(next(iter(rows.values())))
        path = self.folder / f"{self.count + height:09}.npz"
        arrays: dict[str, Any] = dict(rows)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        self._files.append(path)

    def __iter__(self) -> Iterator[Rows]:
        for path in self._files:
            with np.load(path) as rows:
                yield dict(rows)

    def remove(self) -> None:
        """Remove the folder with all stored rows.

        Raises:
            OutputError: the folder cannot be removed.
        """
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be removed ({error.strerror}); remove it yourself") from error


def raster_file(out: Path, kind: str, stem: str) -> Path:
    """Return the path of a result of a raster; `kind` is masks, confidence, entropy, overlays or regions."""
    return out / kind / f"{stem}.{_ENDINGS.get(kind, 'tif')}"


def raster_files(out: Path, sources: Sequence[Source], options: PredictOptions) -> list[Path]:
    """List all files that `predict_raster` writes for rasters."""
    kinds = [*options.kinds, "regions"] if options.regions else options.kinds
    return [raster_file(out, kind, source.stem) for source in sources for kind in kinds]


def predict_raster(
    segmenter: Predictor,
    path: Path,
    out: Path,
    stem: str,
    *,
    options: PredictOptions | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    remark: Remark | None = None,
) -> None:
    """Segment a raster window by window and write masks/STEM.tif and the other results that the options request.

    Only one band of rows is in memory at a time, so rasters may have any size; if the tiles of the network are blended,
    the coarse scores of the whole raster are in memory as well, see `tiled_maps`. Each file is written whole or not at
    all; the rows segmented so far are kept in a hidden folder beside the mask, from which the same call resumes after
    an interruption. Regions go to regions/STEM.geojson, see `write_raster_regions`. Empty pixels get 255 in the mask, 0
    in the confidence and 255 in the entropy. The georeference is kept: coordinate system, transform, ground control
    points, RPCs. A georeference in a world file is written into the mask.

    Args:
        segmenter: the predictor that computes bands of rows, see `Predictor.bands`.
        path: the raster.
        out: the folder for the results.
        stem: the name of the results, without suffix.
        options: the settings.
        on_rows: called with (rows done, rows of the raster) after each band.
        remark: called at the end with remarks on how the file was read.

    Raises:
        ConfigError: rasterio is not installed, or the model cannot be run in tiles.
        ImageError: the file is not a readable raster.
        KeyboardInterrupt: Ctrl-C was pressed; the message says how to resume.
        OutputError: a file cannot be written.
    """
    options = options or PredictOptions()
    wanted = Wanted(confidence=options.confidence, entropy=options.entropy)
    with opened_raster(path) as windows:
        dataset = windows.dataset
        done = _rows_done(segmenter, path, out / "masks" / stem, wanted)
        try:
            for rows, maps in segmenter.bands(windows, wanted, start=done.count):
                done.add(_written_rows(maps, windows.empty(rows)))
                if on_rows:
                    on_rows(rows.stop, windows.size[0])
        except ImageError:
            done.remove()
            raise
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(
                f"{path.name}: {done.count} of {windows.size[0]} rows are done and kept; to continue, repeat the "
                f"command with --out {out}"
            ) from stop
        with ExitStack() as files:
            writers: dict[str, RasterWriter] = {}
            for band in done:
                for name, values in band.items():
                    if name not in writers:
                        colors = segmenter.classes.colors if name == "masks" else None
                        file = written_raster(raster_file(out, name, stem), dataset, colors)
                        writers[name] = files.enter_context(file)
                    writers[name].add(values)
            for writer in writers.values():
                writer.finish()
            if options.regions:
                place = raster_file(out, "regions", stem)
                mask = writers["masks"].dataset
                write_raster_regions(
                    mask, place, segmenter.classes, min_area=options.min_area, wanted=options.region_classes
                )
                if remark and not is_placed(mask):
                    remark(("has no georeference, so the outlines are in pixels",), "")
            if options.overlays:
                height, width = windows.size
                share = min(1.0, OVERVIEW / max(height, width))
                size = max(1, round(height * share)), max(1, round(width * share))
                labels = writers["masks"].overview(size)
                seen = Prediction(scaled(windows.overview(size), size), labels, None, segmenter.classes)
                write_image(raster_file(out, "overlays", stem), seen.overlay(opacity=options.opacity))
        done.remove()
        if remark:
            remark(windows.remarks, windows.levels.text(dataset.name))


def _rows_done(segmenter: Predictor, path: Path, place: Path, wanted: Wanted) -> RowsDone:
    """Return the rows of a raster that are stored so far; `place` is the path of the raster's mask without suffix."""
    digest, status = model_digest(segmenter), path.stat()
    facts = (
        None
        if digest is None
        else {
            "model": digest,
            "wanted": asdict(wanted),
            "raster": [os.fspath(path.resolve()), status.st_size, status.st_mtime_ns],
        }
    )
    return RowsDone(place.with_name(f".{place.name}.unfinished"), facts)


def _written_rows(maps: Maps, empty: npt.NDArray[np.bool_] | None) -> Rows:
    """Return the values to write for a band of rows; `empty` pixels get class 255, confidence 0 and entropy 255."""
    written = {"masks": maps.labels[0]}
    if maps.confidence is not None:
        written["confidence"] = grayscale(maps.confidence[0])
    if maps.entropy is not None:
        written["entropy"] = grayscale(maps.entropy[0])
    if empty is None:
        return written
    without = {"masks": IGNORE_INDEX, "confidence": 0, "entropy": 255}
    return {name: np.where(empty, np.uint8(without[name]), values) for name, values in written.items()}


Ring = Sequence[tuple[float, float]]
"""The points (x, y) of a closed line."""


def write_raster_regions(
    mask: Any, path: Path, classes: ClassSet, *, min_area: int = 1, wanted: Sequence[str] | None = None
) -> None:
    """Write the connected components (8 neighbors) of each class in a mask as a GeoJSON FeatureCollection of polygons.

    Coordinates are longitude and latitude (WGS 84), as RFC 7946 requires. If the mask has a transform or ground control
    points but no coordinate reference system, coordinates are in the units of the transform or the points; without any
    georeference they are in pixels, x to the right and y down. A feature has its class, its `area` in pixels and, if
    the georeference is in meters, its `square_meters`.

    Args:
        mask: the mask, an open rasterio data set.
        path: the file to write.
        classes: the classes of the mask.
        min_area: regions with fewer pixels are left out.
        wanted: the names of the classes whose regions are written, by default all.

    Raises:
        DataError: a wanted name is not a class.
        OutputError: the file cannot be written.
    """
    chosen = range(len(classes)) if wanted is None else [classes.index(name) for name in wanted]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        separator = ""
        for feature in _features(mask, classes, set(chosen) - {IGNORE_INDEX}, min_area):
            file.write(separator + json_text(feature))
            separator = ",\n"
        file.write("\n]}\n")


def _features(mask: Any, classes: ClassSet, chosen: set[int], min_area: int) -> Iterator[dict[str, Any]]:
    import rasterio
    from rasterio.features import shapes
    from rasterio.transform import GCPTransformer
    from rasterio.warp import transform_geom

    in_meters = (
        is_placed(mask) and mask.crs is not None and mask.crs.is_projected and mask.crs.linear_units_factor[1] == 1
    )
    pixel = abs(mask.transform.determinant)
    points, points_crs = mask.gcps
    crs = points_crs if points else mask.crs
    on_earth = is_placed(mask) and crs is not None and (crs.is_geographic or crs.is_projected)
    by_points = GCPTransformer(points) if points else None
    for geometry, value in shapes(rasterio.band(mask, 1), connectivity=8):  # in the mask's coordinates
        index, covered = int(value), _area(geometry["coordinates"])
        if index not in chosen or round(covered / pixel) < min_area:
            continue
        properties = {"class": classes.names[index], "class_index": index, "area": round(covered / pixel)}
        if in_meters:
            properties["square_meters"] = round(covered, 2)
        if by_points:
            rings = [_moved(ring, by_points) for ring in geometry["coordinates"]]
            geometry = {"type": geometry["type"], "coordinates": rings}
        placed = transform_geom(crs, "EPSG:4326", geometry) if on_earth else geometry
        yield {
            "type": "Feature",
            "geometry": {name: placed[name] for name in ("type", "coordinates")},
            "properties": properties,
        }


def is_placed(mask: Any) -> bool:
    """Return whether a mask, an open rasterio data set, has a transform or ground control points."""
    return bool(mask.gcps[0]) or not mask.transform.is_identity


def _moved(ring: Ring, transformer: Any) -> list[tuple[float, float]]:
    """Transform a ring of pixel corners (x, y) by ground control points to coordinates in the system of the points."""
    columns, rows = zip(*ring, strict=True)
    x, y = transformer.xy(rows, columns, offset="ul")
    return list(zip(map(float, x), map(float, y), strict=True))


def _area(rings: Sequence[Ring]) -> float:
    """Return the area of a polygon; the first ring is the outline, the other rings are holes."""
    outer, *holes = (
        abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(ring))) / 2 for ring in rings
    )
    return outer - sum(holes)
