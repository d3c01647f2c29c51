"""Read "CVAT for images 1.1": an XML file with the shapes of all images, which are beside this file or in images/.

Sources: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/ and, in https://github.com/cvat-ai/cvat,
`cvat/apps/dataset_manager/formats/cvat.py`; for the run lengths of masks https://github.com/cvat-ai/cvat/issues/6487
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from maskpencil.classes import Color
from maskpencil.data.drawing import Bitmap, Polygon, box, ellipse, turned
from maskpencil.data.formats.annotations import FARTHEST, Entry, checked_size, shown
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.drawn import Area, DrawnImages, color_of, files_in_format, polygon_of
from maskpencil.data.layout.splits import split_in
from maskpencil.errors import DataError
from maskpencil.regular_files import reason_of, refuse_special

MAX_XML_BYTES = 2**29
CHUNK = 2**16
MAX_DEPTH = 32

HEAD = 2**12
ROOT_TAG = b"<annotations"
TRACK_TAG = "track"

FLAT = frozenset({"tag", "polyline", "points", "cuboid", "skeleton"})
"""The tags of annotations that have no area."""

TYPES_WITHOUT_AREA = FLAT - {"cuboid"}
"""The types of labels that do not become classes."""

REDRAW = "draw them as polygons or masks, or remove them"
EXPORT = "export the task from CVAT with images, as 'CVAT for images 1.1'"


@dataclass
class Element:
    """An element of an XML file with its attributes, text and child elements; `line` is its line number in the file."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def all(self, tag: str) -> Iterator["Element"]:
        """Yield the elements with the tag `tag` at any depth inside this element."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.all(tag)

    def text_of(self, tag: str) -> str:
        """Return the text of the first child with the tag `tag`, without outer spaces; "" if there is no such child."""
        return next((child.text.strip() for child in self.children if child.tag == tag), "")


def elements(path: Path, tags: frozenset[str]) -> list[Element]:
    """Read the elements with one of `tags` from an XML file, together with their attributes, texts and children.

    A file with a document type (`<!DOCTYPE ...>`) is rejected, since a document type may define XML entities, which
    could fill the memory or read other files.

    Raises:
        DataError: the file cannot be read, is larger than `MAX_XML_BYTES`, is not valid XML, is nested more than
            `MAX_DEPTH` levels deep, or has a document type.
    """
    refuse_special(path)
    found: list[Element] = []
    open_elements: list[Element] = []
    depth = 0
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"{path}: is nested more than {MAX_DEPTH} levels deep; expected annotations")
        if open_elements or tag in tags:
            element = Element(tag, attributes, parser.CurrentLineNumber)
            (open_elements[-1].children if open_elements else found).append(element)
            open_elements.append(element)

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1
        if open_elements:
            open_elements.pop()

    def text(content: str) -> None:
        if open_elements:
            open_elements[-1].text += content

    def refuse(*_: object) -> None:
        raise DataError(
            f"{path}: has a document type (<!DOCTYPE ...>), which annotation tools do not write; remove that line"
        )

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            raise DataError(f"{path}: is larger than {MAX_XML_BYTES >> 20} MiB; export the tasks one by one")
        with path.open("rb") as file:
            while content := file.read(CHUNK):
                parser.Parse(content, False)
        parser.Parse(b"", True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}); expected annotations in XML") from error
    except (expat.ExpatError, LookupError, ValueError) as error:  # an unknown encoding raises the last two
        raise DataError(f"{path}: is not valid XML ({error}); export it again") from error
    return found


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if XML files below it hold CVAT's `<annotations>`; otherwise return None.

    Polygons, masks, boxes and ellipses are drawn by `z_order`, then in the order of the file. The classes are the
    labels of the task, in the task's order and colors. A subset named after a split, such as train, is that split.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: the annotations are of a video, an entry is not in CVAT's format, or all images are missing.
    """
    files = files_in_format(root, {".xml"}, _is_of_cvat)
    if not files:
        return None
    found = DrawnImages(root, "CVAT for images", images)
    if found.has_masks:
        return None
    labels: dict[str, Color | None] = {}
    for path in files:
        with found.collecting_errors():
            _read(path, found, labels)
    colors = {name: color for name, color in labels.items() if color}
    return found.recognized(EXPORT, labels=labels, colors=colors)


def _is_of_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).replace(b"\0", b"")  # so that the tags are found in UTF-16 too
    except OSError:
        return False
    return ROOT_TAG in head and any(sign in head for sign in (b"<meta", b"<image", b"<track", b"<version"))


def _read(path: Path, found: DrawnImages, labels: dict[str, Color | None]) -> None:
    content = elements(path, frozenset({"meta", "image", TRACK_TAG}))
    if any(element.tag == TRACK_TAG for element in content):
        raise DataError(
            f"{path}: is a 'CVAT for video 1.1' file, which does not name images; {EXPORT}, with one image for each "
            "frame"
        )
    subset = ""
    for meta in (element for element in content if element.tag == "meta"):
        subset = next((task.text_of("subset") for task in meta.all("task")), "")
        for label in meta.all("label"):
            name = label.text_of("name")
            if name and not label.text_of("parent") and label.text_of("type") not in TYPES_WITHOUT_AREA:
                labels.setdefault(name, color_of(label.text_of("color")))
    for element in (element for element in content if element.tag == "image"):
        with found.collecting_errors():
            place = f"image {shown(element.attributes.get('name'))}, line {element.line}"
            _add(Entry(path, place, element.attributes), element, found, subset)


