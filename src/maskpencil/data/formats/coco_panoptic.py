"""Read COCO panoptic: a JSON with `segments_info`, and for each image a PNG whose colors are the ids of segments.

    annotations/panoptic_train2017.json     {"annotations": [{"image_id": 9, "file_name": "9.png", "segments_info": ...
    annotations/panoptic_train2017/9.png    red + 256 green + 65536 blue is the id of a segment, 0 means no segment
    train2017/9.jpg

Source: https://cocodataset.org/#format-data and https://github.com/cocodataset/panopticapi
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Drawing
from maskpencil.data.formats.annotations import Entry, Labels, classes_of_labels, read_json, shown
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.coco import ImageFolders, candidates, folders_in
from maskpencil.data.formats.coco_file import KEYS, CocoCategory, CocoImage, Id, ImageIds, read_categories, read_images
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import Found, Pair, find_image
from maskpencil.data.layout.splits import SPLITS, split_in, split_of_file
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError, ImageError
from maskpencil.images import decoding, opened_image
from maskpencil.label_maps import LabelMap

MARK = "panoptic"
"""The beginning of the names of JSON files, and a word in the names of folders of PNGs."""

NO_SEGMENT = 0
GRAY = ("L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of gray PNG files, which some converters write; their gray values are the ids of segments."""


@dataclass(frozen=True, eq=False)
class PanopticMask(Drawing):
    """The mask of an image, stored as a PNG of segment ids; pixels with the id 0 are ignored.

    Attributes:
        png: the PNG.
        class_of: the class index of each segment id.
    """

    png: Path = Path()
    class_of: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.png)

    def draw(self) -> LabelMap:
        """Read the PNG, and return the label map, (H, W) uint8.

        Raises:
            ImageError: the PNG cannot be read, or holds a segment id that the JSON does not list.
        """
        ids = read_ids(self.png)
        found, places = np.unique(ids, return_inverse=True)
        unknown = [number for number in found.tolist() if number not in self.class_of and number != NO_SEGMENT]
        if unknown:
            raise ImageError(
                f"{self.png}: holds the segment {unknown[0]}{' and others' * (len(unknown) > 1)}, which "
                f"segments_info of {self.path.name} does not list; expected only ids listed there; export the PNG and "
                "the JSON again"
            )
        classes = np.array([self.class_of.get(number, IGNORE_INDEX) for number in found.tolist()], dtype=np.uint8)
        return np.asarray(classes[places].reshape(ids.shape))


def read_ids(png: Path) -> npt.NDArray[np.int64]:
    """Read a panoptic PNG, and return the segment id of each pixel, (H, W) int64; 0 means no segment.

    Raises:
        ImageError: the PNG cannot be read, or is partly transparent.
    """
    with opened_image(png) as image, decoding(str(png)):
        if image.mode in GRAY:
            return np.array(image).astype(np.int64)
        if image.mode in ("RGBA", "LA", "PA") and np.array(image.getchannel("A")).min() < 255:
            raise ImageError(f"{png}: is partly transparent; expected the ids of segments in red, green and blue")
        red, green, blue = np.moveaxis(np.array(image.convert("RGB")).astype(np.int64), -1, 0)
    ids: npt.NDArray[np.int64] = red + (green << 8) + (blue << 16)
    return ids


@dataclass(frozen=True)
class _Mask:
    """An annotation, which describes one mask.

    Attributes:
        entry: the annotation in the JSON file.
        image: its image in the JSON file.
        png: its PNG.
        categories: the category of each segment id.
    """

    entry: Entry
    image: CocoImage
    png: Path
    categories: Mapping[int, CocoCategory]


@dataclass(frozen=True)
class _File:
    """The content of a JSON file.

    Attributes:
        path: the file.
        categories: the categories by their ids.
        colors: the colors of the categories that have one, by name, unchecked.
        masks: the annotations whose PNG exists.
        lost: the names of missing PNGs.
        strays: the annotations of images that the file does not list, as texts for messages.
    """

    path: Path
    categories: Mapping[Id, CocoCategory]
    colors: Mapping[str, object]
    masks: Sequence[_Mask]
    lost: Sequence[Path]
    strays: Sequence[str]


