"""Read and write Ultralytics YOLO: a YAML file with class names, and polygons in `labels/` or label maps in `masks/`.

Sources: https://docs.ultralytics.com/datasets/segment and https://docs.ultralytics.com/datasets/semantic. Roboflow
exports the same format as `train/images + train/labels`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import yaml

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.drawing import Drawing, Polygon
from maskpencil.data.formats.annotations import (
    BACKGROUND_LABELS,
    Labels,
    classes_of_labels,
    covers_nothing,
    undrawn_class,
)
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image
from maskpencil.data.formats.problems import Problems
from maskpencil.data.formats.yolo_folder import YoloFolder, beside, open_yolo_folder
from maskpencil.data.layout import Found, Layout, Pair, layout_of
from maskpencil.data.layout.splits import SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES, read_header
from maskpencil.plain_text import worded
from maskpencil.regions import find_regions
from maskpencil.regions.find import Point
from maskpencil.regular_files import read_lines

TOLERANCE = 0.01
"""The largest distance outside 0..1 at which a coordinate counts as on the edge of the image, as in Ultralytics."""

OUTSIDE = 0.1
"""The largest distance outside 0..1 at which a shape is cut off at the edge of the image; farther outside a coordinate
is an error, since it is probably in pixels."""

EXPECTED = "a class number and at least 3 points, 'CLASS x1 y1 x2 y2 x3 y3 ...'"
SHOWN_LENGTH = 40


@dataclass(frozen=True)
class Row:
    """A line of a label file.

    `where` is the file and the line number, and `text` the first characters of the line, both for messages. `numbers`
    are the numbers in the line; None if an entry of the line is not a number.
    """

    where: str
    text: str
    numbers: npt.NDArray[np.float64] | None

    @property
    def has_confidence(self) -> bool:
        """Whether one more number from 0 to 1 follows the points of the line; it may be a confidence."""
        numbers = self.numbers
        return numbers is not None and len(numbers) >= 6 and len(numbers) % 2 == 0 and 0 <= numbers[-1] <= 1

    def without_confidence(self) -> Self:
        """Return the line without its last number."""
        return self if self.numbers is None else replace(self, numbers=self.numbers[:-1])


@dataclass(frozen=True)
class LabelLine:
    """An object: its class number, and its corners (n, 2), x and y as fractions of the image's width and height.

    If `is_box`, the line was a box, and the corners are its 4 corners.
    """

    class_number: int
    corners: npt.NDArray[np.float64]
    is_box: bool

    @property
    def area(self) -> float:
        """The area as a fraction of the image's area, by the shoelace formula."""
        x, y = self.corners.T
        return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def read_rows(path: Path) -> list[Row]:
    """Read all lines of a label file, except empty lines.

    Raises:
        DataError: the file cannot be read.
    """
    rows = []
    for number, line in read_lines(path, f"{EXPECTED} per line"):
        try:
            numbers = np.array(line.split(), dtype=np.float64)
        except ValueError:
            numbers = None
        rows.append(Row(f"{path}: line {number}", line[: SHOWN_LENGTH + 1], numbers))
    return rows


def files_with_confidence(rows: Mapping[Path, Sequence[Row]]) -> set[Path]:
    """Return the label files in which every line ends with a confidence, as in predictions saved as labels.

    The result is empty if any file has lines both with and without a confidence, or if the label files found have only
    one line in total: the extra number may then be damage rather than a confidence.

    Args:
        rows: the lines of each label file.
    """
    found = {path for path, own in rows.items() if own and all(row.has_confidence for row in own)}
    mixed = any(row.has_confidence for path, own in rows.items() if path not in found for row in own)
    return set() if mixed or sum(len(rows[path]) for path in found) < 2 else found


