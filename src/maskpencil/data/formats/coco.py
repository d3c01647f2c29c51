"""Read and write COCO: `annotations/instances_train2017.json + train2017/`, also as exported by annotation tools.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Drawing, Polygon, RunLengths
from maskpencil.data.formats.annotations import (
    Labels,
    are_images_and_masks,
    classes_of_labels,
    mentions,
    undrawn_class,
    with_ignore_label,
)
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image
from maskpencil.data.formats.coco_file import KEYS, CocoFile, CocoImage, read_coco_file
from maskpencil.data.formats.image_search import ImageSearch
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
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below
from maskpencil.data.layout.splits import SPLITS, split_in, split_of_file
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, Header
from maskpencil.plain_text import counted
from maskpencil.regions import ImageRegions, find_regions, regions_file

PANOPTIC_KEY = "segments_info"
"""The key that only panoptic files have; their masks are PNG files, see `coco_panoptic`."""

PREFIX = "instances"
"""The prefix in the names of instance annotation files; caption and keypoint files have other prefixes."""

COCO_FOLDERS = (*IMAGE_FOLDERS, "data")
MOST_FILES = 32
"""A folder with more JSON files than this, such as one file per image, is read only if the first `PEEKED` files are in
COCO's format."""

PEEKED = 3
FEW_FILES = 3
"""If more JSON files than this list one image each, file names are not searched for splits, since they name images."""