def recognize(root: Path) -> Recognized | None:
    """Read `root` if a JSON file in it is in the format COCO panoptic; otherwise return None.

    The JSON file has the lists of images, annotations and categories, and `segments_info`. It is up to two folders
    below `root`, or three if its name begins with "panoptic". The PNGs are in a folder named after the JSON file, in a
    folder near it with "panoptic" in its name, or beside the JSON file. Images are searched for as in `coco.recognize`.

    Every category is a class, in the order of the ids; pixels that belong to no segment are ignored.

    Raises:
        DataError: a file is not in COCO's format, or all images or all PNGs are missing.
    """
    problems = Problems()
    files = [file for path in _candidates(root) if (file := _read(root, path, problems))]
    if not files:
        return None
    pngs = frozenset(mask.png for file in files for mask in file.masks)
    search = ImageSearch(root, masks=pngs)
    labels = _labels(root, files)
    folders = ImageFolders(root)
    found = Found({split: {} for split in ("", *SPLITS)})
    used: set[Path] = set()
    for file in files:
        split = split_of_file(root, file.path)
        places = folders.of(file.path, split)
        found.masks_alone += file.lost
        for mask in file.masks:
            image = search.find(mask.image.name, places, source=file.path, split=split)
            if image is None:
                found.masks_alone.append(mask.png)
                continue
            with problems.collected():
                if image in used:
                    raise DataError(
                        f"{mask.entry}: has the same image as another annotation, {image.name}; remove one of the two "
                        "annotations"
                    )
                used.add(image)
                class_of = {number: labels.index_of[each.name] for number, each in mask.categories.items()}
                drawing = PanopticMask(
                    file.path, image.name, mask.image.size or (0, 0), (), IGNORE_INDEX, mask.png, class_of
                )
                found.add(split, Pair(image.stem, image, drawing))
    if not used:
        problems.refuse()
        first = files[0]
        raise DataError(
            f"{first.path}: lists {len(first.masks) + len(first.lost)} masks, {len(first.lost)} of them without their "
            f"PNG, but none of their images is below {root}; put the images there, and the PNGs into "
            f"{first.path.with_suffix('')}"
        )
    search.list_others(found, used)
    search.warn(found)
    found.warn(
        "annotations-of-unlisted-images",
        [stray for file in files for stray in file.strays],
        "{n} {annotation|annotations} of images that are not listed left out",
        "add the images to the list of images in the file, or remove the annotations",
    )
    return Recognized("COCO panoptic", problems.layout(root, found), MaskEncoding("index", labels.classes))


def _candidates(root: Path) -> list[Path]:
    """Return the JSON files that may be panoptic files, without parsing them."""
    deeper = (path for path in root.glob(f"*/*/*/{MARK}*.json") if path.is_file())
    return list(dict.fromkeys([*candidates(root, panoptic=True), *sorted(deeper)]))


def _read(root: Path, path: Path, problems: Problems) -> _File | None:
    """Read a JSON file; return None if its content is not an object with images, annotations and categories.

    Errors in images and annotations are collected in `problems` instead of raised.

    Raises:
        DataError: the file cannot be parsed as JSON, or a category is not in COCO's format.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in KEYS):
        return None
    file = Entry.of(path, "", content)
    categories = read_categories(file)
    ids = ImageIds(read_images(file, problems))
    folders = list(_mask_folders(root, path))
    masks, lost, strays = [], [], []
    for entry in file.entries("annotations", "annotation of image", id_key="image_id"):
        with problems.collected():
            image = ids.find(entry.identifier("image_id"))
            name = entry.text("file_name", blank=True)
            segments = dict(_segments(entry, categories))
            png = find_image(root, folders, name, source=path)
            if image is None:
                strays.append(f"{path}: annotation of image {shown(entry.fields['image_id'])}")
            elif png is None:
                lost.append(Path(name))
            else:
                masks.append(_Mask(entry, image, png, segments))
    colors = {each["name"]: each["color"] for each in content["categories"] if "color" in each}
    return _File(path, categories, colors, masks, lost, strays)


def _segments(annotation: Entry, categories: Mapping[Id, CocoCategory]) -> Iterator[tuple[int, CocoCategory]]:
    """Yield the id and the category of each segment of an annotation.

    Raises:
        DataError: a segment has no id, or its category is not one of `categories`.
    """
    for segment in annotation.entries("segments_info", "segment", id_key="id"):
        category = categories.get(segment.identifier("category_id"))
        if category is None:
            raise segment.wrong("category_id", "the id of one of the categories")
        number = segment.identifier("id")
        if not isinstance(number, int):
            raise segment.wrong("id", "a whole number")
        yield number, category


def _mask_folders(root: Path, path: Path) -> Iterator[Path]:
    """Yield the folders where the PNGs of the JSON file `path` may be, the most likely first."""
    yield path.with_suffix("")
    for base in dict.fromkeys((path.parent, path.parent.parent if path.parent != root else root)):
        around = [folder for folder in folders_in(base) if MARK in folder.name.lower()]
        yield from (folder for folder in around if split_in(folder.name) == split_in(path.stem))
        for folder in around:
            yield from (each for each in folders_in(folder) if split_in(each.name) == split_in(path.stem) != "")
    yield path.parent


def _labels(root: Path, files: Sequence[_File]) -> Labels:
    """Assign classes to the categories of all files in the order of their ids; equal names become one class.

    If every category has a valid color in the files, the classes get these colors.

    Raises:
        DataError: a classes.yaml in `root` does not name a category that annotations use, or the categories are not
            valid classes, see `ClassSet`.
    """
    categories = sorted(
        (category for file in files for category in file.categories.values()),
        key=lambda each: (isinstance(each.id, str), each.id),
    )
    if find_own_class_file(root):
        used = {each.name for file in files for mask in file.masks for each in mask.categories.values()}
        return classes_of_labels(root, [each.name for each in categories if each.name in used])
    names = list(dict.fromkeys(each.name for each in categories))
    colors = {name: color for file in files for name, color in file.colors.items()}
    try:
        classes = ClassSet.from_dict({"names": names, "palette": [colors.get(name) for name in names]})
    except DataError:
        classes = ClassSet.from_dict({"names": names})
    return Labels(classes, {name: number for number, name in enumerate(names)}, IGNORE_INDEX)