def read_line(row: Row, class_count: int, problems: Problems) -> LabelLine | None:
    """Return the object in a line, or None if the object has no area.

    A line with 4 numbers after the class is a box: x and y of its center, width, height. Objects without an area, and
    objects that extend a little beyond the image, are added to `problems`.

    Args:
        row: the line.
        class_count: the number of classes.
        problems: the collected problems, which the caller reports later.

    Raises:
        DataError: the line has another format, its class is not below `class_count`, or a coordinate is outside 0..1 by
            more than `OUTSIDE`.
    """
    where, numbers = row.where, row.numbers
    if numbers is None or not len(numbers) % 2 or not np.isfinite(numbers).all():
        raise DataError(f"{where} is {_cut(row.text)}; expected {EXPECTED}")
    shares = numbers[1:]
    if not (numbers[0] % 1 == 0 and 0 <= numbers[0] < class_count):
        raise DataError(
            f"{where} has the class {row.text.split()[0][:20]}; expected 0 to {class_count - 1}, as the YAML file "
            f"names {class_count} classes; add the class to the YAML file or correct the line"
        )
    outside = shares[(shares < -TOLERANCE) | (shares > 1 + TOLERANCE)]
    if ((outside < -OUTSIDE) | (outside > 1 + OUTSIDE)).any():
        strange = outside[(outside < -OUTSIDE) | (outside > 1 + OUTSIDE)][0]
        raise DataError(
            f"{where} has the coordinate {strange:g}; expected fractions of the image's width and height, 0 to 1; "
            "divide coordinates in pixels by the width and height, or correct the line"
        )
    corners = shares.reshape(-1, 2)
    if len(corners) == 2:
        middle, half = corners[0], corners[1] / 2
        corners = middle + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    if covers_nothing(corners):
        problems.without_area.append(f"{where}: {_cut(row.text)}")
        return None
    if len(outside):
        problems.clipped.append(f"{where}: {outside[0]:g}")
    return LabelLine(int(numbers[0]), corners, is_box=len(shares) == 4)


def _cut(line: str) -> str:
    return repr(line if len(line) <= SHOWN_LENGTH else f"{line[:SHOWN_LENGTH]}...")


MASK_SUFFIXES = (".png", *sorted(IMAGE_SUFFIXES - {".png"}))


def recognize(root: Path) -> Recognized | None:
    """Read `root` if a YAML file in it has `names` and the folders of images, and there are label files or masks.

    Otherwise return None. A `classes.txt` beside `images/` and `labels/` may replace the YAML file.

    Label files hold polygons. "background" is class 0, and the names in the YAML file follow, unless a classes.yaml in
    `root` has another order. An image without a label file is all background, as in Ultralytics; a split without any
    label file is left out. Smaller polygons are drawn over larger polygons. Pixels of objects that have only a box are
    ignored.

    Masks are read instead if the YAML file has `masks_dir`, or if there are a folder `masks/` and no label files. A
    mask value is the number of a name in the YAML file, and 255 is ignored; if there is only one name, its value is 1,
    and 0 is the background. `label_mapping` in the YAML file maps mask values to other numbers or to ignored pixels.

    Raises:
        DataError: the YAML file or a label file has another format, all labels are boxes, or no image has a mask.
    """
    folder = open_yolo_folder(root)
    if folder is None:
        return None
    if folder.masks_name:
        return _with_masks(folder, folder.masks_name)
    if folder.has_labels():
        return _with_polygons(folder)
    return _with_masks(folder, "masks") if folder.entries and (root / "masks").is_dir() else None


def _with_polygons(folder: YoloFolder) -> Recognized:
    labels = classes_of_labels(folder.root, folder.names)
    found, problems = Found(), Problems()
    boxes = polygons = unlabeled = 0
    files = {
        image: folder.beside(image, "labels").with_suffix(".txt")
        for images in folder.splits.values()
        for image in images.values()
    }
    rows: dict[Path, list[Row]] = {}
    for path in files.values():
        if path.is_file():
            with problems.collected():
                rows[path] = read_rows(path)
    confident = files_with_confidence(rows)
    for split, images in folder.splits.items():
        if not any(files[image].is_file() for image in images.values()):
            found.images_alone += images.values()
            continue
        for name, image in images.items():
            path = files[image]
            unlabeled += not path.is_file()
            if path.is_file() and path not in rows:
                continue  # the image cannot be read
            lines, errors = [], len(problems.errors)
            for row in rows.get(path, ()):
                with problems.collected():
                    own = row.without_confidence() if path in confident else row
                    if line := read_line(own, len(folder.names), problems):
                        lines.append(line)
            boxes += sum(line.is_box for line in lines)
            polygons += sum(not line.is_box for line in lines)
            if len(problems.errors) == errors:
                found.add(split, Pair(name, image, _drawing(folder, path, image, lines, labels)))
    if boxes and not polygons:
        raise DataError(
            f"{folder.path}: all {boxes} labels are boxes for object detection; expected polygons; export the data set "
            "for segmentation, or draw polygons"
        )
    found.masks_alone += folder.others("labels", (".txt",), {path for path in files.values() if path.is_file()})
    found.warn(
        "labels-with-confidence",
        sorted(confident),
        "{n} {label file has|label files have} an extra number at the end of every line, which counts as a confidence "
        "and is left out",
        "look at the overlays; if the number is not a confidence, correct the files",
    )
    notes = []
    if unlabeled:
        notes.append(worded("{n} {image|images} without a label file {is|are} background", unlabeled))
    if boxes:
        notes.append(
            worded("{n} {object has|objects have} a box and no polygon; {its|their} pixels are ignored", boxes)
        )
    layout = problems.layout(folder.root, found, use_lists=not folder.has_splits)
    return Recognized("YOLO", _noted(folder, layout, notes), MaskEncoding("index", labels.classes))


