"""Read and write labelme and AnyLabeling: a JSON with shapes for each image, beside the image or in another folder.

Source: https://github.com/wkentaro/labelme, `labelme/_label_file.py`. How shapes are drawn: `labelme_shapes`.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.drawing import Drawing, Polygon
from maskpencil.data.formats.annotations import (
    Entry,
    Labels,
    are_images_and_masks,
    classes_of_labels,
    mentions,
    read_json,
    undrawn_class,
    with_ignore_label,
)
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.formats.labelme_shapes import LINE_WIDTH, POINT_RADIUS, LabeledShape, read_shape
from maskpencil.data.formats.orientation import (
    Exchanged,
    Outline,
    Reading,
    are_exchanged,
    as_shown,
    find_reading,
    known_header,
    reaches_out,
    undecided,
)
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS, Found, Pair, files_below
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.packed.cache import made_once
from maskpencil.errors import DataError, ImageError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES, Header, opened_image
from maskpencil.label_maps import LabelMap
from maskpencil.plain_text import worded
from maskpencil.regions import Region, find_regions
from maskpencil.regions.find import Ring

KEYS = ("shapes", "imagePath")
SUFFIX = ".json"
INSET = 0.01
"""The distance in pixels by which written polygons are moved inward from the edges of pixels, see `write_labelme`."""

PEEKED = 2
"""The number of JSON files that are examined; if none of them is in labelme's format, the folder is not read."""

KIND_FOLDERS = (*IMAGE_FOLDERS, *MASK_FOLDERS, "json", "jsons", "labelme")
"""Names of folders that hold one kind of file; they are left out of the names of pairs."""

SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}


