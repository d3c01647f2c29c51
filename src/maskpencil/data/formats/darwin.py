"""Read V7 Darwin's JSON, versions 2.0 and 1.0: one file per image, with polygons, masks, ellipses and boxes.

Sources: https://docs.v7labs.com/reference/darwin-json, https://docs.v7labs.com/reference/legacy-darwin-json-10 and, in
https://github.com/v7labs/darwin-py, `darwin/exporter/formats/mask.py`
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Bitmap, Polygon, box, ellipse, turned
from maskpencil.data.formats.annotations import Entry, checked_numbers, mentions, read_json
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import Area, DrawnImages, files_in_format, polygon_of
from maskpencil.data.formats.orientation import known_header
from maskpencil.errors import DataError

KEYS = (("annotations", "item", "slots"), ("annotations", "image", "dataset", "original_filename"))
"""The keys by which files of version 2.0 and of version 1.0 are recognized."""

AREAS = ("polygon", "complex_polygon", "ellipse", "bounding_box")
FLAT = ("tag", "line", "keypoint", "skeleton", "cuboid", "eye", "link", "string", "graph", "table")
EXPORT = "pull the data set with its images, such as by 'darwin dataset pull'"
REDRAW = "draw them as polygons or masks, or remove them"


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if JSON files below it are in Darwin's format; otherwise return None.

    Shapes are drawn in the order of the file; a polygon of several paths is filled by the even-odd rule. The classes
    are in alphabetical order, after the background. Files of videos, and files of several images side by side, are left
    out.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: an entry is not in Darwin's format, or all images are missing.
    """
    files = files_in_format(root, {".json"}, lambda path: any(mentions(path, keys) for keys in KEYS))
    contents = [Entry.of(path, "", content) for path in files if _is_of_darwin(content := read_json(path))]
    if not contents:
        return None
    found = DrawnImages(root, "V7 Darwin", images)
    if found.has_masks:
        return None
    for content in contents:
        with found.collecting_errors():
            _add(content, found)
    return found.recognized(EXPORT)


def _is_of_darwin(content: object) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        return False
    item, image = content.get("item"), content.get("image")
    return (isinstance(item, dict) and "slots" in item) or (isinstance(image, dict) and "filename" in image)


def _add(content: Entry, found: DrawnImages) -> None:
    """Add the image and the areas of a file to `found`.

    Raises:
        DataError: the file is not in Darwin's format, or the image was already added with other annotations.
    """
    if "item" in content:
        item = content.inside("item")
        slots = item.entries("slots", "slot")
        place = slots[0] if slots else item
        name = item.text("name")
    else:
        item = place = content.inside("image")
        slots = []
        name = str(item.fields.get("original_filename") or item.text("filename"))
    annotations = content.entries("annotations", "annotation")
    if str(place.fields.get("type", "image")) != "image" or any("frames" in a for a in annotations) or len(slots) > 1:
        found.leave_out(
            content, "{file|files} of videos or of several images side by side", "export their frames as images"
        )
        return
    folder = str(item.fields.get("path") or "/").strip("/")
    places = [found.search.place / "images" / folder, found.search.place / folder]
    names = [name, *_original_names(slots)]  # darwin-py has stored images under either name
    known = next((each for each in names if found.search.find(each, places, source=content.path)), name)
    image = found.find(content, known, *places)
    stated = place.size("height", "width")
    size = stated or (header.shown_size if image and (header := known_header(image)) else None)
    areas: list[Area] = []
    for annotation in annotations:
        with found.collecting_errors():
            areas += _areas(annotation, annotations, size, found)
    if image:
        found.add(image, content, areas, size=stated)


def _original_names(slots: Sequence[Entry]) -> list[str]:
    """Return the names of the image files before they were renamed in Darwin, from the `source_files` of the slots."""
    files = [file for slot in slots if "source_files" in slot for file in slot.entries("source_files", "source file")]
    return [file.text("file_name") for file in files if "file_name" in file]


