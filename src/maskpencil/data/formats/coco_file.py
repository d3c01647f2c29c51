"""Read the JSON of COCO: categories, images, and annotations with polygons or run lengths.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.drawing import Points, Polygon, RunLengths
from maskpencil.data.formats.annotations import (
    Entry,
    checked_numbers,
    checked_points,
    checked_size,
    covers_nothing,
    read_json,
    shown,
)
from maskpencil.data.formats.problems import Problems
from maskpencil.errors import DataError
from maskpencil.plain_text import counted

Id = int | str
KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoCategory:
    """A category of a COCO file; `above` is the name of its supercategory, "" if it has no supercategory."""

    id: Id
    name: str
    above: str


@dataclass(frozen=True)
class CocoOutline:
    """An annotation with a segmentation.

    Attributes:
        label: the name of its category.
        area: its area in pixels.
        shapes: its polygons or its mask. Their `class_index` is set later, since classes are numbered after all files
            are read.
    """

    label: str
    area: float
    shapes: tuple[Polygon | RunLengths, ...]


@dataclass
class CocoImage:
    """An image in the list of a COCO file.

    Attributes:
        name: the name or path of the image.
        size: the (height, width) in pixels that the file states; None if the file does not state a size.
        outlines: its annotations with a segmentation, in the order of the file.
        broken: whether one of its annotations cannot be understood.
    """

    name: str
    size: tuple[int, int] | None
    outlines: list[CocoOutline]
    broken: bool = False


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file.

    Attributes:
        path: the file.
        tool: the name of the tool that wrote the file, "" if it is unknown.
        categories: the categories.
        images: the images with their annotations.
        boxes: the annotations without a segmentation, as their places in the file, for messages.
        strays: the annotations of images that the file does not list, as their places in the file, for messages.
    """

    path: Path
    tool: str
    categories: Sequence[CocoCategory]
    images: Sequence[CocoImage]
    boxes: Sequence[str]
    strays: Sequence[str]

    @property
    def outlined(self) -> bool:
        """Whether any image has an annotation with a segmentation."""
        return any(image.outlines for image in self.images)


