"""Read VIA, the VGG Image Annotator: projects and annotations as JSON, and annotations as CSV, of versions 1 to 3.

Sources: https://www.robots.ox.ac.uk/~vgg/software/via/ and, in https://gitlab.com/vgg/via, `via-2.x.y/src/js/via.js`
and for the shape numbers of version 3 `via-3.x.y/src/js/_via_metadata.js`; https://github.com/ox-vgg/via/issues/6
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Polygon, box, ellipse, turned
from maskpencil.data.formats.annotations import Entry, mentions, read_json, shown
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import Area, DrawnImages, files_in_format, polygon_of
from maskpencil.errors import DataError
from maskpencil.regular_files import decode_text, refuse_special, without_conflicts

MAX_CSV_BYTES = 2**29
HEAD = 2**12

UNDEFINED = re.compile(r"(?<=:)undefined(?=[,}])")
"""The value that VIA 2 writes into its CSV for an attribute that was never set; JSON has no such value."""

KEYS = (
    ("_via_img_metadata",),
    ("filename", "regions", "shape_attributes"),
    ("filename", "regions", "file_attributes"),
    ("project", "file", "metadata", "view", "fid_list"),
)
"""The JSON keys by which files are recognized: projects, annotations with and without regions, version 3 projects."""

COLUMNS = ("filename", "file_attributes", "region_count", "region_shape_attributes", "region_attributes")
CSV_OF_VERSION_3 = b"CSV_HEADER = metadata_id"

CLASS_WORDS = ("class", "label", "name", "category", "categories", "type", "object", "object_name")
"""Names of attributes that usually hold the class, the most likely first."""

ONLY_CLASS = "object"
"""The class of regions if no region has an attribute."""

REDRAW = "draw them as polygons, or remove them"
EXPORT = "put the images that were annotated there"


@dataclass(frozen=True)
class _Region:
    """A region: its shape, and the values of its attributes."""

    shape: Entry
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class _Image:
    """An image: its name in the annotations, its file size in bytes (-1 if unknown), and its regions, bottom first."""

    entry: Entry
    name: str
    size: int
    regions: Sequence[_Region]


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if files below it are in VIA's formats; otherwise return None.

    Polygons, closed polylines, rectangles, circles and ellipses are drawn in the order of the file. The class of a
    region is the value of one of its attributes; `_attribute` chooses this attribute for all regions. The images are
    below `root`, or below `images`, if given. Return None also if `root` has folders of images and of masks.

    Raises:
        DataError: an entry is not in VIA's format, several attributes may be the class, or all images are missing.
    """
    files = files_in_format(root, {".json", ".csv"}, _is_of_via)
    if not files:
        return None
    found = DrawnImages(root, "VIA", images)
    if found.has_masks:
        return None
    named: list[_Image] = []
    for path in files:
        with found.collecting_errors():
            named += _read(path, found)
    if not named and not found.problems.errors:
        return None
    attribute = _attribute(root, named, found)
    for image in named:
        with found.collecting_errors():
            _add(image, found, attribute)
    return found.recognized(EXPORT)


def _is_of_via(path: Path) -> bool:
    if path.suffix.lower() == ".json":
        return any(mentions(path, keys) for keys in KEYS)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return all(column.encode() in head.split(b"\n")[0] for column in COLUMNS) or CSV_OF_VERSION_3 in head


def _read(path: Path, found: DrawnImages) -> Iterator[_Image]:
    if path.suffix.lower() == ".csv":
        yield from _read_csv(path, found)
        return
    content = read_json(path)
    if not isinstance(content, dict):
        return
    if isinstance(content.get("view"), dict) and isinstance(content.get("file"), dict):
        yield from _read_version_3(Entry.of(path, "", content), found)
        return
    project = Entry.of(path, "", content)
    options: Mapping[str, Mapping[str, str]] = {}
    if "_via_attributes" in project:
        attributes = project.inside("_via_attributes").fields.get("region")
        options = _options(attributes) if isinstance(attributes, dict) else {}
    images = project.inside("_via_img_metadata") if "_via_img_metadata" in project else project
    for key, value in images.fields.items():
        if isinstance(value, dict) and "filename" in value and "regions" in value:
            with found.collecting_errors():
                yield _image(Entry(path, f"image {shown(key)}", value), options)
        elif images is not project:
            with found.collecting_errors():
                raise images.wrong(key, "an image with 'filename' and 'regions'")


