"""One JSON file of COCO: its images, categories and outlines, checked.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.drawing import Points, Polygon
from maskpencil.data.formats.annotation_entries import checked_numbers, checked_size, shown
from maskpencil.data.formats.annotations import read_json
from maskpencil.data.run_lengths import RunLengths
from maskpencil.errors import DataError

Id = int | str
LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoCategory:
    """A category; `above` is its supercategory, "" where it has none."""

    id: Id
    name: str
    above: str


@dataclass(frozen=True)
class CocoOutline:
    """An annotation with the name of its category and its area in pixels; the classes of the shapes are not yet set."""

    label: str
    area: float
    shapes: tuple[Polygon | RunLengths, ...]


@dataclass(frozen=True)
class CocoImage:
    """An image by its name in the file, its (height, width) if given, and its annotations in the file's order."""

    name: str
    size: tuple[int, int] | None
    outlines: list[CocoOutline]


@dataclass(frozen=True)
class CocoFile:
    """What a file says; `boxes` annotations have no outline, `strays` are of images that it does not list."""

    path: Path
    categories: Sequence[CocoCategory]
    images: Sequence[CocoImage]
    boxes: int
    strays: int

    @property
    def outlined(self) -> bool:
        """Whether there is any outline."""
        return any(image.outlines for image in self.images)


def read_coco_file(path: Path) -> CocoFile | None:
    """Read a file; None where it is not a JSON object with the lists of images, annotations and categories.

    Raises:
        DataError: an entry in the lists is not in COCO's form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        return None
    categories = {category.id: category for category in _categories(path, content["categories"])}
    images: dict[Id, CocoImage] = {}
    for entry, where in _objects(path, content["images"], "image"):
        image_id = _id(entry, "id", where)
        if image_id in images:
            raise DataError(f"{where}: the id stands twice; expected one an image; export the file again")
        images[image_id] = _image(entry, where)
    boxes = strays = 0
    for entry, where in _objects(path, content["annotations"], "annotation"):
        image = images.get(_id(entry, "image_id", where))
        category = categories.get(_id(entry, "category_id", where))
        if category is None:
            raise DataError(
                f"{where}: has the category_id {shown(entry['category_id'])}, which is not among the categories; "
                "correct or remove it"
            )
        shapes = _shapes(entry.get("segmentation"), where)
        boxes += not shapes
        strays += image is None
        if image and shapes:
            image.outlines.append(CocoOutline(category.name, _area(entry.get("area"), shapes), shapes))
    return CocoFile(path, tuple(categories.values()), tuple(images.values()), boxes, strays)


def _objects(path: Path, entries: list[Any], what: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The entries of a list, and how each is called in messages."""
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {what} number {number} is {shown(entry)}; expected an object; export it again")
        yield entry, f"{path}: {what} {shown(entry['id']) if 'id' in entry else f'number {number}'}"


def _id(entry: Mapping[str, Any], key: str, where: str) -> Id:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{where}: has the {key} {shown(value)}; expected a number; export it again")
    return value


def _categories(path: Path, entries: list[Any]) -> Iterator[CocoCategory]:
    names: dict[Id, str] = {}
    for entry, where in _objects(path, entries, "category"):
        category_id, name, above = _id(entry, "id", where), entry.get("name"), entry.get("supercategory") or ""
        if not isinstance(name, str) or not name or not isinstance(above, str):
            raise DataError(f"{where}: has the name {shown(name)}; expected that of a class; correct it")
        if names.setdefault(category_id, name) != name:
            raise DataError(f"{where}: is {names[category_id]!r} and {name!r}; expected one name an id; correct it")
        yield CocoCategory(category_id, name, above)


def _image(entry: Mapping[str, Any], where: str) -> CocoImage:
    name, height, width = entry.get("file_name"), entry.get("height"), entry.get("width")
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: has the file_name {shown(name)}; expected that of an image; export it again")
    return CocoImage(name, None if height is None and width is None else checked_size(height, width, where), [])


def _shapes(segmentation: Any, where: str) -> tuple[Polygon | RunLengths, ...]:
    """The polygons or the mask of an annotation, () where it has neither."""
    if isinstance(segmentation, dict):
        return (_run_lengths(segmentation, where),)
    if not isinstance(segmentation, list | None):
        raise DataError(f"{where}: has the segmentation {shown(segmentation)}; expected polygons; export it again")
    polygons = []
    for part in segmentation or ():
        numbers = checked_numbers(part, where)
        if len(numbers) < 6 or len(numbers) % 2:
            raise DataError(
                f"{where}: has a polygon of {len(numbers)} numbers; expected x and y of at least 3 points; correct or "
                "remove it"
            )
        polygons.append(Polygon(IGNORE_INDEX, (numbers.reshape(-1, 2),)))
    return tuple(polygons)


def _run_lengths(segmentation: Mapping[str, Any], where: str) -> RunLengths:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, list | str):
        raise DataError(f"{where}: has the segmentation {shown(segmentation)}; expected 'size' and 'counts'")
    pixels = checked_size(size[0], size[1], where)
    try:
        return RunLengths.of(IGNORE_INDEX, pixels, counts)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _area(given: Any, shapes: Sequence[Polygon | RunLengths]) -> float:
    """The area as the file gives it, or that of the shapes."""
    if isinstance(given, int | float) and given > 0:
        return given
    return sum(shape.area if isinstance(shape, RunLengths) else _shoelace(shape.rings[0]) for shape in shapes)


def _shoelace(ring: Points) -> float:
    x, y = ring.astype(np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))) / 2