def _drawing(folder: YoloFolder, source: Path, image: Path, lines: Sequence[LabelLine], labels: Labels) -> Drawing:
    height, width = size = read_header(image).shown_size
    indices = [labels.index_of[name] for name in folder.names]
    shapes = [
        Polygon(
            IGNORE_INDEX if line.is_box else indices[line.class_number],
            ((line.corners * (width, height)).astype(np.float32),),
        )
        for line in sorted(lines, key=lambda line: (not line.is_box, -line.area))
    ]
    return Drawing(source, image.name, size, tuple(shapes), labels.background)


def _with_masks(folder: YoloFolder, masks_name: str) -> Recognized:
    found = Found()
    used = set()
    for split, images in folder.splits.items():
        for name, image in images.items():
            place = folder.beside(image, masks_name)
            masks = (place.with_suffix(suffix) for suffix in MASK_SUFFIXES)
            # false for names that no file can have, such as too long ones
            mask = next((path for path in masks if os.path.isfile(path)), None)  # noqa: PTH113
            if mask is None:
                found.images_alone.append(image)
            else:
                found.add(split, Pair(name, image, mask))
                used.add(mask)
    if not found:
        raise DataError(
            f"{folder.path}: no image has a mask in {masks_name}/; expected images/train/x.jpg and "
            f"{masks_name}/train/x.png"
        )
    found.masks_alone += folder.others(masks_name, IMAGE_SUFFIXES, used)
    alone = len(folder.names) == 1 and folder.names[0].lower() not in BACKGROUND_LABELS
    classes = ClassSet(("background", *folder.names) if alone else folder.names)
    own = {IGNORE_INDEX: IGNORE_INDEX} | {number: number for number in range(len(classes))}
    codes = own | folder.label_mapping(len(classes))
    layout = layout_of(folder.root, found, use_lists=not folder.has_splits)
    return Recognized("YOLO masks", _noted(folder, layout, []), MaskEncoding("index", classes, codes=codes))


def _noted(folder: YoloFolder, layout: Layout, notes: list[str]) -> Layout:
    return replace(layout, notes=(*folder.notes, *notes, *layout.notes))


DIGITS = 6
"""The number of significant digits of a coordinate, as in files that Ultralytics' converters write."""


