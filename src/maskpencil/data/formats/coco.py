"""COCO: `annotations/instances_train2017.json + train2017/`, and the same as Roboflow, CVAT and Label Studio export it.

Source: https://cocodataset.org/#format-data
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskpencil.data.class_files import find_class_file
from maskpencil.data.drawing import Drawing, Polygon
from maskpencil.data.formats.annotation_entries import are_images_and_masks, mentions
from maskpencil.data.formats.annotations import Labels, classes_of_labels, find_image
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.coco_file import CocoFile, CocoImage, read_coco_file
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.run_lengths import RunLengths
from maskpencil.data.splits import SPLITS, split_in
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, read_header

KEYS = ("images", "annotations", "categories")
PANOPTIC_KEY = "segments_info"
"""What the files have whose outlines are images of their own; these are not read here."""

PREFIX = "instances"
"""What the files of this task are called, beside those of captions and keypoints."""

COCO_FOLDERS = (*IMAGE_FOLDERS, "data")
MOST_FILES = 32
"""A folder with more JSON files holds those of another tool: COCO has one a split."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` where a JSON in it, or in a folder in it, has COCO's images, annotations and categories.

    Images are looked for beside the JSON, and in folders beside it or in `images/` that are called as the JSON or its
    split. The split is read from the JSON's name, else from its folder's. Images without annotations are background.
    Where annotations overlap, the smaller lies on top, by the area that the file gives. A crowd (`iscrowd` 1) is drawn
    as any other: its pixels are of its class, and masks by hand are marked so by some tools. Annotations that have but
    a box are left out.

    Classes are the categories, by their ids, also those that no annotation uses, but for one that is only what others
    give as their supercategory, as Roboflow's first; a class file needs to name those that are used.

    Raises:
        DataError: a file is not in COCO's form, names an image twice, or has no outlines, or no image is there.
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
    """The JSON files in `root` and the folders in it that are worth to be parsed."""
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
    """Number the categories of all files by their ids; those of one name are one."""
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
                f"{file.path}: names {what} ({entry.name!r}), whose masks cannot be told apart; keep or rename one"
            )
        found.add(split, Pair(name, image, _drawing(file, entry, image, labels)))
        images.append(image)
    return images


def _image_folders(root: Path, path: Path, split: str) -> list[Path]:
    """Where the images of a JSON may be, folders in folders first."""
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
    """The folders of images in a folder, then that folder."""
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
