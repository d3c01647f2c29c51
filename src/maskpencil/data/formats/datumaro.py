"""Read Datumaro, which CVAT exports too: `annotations/SUBSET.json` and the images in `images/SUBSET/`.

Sources: https://openvinotoolkit.github.io/datumaro/stable/docs/data-formats/formats/datumaro.html and
https://docs.cvat.ai/docs/dataset_management/formats/format-datumaro
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskpencil.data.drawing import Drawing, Polygon, Ring, RunLengths, Shape, box, ellipse, turned
from maskpencil.data.formats.annotations import (
    Entry,
    Labels,
    classes_of_labels,
    covers_nothing,
    mentions,
    read_json,
)
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.formats.orientation import reaches_out
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import Found, Layout, Pair, image_files
from maskpencil.data.layout.splits import split_in
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.images import read_header
from maskpencil.plain_text import counted

AREAS = ("mask", "polygon", "ellipse")
DRAWN = (*AREAS, "bbox")


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if its `annotations/` holds files with Datumaro's `categories` and `items`; otherwise return None.

    Masks, polygons, ellipses and boxes are drawn in the order of `z_order`. A box in the same group as another shape is
    left out, since the box only surrounds this shape. A subset named after a split, such as train, is that split.

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for in `images/`, then anywhere below `root`.

    Raises:
        DataError: an entry is not in Datumaro's format, or all images are missing.
    """
    files = {}
    for path in sorted(filter(Path.is_file, root.glob("annotations/*.json"))):
        if mentions(path, ("categories", "labels", "items")):
            content = read_json(path)
            if isinstance(content, dict) and isinstance(content.get("categories"), dict) and "items" in content:
                files[path] = Entry.of(path, "", content)
    if not files:
        return None
    names = {path: _label_names(content) for path, content in files.items()}
    labels = classes_of_labels(root, [name for own in names.values() for name in own])
    reader = _Reader(ImageSearch(root, images), labels)
    for path, content in files.items():
        for item in content.entries("items", "item"):
            with reader.problems.collected():
                reader.add(item, split_in(path.stem), names[path])
    return Recognized("Datumaro", reader.layout(), MaskEncoding("index", labels.classes))


def _label_names(content: Entry) -> list[str]:
    """Return the labels of a file in their order; the `label_id` of an annotation is an index of this list."""
    return [label.text("name") for label in content.inside("categories").inside("label").entries("labels", "label")]