def _areas(
    annotation: Entry, annotations: Sequence[Entry], size: tuple[int, int] | None, found: DrawnImages
) -> list[Area]:
    """Return the areas of an annotation: one for a shape, several for a raster layer, which holds all masks of a file.

    Return [] for an annotation without an area, which is reported in `found`.

    Args:
        annotation: the annotation.
        annotations: all annotations of the file.
        size: the (height, width) of the image in pixels; None if it is unknown.
        found: collects what is left out.

    Raises:
        DataError: the annotation is not in Darwin's format.
    """
    name = annotation.text("name")
    if "raster_layer" in annotation:
        return _masks(annotation.inside("raster_layer"), annotations, size)
    if "mask" in annotation:
        return []  # the pixels of the mask are in the raster layer
    kind = next((kind for kind in AREAS if kind in annotation), None)
    if kind is None:
        other = next((kind for kind in FLAT if kind in annotation), "unknown")
        if other != "tag":  # a tag describes the whole image
            found.leave_out(
                annotation, f"{{annotation|annotations}} of the kind {other}, which {{has|have}} no area,", REDRAW
            )
        return []
    draw = {"polygon": _polygon, "complex_polygon": _polygon, "ellipse": _ellipse, "bounding_box": _box}[kind]
    shape = draw(annotation.inside(kind))
    if shape is None:
        found.without_area(annotation)
        return []
    return [Area(name, shape)]


def _polygon(polygon: Entry) -> Polygon | None:
    """Return a polygon with all its paths; None if it has no area.

    Raises:
        DataError: the paths are not lists of points.
    """
    paths = polygon.fields.get("paths")
    if paths is None:  # version 1.0
        paths = [polygon.fields.get("path"), *(polygon.fields.get("additional_paths") or [])]
        if isinstance(paths[0], list) and paths[0] and isinstance(paths[0][0], list):  # `path` holds a list of paths
            paths = [*paths[0], *paths[1:]]
    if not isinstance(paths, list):
        raise polygon.wrong("paths", "a list of paths")
    if paths and all(isinstance(point, dict) for point in paths):  # one path, without the list around it
        paths = [paths]
    return polygon_of(*(_points(path, polygon) for path in paths))


def _points(path: object, polygon: Entry) -> npt.NDArray[np.float32]:
    if not isinstance(path, list) or not all(isinstance(point, dict) for point in path):
        raise DataError(f"{polygon}: has a path that is not a list of points with x and y; export it again")
    return checked_numbers([point.get(axis) for point in path for axis in "xy"], str(polygon)).reshape(-1, 2)


def _ellipse(entry: Entry) -> Polygon | None:
    center, radius = (entry.inside(key) for key in ("center", "radius"))
    middle = center.number("x"), center.number("y")
    ring = ellipse(middle, (radius.number("x"), radius.number("y")))
    return polygon_of(turned(ring, math.degrees(entry.number("angle", 0)), middle))


def _box(entry: Entry) -> Polygon | None:
    return polygon_of(box(*(entry.number(key) for key in ("x", "y", "w", "h"))))


def _masks(layer: Entry, annotations: Sequence[Entry], size: tuple[int, int] | None) -> list[Area]:
    """Decode the masks in a raster layer, an image in which each value above 0 marks the pixels of one annotation.

    The raster layer is stored as run lengths along the rows of the image: pairs of a value and the length of its run.

    Args:
        layer: the raster layer.
        annotations: all annotations of the file, which hold the labels of the masks.
        size: the (height, width) of the image in pixels; None if it is unknown.

    Raises:
        DataError: the size is unknown, the runs do not add up to the number of pixels of the image, or a value does not
            belong to an annotation.
    """
    runs = layer.numbers("dense_rle")
    if len(runs) % 2 or (runs < 0).any() or (runs % 1).any():
        raise layer.wrong("dense_rle", "pairs of whole numbers, a value and the length of its run")
    if size is None:
        raise DataError(f"{layer}: its image is missing, and the file does not state a size; add the image")
    pixels = int(runs[1::2].astype(np.int64).sum())
    if pixels != size[0] * size[1]:
        raise DataError(
            f"{layer}: its runs add up to {pixels} pixels, but the image of {size[1]} x {size[0]} has "
            f"{size[0] * size[1]}; export it again"
        )
    values = np.repeat(runs[::2].astype(np.int32), runs[1::2].astype(np.int64)).reshape(size)
    names = {str(a.fields.get("id")): a.text("name") for a in annotations if "mask" in a}
    mapping = layer.inside("mask_annotation_ids_mapping")
    owners = {mapping.whole(key): names.get(key) for key in mapping.fields}
    strange = [value for value in np.unique(values).tolist() if value and not owners.get(value)]
    if strange:
        raise DataError(f"{layer}: the value {strange[0]} belongs to no mask of the file; export the file again")
    return [Area(str(name), Bitmap.of(0, mask)) for v, name in owners.items() if (mask := values == v).any() and v]