def _add(entry: Entry, element: Element, found: DrawnImages, subset: str) -> None:
    name = entry.text("name")
    subset = element.attributes.get("subset") or subset
    image = found.find(entry, name, *(entry.path.parent / place / subset for place in ("images", ".") if subset))
    stated = checked_size(_whole(entry, "height"), _whole(entry, "width"), str(entry))
    drawn: list[tuple[float, Area]] = []
    for number, child in enumerate(element.children, start=1):
        shape = Entry(entry.path, f"{entry.place}: {child.tag} {number}", child.attributes)
        with found.collecting_errors():
            if child.tag in FLAT:
                if child.tag != "tag":  # a tag describes the whole image
                    found.leave_out(shape, f"{child.tag.removesuffix('s')}{{|s}}, which {{has|have}} no area,", REDRAW)
            elif child.tag not in _SHAPES:
                found.leave_out(shape, f"{{annotation|annotations}} of the unknown kind {child.tag}", REDRAW)
            elif drawing := _SHAPES[child.tag](shape):
                drawn.append((_number(shape, "z_order", 0), Area(shape.text("label"), drawing)))
            else:
                found.without_area(shape)
    if image:
        areas = [area for _, area in sorted(drawn, key=lambda each: each[0])]
        same = [(child.tag, child.attributes) for child in element.children]
        found.add(image, entry, areas, split=split_in(subset), size=stated, same=same)


def _number(entry: Entry, key: str, default: float | None = None) -> float:
    """Return the number in an attribute; if the attribute is missing, return `default`.

    Raises:
        DataError: the attribute is missing and `default` is None, its value is not a number, or the absolute value is
            above `FARTHEST` (2^24).
    """
    text = entry.fields.get(key)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError as error:
        raise entry.wrong(key, "a number") from error
    if not abs(value) <= FARTHEST:
        raise entry.wrong(key, f"a number from -{FARTHEST} to {FARTHEST}")
    return value


def _whole(entry: Entry, key: str) -> int:
    """Return the whole number in an attribute.

    Raises:
        DataError: the attribute is missing or is not a whole number.
    """
    value = _number(entry, key)
    if value != int(value):
        raise entry.wrong(key, "a whole number")
    return int(value)


def _polygon(entry: Entry) -> Polygon | None:
    """Return the polygon in the attribute `points`, a text such as "0,0;5,0;5,5"; None if it has no area.

    Raises:
        DataError: the attribute is missing or has another form.
    """
    points = []
    for pair in filter(None, entry.text("points").split(";") if entry.fields.get("points") != "" else ()):
        x, comma, y = pair.partition(",")
        try:
            points.append((float(x), float(y)))
        except ValueError as error:
            raise entry.wrong("points", "points as 'x,y;x,y;x,y'") from error
        if not comma or not all(abs(value) <= FARTHEST for value in points[-1]):
            raise entry.wrong("points", f"coordinates from -{FARTHEST} to {FARTHEST}")
    return polygon_of(np.array(points, dtype=np.float64).reshape(-1, 2))


def _box(entry: Entry) -> Polygon | None:
    left, top, right, bottom = (_number(entry, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    ring = box(left, top, right - left, bottom - top)
    return polygon_of(turned(ring, _number(entry, "rotation", 0), ((left + right) / 2, (top + bottom) / 2)))


def _ellipse(entry: Entry) -> Polygon | None:
    center = _number(entry, "cx"), _number(entry, "cy")
    ring = ellipse(center, (_number(entry, "rx"), _number(entry, "ry")))
    return polygon_of(turned(ring, _number(entry, "rotation", 0), center))


def _mask(entry: Entry) -> Bitmap | None:
    """Decode a mask from its run lengths; return None if the mask is empty.

    The runs follow the rows of the mask's box; the first run is outside the mask, the second inside, and so on. The
    width and height of the box may each be one pixel too small, as CVAT 2.3 wrote them, see
    https://github.com/cvat-ai/cvat/pull/5905.

    Raises:
        DataError: the run lengths are not whole numbers, or do not add up to the number of pixels of the box.
    """
    left, top, width, height = (_whole(entry, key) for key in ("left", "top", "width", "height"))
    try:
        runs = [int(run) for run in entry.text("rle").split(",")]
    except ValueError as error:
        raise entry.wrong("rle", "whole numbers, separated by commas") from error
    if not any(runs):  # CVAT's empty mask
        return None
    boxes = [(height, width), (height + 1, width + 1)]
    size = next((box for box in boxes if box[0] * box[1] == sum(runs)), None)
    if size is None or min(runs) < 0:
        raise DataError(
            f"{entry}: its runs add up to {sum(runs)} pixels, but its box of {width} x {height} has {width * height}; "
            "export it again"
        )
    size = checked_size(*size, f"{entry}: its box")
    inside: npt.NDArray[np.bool_] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)
    return Bitmap.of(0, inside, (top, left)) if inside.any() else None


_SHAPES: Mapping[str, Callable[[Entry], Polygon | Bitmap | None]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
