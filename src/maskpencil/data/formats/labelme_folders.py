"""Read the output of labelme_json_to_dataset: a folder per image, with img.png, label.png and label_names.txt.

Source: `labelme/cli/json_to_dataset.py` in https://github.com/wkentaro/labelme; labelme itself recommends other exports
for data sets: each file is converted separately, so a number can mean different classes in different folders.
"""

from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.regular_files import read_lines

IMAGE, MASK, NAMES = "img.png", "label.png", "label_names.txt"
MAX_SAMPLED = 20
"""The largest number of subfolders that are examined to recognize a data set."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if its subfolders hold img.png, label.png and label_names.txt; otherwise return None.

    The mask value of a class is its line number in label_names.txt, from 0; pixels with the value 255 are ignored.

    Raises:
        DataError: two subfolders number their classes differently, or the names are not valid class names.
    """
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    if not any((folder / MASK).is_file() and (folder / NAMES).is_file() for folder in folders[:MAX_SAMPLED]):
        return None
    found = Found()
    names: dict[int, tuple[str, Path]] = {}
    for folder in folders:
        parts = [folder / name for name in (IMAGE, MASK, NAMES)]
        if not all(part.is_file() for part in parts):
            found.images_alone += [part for part in parts[:1] if part.is_file()]
            found.masks_alone += [part for part in parts[1:2] if part.is_file()]
            continue
        found.add("", Pair(folder.name.removesuffix("_json"), parts[0], parts[1]))
        for number, (_, name) in enumerate(read_lines(parts[2], "the name of a class per line")):
            known, first = names.setdefault(number, (name, parts[2]))
            if known != name:
                raise DataError(
                    f"{parts[2]}: the class number {number} is {name!r}, but in {first} it is {known!r}; convert "
                    "all JSON files together by labelme2voc.py, or open the folder of the JSON files instead"
                )
    layout = layout_of(root, found)
    try:
        classes = ClassSet(tuple(name for name, _ in names.values()))
    except DataError as error:
        raise DataError(f"{folders[0] / NAMES}: {error}") from error
    codes = {IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(classes))}
    return Recognized("labelme_json_to_dataset", layout, MaskEncoding("index", classes, codes=codes))
