"""Read LabelMe, the web tool of MIT: an XML file with the objects of each image, and PNG masks of brushed objects.

    Images/scenes/1.jpg
    Annotations/scenes/1.xml    <annotation><filename>1.jpg</filename><object><name>car</name><polygon><pt><x>4</x>...
    Masks/scenes/1_mask_2.png   the area of an object whose <segm> names it

Sources: http://labelme.csail.mit.edu and, in https://github.com/CSAILVision/LabelMeAnnotationTool,
`annotationTools/js/annotation.js`; Russell et al., "LabelMe: A Database and Web-Based Tool for Image Annotation", 2008
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskpencil.data.drawing import Bitmap, Polygon, area_of
from maskpencil.data.formats.annotations import Entry, checked_size, shown
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.cvat_xml import Element, elements
from maskpencil.data.formats.drawn import Area, DrawnImages, files_in_format, polygon_of
from maskpencil.data.layout import files_below
from maskpencil.errors import DataError, ImageError
from maskpencil.label_maps import read_mask_pixels

HEAD = 2**12
KEYS = (b"<annotation>", b"<filename>")
OBJECT_KEYS = (b"<pt>", b"<segm>", b"LabelMe Webtool")
TAG = "annotation"
FILE_TAGS = ("mask", "scribble_name")
"""The tags of the elements that hold the names of an object's mask files."""

IMAGES = "Images"
"""The folder of images beside `Annotations/`; both have the same subfolders."""

PUT = "put the images beside the XML files"


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if XML files below it are in LabelMe's format; otherwise return None.

    Polygons and brushed masks are drawn in the order of the file; objects that are marked as deleted are left out.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: an entry is not in LabelMe's format, or all images are missing.
    """
    files = files_in_format(root, {".xml"}, _is_of_labelme)
    if not files:
        return None
    found = DrawnImages(root, "LabelMe (web)", images)
    masks = {path.name: path for path in files_below(root, {".png"})}
    of_objects: set[str] = set()
    for path in files:
        with found.collecting_errors():
            for element in elements(path, frozenset({TAG})):
                of_objects |= {child.text.strip() for tag in FILE_TAGS for child in element.all(tag)}
                _add(Entry(path, "", {}), element, found, masks)
    found.search.files = [path for path in found.search.files if path.name not in of_objects]
    return found.recognized(PUT)


def _is_of_labelme(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return all(key in head for key in KEYS) and any(key in head for key in OBJECT_KEYS)


def _add(entry: Entry, element: Element, found: DrawnImages, masks: dict[str, Path]) -> None:
    name = element.text_of("filename")
    if not name:
        raise entry.wrong("filename", "the name of the image")
    folder = element.text_of("folder")
    image = found.find(entry, name, *(found.root / place / folder for place in (IMAGES, ".") if folder))
    size = next((_size(entry, child) for child in element.children if child.tag == "imagesize"), None)
    areas = []
    for number, child in enumerate((child for child in element.children if child.tag == "object"), start=1):
        one = Entry(entry.path, f"object {number}, line {child.line}", {"name": child.text_of("name")})
        if child.text_of("deleted") == "1":
            continue
        with found.collecting_errors():
            label = one.text("name")
            shapes = list(_shapes(one, child, masks))
            if not shapes:
                found.leave_out(one, "{object|objects} without a polygon or a mask", "draw them, or remove them")
            for shape in shapes:
                if shape is None:
                    found.without_area(one)
                else:
                    areas.append(Area(label, shape))
    if image:
        found.add(image, entry, areas, size=size, same=[_content(child) for child in element.children])


def _content(element: Element) -> object:
    """Return the tag, text and children of an element, for comparing the annotations of two entries."""
    return element.tag, element.text.strip(), [_content(child) for child in element.children]


def _size(entry: Entry, element: Element) -> tuple[int, int] | None:
    sides = [element.text_of(tag) for tag in ("nrows", "ncols")]
    return checked_size(int(sides[0]), int(sides[1]), str(entry)) if all(side.isdecimal() for side in sides) else None


def _shapes(one: Entry, element: Element, masks: dict[str, Path]) -> Iterator[Polygon | Bitmap | None]:
    """Yield the polygons and masks of an object, or None for a polygon or mask without an area.

    Args:
        one: the object, for messages.
        element: the element of the object.
        masks: all PNG files of the data set by their names.

    Raises:
        DataError: a coordinate is not a number, or a mask file is missing or cannot be read.
    """
    for child in element.children:
        if child.tag == "polygon":
            points = [(_number(one, pt, "x"), _number(one, pt, "y")) for pt in child.children if pt.tag == "pt"]
            yield polygon_of(np.array(points).reshape(-1, 2))
        elif child.tag == "segm":
            yield _brushed(one, child.text_of("mask"), masks)


def _brushed(one: Entry, name: str, masks: dict[str, Path]) -> Bitmap | None:
    """Return the white pixels of an object's mask file; None if there are none.

    Args:
        one: the object, for messages.
        name: the name of the mask file.
        masks: all PNG files of the data set by their names.

    Raises:
        DataError: the mask file is missing or cannot be read.
    """
    path = masks.get(name)
    if path is None:
        raise DataError(f"{one}: names the mask {shown(name)}, which is missing; put it into Masks/")
    try:
        area = area_of(read_mask_pixels(path))
    except ImageError as error:
        raise DataError(str(error)) from error
    return Bitmap.of(0, area) if area.any() else None


def _number(one: Entry, point: Element, tag: str) -> float:
    text = point.text_of(tag)
    return Entry(one.path, one.place, {tag: float(text) if _is_number(text) else text}).number(tag)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
