"""Roboflow's semantic segmentation masks: `train/x.jpg + train/x_mask.png`, classes in `train/_classes.csv`.

Each of `train/`, `valid/` and `test/` has a `_classes.csv` of the columns `Pixel Value` and `Class`. Source:
https://roboflow.com/formats/semantic-segmentation-masks-png
"""

import csv
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.splits import SPLIT_ALIASES
from maskpencil.errors import DataError

CLASS_FILE = "_classes.csv"
ENDING = "_mask"
HEADER = ["pixel value", "class"]
MAX_VALUE = 255


def recognize(root: Path) -> Recognized | None:
    """Read `root` where its `train/`, `valid/` or `test/`, or `root` itself, holds `_classes.csv` and masks.

    The classes are numbered in the order of their pixel values; 255, if it is no class, is ignored.

    Raises:
        DataError: a `_classes.csv` is not in its form, or those of two splits differ.
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
    tables = {folder / CLASS_FILE: _read_table(folder / CLASS_FILE) for folder in folders.values()}
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


def _read_table(path: Path) -> dict[int, str]:
    """The class of each pixel value, in the order of the values."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, skipinitialspace=True) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected 'Pixel Value, Class' and a class a line"
        ) from error
    if not rows or [cell.lower() for cell in rows[0]] != HEADER:
        found = ", ".join(rows[0])[:60] if rows else "nothing"
        raise DataError(f"{path}: begins with {found!r}; expected 'Pixel Value, Class'")
    table: dict[int, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[1] or not row[0].isascii() or not row[0].isdigit() or len(row[0]) > 3:
            raise DataError(f"{path}: row {number} is {', '.join(row)[:60]!r}; expected a pixel value and a class")
        value = int(row[0])
        if value > MAX_VALUE or value in table:
            problem = "stands twice" if value in table else f"is over {MAX_VALUE}"
            raise DataError(f"{path}: row {number}: the pixel value {value} {problem}; export the data set again")
        table[value] = row[1]
    return dict(sorted(table.items()))


def _encoding(path: Path, table: dict[int, str]) -> MaskEncoding:
    try:
        classes = ClassSet(tuple(table.values()))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {v: i for i, v in enumerate(table)})