class _Reader:
    """Collects the pairs of images and masks of Datumaro's items, item by item, with the `problems` of the items."""

    def __init__(self, search: ImageSearch, labels: Labels) -> None:
        self.problems = Problems()
        self._search = search
        self._root = search.root
        self._labels = labels
        below = self._root / "images"
        self._images = image_files(below, strict=False) if below.is_dir() else {}
        self._found = Found()
        self._used: dict[Path, Entry] = {}
        self._left_out: Counter[str] = Counter()
        self._boxes = 0

    def add(self, item: Entry, split: str, names: Sequence[str]) -> None:
        """Add the pair of an item: its image, and the mask drawn from its annotations.

        Args:
            item: the item.
            split: the split of the item's file, "" if the file is not named after a split.
            names: the labels of the item's file; the `label_id` of an annotation is an index of this list.

        Raises:
            DataError: an annotation is not in Datumaro's format, or another item has the same image or name.
        """
        image = self._image(item, split)
        if image is None:
            self._found.masks_alone.append(Path(item.text("id")))
            return
        if image in self._used:
            raise DataError(
                f"{item}: has the same image as {self._used[image].place}, {image}; remove one of the two items"
            )
        self._used[image] = item
        size = read_header(image).shown_size
        drawing = Drawing(item.path, image.name, size, self._shapes(item, names, size), self._labels.background)
        folders = (self._root / "images" / item.path.stem, self._root / "images", self._root, self._search.place)
        folder = next(folder for folder in folders if image.is_relative_to(folder))
        name = image.relative_to(folder).with_suffix("").as_posix()
        if name in self._found.splits.get(split, {}):
            raise DataError(f"{item}: another item also has an image named {name}; rename or remove one image")
        self._found.add(split, Pair(name, image, drawing))

    def layout(self) -> Layout:
        """Return the pairs by split, with notes and warnings about what was left out.

        Raises:
            DataError: all images are missing or have errors, see `Problems.layout`.
        """
        own = self._images.values() if self._search.given is None else self._search.files
        self._found.images_alone += [path for path in own if path not in self._used]
        self._search.warn(self._found)
        if not self._used and self._found.masks_alone:
            self.problems.refuse()
            raise DataError(
                f"{self._root}: its annotations name {counted(len(self._found.masks_alone), 'image')} "
                f"({self._found.masks_alone[0]}{', ...' * (len(self._found.masks_alone) > 1)}), but none of them is "
                f"below {self._search.place}; put them into images/, or say where they are: --images FOLDER"
            )
        layout = self.problems.layout(self._root, self._found)
        notes = []
        if self._boxes:
            notes.append(f"{self._boxes} boxes are drawn as filled rectangles")
        if self._left_out:
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._left_out.items()))
            notes.append(f"annotations that are not labeled areas left out: {counts}")
        return replace(layout, notes=(*notes, *layout.notes))

    def _image(self, item: Entry, split: str) -> Path | None:
        """Find the image of an item by the path in the item, or else by the id of the item.

        Return None if the image is missing. If the item has a path, the id is not used.
        """
        media = next((item.inside(key) for key in ("image", "media") if key in item), None)
        if media and media.fields.get("path"):
            folders = [self._root / "images" / item.path.stem, self._root / "images", self._root]
            return self._search.find(media.text("path"), folders, source=item.path, split=split)
        name = item.text("id")
        found = self._images.get(f"{item.path.stem}/{name}") or self._images.get(name)
        return found or (self._search.alike(name) if self._search.given else None)

    def _shapes(self, item: Entry, names: Sequence[str], size: tuple[int, int]) -> tuple[Shape, ...]:
        """Return the shapes of an item from bottom to top; `size` is the (height, width) of its image.

        Raises:
            DataError: an annotation is not in Datumaro's format; further errors are collected in `problems`.
        """
        annotations = item.entries("annotations", "annotation")
        kinds = [annotation.text("type") for annotation in annotations]
        surrounded = {a.whole("group", 0) for a, kind in zip(annotations, kinds, strict=True) if kind in AREAS} - {0}
        shapes: list[tuple[int, Shape]] = []
        errors: list[DataError] = []
        for annotation, kind in zip(annotations, kinds, strict=True):
            if kind not in DRAWN or "label_id" not in annotation:
                self._left_out[kind if kind not in DRAWN else f"{kind} without a label"] += 1
            elif kind != "bbox" or annotation.whole("group", 0) not in surrounded:
                try:
                    shape = _shape(annotation, kind, self._index(annotation, names), size)
                    if isinstance(shape, Polygon) and covers_nothing(shape.rings[0]):
                        self.problems.without_area.append(
                            f"{annotation}: a {kind} of {counted(len(shape.rings[0]), 'point')}"
                        )
                        continue
                    if isinstance(shape, Polygon) and reaches_out(shape, size):
                        self.problems.clipped.append(f"{annotation}: {kind}")
                    shapes.append((annotation.whole("z_order", 0), shape))
                except DataError as error:
                    errors.append(error)
                self._boxes += kind == "bbox"
        if errors:
            self.problems.errors += errors[:-1]
            raise errors[-1]
        return tuple(shape for _, shape in sorted(shapes, key=lambda entry: entry[0]))

    def _index(self, annotation: Entry, names: Sequence[str]) -> int:
        number = annotation.whole("label_id")
        if not 0 <= number < len(names):
            raise annotation.wrong("label_id", f"the number of a label, 0 to {len(names) - 1}")
        return self._labels.index_of[names[number]]


def _shape(annotation: Entry, kind: str, index: int, size: tuple[int, int]) -> Shape:
    if kind == "mask":
        return _run_lengths(annotation.inside("rle"), index, size)
    ring = annotation.points("points", least=0) if kind == "polygon" else _ring(annotation, kind)
    return Polygon(index, (ring.astype(np.float32),))


def _ring(annotation: Entry, kind: str) -> Ring:
    """Return the outline (n, 2) of an annotation of type `kind`, "bbox" or "ellipse", as (x, y) in pixels.

    The outline is rotated clockwise about its center by the attribute `rotation`, in degrees, which CVAT writes.

    Raises:
        DataError: the annotation does not have 4 numbers, or `rotation` is not a number.
    """
    key = "bbox" if kind == "bbox" else "points"
    numbers = annotation.numbers(key).tolist()
    if len(numbers) != 4:
        raise annotation.wrong(key, "4 numbers")
    left, top, *end = numbers
    width, height = end if kind == "bbox" else (end[0] - left, end[1] - top)
    middle = left + width / 2, top + height / 2
    ring = box(left, top, width, height) if kind == "bbox" else ellipse(middle, (width / 2, height / 2))
    angle = annotation.inside("attributes").number("rotation", 0) if "attributes" in annotation else 0
    return turned(ring, angle, middle) if angle else ring


def _run_lengths(rle: Entry, index: int, size: tuple[int, int]) -> RunLengths:
    """Return the mask in the field `rle` of an annotation, with the class `index`.

    Raises:
        DataError: the run lengths are damaged, or their size is not `size`, the (height, width) of the image.
    """
    if rle.numbers("size").tolist() != list(size):
        raise rle.wrong("size", f"[{size[0]}, {size[1]}], the height and width of the image")
    counts = rle.fields.get("counts")
    if not isinstance(counts, str | list):
        raise rle.wrong("counts", "run lengths, as a list of numbers or as text")
    try:
        return RunLengths.of(index, size, counts)
    except DataError as error:
        raise DataError(f"{rle}: {error}") from error
