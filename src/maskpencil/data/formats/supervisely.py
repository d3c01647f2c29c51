"""Read Supervisely: `meta.json` with the classes, and datasets with `img/NAME.jpg` and `ann/NAME.jpg.json`.

Shapes are drawn as Supervisely's library draws them: points are whole pixels, the pixels on the outer border of a
shape belong to the shape, and the pixels on the border of a hole belong to the hole. Sources:
https://developer.supervisely.com/getting-started/supervisely-annotation-format and, in
https://github.com/supervisely/supervisely, `supervisely/geometry/`
"""

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import Color
from maskpencil.data.drawing import Bitmap, Points, Polygon, box
from maskpencil.data.formats.annotations import Entry, mentions, read_json, shown
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import MAX_SAMPLED, Area, DrawnImages, color_of
from maskpencil.data.formats.orientation import known_header
from maskpencil.errors import DataError, ImageError
from maskpencil.images import decoding, opened_image

META, IMAGES, ANNOTATIONS = "meta.json", "img", "ann"
DEPTH = 4
"""The number of folder levels searched for `ann/`, from the root on; datasets may be in `datasets/` of a dataset."""

KEYS = ("size", "objects")
MAX_BITMAP_BYTES = 2**28
LEAST_CORNERS = 3

EXPORT = "download the project from Supervisely with its images"
REDRAW = "draw them as polygons or masks, or remove them"

TYPES_WITHOUT_AREA = frozenset({"line", "polyline", "point", "graph", "cuboid", "cuboid_2d"})

HALF = 128
"""The smallest alpha, 0 to 255, at which a pixel of an alpha mask belongs to the shape."""


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if a dataset in it has a folder `ann/` with Supervisely's JSON files; otherwise return None.

    `root` is a dataset, a project of several datasets, or a folder of projects. Polygons, masks and rectangles are
    drawn in the order of the file. The classes of meta.json come first, in their order and colors; then follow class
    titles that only shapes have. The images of a dataset named after a split, such as train, belong to that split. The
    images are in `img/` beside `ann/`, or below `images`, if given.

    Raises:
        DataError: an entry is not in Supervisely's format, or all images are missing.
    """
    folders = [folder for depth in range(DEPTH) for folder in root.glob("*/" * depth + ANNOTATIONS) if folder.is_dir()]
    folders = [folder for folder in sorted(folders) if _is_dataset(folder)]
    if not folders:
        return None
    found = DrawnImages(root, "Supervisely", images)
    kinds: dict[str, str] = {}
    colors: dict[str, Color] = {}
    for meta in sorted({path for folder in folders if (path := _meta_of(folder, root))}):
        with found.collecting_errors():
            _read_meta(Entry.of(meta, "", read_json(meta)), kinds, colors)
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            with found.collecting_errors():
                _add(Entry.of(path, "", read_json(path)), found, kinds)
    drawn = [title for title, kind in kinds.items() if kind not in TYPES_WITHOUT_AREA]
    return found.recognized(EXPORT, labels=drawn, colors=colors)


def _is_dataset(folder: Path) -> bool:
    """Return whether one of the first `MAX_SAMPLED` JSON files of a folder is in Supervisely's format."""
    files = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))[:MAX_SAMPLED]
    return any(mentions(path, KEYS) for path in files)


def _meta_of(folder: Path, root: Path) -> Path | None:
    """Return the nearest meta.json in the folders above `folder`, up to `root`; None if there is no meta.json."""
    above = [place for place in folder.parents if place.is_relative_to(root)]
    return next((place / META for place in above if (place / META).is_file()), None)


def _read_meta(meta: Entry, kinds: dict[str, str], colors: dict[str, Color]) -> None:
    for entry in meta.entries("classes", "class"):
        title = entry.text("title")
        kinds.setdefault(title, str(entry.fields.get("shape")))
        if color := color_of(entry.fields.get("color")):
            colors.setdefault(title, color)


def _add(content: Entry, found: DrawnImages, kinds: Mapping[str, str]) -> None:
    if not all(key in content for key in KEYS):
        return  # a JSON file of another kind in the folder
    if "frames" in content or "framesCount" in content:
        found.leave_out(content, "files of videos", "export their frames as images")
        return
    folder, name = content.path.parent.parent / IMAGES, content.path.stem
    image = found.find(content, name, folder)
    stated = content.inside("size").size("height", "width")
    size = stated or (header.shown_size if image and (header := known_header(image)) else (1, 1))
    areas: list[Area] = []
    for entry in content.entries("objects", "object"):
        with found.collecting_errors():
            areas += _areas(entry, size, found, kinds)
    if image:
        found.add(image, content, areas, size=stated)


def _areas(entry: Entry, size: tuple[int, int], found: DrawnImages, kinds: Mapping[str, str]) -> Sequence[Area]:
    title = entry.text("classTitle")
    kind = entry.fields.get("geometryType") or entry.fields.get("shape") or kinds.get(title)
    if not isinstance(kind, str | None):
        raise entry.wrong("geometryType", "the name of a shape")
    if kind in TYPES_WITHOUT_AREA:
        found.leave_out(entry, f"{{shape|shapes}} of the type {kind}, which {{has|have}} no area,", REDRAW)
        return []
    if kind in ("any", "None", None):
        raise DataError(
            f"{entry}: has no shape type, and its class {title!r} has no shape type either; export the file again"
        )
    if kind not in _SHAPES:
        found.leave_out(entry, f"{{shape|shapes}} of the unknown type {shown(kind)}", REDRAW)
        return []
    drawn = [shape for shape in _SHAPES[kind](entry, size) if shape]
    if not drawn:
        found.without_area(entry)
    return [Area(title, shape) for shape in drawn]


