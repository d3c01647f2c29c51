"""labelme: a JSON with shapes beside each image, or in a folder of its own; AnyLabeling writes the same.

Sources: https://github.com/wkentaro/labelme, `labelme/_label_file.py` and `labelme/_utils/_shape.py`; for shapes of
four points https://github.com/CVHub520/X-AnyLabeling/blob/main/docs/en/user_guide.md
"""

import base64
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.drawing import Bitmap, Drawing, Points, Polygon, ellipse
from maskpencil.data.formats.annotations import (
    Entry,
    Labels,
    are_images_and_masks,
    classes_of_labels,
    mentions,
    read_json,
    shown,
    undrawn_class,
    with_ignore_label,
)
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS, Found, Pair, files_below, find_image, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError, ImageError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES, read_header, read_image
from maskpencil.label_maps import LabelMap
from maskpencil.regions import Region, find_regions
from maskpencil.regions.find import Ring

LINE_WIDTH = 10
POINT_RADIUS = 5
"""Pixels, both as labelme draws them."""


@dataclass(frozen=True)
class LabeledShape:
    """A shape of `kind` with its label; its class is set when all labels are read."""

    label: str
    kind: str
    shape: Polygon | Bitmap


def read_shape(entry: Entry) -> list[LabeledShape]:
    """Read an entry of `shapes`: one shape, or several that make up a line, none for a line without length.

    Raises:
        DataError: it is not in labelme's format.
    """
    label, kind = entry.text("label", blank=True), entry.fields.get("shape_type") or "polygon"
    entry = replace(entry, place=f"{entry.place} ({shown(label)})")
    points = entry.pairs("points")
    if kind == "mask":
        return [LabeledShape(label, kind, _bitmap(entry, points))]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise entry.wrong("shape_type", f"{', '.join(_KINDS)} or mask")
    counts, rings = _KINDS[kind]
    if len(points) not in counts:
        wanted = f"at least {counts[0]}" if len(counts) > 2 else " or ".join(map(str, counts))
        raise DataError(f"{entry}: is a {kind} of {len(points)} points; expected {wanted}; correct or remove it")
    return [LabeledShape(label, kind, Polygon(IGNORE_INDEX, (ring,))) for ring in rings(points)]


def _bitmap(entry: Entry, points: Points) -> Bitmap:
    """Return a mask: a PNG in base64, and the columns and rows of its first and last pixels as two points."""
    encoded = entry.fields.get("mask")
    if not isinstance(encoded, str):
        raise entry.wrong("mask", "a PNG in base64")
    if len(points) != 2:
        raise DataError(f"{entry}: is a mask with {len(points)} points; expected 2, the corners of its box")
    try:
        mask = read_image(base64.b64decode(encoded))[..., 0] > 0
    except ImageError as error:
        raise DataError(f"{entry}: its mask cannot be read: {error}") from error
    except ValueError as error:
        raise DataError(f"{entry}: its mask is not base64 ({error}); export it again") from error
    left, top, right, bottom = map(int, np.round(points.astype(np.float64)).ravel())
    height, width = mask.shape
    if abs(bottom - top + 1 - height) > 1 or abs(right - left + 1 - width) > 1:  # some tools' boxes are half open
        raise DataError(
            f"{entry}: its mask is {width} x {height} pixels, its box {right - left + 1} x {bottom - top + 1}; "
            "export it again"
        )
    return Bitmap.of(IGNORE_INDEX, mask, (top, left))


def _polygon(points: Points) -> list[Points]:
    return [points]


def _rectangle(points: Points) -> list[Points]:
    if len(points) == 4:
        return [points]
    (left, top), (right, bottom) = points
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float32)]


def _circle(points: Points) -> list[Points]:
    middle, rim = points.astype(np.float64)
    return [_disc(middle[0], middle[1], float(np.hypot(*(rim - middle))))]


def _strip(points: Points) -> list[Points]:
    """Return a bar for each side, and discs that round the corners between them."""
    corners = points.astype(np.float64)
    rings = [_disc(x, y, LINE_WIDTH / 2) for x, y in corners[1:-1]]
    for start, end in pairwise(corners):
        length = np.hypot(*(end - start))
        if length > 0:
            across = np.array((start[1] - end[1], end[0] - start[0])) * (LINE_WIDTH / 2 / length)
            rings.append(np.array((start + across, end + across, end - across, start - across), dtype=np.float32))
    return rings


def _dots(points: Points) -> list[Points]:
    return [_disc(x, y, POINT_RADIUS) for x, y in points]


def _disc(x: float, y: float, radius: float) -> Points:
    return ellipse((float(x), float(y)), (radius, radius)).astype(np.float32)


def _from(least: int) -> range:
    return range(least, sys.maxsize)