@dataclass(frozen=True)
class _File:
    """The content of a labelme file.

    Attributes:
        path: the JSON file.
        image: the path of the image in the file, which may be empty.
        size: the (height, width) in pixels that the file states; None if the file does not state a size.
        shapes: the shapes, from bottom to top.
        has_image: whether the file holds a copy of the image (`imageData`).
    """

    path: Path
    image: str
    size: tuple[int, int] | None
    shapes: Sequence[LabeledShape]
    has_image: bool


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if JSON files below it have the keys `shapes` and `imagePath`; otherwise return None.

    Files in folders named after splits, such as train, belong to these splits. The classes are the labels, sorted,
    after the background. Later shapes are drawn over earlier shapes. A pixel belongs to a shape if its center is inside
    the shape. Lines are `LINE_WIDTH` pixels thick, points are discs with the radius `POINT_RADIUS`. If an image is
    missing, its copy in the JSON file (`imageData`) is written into the cache and used.

    Args:
        root: the data folder.
        images: the folder of the images. If None, an image is searched for at `imagePath` relative to the JSON file,
            then in folders near the JSON file, then anywhere below `root` by its name, see `ImageSearch`, and finally
            by the name of the JSON file.

    Raises:
        DataError: a file is not in labelme's format, two files name the same image, or all images are missing.
    """
    below = list(files_below(root, {SUFFIX, *IMAGE_SUFFIXES}))
    annotations = [path for path in below if path.suffix.lower() == SUFFIX]
    inside = [path for path in below if path.suffix.lower() != SUFFIX]
    stems = {image.stem for image in inside}
    likely = [path for path in annotations if path.stem in stems] or annotations
    if not any(_is_labelme(path) for path in likely[:PEEKED]) or are_images_and_masks(root, inside):
        return None
    problems, files = Problems(), []
    for path in annotations:
        with problems.collected():
            if content := _content(path):
                files.append(_read(content, problems))
    search = ImageSearch(root, images)
    paired, notes = _with_images(root, files, _Images(search), problems)
    if not paired:
        problems.refuse()
        raise DataError(
            f"{root}: has {len(files)} labelme files, but all their images are missing ({files[0].path.name} names "
            f"{files[0].image!r}); put the images beside the files, or say where they are: --images FOLDER"
        )
    labels = classes_of_labels(root, sorted({shape.label for file, _ in paired for shape in file.shapes}))
    found = Found({split: {} for split in ("", *SPLITS)}, [*notes, *_rules(paired)])
    _add_all(found, root, paired, labels, problems)
    if not any(file.shapes for file, _ in paired):
        bare = [file.path.relative_to(root) for file, _ in paired]
        what = "no shapes in the {labelme file|labelme files}: {n}"
        remedy = "draw a shape around every object to be learned; labels of whole images are not read"
        found.warn("images-without-area", bare, what, remedy)
    search.list_others(found, {image for _, image in paired})
    search.warn(found)
    read = {file.path for file, _ in paired}
    found.masks_alone = [file.path for file in files if file.path not in read]
    return Recognized("labelme", problems.layout(root, found), MaskEncoding("index", labels.classes))


def _is_labelme(path: Path) -> bool:
    try:
        return _content(path) is not None
    except DataError:  # a damaged file with the keys is reported later
        return True


def _content(path: Path) -> Entry | None:
    """Return the content of a JSON file with the keys of labelme; None for any other file.

    Raises:
        DataError: the file contains the keys but is not valid JSON.
    """
    content = read_json(path) if mentions(path, KEYS) else None
    is_labelme = isinstance(content, dict) and all(key in content for key in KEYS)
    return Entry.of(path, "", content) if is_labelme else None


def _read(content: Entry, problems: Problems) -> _File:
    """Return the checked content of a labelme file; shapes without an area are collected in `problems`.

    Raises:
        DataError: a field or a shape is not in labelme's format; if there are several errors, all except the last are
            collected in `problems`.
    """
    image = content.fields["imagePath"]
    if not isinstance(image, str):  # it may be empty: the image then has the name of the JSON
        raise content.wrong("imagePath", "the name of the image's file")
    size = content.size("imageHeight", "imageWidth")
    shapes, errors = [], []
    for shape in content.entries("shapes", "shape"):
        try:
            shapes += read_shape(shape, problems)
        except DataError as error:
            errors.append(error)
    if errors:
        problems.errors += errors[:-1]
        raise errors[-1]
    return _File(content.path, image, size, shapes, isinstance(content.fields.get("imageData"), str))


def _with_images(
    root: Path, files: Sequence[_File], images: "_Images", problems: Problems
) -> tuple[list[tuple[_File, Path]], tuple[str, ...]]:
    """Find the image of each labelme file, and return pairs (file, image) and notes.

    Images that exist only inside labelme files are written into the cache; a note states their number. Files whose
    image is missing are left out.
    """
    paired: list[tuple[_File, Path]] = []
    alone: list[_File] = []
    for file in files:
        image = images.find(file)
        if image:
            paired.append((file, image))
        elif file.has_image:
            alone.append(file)
    if not alone:
        return paired, ()
    paths = [file.path for file in alone]
    folder, notes = made_once(root, paths, partial(_write_images, root, paths))
    written = {path.relative_to(folder).with_suffix(""): path for path in files_below(folder, IMAGE_SUFFIXES)}
    for file in alone:
        with problems.collected():
            image = written.get(file.path.relative_to(root).with_suffix(""))
            if image is None:
                raise DataError(
                    f"{file.path}: its image {file.image!r} is missing, and its imageData cannot be read; put the "
                    "image beside the file"
                )
            paired.append((file, image))
    order = {file.path: number for number, file in enumerate(files)}
    return sorted(paired, key=lambda pair: order[pair[0].path]), notes


def _write_images(root: Path, files: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """Write the images inside labelme files into `folder`, and return a note on the number of images.

    Args:
        root: the data folder.
        files: the labelme files.
        folder: the folder to write; an image gets the path of its labelme file below `root`, with another suffix.
    """
    count = 0
    for path in files:
        content = _content(path)
        with suppress(ImageError, ValueError):  # the caller reports missing images
            data = base64.b64decode(content.fields["imageData"] if content else "")
            with opened_image(data) as image:
                suffix = SUFFIX_OF.get(image.format or "", ".jpg")
            target = folder / path.relative_to(root).with_suffix(suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            count += 1
    return (worded("{n} {image exists|images exist} only inside the labelme files", count),)


SUFFIX_OF = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "GIF": ".gif",
    "AVIF": ".avif",
    "HEIF": ".heic",
}


class _Images:
    """Finds the images that labelme files name."""

    def __init__(self, search: ImageSearch) -> None:
        self._search = search
        self._root = search.root
        self._beside = {image.with_suffix(""): image for image in reversed(search.files)}
        self._folders: dict[Path, list[Path]] = {}

    def find(self, file: _File) -> Path | None:
        """Return the image of a labelme file; None if the image is missing."""
        folder = file.path.parent
        if folder not in self._folders:
            self._folders[folder] = self._folders_for(folder)
        own = self._beside.get(file.path.with_suffix(""))
        image = self._search.find(file.image, self._folders[folder], source=file.path, but=own)
        return image or own or (self._search.alike(file.path.stem) if self._search.given else None)

    def _folders_for(self, folder: Path) -> list[Path]:
        """Return the folders to search first for the images of the labelme files in `folder`.

        These are `folder` itself; the same path with a folder of images in place of a folder of labels, such as
        images/train for labels/train; the parent folder; and the root.
        """
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


def _add_all(
    found: Found, root: Path, paired: Sequence[tuple[_File, Path]], labels: Labels, problems: Problems
) -> None:
    """Add the pairs of all labelme files to `found`.

    If two files name the same image, the error is collected in `problems`, and the image is left out.
    """
    first: dict[Path, Path] = {}
    doubled = set()
    headers = {image: known_header(image) for _, image in paired}
    exchanged = {
        file.path: Exchanged(file.size, header, [each.shape for each in file.shapes])
        for file, image in paired
        if (header := headers[image]) and file.size and are_exchanged(file.size, header)
    }
    reading = find_reading(list(exchanged.values()), Reading.STORED)
    for file, image in paired:
        with problems.collected():
            if image in first:
                doubled.add(image)
                raise DataError(
                    f"{file.path}: names the image {file.image!r}, as does {first[image]}; correct the imagePath in "
                    "one of the two files, or remove one of them"
                )
            first[image] = file.path
    for file, image in paired:
        if image in doubled:
            continue
        with problems.collected():
            if file.path in exchanged and file.shapes and reading is None:
                raise undecided(str(file.path), exchanged[file.path])
            own = (reading or Reading.SHOWN) if file.path in exchanged else None
            _add(found, root, file, image, _drawing(file, headers[image], own, labels, problems))


def _drawing(
    file: _File, header: Header | None, reading: Reading | None, labels: Labels, problems: Problems
) -> Drawing:
    """Return the mask of a labelme file.

    Args:
        file: the labelme file.
        header: the header of its image; None if the image cannot be read.
        reading: the coordinate system of the shapes if the file exchanges the height and width of the image as shown,
            see `orientation.Exchanged`; otherwise None.
        labels: the classes of the labels.
        problems: collects the shapes that extend beyond the image.

    Raises:
        DataError: the size of the image is unknown.
    """
    size = header.shown_size if header and (reading or not file.size) else file.size
    if size is None:
        raise DataError(f"{file.path}: does not state a size, and its image cannot be read; replace the image")
    shapes: list[Outline] = []
    for each in file.shapes:
        shape = as_shown(each.shape, reading, header) if header and reading else each.shape
        if each.kind in ("polygon", "rectangle") and isinstance(shape, Polygon) and reaches_out(shape, size):
            problems.clipped.append(f"{file.path}: {each.kind} {each.label!r}")
        shapes.append(replace(shape, class_index=labels.index_of[each.label]))
    return Drawing(file.path, file.path.stem, size, shapes, labels.background)


def _add(found: Found, root: Path, file: _File, image: Path, drawing: Drawing) -> None:
    """Add the pair of a labelme file to `found`.

    The first folders of the file's path may name its split and a kind of file; they are left out of the pair's name
    unless another pair of the split has the shorter name.
    """
    split, name = "", file.path.relative_to(root).with_suffix("").as_posix()
    *folders, stem = name.split("/")
    while folders and ((word := folders[0].lower()) in KIND_FOLDERS or (not split and word in SPLIT_OF)):
        split = split or SPLIT_OF.get(word, "")
        del folders[0]
    short = "/".join((*folders, stem))
    name = name if short in found.splits.get(split, {}) else short
    found.add(split, Pair(name, image, replace(drawing, name=name)))


def _rules(paired: Sequence[tuple[_File, Path]]) -> list[str]:
    """Return notes on how lines and points are drawn, if there are any."""
    kinds = {shape.kind for file, _ in paired for shape in file.shapes}
    rules = []
    if kinds & {"line", "linestrip"}:
        rules.append(f"lines are drawn {LINE_WIDTH} pixels thick")
    if kinds & {"point", "points"}:
        rules.append(f"points are drawn as discs of {2 * POINT_RADIUS} pixels")
    return rules


VERSION = "5.5.0"
"""The version of labelme whose format is written."""


@contextmanager
def write_labelme(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write copies of the images, `[SPLIT/]NAME.json` beside each copy, and `classes.yaml`.

    This is a context manager, see `base.Writer`. `classes.yaml` stores the order and colors of the classes.

    A shape is the outline of a 4-connected set of pixels of one class, moved inward by `INSET` pixels. This way
    labelme, which truncates coordinates and also draws the outline, fills exactly these pixels. A shape also fills its
    holes, so the largest shapes come first, and the shapes in their holes are drawn over them. Pixels outside all
    shapes are read as one class, see `undrawn_class`. Shapes of this class are written only where they fill a hole of
    another shape.
    Ignored pixels have the label `__ignore__`. Shapes that meet at corners have the same group_id.

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
    """A polygon of a region: its outer ring and its holes, which labelme fills, since its shapes have no holes."""

    region: Region
    outer: Ring
    holes: Sequence[Ring]

    @property
    def double_area(self) -> int:
        """Twice the area of the polygon in pixels, holes included; it is a whole number."""
        x, y = np.array(self.outer).T
        return int(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)))


def _shapes(label_map: LabelMap, labels: ClassSet, undrawn: int) -> list[dict[str, Any]]:
    """Return the field `shapes` for a label map, the largest shapes first.

    Args:
        label_map: the label map, (H, W).
        labels: the classes, followed by the class of ignored pixels.
        undrawn: the class index of pixels outside all shapes, or `IGNORE_INDEX`.
    """
    ignored = len(labels) - 1
    numbers = np.where(label_map == IGNORE_INDEX, ignored, label_map).astype(np.uint8)
    background = ignored if undrawn == IGNORE_INDEX else undrawn
    parts = [
        _Part(region, outer, holes) for region in find_regions(numbers, labels) for outer, *holes in region.polygons
    ]
    # two polygons are disjoint, or one is in a hole of the other, so a later polygon covers no pixel of an earlier one
    covered = _covered([part for part in parts if part.region.class_index != background], label_map.shape)
    drawn = [part for part in parts if part.region.class_index != background or covered[_pixel_in(part.outer)]]
    return [
        {
            "label": part.region.class_name,
            "points": _inset(part.outer),
            "group_id": part.region.number if len(part.region.polygons) > 1 else None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for part in sorted(drawn, key=lambda part: -part.double_area)
    ]


def _covered(parts: Sequence[_Part], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a boolean mask (H, W) of the pixels in parts that have holes, including the pixels in these holes.

    Parts without holes are left out, since no other part can be inside them.

    Args:
        parts: the polygons.
        size: the (height, width) of the image.
    """
    covered = np.zeros(size, dtype=bool)
    for part in parts:
        if part.holes:
            window, inside = Polygon(0, (np.array(part.outer, dtype=np.float32),)).fill(size)
            covered[window] |= inside
    return covered


def _inset(ring: Ring) -> list[list[float]]:
    """Move an outer ring, which runs clockwise along the edges of pixels, inward by `INSET` pixels.

    Returns the points [x, y] of the moved ring.
    """
    corners = np.array(ring)
    ahead = np.sign(np.roll(corners, -1, axis=0) - corners)  # (n, 2): the direction of the edge after each corner
    both = np.sign(ahead + np.roll(ahead, 1, axis=0))
    inward = np.stack([-both[:, 1], both[:, 0]], axis=1)  # the inside of the ring is on the right of both edges
    points: list[list[float]] = np.round(corners + INSET * inward, 2).tolist()
    return points


def _pixel_in(ring: Ring) -> tuple[int, int]:
    """Return the (row, column) of a pixel inside an outer ring: the leftmost pixel of the top row."""
    y, x = min((y, x) for x, y in ring)
    return y, x
