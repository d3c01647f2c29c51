"""Read the YAML file of a YOLO data set, and find the images that it names."""

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from maskpencil.classes import IGNORE_INDEX, MAX_YAML_BYTES, ClassSet, read_yaml
from maskpencil.data.class_files import CLASS_FILES
from maskpencil.data.layout import find_image, image_files
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.errors import DataError
from maskpencil.regular_files import read_lines

USUAL_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
NAMES_KEY = re.compile(r"^[\"']?names[\"']?\s*:", re.MULTILINE)
PLACE_KEY = re.compile(r"^[\"']?(path|train|val|test|nc|masks_dir)[\"']?\s*:", re.MULTILINE)
MAX_PATH = 255
"""The longest name of a file or folder, in characters."""

IGNORE_LABEL = "ignore_label"
"""The word that means ignored pixels in the `label_mapping` of the YAML file."""


@dataclass(frozen=True)
class YoloFolder:
    """A YOLO data set as described by its YAML file.

    Attributes:
        root: the folder of the data set.
        path: the YAML file, or a classes.txt that replaces it.
        entries: the content of the YAML file; {} for a classes.txt.
        names: the names of the classes, in the order of their numbers.
        splits: the images by split and by name. The only key is "" if all paths in the YAML file are missing and no
            folder is named after a split.
        notes: notes for the user, such as on paths in the YAML file that are missing.
    """

    root: Path
    path: Path
    entries: Mapping[str, Any]
    names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Path]]
    notes: tuple[str, ...]

    @property
    def has_splits(self) -> bool:
        """Whether the YAML file or the names of folders assign the images to splits."""
        return set(self.splits) != {""}

    @property
    def masks_name(self) -> str | None:
        """The `masks_dir` of the YAML file, the name of the folder of masks; None if the YAML file has no `masks_dir`.

        Raises:
            DataError: `masks_dir` is not a name, or leads out of the folder of the data set.
        """
        name = self.entries.get("masks_dir")
        if name is None:
            return None
        text = _text(self.path, "masks_dir", name)
        if PureWindowsPath(text).anchor or ".." in PureWindowsPath(text).parts:
            raise DataError(
                f"{self.path}: 'masks_dir' is {text[:40]!r}; expected a folder in the data set, such as masks"
            )
        return text

    def label_mapping(self, count: int) -> dict[int, int]:
        """Return `label_mapping` from the YAML file, {mask value: class index or `IGNORE_INDEX`}; {} if it is missing.

        Args:
            count: the number of classes; class indices must be below it.

        Raises:
            DataError: `label_mapping` is not a mapping, or a value or class in it is invalid.
        """
        mapping = self.entries.get("label_mapping") or {}
        if not isinstance(mapping, Mapping):
            raise DataError(
                f"{self.path}: 'label_mapping' is {str(mapping)[:40]!r}; expected lines 'VALUE: CLASS', such as 7: 0"
            )
        codes = {}
        for value, target in mapping.items():
            number = IGNORE_INDEX if target in (IGNORE_LABEL, IGNORE_INDEX) else target
            known = type(number) is int and (0 <= number < count or number == IGNORE_INDEX)
            if type(value) is not int or not known:
                raise DataError(
                    f"{self.path}: 'label_mapping' has {str(value)[:20]!r}: {str(target)[:20]!r}; expected a mask "
                    f"value and a class from 0 to {count - 1}, or {IGNORE_LABEL}"
                )
            codes[value] = number
        return codes

    def beside(self, image: Path, name: str) -> Path:
        """Return the path of an image with its last folder `images` replaced by `name`, see the function `beside`."""
        return beside(self.root, image, name)

    def has_labels(self) -> bool:
        """Return whether at least one image has a label file."""
        images = (path for split in self.splits.values() for path in split.values())
        return any(self.beside(path, "labels").with_suffix(".txt").is_file() for path in images)

    def others(self, name: str, suffixes: Collection[str], used: Collection[Path]) -> list[Path]:
        """Return the unused files in the folders `name`, sorted, without files such as classes.txt.

        Args:
            name: the name of the folders that replaces `images`, such as labels.
            suffixes: the suffixes of the files to return, in lower case.
            used: the files that belong to images.
        """
        folders = {self.beside(path, name).parent for split in self.splits.values() for path in split.values()}
        files = {file for folder in folders if name in folder.relative_to(self.root).parts for file in _files(folder)}
        return sorted(
            file for file in files if file.suffix.lower() in suffixes and file not in used and file.stem != "classes"
        )