STRETCHING_TOOL = "Label Studio"
"""The tool that writes `Reading.STRETCHED` coordinates."""


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if a JSON file in it has COCO's images, annotations and categories; otherwise return None.

    The JSON file may be up to two folders below `root`. Its split is a word in its file name, such as train in
    `instances_train2017.json`, or else in the name of a folder above it. If there is one JSON file per image, only
    the names of folders count.

    Images without annotations are background. Where annotations overlap, the annotation with the smaller `area` is on
    top. A crowd (`iscrowd` 1) is drawn like any other annotation, since some tools mark masks drawn by hand this way.
    Annotations that only have a box are left out. Module `orientation` describes how annotations of photographs with an
    EXIF orientation are read.

    Classes are the categories, including unused categories, ordered by id. A category that is used only as the
    supercategory of other categories, such as Roboflow's first category, is not a class. A classes.yaml must name all
    categories that annotations use.

    Args:
        root: the data folder.
        images: the folder of the images. If None, an image is searched for in the folder of the JSON file, then in
            folders near it that are named after the JSON file or its split, then anywhere below `root`, see
            `ImageSearch`.

    Raises:
        DataError: a file is not in COCO's format or names an image twice, all annotations are boxes, or all images are
            missing.
    """
    problems = Problems()
    files = [file for path in candidates(root) if (file := read_coco_file(path, problems))]
    if not files:
        return None
    search = ImageSearch(root, images)
    if are_images_and_masks(root, search.files if images is None else list(files_below(root, IMAGE_SUFFIXES))):
        return None
    boxes = [box for file in files for box in file.boxes]
    if not any(file.outlined for file in files) and boxes:
        problems.refuse()
        raise DataError(
            f"{files[0].path}: its annotations have boxes, but no segmentation; expected polygons or run lengths; "
            "export the segmentation too"
        )
    labels = _labels(root, files)
    reader = _Reader(search, labels, problems, single=_is_single(files))
    for file in files:
        reader.add(file)
    found = reader.found
    if not reader.used:
        problems.refuse()
        raise DataError(
            f"{files[0].path}: names {counted(len(files[0].images), 'image')}"
            f"{''.join(f' ({entry.name})' for entry in files[0].images[:1])}, but none of them is below "
            f"{search.place}; put them there, or say where they are: --images FOLDER"
        )
    search.list_others(found, reader.used)
    search.warn(found)
    found.warn(
        "annotations-without-outline",
        boxes,
        "{n} {annotation|annotations} without a segmentation left out",
        "their objects are read as background; draw outlines instead of boxes, or remove their images",
    )
    found.warn(
        "annotations-of-unlisted-images",
        [stray for file in files for stray in file.strays],
        "{n} {annotation|annotations} of images that are not listed left out",
        "add the images to the list of images in the file, or remove the annotations",
    )
    found.warn(
        "exif-rotation-doubtful",
        reader.doubtful,
        "{n} {image is|images are} rotated or mirrored by EXIF, and outlines may be in pixels as stored or as shown",
        "look at the overlays; where they do not match, remove the EXIF orientation from the images",
    )
    if panoptic := candidates(root, panoptic=True):
        found.rules.append(f"{panoptic[0].name} is not read; to read it, move {files[0].path.name} elsewhere")
    return Recognized("COCO", problems.layout(root, found), MaskEncoding("index", labels.classes))


def candidates(root: Path, *, panoptic: bool = False) -> list[Path]:
    """Find the JSON files in `root`, and up to two folders below it, whose text contains the keys of COCO.

    The files are not parsed. If a folder has files called instances*.json, its other files are left out.

    Args:
        root: the data folder, which may be missing.
        panoptic: True to find only panoptic files (with the key `segments_info`), False to find only the other files.
    """
    if not root.is_dir():
        return []
    found: list[Path] = []
    inside = folders_in(root)
    for folder in (root, *inside, *(deeper for each in inside for deeper in folders_in(each))):
        files = sorted(path for path in folder.glob("*.json") if path.is_file() and not path.name.startswith("."))
        if len(files) > MOST_FILES and not all(mentions(path, KEYS) for path in files[:PEEKED]):
            continue
        files = [path for path in files if mentions(path, KEYS) and mentions(path, (PANOPTIC_KEY,)) == panoptic]
        found += [path for path in files if path.name.startswith(PREFIX)] or files
    return found


def _is_single(files: Sequence[CocoFile]) -> bool:
    """Return whether there are more than `FEW_FILES` JSON files, and each of them lists one image."""
    return len(files) > FEW_FILES and all(len(file.images) == 1 for file in files)


def folders_in(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, sorted, except hidden subfolders."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _labels(root: Path, files: Sequence[CocoFile]) -> Labels:
    """Assign classes to the categories of all files in the order of their ids; equal names become one class."""
    categories = sorted(
        (category for file in files for category in file.categories),
        key=lambda each: (isinstance(each.id, str), each.id),
    )
    used = {outline.label for file in files for entry in file.images for outline in entry.outlines}
    above = {category.above for category in categories if category.above != category.name}
    if find_own_class_file(root):
        return classes_of_labels(root, [category.name for category in categories if category.name in used])
    return classes_of_labels(
        root, [category.name for category in categories if category.name in used or category.name not in above]
    )


class _Reader:
    """Collects the pairs of images and masks of COCO files, file by file.

    Attributes:
        found: the pairs, and the images that are missing.
        used: the images of the pairs.
        doubtful: the images with an EXIF orientation whose outlines may be in pixels as stored or as shown.
    """

    def __init__(self, search: ImageSearch, labels: Labels, problems: Problems, *, single: bool) -> None:
        self.found = Found({split: {} for split in ("", *SPLITS)})
        self.used: set[Path] = set()
        self.doubtful: list[Path] = []
        self._search = search
        self._labels = labels
        self._problems = problems
        self._folders = ImageFolders(search.root)
        self._single = single

    def add(self, file: CocoFile) -> None:
        """Add the pairs of a COCO file to `found`; errors of single images are collected in `problems`."""
        root = self._search.root
        split = split_of_file(root, file.path, by_name=not self._single)
        folders = self._folders.of(file.path, split)
        entries: list[tuple[CocoImage, Path, Header | None]] = []
        for entry in file.images:
            image = self._search.find(entry.name, folders, source=file.path, split=split)
            if image is None:
                self.found.masks_alone.append(Path(entry.name))
            else:
                self.used.add(image)
                entries.append((entry, image, known_header(image)))
        exchanged = {
            image: Exchanged(entry.size, header, [shape for outline in entry.outlines for shape in outline.shapes])
            for entry, image, header in entries
            if header and entry.size and are_exchanged(entry.size, header)
        }
        turned = [(entry, image, header) for entry, image, header in entries if header and header.orientation > 1]
        if not any(header and entry.size == header.shown_size != header.size for entry, _, header in turned):
            self.doubtful += [image for entry, image, _ in turned if entry.outlines and image not in exchanged]
        stretched = Reading.STRETCHED if file.tool == STRETCHING_TOOL else None
        reading = find_reading(list(exchanged.values()), stretched)
        for entry, image, header in entries:
            with self._problems.collected():
                name = _name(image, (*folders, self._search.place))
                other = self.found.splits.get(split, {}).get(name)
                if other:
                    what = "an image twice" if other.image == image else f"{other.image.name} and {image.name}"
                    raise DataError(
                        f"{file.path}: names {what} ({entry.name!r}), so two masks would have the same name; keep only "
                        "one of the images, or rename one"
                    )
                if image in exchanged and entry.outlines and reading is None:
                    raise undecided(f"{file.path}: image {entry.name!r}", exchanged[image])
                if not entry.broken:
                    drawing = self._drawing(
                        file, entry, header, (reading or Reading.SHOWN) if image in exchanged else None
                    )
                    self.found.add(split, Pair(name, image, drawing))

    def _drawing(self, file: CocoFile, entry: CocoImage, header: Header | None, reading: Reading | None) -> Drawing:
        """Return the mask of an image, in the size of the image as shown.

        Args:
            file: the COCO file.
            entry: the entry of the image in the COCO file.
            header: the header of the image file; None if it cannot be read.
            reading: the coordinate system of the outlines if the file exchanges the height and width of the image as
                shown, see `orientation.Exchanged`; otherwise None.

        Raises:
            DataError: the size of the image is unknown, or run lengths are of another size.
        """
        size = header.shown_size if header and (reading or not entry.size) else entry.size
        if size is None:
            raise DataError(
                f"{file.path}: states no size for the image {entry.name!r}, which cannot be read; replace or remove it"
            )
        shapes: list[Outline] = []
        for outline in sorted(entry.outlines, key=lambda outline: -outline.area):
            for outlined in outline.shapes:
                shape = as_shown(outlined, reading, header) if header and reading else outlined
                if isinstance(shape, RunLengths) and shape.size != size:
                    raise DataError(
                        f"{file.path}: the run lengths of {outline.label!r} in {entry.name} have the size "
                        f"{list(shape.size)}, but the image has {list(size)} (height, width); export it again"
                    )
                if isinstance(shape, Polygon) and reaches_out(shape, size):
                    self._problems.clipped.append(f"{file.path}: {outline.label!r} in {entry.name}")
                shapes.append(replace(shape, class_index=self._labels.index_of[outline.label]))
        return Drawing(file.path, entry.name, size, shapes, self._labels.background)


class ImageFolders:
    """Finds the folders in which the images of a JSON file may be; the contents of each folder are read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._inside: dict[Path, list[Path]] = {}

    def of(self, path: Path, split: str) -> list[Path]:
        """Return the folders where the images of the JSON file `path` may be, the most likely first.

        These are the folders above the file, up to `root`, and their subfolders with usual names of image folders, such
        as images. If one of these has a subfolder named after the file or after `split`, this subfolder and its own
        image folders are included and come before it.

        Args:
            path: the JSON file.
            split: the split of the JSON file, "" if it is unknown.
        """
        names = {path.stem, *(path.stem.removeprefix(prefix).lstrip("_-") for prefix in (PREFIX, "panoptic"))}
        folders: list[Path] = []
        for base in [each for each in path.parents if each.is_relative_to(self._root)]:
            for holder in self._with_inner(base):
                below = self._below(holder)
                own = [folder for folder in below if folder.name in names]
                own += [folder for folder in below if split and split_in(folder.name) == split]
                folders += [each for folder in own for each in self._with_inner(folder)]
                folders.append(holder)
        return list(dict.fromkeys(folders))

    def _with_inner(self, folder: Path) -> list[Path]:
        """Return the subfolders of a folder with usual names of image folders, such as images, then the folder."""
        return [*(below for below in self._below(folder) if below.name.lower() in COCO_FOLDERS), folder]

    def _below(self, folder: Path) -> list[Path]:
        if folder not in self._inside:
            self._inside[folder] = folders_in(folder)
        return self._inside[folder]


def _name(image: Path, folders: Sequence[Path]) -> str:
    """Return the path of an image, without suffix, relative to the first of `folders` that contains the image."""
    folder = next(folder for folder in folders if image.is_relative_to(folder))
    return image.relative_to(folder).with_suffix("").as_posix()


@contextmanager
def write_coco(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write COCO's `annotations/instances_SPLIT.json`, copies of the images in `images/[SPLIT/]`, and `classes.yaml`.

    This is a context manager, see `base.Writer`. `classes.yaml` stores the order and colors of the classes. Without
    splits the annotations are in `instances_default.json`. An annotation is a region of one class, in the form that
    `regions.write_regions` describes: polygons along the edges of pixels, or run lengths if the region has holes. The
    class of pixels outside all shapes (see `annotations.undrawn_class`) has no annotations. Ignored pixels have the
    category `__ignore__`, unless pixels outside all shapes are ignored anyway.

    Raises:
        OutputError: a file cannot be written.
        DataError: there are too many classes, see `annotations.with_ignore_label`.
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