def _options(attributes: Mapping[str, Any], *, of_version_3: bool = False) -> dict[str, dict[str, str]]:
    """Return the options of attributes, such as drop-down lists, for which regions store an id instead of a name.

    In version 3 regions store ids for all attributes with options, in earlier versions only for attributes whose option
    ids are all numbers. An attribute is left out if names of its options are empty or repeated.

    Args:
        attributes: {attribute: its definition in the project}.
        of_version_3: whether the project is of version 3.

    Returns:
        {attribute: {id: name}}.
    """
    named = {}
    for name, attribute in attributes.items():
        options = attribute.get("options") if isinstance(attribute, dict) else None
        if not isinstance(options, dict) or not options:
            continue
        texts = [text.strip() for text in options.values() if isinstance(text, str) and text.strip()]
        if (of_version_3 or all(key.isdecimal() for key in options)) and len({*texts}) == len(options):
            named[name] = dict(zip(options, texts, strict=True))
    return named


def _image(entry: Entry, options: Mapping[str, Mapping[str, str]]) -> _Image:
    regions = entry.fields["regions"]
    if isinstance(regions, dict):  # of version 1
        regions = list(regions.values())
    listed = Entry(entry.path, entry.place, {"regions": regions}).entries("regions", "region")
    return _Image(
        entry,
        entry.text("filename"),
        entry.whole("size", -1) if isinstance(entry.fields.get("size"), int | float) else -1,
        [_region(region, region.fields.get("region_attributes"), options) for region in listed],
    )


def _region(region: Entry, attributes: object, options: Mapping[str, Mapping[str, str]]) -> _Region:
    texts = {}
    for key, value in (attributes if isinstance(attributes, dict) else {}).items():
        if isinstance(value, dict):  # checkboxes: use the checked one
            checked = [name for name, state in value.items() if state is True]
            value = checked[0] if len(checked) == 1 else None
        if isinstance(value, str | int | float) and not isinstance(value, bool) and (text := str(value).strip()):
            texts[str(key)] = options.get(key, {}).get(text, text)
    return _Region(region.inside("shape_attributes"), texts)


