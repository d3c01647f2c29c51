"""Roboflow's semantic segmentation masks: `train/x.jpg + train/x_mask.png`, classes in `train/_classes.csv`.

Each of `train/`, `valid/` and `test/` has a `_classes.csv` of the columns `Pixel Value` and `Class`. Source:
https://roboflow.com/formats/semantic-segmentation-masks-png
"""

from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import read_pixel_values
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError

CLASS_FILE = "_classes.csv"
ENDING = "_mask"


def recognize(root: Path) -> Recognized | None:
    """Read `root` where its `train/`, `valid/` or `test/`, or `root` itself, holds `_classes.csv` and masks.

    The classes are numbered in the order of their pixel values; 255, if it is no class, is ignored.

    Raises:
        DataError: a `_classes.csv` is not in its format, or the files of two splits differ.
    """
    folders = {
        split: folder
        for split, aliases in SPLIT_ALIASES.items()
        if (folder := next((root / alias for alias in aliases if (root / alias / CLASS_FILE).is_file()), None))
    }
    if not folders and (root / CLASS_FILE).is_file():
        folders = {"": root}
    found = Found()
    for split, folder in folders.items():
        _add(found, split, folder)
    if not any(found.splits.values()):
        return None
    tables = {folder / CLASS_FILE: read_pixel_values(folder / CLASS_FILE) for folder in folders.values()}
    (first, table), *others = tables.items()
    for path, other in others:
        if other != table:
            raise DataError(f"{path}: names other classes or values than {first}; export all splits together")
    return Recognized("Roboflow masks", layout_of(root, found), _encoding(first, table))


def _add(found: Found, split: str, folder: Path) -> None:
    files = image_files(folder)
    masks = {name.removesuffix(ENDING): path for name, path in files.items() if name.endswith(ENDING)}
    for name, path in files.items():
        if name in masks:
            found.add(split, Pair(name, path, masks[name]))
        elif not name.endswith(ENDING):
            found.images_alone.append(path)
        elif name.removesuffix(ENDING) not in files:
            found.masks_alone.append(path)


def _encoding(path: Path, table: dict[int, str]) -> MaskEncoding:
    try:
        classes = ClassSet(tuple(table.values()))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {v: i for i, v in enumerate(table)})
