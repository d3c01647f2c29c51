"""labelme: a JSON with shapes beside each image, or in a folder of its own; AnyLabeling writes the same.

Source: https://github.com/wkentaro/labelme, `labelme/_label_file.py` and `labelme/_utils/_shape.py`
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from maskpencil.data.drawing import Drawing
from maskpencil.data.formats.annotation_entries import (
    are_images_and_masks,
    checked_size,
    mentions,
    shown,
)
from maskpencil.data.formats.annotations import Labels, classes_of_labels, find_image, read_json
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.labelme_shapes import LINE_WIDTH, POINT_RADIUS, LabeledShape, read_shape
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS, Found, Pair, files_below, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.splits import SPLIT_ALIASES, SPLITS
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, read_header

KEYS = ("shapes", "imagePath")
SUFFIX = ".json"
PEEKED = 2
"""So many files are looked into before the folder is left to others."""

KIND_FOLDERS = (*IMAGE_FOLDERS, *MASK_FOLDERS, "json", "jsons", "labelme")
"""Folders that say what their files are, and nothing of the images: their names are no part of the pairs'."""

SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}


@dataclass(frozen=True)
class _File:
    """What a JSON says: the image's name as it stands, its (height, width) if given, and the shapes, bottom first."""

    path: Path
    image: str
    size: tuple[int, int] | None
    shapes: Sequence[LabeledShape]


def recognize(root: Path) -> Recognized | None:
    """Read `root` where JSON files below it have the keys `shapes` and `imagePath`.

    An image is looked for where `imagePath` says, seen from the JSON, then in folders beside, then below `root` by its
    name alone, if that is its only one there, then by the JSON's own name. `imageData` is not read. Folders named
    after splits put what is below into them. The classes are the labels, sorted; later shapes lie over earlier ones.
    Pixels are drawn by their middles, lines `LINE_WIDTH` pixels thick, points as discs of `POINT_RADIUS`.

    Raises:
        DataError: a file is not as labelme writes them, two files name one image, or no image is there.
    """
    below = list(files_below(root, {SUFFIX, *IMAGE_SUFFIXES}))
    annotations = [path for path in below if path.suffix.lower() == SUFFIX]
    images = [path for path in below if path.suffix.lower() != SUFFIX]
    stems = {image.stem for image in images}
    likely = [path for path in annotations if path.stem in stems] or annotations
    if not any(_content(path) for path in likely[:PEEKED]) or are_images_and_masks(root, images):
        return None
    files = [_read(path, content) for path in annotations if (content := _content(path))]
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


def _content(path: Path) -> dict[str, Any] | None:
    """The JSON, if it is labelme's."""
    content = read_json(path) if mentions(path, KEYS) else None
    return content if isinstance(content, dict) and all(key in content for key in KEYS) else None


def _read(path: Path, content: dict[str, Any]) -> _File:
    image, shapes = content["imagePath"], content["shapes"]
    if not isinstance(image, str):
        raise DataError(f"{path}: has the imagePath {shown(image)}; expected the name of the image's file")
    if not isinstance(shapes, list):
        raise DataError(f"{path}: has the shapes {shown(shapes)}; expected a list; export it again")
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = None if height is None and width is None else checked_size(height, width, str(path))
    read = [each for i, shape in enumerate(shapes, 1) for each in read_shape(shape, f"{path}: shape {i}")]
    return _File(path, image, size, read)


class _ImageSearch:
    """Finds the images that files name."""

    def __init__(self, root: Path, images: Sequence[Path]) -> None:
        self._root = root
        self._names = Counter(image.name for image in images)
        self._by_name = {image.name: image for image in images}
        self._beside = {image.with_suffix(""): image for image in reversed(images)}
        self._folders: dict[Path, list[Path]] = {}

    def find(self, file: _File) -> Path | None:
        """The image of a file."""
        folder = file.path.parent
        if folder not in self._folders:
            self._folders[folder] = self._folders_for(folder)
        image = find_image(self._root, self._folders[folder], file.image, source=file.path)
        if image:
            return image
        name = PureWindowsPath(file.image).name
        return self._by_name[name] if self._names[name] == 1 else self._beside.get(file.path.with_suffix(""))

    def _folders_for(self, folder: Path) -> list[Path]:
        """Where the images of a folder's files may be: there, in the folder of images that goes with it, around."""
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
    """Copied files often go on to name the image of the first."""
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
