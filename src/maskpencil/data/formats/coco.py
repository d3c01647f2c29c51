"""COCO: `annotations/instances_train2017.json + train2017/`, and the same as Roboflow, CVAT and Label Studio export it.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.class_files import find_class_file
from maskpencil.data.drawing import Drawing, Points, Polygon, RunLengths
from maskpencil.data.formats.annotations import (
    Entry,
    Labels,
    are_images_and_masks,
    checked_numbers,
    checked_size,
    classes_of_labels,
    mentions,
    read_json,
    undrawn_class,
    with_ignore_label,
)
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below, find_image, layout_of
from maskpencil.data.layout.splits import SPLITS, split_in
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, read_header
from maskpencil.regions import ImageRegions, find_regions, regions_file

Id = int | str
KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoCategory:
    """A category; `above` is its supercategory, "" where it has none."""

    id: Id
    name: str
    above: str


@dataclass(frozen=True)
class CocoOutline:
    """An annotation with the name of its category and its area in pixels; its shapes have no classes yet."""

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
    """The content of a file; `boxes` counts annotations without an outline, `strays` annotations of unlisted images."""

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
        DataError: an entry in the lists is not in COCO's format.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return None
    file = Entry.of(path, "", content)
    categories = {category.id: category for category in _categories(file)}
    images: dict[Id, CocoImage] = {}
    for entry in file.entries("images", "image", id_key="id"):
        image_id = entry.identifier("id")
        if image_id in images:
            raise DataError(f"{entry}: the id stands twice; expected one an image; export the file again")
        images[image_id] = CocoImage(entry.text("file_name", blank=True), entry.size("height", "width"), [])
    boxes = strays = 0
    for entry in file.entries("annotations", "annotation", id_key="id"):
        image = images.get(entry.identifier("image_id"))
        category = categories.get(entry.identifier("category_id"))
        if category is None:
            raise entry.wrong("category_id", "the id of one of the categories")
        shapes = _shapes(entry)
        boxes += not shapes
        strays += image is None
        if image and shapes:
            image.outlines.append(CocoOutline(category.name, _area(entry.fields.get("area"), shapes), shapes))
    return CocoFile(path, tuple(categories.values()), tuple(images.values()), boxes, strays)


def _categories(file: Entry) -> Iterator[CocoCategory]:
    names: dict[Id, str] = {}
    for entry in file.entries("categories", "category", id_key="id"):
        category_id, name = entry.identifier("id"), entry.text("name", blank=True)
        if names.setdefault(category_id, name) != name:
            raise DataError(f"{entry}: is {names[category_id]!r} and {name!r}; expected one name an id; correct it")
        above = entry.text("supercategory", blank=True) if entry.fields.get("supercategory") else ""
        yield CocoCategory(category_id, name, above)


def _shapes(annotation: Entry) -> tuple[Polygon | RunLengths, ...]:
    """Return the polygons or the mask of an annotation, () where it has neither."""
    segmentation = annotation.fields.get("segmentation")
    if isinstance(segmentation, dict):
        return (_run_lengths(annotation.inside("segmentation")),)
    if not isinstance(segmentation, list | None):
        raise annotation.wrong("segmentation", "polygons or run lengths")
    polygons = []
    for part in segmentation or ():
        numbers = checked_numbers(part, str(annotation))
        if len(numbers) < 6 or len(numbers) % 2:
            raise DataError(
                f"{annotation}: has a polygon of {len(numbers)} numbers; expected x and y of at least 3 points; "
                "correct or remove it"
            )
        polygons.append(Polygon(IGNORE_INDEX, (numbers.reshape(-1, 2),)))
    return tuple(polygons)


def _run_lengths(segmentation: Entry) -> RunLengths:
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
    """Return the area given by the file, else the area of the shapes."""
    if isinstance(given, int | float) and given > 0:
        return given
    return sum(shape.area if isinstance(shape, RunLengths) else _shoelace(shape.rings[0]) for shape in shapes)


def _shoelace(ring: Points) -> float:
    x, y = ring.astype(np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y))) / 2


PANOPTIC_KEY = "segments_info"
"""The key of panoptic files, whose outlines are separate images; they are not read here."""

PREFIX = "instances"
"""The prefix of the files of this task, unlike those of captions and keypoints."""

COCO_FOLDERS = (*IMAGE_FOLDERS, "data")
MOST_FILES = 32
"""A folder with more JSON files is of another tool: COCO has one per split."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` where a JSON in it, or in a folder in it, has COCO's images, annotations and categories.

    Images are looked for beside the JSON, and in folders beside it or in `images/` that are called as the JSON or its
    split. The split is read from the JSON's name, else from its folder's. Images without annotations are background.
    Where annotations overlap, the smaller is on top, by the area in the file. A crowd (`iscrowd` 1) is drawn like any
    other annotation: its pixels are of its class, and some tools mark masks drawn by hand this way. Annotations with
    only a box are left out.

    Classes are the categories, ordered by id, including unused ones, except one that is only the supercategory of
    others, as Roboflow's first; a class file must name the used ones.

    Raises:
        DataError: a file is not in COCO's format, names an image twice, or has no outlines, or all images are missing.
    """
    files = [file for path in _candidates(root) if (file := read_coco_file(path))]
    if not files:
        return None
    images = list(files_below(root, IMAGE_SUFFIXES))
    if are_images_and_masks(root, images):
        return None
    if not any(file.outlined for file in files) and any(file.boxes for file in files):
        raise DataError(
            f"{files[0].path}: its annotations have boxes, but no segmentation; expected polygons or run lengths; "
            "export the outlines too"
        )
    labels = _labels(root, files)
    found = Found({split: {} for split in ("", *SPLITS)})
    used = {image for file in files for image in _add(found, root, file, labels)}
    if not used:
        raise DataError(
            f"{files[0].path}: names {len(files[0].images)} images, but none of them is below {root}"
            f"{''.join(f' ({entry.name})' for entry in files[0].images[:1])}; put them there"
        )
    found.images_alone = [image for image in images if image not in used]
    for count, what in (
        (sum(file.boxes for file in files), "annotations without a segmentation left out"),
        (sum(file.strays for file in files), "annotations of images that are not listed left out"),
    ):
        if count:
            found.rules.append(f"{count} {what}")
    return Recognized("COCO", layout_of(root, found), MaskEncoding("index", labels.classes))


def _candidates(root: Path) -> list[Path]:
    """Return the JSON files in `root` and the folders in it that are worth to be parsed."""
    if not root.is_dir():
        return []
    candidates: list[Path] = []
    for folder in (root, *_folders(root)):
        files = sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))
        if len(files) <= MOST_FILES:
            files = [path for path in files if mentions(path, KEYS) and not mentions(path, (PANOPTIC_KEY,))]
            candidates += [path for path in files if path.name.startswith(PREFIX)] or files
    return candidates


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _labels(root: Path, files: Sequence[CocoFile]) -> Labels:
    """Number the categories of all files by id; categories with the same name are one."""
    categories = sorted(
        (category for file in files for category in file.categories),
        key=lambda each: (isinstance(each.id, str), each.id),
    )
    used = {outline.label for file in files for entry in file.images for outline in entry.outlines}
    above = {category.above for category in categories if category.above != category.name}
    if find_class_file(root):
        return classes_of_labels(root, [category.name for category in categories if category.name in used])
    return classes_of_labels(
        root, [category.name for category in categories if category.name in used or category.name not in above]
    )


def _add(found: Found, root: Path, file: CocoFile, labels: Labels) -> list[Path]:
    """Add the pairs of a file; returns their images."""
    split = split_in(file.path.stem) or (split_in(file.path.parent.name) if file.path.parent != root else "")
    folders = _image_folders(root, file.path, split)
    images: list[Path] = []
    for entry in file.images:
        image = find_image(root, folders, entry.name, source=file.path)
        if image is None:
            found.masks_alone.append(Path(entry.name))
            continue
        name = _name(image, folders)
        other = found.splits.get(split, {}).get(name)
        if other:
            what = "an image twice" if other.image == image else f"{other.image.name} and {image.name}"
            raise DataError(
                f"{file.path}: names {what} ({entry.name!r}), whose masks cannot be distinguished; keep or rename one"
            )
        found.add(split, Pair(name, image, _drawing(file, entry, image, labels)))
        images.append(image)
    return images


def _image_folders(root: Path, path: Path, split: str) -> list[Path]:
    """Return where the images of a JSON may be, folders in folders first."""
    names = {path.stem, path.stem.removeprefix(PREFIX).lstrip("_-")}
    folders: list[Path] = []
    for base in (path.parent,) if path.parent == root else (path.parent, path.parent.parent):
        for holder in _with_inner(base):
            below = _folders(holder)
            own = [folder for folder in below if folder.name in names]
            own += [folder for folder in below if split and split_in(folder.name) == split]
            folders += [each for folder in own for each in _with_inner(folder)]
            folders.append(holder)
    return list(dict.fromkeys(folders))


def _with_inner(folder: Path) -> list[Path]:
    """Return the folders of images in a folder, then that folder."""
    return [*(below for below in _folders(folder) if below.name.lower() in COCO_FOLDERS), folder]


def _name(image: Path, folders: Sequence[Path]) -> str:
    folder = next(folder for folder in folders if image.is_relative_to(folder))
    return image.relative_to(folder).with_suffix("").as_posix()


def _drawing(file: CocoFile, entry: CocoImage, image: Path, labels: Labels) -> Drawing:
    size = entry.size or read_header(image).shown_size
    shapes: list[Polygon | RunLengths] = []
    for outline in sorted(entry.outlines, key=lambda outline: -outline.area):
        for shape in outline.shapes:
            if isinstance(shape, RunLengths) and shape.size != size:
                raise DataError(
                    f"{file.path}: the run lengths of {outline.label!r} in {entry.name} are of the size "
                    f"{list(shape.size)}, the image's is {list(size)}; export it again"
                )
            shapes.append(replace(shape, class_index=labels.index_of[outline.label]))
    return Drawing(file.path, entry.name, size, shapes, labels.background)


@contextmanager
def write_coco(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write `OUT/annotations/instances_SPLIT.json`, copies in `OUT/images/[SPLIT/]`, and `classes.yaml`.

    The last has the classes' order and colors. Without splits the file of annotations is `instances_default.json`. An
    annotation is a region of one class as `regions.write_regions` writes it: polygons along the pixels' edges, or run
    lengths where it has holes. What a reader takes for undrawn (see `labels.undrawn_class`) has none. Ignored pixels
    are of the category `__ignore__`.

    Raises:
        OutputError: a file cannot be written.
        DataError: there are too many classes, see `labels.with_ignore_label`.
    """
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)
    labels = classes if undrawn == IGNORE_INDEX else with_ignore_label(classes)
    ignored = IGNORE_INDEX if undrawn == IGNORE_INDEX else len(classes)
    wanted = [name for index, name in enumerate(labels.names) if index != undrawn]
    with ExitStack() as files:
        add_to: dict[str, Callable[[ImageRegions], None]] = {}

        def add(image: LabeledImage) -> None:
            if image.split not in add_to:
                path = folder / "annotations" / f"instances_{image.split or 'default'}.json"
                add_to[image.split] = files.enter_context(regions_file(path, labels, file_format="coco"))
            name = f"{image.name}{image.image.suffix}"
            copy_image(image, folder / "images" / image.split / name)
            height, width = image.label_map.shape
            numbers = np.where(image.label_map == IGNORE_INDEX, ignored, image.label_map).astype(np.uint8)
            regions = find_regions(numbers, labels, wanted=wanted)
            add_to[image.split](ImageRegions(name, (height, width), regions))

        yield add