_KINDS: dict[str, tuple[range | tuple[int, ...], Callable[[Points], list[Points]]]] = {
    "polygon": (_from(3), _polygon),
    "rectangle": ((2, 4), _rectangle),
    "oriented_rectangle": ((4,), _polygon),
    "rotation": ((4,), _polygon),
    "quadrilateral": ((4,), _polygon),
    "circle": ((2,), _circle),
    "line": ((2,), _strip),
    "linestrip": (_from(2), _strip),
    "point": ((1,), _dots),
    "points": (_from(1), _dots),
}
"""The allowed numbers of points of each kind, and the function that turns them into rings."""


KEYS = ("shapes", "imagePath")
SUFFIX = ".json"
PEEKED = 2
"""The number of files that are read before the folder is left to other readers."""

KIND_FOLDERS = (*IMAGE_FOLDERS, *MASK_FOLDERS, "json", "jsons", "labelme")
"""Folders named for a kind of file; their names are not part of the names of pairs."""

SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}


@dataclass(frozen=True)
class _File:
    """The content of a JSON: the image's name, its (height, width) if given, and the shapes, bottom first."""

    path: Path
    image: str
    size: tuple[int, int] | None
    shapes: Sequence[LabeledShape]


def recognize(root: Path) -> Recognized | None:
    """Read `root` where JSON files below it have the keys `shapes` and `imagePath`.

    An image is looked for where `imagePath` says, seen from the JSON, then in folders beside, then below `root` by its
    name alone, if that is its only one there, then by the JSON's own name. `imageData` is not read. Folders named
    after splits put what is below into them. The classes are the labels, sorted; later shapes lie over earlier ones.
    Pixels are drawn by their centers, lines `LINE_WIDTH` pixels thick, points as discs of `POINT_RADIUS`.

    Raises:
        DataError: a file is not in labelme's format, two files name one image, or all images are missing.
    """
    below = list(files_below(root, {SUFFIX, *IMAGE_SUFFIXES}))
    annotations = [path for path in below if path.suffix.lower() == SUFFIX]
    images = [path for path in below if path.suffix.lower() != SUFFIX]
    stems = {image.stem for image in images}
    likely = [path for path in annotations if path.stem in stems] or annotations
    if not any(_content(path) for path in likely[:PEEKED]) or are_images_and_masks(root, images):
        return None
    files = [_read(content) for path in annotations if (content := _content(path))]
    search = _ImageSearch(root, images)
    paired = [(file, image) for file in files if (image := search.find(file))]
    if not paired:
        raise DataError(
            f"{root}: has {len(files)} labelme files, but none of their images ({files[0].path.name} names "
            f"{files[0].image!r}); put the images beside the files"
        )
    _refuse_shared(paired)
    labels = classes_of_labels(root, sorted({shape.label for file, _ in paired for shape in file.shapes}))
    found = Found({split: {} for split in ("", *SPLITS)}, _rules(paired))
    for file, image in paired:
        _add(found, root, file, image, labels)
    used = {image for _, image in paired}
    found.images_alone = [image for image in images if image not in used]
    read = {file.path for file, _ in paired}
    found.masks_alone = [file.path for file in files if file.path not in read]
    return Recognized("labelme", layout_of(root, found), MaskEncoding("index", labels.classes))


def _content(path: Path) -> Entry | None:
    """Return the JSON, if it is labelme's."""
    content = read_json(path) if mentions(path, KEYS) else None
    is_labelme = isinstance(content, dict) and all(key in content for key in KEYS)
    return Entry.of(path, "", content) if is_labelme else None


def _read(content: Entry) -> _File:
    image = content.fields["imagePath"]
    if not isinstance(image, str):  # an empty one is found by the JSON's own name
        raise content.wrong("imagePath", "the name of the image's file")
    size = content.size("imageHeight", "imageWidth")
    shapes = [each for shape in content.entries("shapes", "shape") for each in read_shape(shape)]
    return _File(content.path, image, size, shapes)


class _ImageSearch:
    """Finds the images that files name."""

    def __init__(self, root: Path, images: Sequence[Path]) -> None:
        self._root = root
        self._names = Counter(image.name for image in images)
        self._by_name = {image.name: image for image in images}
        self._beside = {image.with_suffix(""): image for image in reversed(images)}
        self._folders: dict[Path, list[Path]] = {}

    def find(self, file: _File) -> Path | None:
        """Return the image of a file."""
        folder = file.path.parent
        if folder not in self._folders:
            self._folders[folder] = self._folders_for(folder)
        image = find_image(self._root, self._folders[folder], file.image, source=file.path)
        if image:
            return image
        name = PureWindowsPath(file.image).name
        return self._by_name[name] if self._names[name] == 1 else self._beside.get(file.path.with_suffix(""))

    def _folders_for(self, folder: Path) -> list[Path]:
        """Return the folders of the images: the same folder, the matching folder of images, those around."""
        folders = [folder]
        parts = folder.relative_to(self._root).parts
        for place, part in enumerate(parts):
            if part.lower() in KIND_FOLDERS:
                around = sorted(self._root.joinpath(*parts[:place]).iterdir())
                images = [path for path in around if path.name.lower() in IMAGE_FOLDERS and path.is_dir()]
                folders += [path.joinpath(*parts[place + 1 :]) for path in images]
        if folder != self._root:
            folders += [folder.parent, self._root]
        return folders