def beside(root: Path, image: Path, name: str) -> Path:
    """Return the path of an image with its last folder `images` replaced by `name`, as Ultralytics finds labels.

    For example, images/train/1.jpg becomes labels/train/1.jpg; the suffix stays. If no folder above the image is called
    `images`, return `image` itself if `name` is "labels", and otherwise the same path below the folder `name` in
    `root`.
    """
    below = image.relative_to(root).parts
    places = [place for place, part in enumerate(below[:-1]) if part == "images"]
    if places:
        return root.joinpath(*below[: places[-1]], name, *below[places[-1] + 1 :])
    return image if name == "labels" else root.joinpath(name, *below)


def open_yolo_folder(root: Path) -> YoloFolder | None:
    """Read the YAML file in `root` that names the classes and the folders of images.

    Without such a YAML file, read a `classes.txt` with one name per line beside `images/` and `labels/`, as Label
    Studio exports it; return None if this file is missing as well. Paths in the YAML file are found by their last
    parts, since the data set may have been moved. An image in several splits is kept only in the first of train, val
    and test.

    Raises:
        DataError: the YAML file has another format, or the data set is for pose estimation.
    """
    path = next((path for path in _yaml_files(root) if _is_yolo(path)), None)
    if path is None:
        return _open_without_yaml(root)
    entries = read_yaml(path)
    if not isinstance(entries, Mapping):
        raise DataError(f"{path}: holds {type(entries).__name__}; expected a mapping with 'names' and 'train'")
    if "kpt_shape" in entries:
        raise DataError(
            f"{path}: has 'kpt_shape', so its labels are poses; expected polygons; export the data set for segmentation"
        )
    notes: list[str] = []
    splits = _splits(root, path, entries, notes) or _usual_splits(root)
    return YoloFolder(root, path, entries, _names(path, entries.get("names")), splits, tuple(notes))


def _open_without_yaml(root: Path) -> YoloFolder | None:
    path = root / "classes.txt"
    if not (path.is_file() and (root / "images").is_dir() and (root / "labels").is_dir()):
        return None
    lines = read_lines(path, "one class per line")
    return YoloFolder(root, path, {}, _names(path, [line for _, line in lines]), _usual_splits(root), ())


def _names(path: Path, names: object) -> tuple[str, ...]:
    try:
        return ClassSet.from_dict({"names": names}).names
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _yaml_files(root: Path) -> list[Path]:
    paths = sorted(path for path in root.glob("*.y*ml") if path.suffix in (".yaml", ".yml") and path.is_file())
    paths = [path for path in paths if path.name not in CLASS_FILES]
    return sorted(paths, key=lambda path: path.name not in USUAL_NAMES)


def _is_yolo(path: Path) -> bool:
    if path.stat().st_size > MAX_YAML_BYTES:
        return False
    content = path.read_bytes()
    text = content.decode(json.detect_encoding(content[:4]), errors="replace")
    return bool(NAMES_KEY.search(text) and PLACE_KEY.search(text))