def read_coco_file(path: Path, problems: Problems) -> CocoFile | None:
    """Read a COCO file; return None if its content is not an object with lists of images, annotations and categories.

    Errors in images and annotations are collected in `problems` instead of raised.

    Raises:
        DataError: the file cannot be parsed as JSON, a category is not in COCO's format, or one of the lists holds
            something other than objects.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return None
    file = Entry.of(path, "", content)
    categories = read_categories(file)
    images = read_images(file, problems)
    ids = ImageIds(images)
    boxes, strays = [], []
    for entry in file.entries("annotations", "annotation", id_key="id"):
        with problems.collected():
            image = ids.find(entry.identifier("image_id"))
            try:
                category = categories.get(entry.identifier("category_id"))
                if category is None:
                    raise entry.wrong("category_id", "the id of one of the categories")
                shapes = read_segmentation(entry, image.size if image else None, problems)
            except DataError:
                if image:
                    image.broken = True
                raise
            if image is None:
                strays.append(f"{entry} of image {shown(entry.fields['image_id'])}")
            elif shapes:
                image.outlines.append(CocoOutline(category.name, _area(entry.fields.get("area"), shapes), shapes))
            elif not entry.fields.get("segmentation"):
                boxes.append(str(entry))
    info = content.get("info")
    tool = info.get("contributor") if isinstance(info, dict) else None
    return CocoFile(path, str(tool or ""), tuple(categories.values()), tuple(images.values()), boxes, strays)


def read_images(file: Entry, problems: Problems) -> dict[Id, CocoImage]:
    """Return the images of a COCO file by their ids, without their annotations.

    Errors in images are collected in `problems` instead of raised.

    Raises:
        DataError: `images` is not a list of objects.
    """
    images: dict[Id, CocoImage] = {}
    for entry in file.entries("images", "image", id_key="id"):
        with problems.collected():
            image_id = entry.identifier("id")
            if image_id in images:
                raise DataError(f"{entry}: two images have this id; expected one image per id; export the file again")
            images[image_id] = CocoImage(entry.text("file_name", blank=True), entry.size("height", "width"), [])
    return images


class ImageIds:
    """Finds the images of a COCO file by the `image_id` of annotations: an id or, in some tools, a file name."""

    def __init__(self, images: Mapping[Id, CocoImage]) -> None:
        self._images = images
        self._others: dict[str, CocoImage] = {}
        for image_id, image in images.items():
            self._others.setdefault(_without_zeros(str(image_id)), image)
        for image in images.values():
            name = PureWindowsPath(image.name)
            for text in (image.name, name.name, name.stem):
                self._others.setdefault(text, image)

    def find(self, image_id: Id) -> CocoImage | None:
        """Return the image with this id or file name; None if the file does not list such an image.

        Ids that differ only in leading zeros match, and so do file names without their folders or suffix.
        """
        text = str(image_id)
        return self._images.get(image_id) or self._others.get(_without_zeros(text)) or self._others.get(text)


def _without_zeros(text: str) -> str:
    return text.lstrip("0") if text.isdecimal() else text


def read_categories(file: Entry) -> dict[Id, CocoCategory]:
    """Return the categories of a COCO file by their ids.

    Raises:
        DataError: categories are not in COCO's format; one message names all of them.
    """
    categories: dict[Id, CocoCategory] = {}
    problems = Problems()
    for entry in file.entries("categories", "category", id_key="id"):
        with problems.collected():
            category_id, name = entry.identifier("id"), entry.text("name", blank=True)
            above = entry.text("supercategory", blank=True) if entry.fields.get("supercategory") else ""
            category = categories.setdefault(category_id, CocoCategory(category_id, name, above))
            if category.name != name:
                raise DataError(
                    f"{entry}: has the names {category.name!r} and {name!r}; expected one name per id; "
                    "correct one of the two entries"
                )
    problems.refuse()
    return categories


def read_segmentation(
    annotation: Entry, size: tuple[int, int] | None, problems: Problems
) -> tuple[Polygon | RunLengths, ...]:
    """Return the polygons or the mask in the `segmentation` of an annotation; () if it is missing, null or empty.

    A polygon is a list of numbers x, y, x, y ... or of points [x, y]; a single polygon may be given without the outer
    list. Polygons without an area are left out and collected in `problems`.

    Args:
        annotation: the annotation.
        size: the (height, width) of the image in pixels; None if it is unknown.
        problems: collects the polygons that are left out.

    Raises:
        DataError: the segmentation has another form, such as run lengths without their size.
    """
    segmentation = annotation.fields.get("segmentation")
    if isinstance(segmentation, dict):
        return (_run_lengths(annotation.inside("segmentation")),)
    if not isinstance(segmentation, list | None):
        raise annotation.wrong("segmentation", "polygons or run lengths")
    parts = segmentation or []
    if {*map(type, parts)} <= {int, float}:
        parts = [parts] if parts else []
    if len(parts) > 2 and all(isinstance(part, list) and len(part) == 2 for part in parts):
        raise DataError(
            f"{annotation}: has {len(parts)} parts of 2 numbers each; expected a list of polygons, each a list "
            "[x, y, x, y, ...] of at least 3 points; put the points of a polygon into one list"
        )
    shapes: list[Polygon | RunLengths] = []
    for number, part in enumerate(parts, start=1):
        if isinstance(part, dict):
            shapes.append(_run_lengths(Entry.of(annotation.path, f"{annotation.place}: part {number}", part)))
            continue
        pairs = isinstance(part, list) and part and all(isinstance(point, list) for point in part)
        numbers = checked_points(part, str(annotation)).ravel() if pairs else checked_numbers(part, str(annotation))
        if size and _are_run_lengths(numbers, size):
            raise DataError(
                f"{annotation}: has {len(numbers)} numbers that add up to the {size[0] * size[1]} pixels of the image, "
                'like run lengths; expected polygons; give run lengths with their size: {"size": [height, width], '
                '"counts": [...]}'
            )
        if len(numbers) % 2:
            raise DataError(
                f"{annotation}: has a polygon of {len(numbers)} numbers; expected the x and y of at least 3 points; "
                "correct or remove it"
            )
        if covers_nothing(ring := numbers.reshape(-1, 2)):
            which = f"part {number} of {len(parts)} is " if len(parts) > 1 else ""
            problems.without_area.append(f"{annotation}: {which}a polygon of {counted(len(ring), 'point')}")
        else:
            shapes.append(Polygon(IGNORE_INDEX, (ring,)))
    return tuple(shapes)


def _are_run_lengths(numbers: npt.NDArray[np.float32], size: tuple[int, int]) -> bool:
    """Return whether a list of numbers (n,) holds run lengths of an image of `size` (height, width) instead of points.

    The numbers are run lengths if their sum is the number of pixels of the image, and if the numbers, read as points x,
    y, x, y ..., extend beyond the image.
    """
    x, y = numbers[::2], numbers[1::2]
    outside = x.max(initial=0) > size[1] or y.max(initial=0) > size[0]
    return bool(outside) and float(numbers.sum(dtype=np.float64)) == size[0] * size[1]


def _run_lengths(segmentation: Entry) -> RunLengths:
    """Return the mask in a segmentation {"size": [height, width], "counts": ...}.

    Raises:
        DataError: a field is missing or wrong, or the runs do not add up to the number of pixels.
    """
    size, counts = segmentation.fields.get("size"), segmentation.fields.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise segmentation.wrong("size", "[height, width]")
    if not isinstance(counts, list | str):
        raise segmentation.wrong("counts", "run lengths, as a list of numbers or as text")
    pixels = checked_size(size[0], size[1], str(segmentation))
    try:
        return RunLengths.of(IGNORE_INDEX, pixels, counts)
    except DataError as error:
        raise DataError(f"{segmentation}: {error}") from error


def _area(given: Any, shapes: Sequence[Polygon | RunLengths]) -> float:
    """Return the area in pixels: the value in the file if it is a positive number, else the area of the shapes."""
    if isinstance(given, int | float) and given > 0:
        return given
    return sum(shape.area if isinstance(shape, RunLengths) else _shoelace(shape.rings[0]) for shape in shapes)


def _shoelace(ring: Points) -> float:
    """Return the area of a polygon (n, 2) in pixels, by the shoelace formula."""
    x, y = ring.astype(np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))) / 2