def _polygon(entry: Entry, size: tuple[int, int]) -> list[Bitmap | Polygon | None]:
    return [_filled(entry.inside("points"), size)]


def _multipolygon(entry: Entry, size: tuple[int, int]) -> list[Bitmap | Polygon | None]:
    return [_filled(part, size) for part in entry.entries("parts", "part")]


def _filled(rings: Entry, size: tuple[int, int]) -> Bitmap | None:
    """Return the mask of a polygon: the pixels inside or on the outer ring, but not inside or on the ring of a hole.

    Return None if the outer ring has fewer than 3 points, or if the mask has no pixel.

    Args:
        rings: the object with the points of the rings, `exterior` and `interior`.
        size: the (height, width) of the image, at which the mask is cut off.
    """
    import cv2  # slow to import

    outer, *holes = (np.floor(ring).astype(np.int32) for ring in (rings.pairs("exterior"), *_holes(rings)))
    if len(outer) < LEAST_CORNERS:
        return None
    corners = np.concatenate([outer, *holes])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    if min(left, top) < 0 or right >= size[1] or bottom >= size[0]:  # cut off at the image, as the library does
        left, top, right, bottom = 0, 0, size[1] - 1, size[0] - 1
    mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
    corner = np.array((left, top), dtype=np.int32)
    cv2.fillPoly(mask, [outer - corner], 1)
    cv2.fillPoly(mask, [hole - corner for hole in holes if len(hole)], 0)
    return Bitmap.of(0, mask.astype(bool), (int(top), int(left))) if mask.any() else None


def _holes(rings: Entry) -> list[Points]:
    holes = rings.fields.get("interior") or []
    if not isinstance(holes, list):
        raise rings.wrong("interior", "a list of holes")
    places = [f"{rings.place}: hole {number}" for number in range(1, len(holes) + 1)]
    return [
        Entry(rings.path, place, {"points": hole}).pairs("points") for place, hole in zip(places, holes, strict=True)
    ]


def _rectangle(entry: Entry, _size: tuple[int, int]) -> list[Bitmap | Polygon | None]:
    corners = np.floor(entry.inside("points").pairs("exterior"))
    if len(corners) != 2:
        raise entry.inside("points").wrong("exterior", "two corners")
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0) + 1  # the last row and column belong to it
    return [Polygon(0, (box(left, top, right - left, bottom - top).astype(np.float32),))]


def _bitmap(entry: Entry, _size: tuple[int, int]) -> list[Bitmap | Polygon | None]:
    return [_placed(entry.inside("bitmap"), least=1)]


def _alpha_mask(entry: Entry, _size: tuple[int, int]) -> list[Bitmap | Polygon | None]:
    return [_placed(entry.inside("bitmap"), least=HALF)]


def _placed(bitmap: Entry, *, least: int) -> Bitmap | None:
    """Decode a mask: a PNG in base64, usually compressed by zlib.

    Return None if no pixel belongs to the mask.

    Args:
        bitmap: the object with the PNG and `origin`, the position [x, y] of its upper left pixel in the image.
        least: the smallest alpha, 0 to 255, at which a pixel belongs to the mask; if the PNG has no alpha, the smallest
            brightness.

    Raises:
        DataError: the PNG or `origin` is not in Supervisely's format.
    """
    origin = np.floor(bitmap.numbers("origin"))
    if len(origin) != 2:
        raise bitmap.wrong("origin", "a column and a row")
    try:
        packed = base64.b64decode(bitmap.text("data"))
    except ValueError as error:
        raise DataError(f"{bitmap}: its mask is not base64 ({error}); export it again") from error
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(packed, MAX_BITMAP_BYTES)
    except zlib.error:  # some tools do not compress the PNG
        content = packed
    try:
        mask = _levels(content, str(bitmap)) >= least
    except ImageError as error:
        raise DataError(f"{bitmap}: its mask cannot be read: {error}") from error
    return Bitmap.of(0, mask, (int(origin[1]), int(origin[0]))) if mask.any() else None


def _levels(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return the alpha (H, W) of an encoded image, 0 to 255, or the brightness if the image has no alpha.

    Raises:
        ImageError: the image cannot be read; the message begins with `name`.
    """
    with opened_image(content, name=name) as image, decoding(name):
        clear = image.has_transparency_data
        return np.asarray(image.convert("RGBA").getchannel("A") if clear else image.convert("L"))


_SHAPES: Mapping[str, Callable[[Entry, tuple[int, int]], list[Bitmap | Polygon | None]]] = {
    "polygon": _polygon,
    "multipolygon": _multipolygon,
    "rectangle": _rectangle,
    "bitmap": _bitmap,
    "alpha_mask": _alpha_mask,
}
