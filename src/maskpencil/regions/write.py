"""Write the regions of images to a file in JSON, GeoJSON or COCO."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.files import written_whole
from maskpencil.plain_text import json_text
from maskpencil.regions.find import Polygon, Region, Ring

RegionFormat = Literal["json", "geojson", "coco"]


@dataclass(frozen=True)
class ImageRegions:
    """The regions of one image; `name` identifies the image in the written file, and `size` is its (height, width)."""

    name: str
    size: tuple[int, int]
    regions: Sequence[Region]


def write_regions(
    path: str | os.PathLike[str],
    images: Iterable[ImageRegions],
    classes: ClassSet,
    *,
    file_format: RegionFormat,
) -> None:
    """Write the regions of images to one file, which appears whole or not at all.

    Coordinates are pixels as in `Region`; centroids are rounded to 0.01, confidences to 0.0001.

    - json: an object that maps each image's name to its `size` [height, width] and `regions`.
    - geojson: a FeatureCollection with a feature for each region: a Polygon, or a MultiPolygon if parts touch only at
      corners. Outer rings have a positive area by the shoelace formula, as RFC 7946 requires. Since y points down,
      outer rings are clockwise on the screen; programs whose y axis points up show the image mirrored vertically and
      the rings counterclockwise.
    - coco: a data set of images, annotations and categories. Ids start at 1: class i is category i + 1. `bbox` is [x,
      y, width, height], `score` the mean confidence. Segmentations are lists of polygons. Polygons in COCO cannot have
      holes, so a region with holes is run-length encoded instead (column by column, uncompressed). `iscrowd` is always
      0, since each region is one object.

    Args:
        path: the file.
        images: the images with their regions.
        classes: the classes, which become the categories of COCO.
        file_format: "json", "geojson" or "coco".

    Raises:
        ConfigError: `file_format` is not one of these formats.
        OutputError: the file cannot be written.
    """
    with regions_file(path, classes, file_format=file_format) as add:
        for image in images:
            add(image)


@contextmanager
def regions_file(
    path: str | os.PathLike[str], classes: ClassSet, *, file_format: RegionFormat, keep: bool = False
) -> Iterator[Callable[[ImageRegions], None]]:
    """Yield a function that adds the regions of an image to the file; used as a context manager.

    `write_regions` describes the formats. The regions are written at once, not kept in memory; for COCO, the names and
    sizes of the images are kept. The file appears when the block ends.

    Args:
        path: the file.
        classes: the classes, which become the categories of COCO.
        file_format: "json", "geojson" or "coco".
        keep: what happens if the block raises an error: without `keep`, no file is written; with `keep`, the images
            added before the error are written, except after an `OSError`, which may have cut the file short.

    Raises:
        ConfigError: `file_format` is not one of these formats.
        OutputError: the file cannot be written.
    """
    if file_format not in _DOCUMENTS:
        raise ConfigError(f"the format of regions must be one of {', '.join(_DOCUMENTS)}, but got {file_format!r}")
    document = _DOCUMENTS[file_format](classes)
    stopped: BaseException | None = None
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(document.head)
        separator = ""

        def add(image: ImageRegions) -> None:
            nonlocal separator
            for entry in document.entries(image):
                file.write(separator + entry)
                separator = ",\n"

        try:
            yield add
        except OSError:  # from `add`, which may have been cut short
            raise
        except BaseException as error:
            if not keep:
                raise
            stopped = error
        file.write(document.tail())
    if stopped:
        raise stopped


class _Document(Protocol):
    """The interface of a format: a file is `head`, the `entries` of all images separated by commas, and `tail`."""

    head: str

    def __init__(self, classes: ClassSet) -> None: ...

    def entries(self, image: ImageRegions) -> Iterator[str]: ...

    def tail(self) -> str: ...


class _Json:
    head = "{\n"

    def __init__(self, classes: ClassSet) -> None:
        pass

    def entries(self, image: ImageRegions) -> Iterator[str]:
        regions = [{**region_facts(region), "polygons": region.polygons} for region in image.regions]
        yield f"{_text(image.name)}: {_text({'size': image.size, 'regions': regions})}"

    def tail(self) -> str:
        return "\n}\n"


class _GeoJson:
    head = '{"type": "FeatureCollection", "features": [\n'

    def __init__(self, classes: ClassSet) -> None:
        pass

    def entries(self, image: ImageRegions) -> Iterator[str]:
        for region in image.regions:
            polygons = [[[*ring, ring[0]] for ring in polygon] for polygon in region.polygons]
            geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
            if len(polygons) == 1:
                geometry = {"type": "Polygon", "coordinates": polygons[0]}
            properties = {"image": image.name, "size": image.size, **region_facts(region)}
            yield _text({"type": "Feature", "bbox": region.box, "geometry": geometry, "properties": properties})

    def tail(self) -> str:
        return "\n]}\n"


class _Coco:
    head = '{"annotations": [\n'

    def __init__(self, classes: ClassSet) -> None:
        self._categories = [{"id": i, "name": name} for i, name in enumerate(classes.names, start=1)]
        self._images: list[dict[str, Any]] = []
        self._annotations = 0

    def entries(self, image: ImageRegions) -> Iterator[str]:
        height, width = image.size
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": image.name, "height": height, "width": width})
        for region in image.regions:
            self._annotations += 1  # from 1, since tools for COCO treat the id 0 as a missing annotation
            x0, y0, x1, y1 = region.box
            annotation = {
                "id": self._annotations,
                "image_id": image_id,
                "category_id": region.class_index + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": region.area,
                "segmentation": _segmentation(region.polygons, image.size),
                "iscrowd": 0,
            }
            if region.confidence is not None:
                annotation["score"] = round(region.confidence, 4)
            yield _text(annotation)

    def tail(self) -> str:
        images = ",\n".join(map(_text, self._images))
        info = {"description": "regions of label maps, by maskpencil"}  # some tools require it and "licenses"
        return (
            f'\n],\n"images": [\n{images}\n],\n"categories": {_text(self._categories)},\n'
            f'"info": {_text(info)},\n"licenses": []}}\n'
        )


_DOCUMENTS: dict[RegionFormat, type[_Document]] = {"json": _Json, "geojson": _GeoJson, "coco": _Coco}


def region_facts(region: Region) -> dict[str, Any]:
    """Return the properties of a region as a dictionary for JSON, without its polygons."""
    return {
        "class": region.class_name,
        "class_index": region.class_index,
        "number": region.number,
        "box": region.box,
        "area": region.area,
        "centroid": [round(value, 2) for value in region.centroid],
        "confidence": None if region.confidence is None else round(region.confidence, 4),
    }


def _segmentation(polygons: Sequence[Polygon], size: tuple[int, int]) -> list[list[int]] | dict[str, list[int]]:
    if all(len(polygon) == 1 for polygon in polygons):
        return [[value for point in outer for value in point] for (outer,) in polygons]
    return {"size": list(size), "counts": _run_lengths([ring for polygon in polygons for ring in polygon], size)}


def _run_lengths(rings: Sequence[Ring], size: tuple[int, int]) -> list[int]:
    """Return COCO's run lengths of a region in an image of `size` (height, width).

    Pixels are counted column by column; the runs are alternately outside and inside the region, the first is outside.
    """
    height, width = size
    # going down a column, each horizontal side that is crossed leads into or out of the region
    changes = np.concatenate(
        [
            np.arange(min(x, next_x), max(x, next_x)) * height + y
            for ring in rings
            for (x, y), (next_x, next_y) in zip(ring, (*ring[1:], ring[0]), strict=True)
            if y == next_y
        ]
    )
    positions, counts = np.unique(changes, return_counts=True)
    positions = positions[counts == 1]  # twice: the bottom of a column and the top of the next, where the run continues
    runs: list[int] = np.diff(positions, prepend=0, append=height * width).tolist()
    return runs if runs[-1] else runs[:-1]


def _text(entry: object) -> str:
    return json_text(entry)