def _read_csv(path: Path, found: DrawnImages) -> Iterator[_Image]:
    """Read a CSV with one line for each region, and one line for each image without regions.

    Errors in lines are collected in `found`.

    Raises:
        DataError: the file cannot be read, is too large, or is not a CSV with classes of VIA 1 or 2.
    """
    refuse_special(path)
    if path.stat().st_size > MAX_CSV_BYTES:
        raise DataError(f"{path}: is larger than {MAX_CSV_BYTES >> 20} MiB; export it as JSON")
    limit = csv.field_size_limit(MAX_CSV_BYTES)  # all points of a region are in one field
    try:
        text = decode_text(path.read_bytes(), path, "VIA's CSV")
        head = text.partition("\n")[0]
        rows = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count)))
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected VIA's CSV; export it again") from error
    finally:
        csv.field_size_limit(limit)
    if CSV_OF_VERSION_3.decode() in text[:HEAD]:
        raise DataError(f"{path}: is a CSV of VIA 3, which does not contain classes; save the project as JSON instead")
    columns = {name.strip("# "): number for number, name in enumerate(rows[0])}
    if missing := [name for name in COLUMNS if name not in columns]:
        raise DataError(f"{path}: has no column {missing[0]!r} in its first line; export it again")
    by_image: dict[tuple[str, str], list[tuple[int, list[str]]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(rows[0]):
            with found.collecting_errors():
                raise DataError(
                    f"{path}: line {number} has {len(row)} columns; expected {len(rows[0])}; export it again"
                )
        elif row:
            size = row[columns["file_size"]] if "file_size" in columns else ""
            by_image.setdefault((row[columns["filename"]], size), []).append((number, row))
    for (name, size), lines in by_image.items():
        entry = Entry(path, f"image {shown(name)}", {"filename": name})
        with found.collecting_errors():
            regions = []
            for number, row in lines:
                fields = {
                    key: _json(path, number, row[columns[f"region_{key}"]])
                    for key in ("shape_attributes", "attributes")
                }
                if fields["shape_attributes"]:
                    region = Entry(path, f"line {number}", fields)
                    regions.append(_region(region, fields["attributes"], {}))
            yield _Image(entry, entry.text("filename"), int(size) if size.isdecimal() else -1, regions)


def _json(path: Path, number: int, text: str) -> Any:
    try:
        with suppress(ValueError):
            return json.loads(text or "{}", object_pairs_hook=without_conflicts)
        return json.loads(UNDEFINED.sub("null", text), object_pairs_hook=without_conflicts)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: line {number} holds {shown(text)}; expected JSON ({error}); export it again"
        ) from error


SHAPES_OF_VERSION_3 = (
    *("", "point", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
    *("rect", "circle"),  # variants that are drawn by clicking points on their borders
)
"""The names of shapes in version 3, where a region stores the index of its shape in this tuple."""

FIELDS_OF_VERSION_3 = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
IMAGE_OF_VERSION_3 = 2
"""The `type` of files that are images, in version 3; other types are videos and sounds."""


def _read_version_3(project: Entry, found: DrawnImages) -> Iterator[_Image]:
    files, views, regions = (project.inside(key) for key in ("file", "view", "metadata"))
    attributes = project.fields.get("attribute")
    attributes = attributes if isinstance(attributes, dict) else {}
    names = {key: str(a.get("aname")) for key, a in attributes.items() if isinstance(a, dict)}
    options = _options({names[key]: attributes[key] for key in names}, of_version_3=True)
    by_view: dict[str, list[_Region]] = {key: [] for key in views.fields}
    for key in regions.fields:
        region = regions.inside(key)
        with found.collecting_errors():
            values = region.numbers("xy").tolist()
            view = region.text("vid")
            if not values:
                continue  # describes the whole image
            if view not in by_view:
                raise region.wrong("vid", "a key of 'view'")
            texts = region.fields.get("av")
            texts = {names.get(name, name): text for name, text in (texts if isinstance(texts, dict) else {}).items()}
            shape = Entry(region.path, region.place, {"shape_attributes": _shape_of_version_3(region, values)})
            by_view[view].append(_region(shape, texts, options))
    for key, own in by_view.items():
        with found.collecting_errors():
            listed = views.inside(key).fields.get("fid_list")
            if not isinstance(listed, list) or len(listed) != 1 or str(listed[0]) not in files.fields:
                raise views.inside(key).wrong("fid_list", "the key of one file; several side by side are not read")
            file = files.inside(str(listed[0]))
            if file.whole("type", IMAGE_OF_VERSION_3) == IMAGE_OF_VERSION_3:
                yield _Image(file, file.text("fname"), -1, own)
            else:
                found.leave_out(file, "{video or sound|videos and sounds}", "annotate their frames as images")


def _shape_of_version_3(region: Entry, values: list[float]) -> dict[str, Any]:
    if values[0] not in range(1, len(SHAPES_OF_VERSION_3)):
        raise region.wrong("xy", f"the number of a shape, 1 to {len(SHAPES_OF_VERSION_3) - 1}, first")
    kind, numbers = SHAPES_OF_VERSION_3[int(values[0])], values[1:]
    fields = FIELDS_OF_VERSION_3.get(kind)
    if fields is None:
        return {"name": kind, "all_points_x": numbers[::2], "all_points_y": numbers[1::2]}
    if len(numbers) != len(fields):
        raise region.wrong("xy", f"the number of the shape and {', '.join(fields)}")
    return {"name": kind, **dict(zip(fields, numbers, strict=True))}


def _attribute(root: Path, images: Sequence[_Image], found: DrawnImages) -> str | None:
    """Return the name of the region attribute that holds the class; None if regions have no attributes.

    If `root` has a class file, only attributes whose values are all in the class file are considered, unless there are
    none. If several attributes remain, the only attribute with more than one value is chosen, or, if every attribute
    has one value, the only attribute whose name is in `CLASS_WORDS`.

    Raises:
        DataError: several attributes may be the class, or only an attribute that is not chosen has a name in
            `CLASS_WORDS`.
    """
    regions = [region.attributes for image in images for region in image.regions]
    names = dict.fromkeys(name for attributes in regions for name in attributes)
    columns = {name: tuple(attributes.get(name) for attributes in regions) for name in names}
    values = {name: sorted({value for value in column if value is not None}) for name, column in columns.items()}
    order = sorted(columns, key=lambda name: CLASS_WORDS.index(low) if (low := name.lower()) in CLASS_WORDS else 99)
    candidates: dict[tuple[int | None, ...], str] = {}
    for name in order:  # if attributes differ only in the names of their values, keep the first attribute
        candidates.setdefault(_numbered(columns[name]), name)
    kept = list(candidates.values())
    given = find_own_class_file(root)
    if given:
        kept = [name for name in kept if {*values[name]} <= {*given.classes.names}] or kept
    varying = [name for name in kept if len(values[name]) > 1]
    called = [name for name in kept if name.lower() in CLASS_WORDS]
    likely = varying or called
    if len(kept) > 1 and (len(likely) != 1 or (called and likely[0] not in called)):
        told = "; ".join(f"{name}: {_few(values[name])}" for name in kept)
        example = yaml.safe_dump(["background", *values[(likely or kept)[0]]], default_flow_style=True, width=math.inf)
        raise DataError(
            f"{images[0].entry.path}: regions have several attributes that may be the class ({told}); choose one and "
            f"list its values in {root / 'classes.yaml'}, for example: names: {example.strip()}"
        )
    chosen = next(iter((*likely, *kept)), None)
    if chosen and len(columns) > 1:
        found.notes.append(f"the class is the region attribute {chosen!r}, not {_few(sorted({*columns} - {chosen}))}")
    if chosen is None and regions:
        found.notes.append("regions have no attributes, so all have the same class")
    return chosen


def _numbered(column: Sequence[str | None]) -> tuple[int | None, ...]:
    """Replace each value by a number, from 0 in the order in which the values first appear; None stays None."""
    numbers: dict[str, int] = {}
    return tuple(None if value is None else numbers.setdefault(value, len(numbers)) for value in column)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _add(image: _Image, found: DrawnImages, attribute: str | None) -> None:
    alike = [path for path in found.search.candidates(image.name, sure=True) if path.stat().st_size == image.size]
    path = alike[0] if len(alike) == 1 else found.find(image.entry, image.name)
    areas = []
    for region in image.regions:
        with found.collecting_errors():
            kind = region.shape.text("name")
            if kind not in _SHAPES:
                found.leave_out(
                    region.shape, f"{{region|regions}} of the shape {kind}, which {{has|have}} no area,", REDRAW
                )
                continue
            shape = _SHAPES[kind](region.shape)
            label = region.attributes.get(attribute) if attribute else _only_class(found.root)
            if shape is None and kind == "polyline":
                found.leave_out(region.shape, "open {polyline|polylines}, which {has|have} no area,", REDRAW)
            elif shape is None:
                found.without_area(region.shape)
            elif label is None:
                place = region.shape.place.removesuffix(": shape_attributes")
                what = f"{{region|regions}} without a value of {attribute!r}"
                remedy = "these regions are read as background; give them a value in VIA, or remove their images"
                found.leave_out(replace(region.shape, place=place), what, remedy)
            else:
                areas.append(Area(label, shape))
    if path:
        same = [(region.shape.fields, region.attributes.get(attribute or "")) for region in image.regions]
        found.add(path, image.entry, areas, same=same)


def _only_class(root: Path) -> str:
    given = find_own_class_file(root)
    others = [name for name in given.classes.names if "background" not in name.lower()] if given else []
    return others[0] if len(others) == 1 else ONLY_CLASS


def _polygon(entry: Entry) -> Polygon | None:
    x, y = entry.numbers("all_points_x"), entry.numbers("all_points_y")
    if len(x) != len(y):
        raise entry.wrong("all_points_y", f"{len(x)} numbers, as many as in 'all_points_x'")
    return polygon_of(np.stack([x, y], axis=1))


def _polyline(entry: Entry) -> Polygon | None:
    """Return the polygon of a polyline that ends at its first point; None if the polyline ends elsewhere."""
    x, y = entry.fields.get("all_points_x") or [0, 1], entry.fields.get("all_points_y") or [0, 1]
    closed = isinstance(x, list) and isinstance(y, list) and x[0] == x[-1] and y[0] == y[-1]
    return _polygon(entry) if closed else None


def _rectangle(entry: Entry) -> Polygon | None:
    return polygon_of(box(*(entry.number(key) for key in ("x", "y", "width", "height"))))


def _circle(entry: Entry) -> Polygon | None:
    radius = entry.number("r")
    return polygon_of(ellipse((entry.number("cx"), entry.number("cy")), (radius, radius)))


def _ellipse(entry: Entry) -> Polygon | None:
    center = entry.number("cx"), entry.number("cy")
    ring = ellipse(center, (entry.number("rx"), entry.number("ry")))
    return polygon_of(turned(ring, math.degrees(entry.number("theta", 0)), center))


_SHAPES: Mapping[str, Callable[[Entry], Polygon | None]] = {
    "polygon": _polygon,
    "polyline": _polyline,
    "rect": _rectangle,
    "circle": _circle,
    "ellipse": _ellipse,
}