@contextmanager
def write_yolo(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images, label files with polygons, `data.yaml`, and `classes.yaml` with the classes and their colors.

    The function is used as a context manager, see `base.Writer`.

    Each line of a label file is a 4-connected part of a region, written as the polygon along the edges of its pixels;
    cuts of zero width connect its holes to the outer ring, see `bridged`. Coordinates have 6 significant digits, and
    more if the image has a million or more columns or rows. The rounding error is therefore less than half a pixel, and
    the reader, which tests the centers of pixels, restores exactly the same label map.

    The background (see `annotations.undrawn_class`) is not written. YOLO cannot store ignored pixels: no polygon covers
    them, so they are read as background; this package reads them as ignored if classes.yaml has no background class.
    If the images have no splits, `data.yaml` has only `train`, although Ultralytics also requires `val`.

    Raises:
        OutputError: a file cannot be written.
        DataError: the only class is the background.
    """
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)
    names = [name for index, name in enumerate(classes.names) if index != undrawn]
    if not names:
        raise DataError(f"the only class is {classes.names[0]!r}, the background, which YOLO cannot store; add a class")
    number_of = {name: number for number, name in enumerate(names)}
    splits = set()

    def add(image: LabeledImage) -> None:
        splits.add(image.split)
        copy = folder / "images" / image.split / f"{image.name}{image.image.suffix}"
        copy_image(image, copy)
        height, width = image.label_map.shape
        digits = max(DIGITS, len(str(max(height, width))))
        with (
            written_whole(beside(folder, copy, "labels").with_suffix(".txt")) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            for region in find_regions(image.label_map, classes, wanted=names):
                for polygon in region.polygons:
                    shares = (f"{x / width:.{digits}g} {y / height:.{digits}g}" for x, y in bridged(polygon))
                    file.write(f"{number_of[region.class_name]} {' '.join(shares)}\n")

    yield add
    places = {split: f"images/{split}" for split in SPLITS if split in splits} or {"train": "images"}
    content = {**places, "names": dict(enumerate(names))}
    with written_whole(folder / "data.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def bridged(rings: Sequence[Sequence[Point]]) -> list[Point]:
    """Join an outer ring and its holes, as `regions.find.outlines` returns them, into one closed ring of points (x, y).

    For each hole, a horizontal line connects the nearest ring on the left with the upper left corner of the hole, and
    leads back. The lines run along edges of pixels and do not cross the center of a pixel, so the even-odd rule gives
    exactly the same pixels inside.
    """
    outer, *holes = rings
    if not holes:
        return list(outer)
    bridges = _Bridges(rings)
    points: list[Point] = []
    open_rings = [bridges.walk(0)]  # a stack instead of recursion, since chains of connected holes may be long
    while open_rings:
        for step in open_rings[-1]:
            if isinstance(step, int):
                open_rings.append(bridges.walk(step))
                break
            if not points or points[-1] != step:
                points.append(step)
        else:
            open_rings.pop()
    return points


class _Bridges:
    """The lines that connect the holes of a shape to its outline, so that one polygon can describe the shape.

    Each line begins on an edge of a ring, which is the outline or another hole.
    """

    def __init__(self, rings: Sequence[Sequence[Point]]) -> None:
        self._rings = rings
        self._first = [0] + [_upper_left(ring) for ring in rings[1:]]
        self._on: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (ring, edge) -> [(y, hole)]
        corners = np.concatenate([np.array(ring) for ring in rings])
        following = np.concatenate([np.roll(np.array(ring), -1, axis=0) for ring in rings])
        ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        side_of = np.concatenate([np.arange(len(ring)) for ring in rings])
        # cut the vertical edges into pieces of one row; sorted by (row, x), a search finds the edge left of a point
        top = np.minimum(corners[:, 1], following[:, 1])
        heights = np.abs(corners[:, 1] - following[:, 1])
        pieces = np.repeat(np.arange(len(corners)), heights)
        rows = top[pieces] + np.arange(len(pieces)) - np.repeat(np.cumsum(heights) - heights, heights)
        width = int(corners[:, 0].max()) + 1
        keys = rows * width + corners[pieces, 0]
        order = np.argsort(keys, kind="stable")
        starts = np.array([ring[first] for ring, first in zip(rings[1:], self._first[1:], strict=True)])
        left = pieces[order[np.searchsorted(keys[order], starts[:, 1] * width + starts[:, 0]) - 1]]
        for hole, piece in enumerate(left.tolist(), start=1):
            side = int(ring_of[piece]), int(side_of[piece])
            self._on.setdefault(side, []).append((int(starts[hole - 1, 1]), hole))

    def walk(self, number: int) -> Iterator[Point | int]:
        """Yield the points (x, y) of a ring in order, and the number of each hole to which a line leads from the ring.

        Where a line begins, three values are yielded: the point of the ring, the number of the hole, and the point
        again, since the line leads to the hole and back. The ring of a hole is closed: its first point is yielded again
        at the end.

        Args:
            number: the number of the ring: 0 is the outline, the holes follow from 1.
        """
        ring, first = self._rings[number], self._first[number]
        for place in range(first, first + len(ring)):
            side = place % len(ring)
            (x, y), (_, next_y) = ring[side], ring[(side + 1) % len(ring)]
            yield x, y
            for level, hole in sorted(self._on.get((number, side), []), reverse=next_y < y):
                yield x, level
                yield hole
                yield x, level
        if number:
            yield ring[first]


def _upper_left(ring: Sequence[Point]) -> int:
    """Return the index of a hole's upper left corner: the corner with the smallest x, and of several the smallest y.

    The edge that leads down from this corner is on the left side of the hole.
    """
    return min(range(len(ring)), key=ring.__getitem__)
