"""Read Labelbox's NDJSON: one line per image, with polygons and boxes; masks are web addresses, which are never opened.

Source: https://docs.labelbox.com/reference/export-image-annotations
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from maskpencil.data.drawing import Polygon, box
from maskpencil.data.formats.annotations import MAX_JSON_BYTES, Entry, checked_numbers
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import Area, DrawnImages, files_in_format, polygon_of
from maskpencil.errors import DataError
from maskpencil.regular_files import decode_text, refuse_special, without_conflicts

HEAD = 2**16
KEYS = (b'"data_row"', b'"projects"')
KEYS_OF_VERSION_1 = (b'"Labeled Data"', b'"Label"')

EXPORT = "put the images there, with the file names (external_id) of their data rows"
SEVERAL = "images have several labels, the newest of each is used"
NOT_LABELED = "images that nobody has labeled, or that were skipped,"
REDRAW = "draw them as polygons in Labelbox, or remove them"


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if files below it are exports of Labelbox; otherwise return None.

    Polygons and boxes are drawn in the order of the file. A label holds all objects of an image; of several
    labels of an image, only the newest is read.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: masks are given as web addresses, the export has the older format v1, an entry is not in Labelbox's
            format, or all images are missing.
    """
    files = files_in_format(root, {".ndjson", ".jsonl", ".json"}, lambda path: _mentions(path, KEYS, KEYS_OF_VERSION_1))
    if not files:
        return None
    found = DrawnImages(root, "Labelbox", images)
    if found.has_masks:
        return None
    for path in files:
        if _mentions(path, KEYS_OF_VERSION_1):
            raise DataError(f"{path}: is an older export of Labelbox (v1); export the project again, as NDJSON")
        rows = []
        for row in _rows(path, found):
            with found.collecting_errors():
                objects = _objects(row, found)
                if objects is None:
                    found.leave_out(row, NOT_LABELED, "label them in Labelbox and export again")
                else:
                    rows.append((row, objects))
        _refuse_masks(path, [entry for _, objects in rows for entry in objects])
        for row, objects in rows:
            with found.collecting_errors():
                _add(row, objects, found)
    return found.recognized(EXPORT)


def _mentions(path: Path, *alternatives: Sequence[bytes]) -> bool:
    """Return whether the beginning of a file has all keys of one of the alternatives; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return any(all(key in head for key in keys) for keys in alternatives)


def _rows(path: Path, found: DrawnImages) -> Iterator[Entry]:
    """Yield the data rows of a file, one per image: the lines of NDJSON, or the items of a JSON list.

    Errors in single lines are collected in `found` instead of raised.

    Raises:
        DataError: the file cannot be read or is larger than `MAX_JSON_BYTES`.
    """
    refuse_special(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise DataError(f"{path}: is larger than {MAX_JSON_BYTES >> 20} MiB; export fewer images at once")
    try:
        text = decode_text(path.read_bytes(), path, "NDJSON")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); expected NDJSON") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if text.lstrip().startswith("["):
        lines = [(1, text)]
    for number, line in lines:
        with found.collecting_errors():
            try:
                content = json.loads(line, object_pairs_hook=without_conflicts)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}: line {number} is not valid JSON ({error}); export it again") from error
            rows = content if isinstance(content, list) else [content]
            for row_number, row in enumerate(rows, start=number):
                yield Entry.of(path, f"row {row_number}", row)


def _when(label: Entry) -> str:
    """Return the time at which a label was created; "" if it is missing."""
    return str(label.inside("label_details").fields.get("created_at")) if "label_details" in label else ""


def _objects(row: Entry, found: DrawnImages) -> list[Entry] | None:
    """Return the objects of the newest label of a data row; None if the row has no label, or only skipped labels."""
    projects = row.inside("projects")
    labels = [label for key in projects.fields for label in projects.inside(key).entries("labels", "label")]
    kept = [label for label in labels if "annotations" in label and not _is_skipped(label)]
    if not kept:
        return None
    if len(kept) > 1 and SEVERAL not in found.notes:
        found.notes.append(SEVERAL)
    annotations = max(kept, key=_when).inside("annotations")
    return annotations.entries("objects", "object") if "objects" in annotations else []


def _is_skipped(label: Entry) -> bool:
    return "performance_details" in label and label.inside("performance_details").fields.get("skipped") is True


def _refuse_masks(path: Path, objects: Sequence[Entry]) -> None:
    """Check that no object is a mask, since masks are web addresses, which are never opened.

    Raises:
        DataError: an object is a mask.
    """
    masks = [entry for entry in objects if "mask" in entry or "composite_mask" in entry]
    if masks:
        raise DataError(
            f"{path}: {len(masks)} of {len(objects)} objects are masks at web addresses ({masks[0].place}, ...), which "
            "are never opened; download them with the API key of your project, and save for each image one PNG of "
            "class numbers in masks/, named as the image in images/"
        )


def _add(row: Entry, objects: Sequence[Entry], found: DrawnImages) -> None:
    data = row.inside("data_row")
    name = data.fields.get("external_id") or PurePosixPath(unquote(urlsplit(data.text("row_data")).path)).name
    image = found.find(row, str(name))
    size = row.inside("media_attributes").size("height", "width") if "media_attributes" in row else None
    areas = []
    for entry in objects:
        with found.collecting_errors():
            label = entry.text("name") if "name" in entry else entry.text("value")
            if "polygon" not in entry and "bounding_box" not in entry:
                kind = str(entry.fields.get("annotation_kind"))
                found.leave_out(entry, f"{{object|objects}} of the type {kind}, which {{has|have}} no area,", REDRAW)
            elif shape := _shape(entry):
                areas.append(Area(label, shape))
            else:
                found.without_area(entry)
    if image:
        found.add(image, row, areas, size=size)


def _shape(entry: Entry) -> Polygon | None:
    if "polygon" in entry:
        points = entry.entries("polygon", "point")
        return polygon_of(
            checked_numbers([p.fields.get(axis) for p in points for axis in "xy"], str(entry)).reshape(-1, 2)
        )
    sides = entry.inside("bounding_box")
    return polygon_of(box(*(sides.number(key) for key in ("left", "top", "width", "height"))))