def _refuse_shared(paired: Sequence[tuple[_File, Path]]) -> None:
    """Refuse files that name one image, as copied files often do."""
    first: dict[Path, Path] = {}
    for file, image in paired:
        if image in first:
            raise DataError(
                f"{file.path}: names the image {file.image!r}, as does {first[image]}; correct the imagePath of "
                "one of them or remove it"
            )
        first[image] = file.path


def _add(found: Found, root: Path, file: _File, image: Path, labels: Labels) -> None:
    split, name = "", file.path.relative_to(root).with_suffix("").as_posix()
    *folders, stem = name.split("/")
    while folders and ((word := folders[0].lower()) in KIND_FOLDERS or (not split and word in SPLIT_OF)):
        split = split or SPLIT_OF.get(word, "")
        del folders[0]
    short = "/".join((*folders, stem))
    name = name if short in found.splits.get(split, {}) else short
    shapes = [replace(each.shape, class_index=labels.index_of[each.label]) for each in file.shapes]
    size = file.size or read_header(image).shown_size
    found.add(split, Pair(name, image, Drawing(file.path, name, size, shapes, labels.background)))


def _rules(paired: Sequence[tuple[_File, Path]]) -> list[str]:
    kinds = {shape.kind for file, _ in paired for shape in file.shapes}
    rules = []
    if kinds & {"line", "linestrip"}:
        rules.append(f"lines are drawn {LINE_WIDTH} pixels thick")
    if kinds & {"point", "points"}:
        rules.append(f"points are drawn as discs of {2 * POINT_RADIUS} pixels")
    return rules


VERSION = "5.5.0"
"""The release of labelme whose form this is."""


@contextmanager
def write_labelme(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write copies of the images, `OUT/[SPLIT/]NAME.json` beside each, and `classes.yaml` with order and colors.

    A shape is the polygon around pixels of one class that hang together by their sides, along the pixels' edges. It
    covers its holes, and what lies in them comes later in the list, over it: larger ones first. What a reader takes for
    undrawn (see `undrawn_class`) is a shape of its own only in such holes. Ignored pixels have the label `__ignore__`.
    Shapes that meet at corners have one group_id.

    Raises:
        OutputError: a file cannot be written.
        DataError: there are too many classes, see `with_ignore_label`.
    """
    labels = with_ignore_label(classes)
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)

    def add(image: LabeledImage) -> None:
        place = folder / image.split / image.name
        copy = place.with_name(place.name + image.image.suffix)
        copy_image(image, copy)
        height, width = image.label_map.shape
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": _shapes(image.label_map, labels, undrawn),
            "imagePath": copy.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with written_whole(place.with_name(f"{place.name}.json")) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    yield add


@dataclass(frozen=True)
class _Part:
    """One polygon of a region, as the reader fills it: without its holes."""

    region: Region
    outer: Ring
    holes: Sequence[Ring]

    @property
    def area(self) -> int:
        """Twice the area, holes included."""
        x, y = np.array(self.outer).T
        return int(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)))


def _shapes(label_map: LabelMap, labels: ClassSet, undrawn: int) -> list[dict[str, Any]]:
    ignored = len(labels) - 1
    numbers = np.where(label_map == IGNORE_INDEX, ignored, label_map).astype(np.uint8)
    background = ignored if undrawn == IGNORE_INDEX else undrawn
    parts = [
        _Part(region, outer, holes) for region in find_regions(numbers, labels) for outer, *holes in region.polygons
    ]
    # polygons are apart or one is in a hole of the other, so the later one covers only its own holes
    covered = _covered([part for part in parts if part.region.class_index != background], label_map.shape)
    drawn = [part for part in parts if part.region.class_index != background or covered[_pixel_in(part.outer)]]
    return [
        {
            "label": part.region.class_name,
            "points": [list(point) for point in part.outer],
            "group_id": part.region.number if len(part.region.polygons) > 1 else None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for part in sorted(drawn, key=lambda part: -part.area)
    ]


def _covered(parts: Sequence[_Part], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels in parts with holes or in these holes, (H, W); other parts cover no other pixels."""
    covered = np.zeros(size, dtype=bool)
    for part in parts:
        if part.holes:
            window, inside = Polygon(0, (np.array(part.outer, dtype=np.float32),)).fill(size)
            covered[window] |= inside
    return covered


def _pixel_in(ring: Ring) -> tuple[int, int]:
    """Return the (row, column) of a pixel in the polygon: right below the left end of its top."""
    y, x = min((y, x) for x, y in ring)
    return y, x