def _splits(root: Path, path: Path, entries: Mapping[str, Any], notes: list[str]) -> dict[str, dict[str, Path]]:
    splits: dict[str, dict[str, Path]] = {}
    taken: dict[Path, str] = {}
    for split in SPLIT_ALIASES:
        images: dict[str, Path] = {}
        for place in _places(path, split, entries):
            found = _locate(root, _text(path, "path", entries.get("path") or "."), place)
            if found is None:
                notes.append(f"{split}: {place} is missing, left out")
                continue
            own = image_files(found) if found.is_dir() else _listed(root, found)
            for name, image in own.items():
                twin = images.get(name, image)
                images[name if twin == image else image.relative_to(root).with_suffix("").as_posix()] = image
        earlier = {taken[image] for image in images.values() if image in taken}
        if earlier:
            notes.append(f"{split}: images that are also in {' and '.join(sorted(earlier))} are left out of {split}")
        splits[split] = {name: image for name, image in images.items() if image not in taken}
        taken |= dict.fromkeys(splits[split].values(), split)
    named = {split: images for split, images in splits.items() if images}
    for split, images in _usual_splits(root).items() if named else ():
        others = [image for image in images.values() if image not in taken] if split not in named else []
        if others:
            place = others[0].parent.relative_to(root).as_posix()
            notes.append(f"{split}: {path.name} does not name {place}, {len(others)} images left out")
    return named


def _places(path: Path, split: str, entries: Mapping[str, Any]) -> list[str]:
    key = next((alias for alias in SPLIT_ALIASES[split] if entries.get(alias)), None)
    if key is None:
        return []
    places = entries[key] if isinstance(entries[key], list) else [entries[key]]
    return [_text(path, key, place) for place in places]


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value or len(value) > MAX_PATH:
        raise DataError(f"{path}: {key!r} is {str(value)[:40]!r}; expected a folder, such as images/train")
    return value


def _locate(root: Path, base: str, place: str) -> Path | None:
    """Find the folder or list file `base/place` below `root`; return None if it is missing.

    The data set may have been moved, so the path is shortened from its beginning until it exists below `root`.

    Args:
        root: the folder of the data set.
        base: the entry `path` of the YAML file.
        place: a path in the YAML file, relative to `base` or absolute.
    """
    parts = _inside(place) if PureWindowsPath(place).anchor else [*_inside(base), *_inside(place)]
    for start in range(len(parts)):
        found = root.joinpath(*parts[start:])
        if os.path.isdir(found) or (found.suffix == ".txt" and os.path.isfile(found)):  # noqa: PTH112, PTH113 - false
            return found  # for names that no file can have, such as too long ones
    return root if not parts else None


def _inside(place: str) -> list[str]:
    """Return the parts of a path after its last "..", without a drive or leading slash."""
    path = PureWindowsPath(place)
    parts = [part for part in path.parts if part != path.anchor]
    return parts[max((number + 1 for number, part in enumerate(parts) if part == ".."), default=0) :]


def _listed(root: Path, path: Path) -> dict[str, Path]:
    """Return the images that a list file names, one path per line, as {path below `root` without suffix: image}.

    Raises:
        DataError: the list file cannot be read, or an image is missing.
    """
    images = {}
    for number, line in read_lines(path, "one image per line"):
        image = find_image(root, [root], line, source=path)
        if image is None:
            raise DataError(f"{path}: line {number} names {line[:80]}, which is missing; correct or remove the line")
        images[image.relative_to(root).with_suffix("").as_posix()] = image
    return images


def _usual_splits(root: Path) -> dict[str, dict[str, Path]]:
    """Return the images by split and name: from `images/train` or `train/images` and so on, or else from `images`.

    Images in `images` itself get the split "". Return {} if all these folders are missing.
    """
    splits: dict[str, dict[str, Path]] = {}
    for split, aliases in SPLIT_ALIASES.items():
        folders = [folder for alias in aliases for folder in (root / "images" / alias, root / alias / "images")]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder:
            splits[split] = image_files(folder)
    if not splits and (root / "images").is_dir():
        splits[""] = image_files(root / "images")
    return splits


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if os.path.isdir(folder) else []  # noqa: PTH112
