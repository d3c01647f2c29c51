"""Read labelme2voc's output: `JPEGImages/`, `class_names.txt`, `SegmentationClass/` or `SegmentationClassPNG/`.

Source: `examples/semantic_segmentation/labelme2voc.py` in https://github.com/wkentaro/labelme; in version 5.3 the
masks moved from SegmentationClassPNG/ to SegmentationClass/, and the arrays from SegmentationClass/ to
SegmentationClassNpy/
"""

from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import read_class_names
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError

IMAGES, NAMES = "JPEGImages", "class_names.txt"
MASKS = ("SegmentationClassPNG", "SegmentationClass")
"""The folders that may hold masks; before labelme 5.3, SegmentationClass/ holds arrays instead."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it holds JPEGImages/, class_names.txt and a folder of masks, see `MASKS`; otherwise return None.

    The mask value of a class is its line number in class_names.txt, from 0, where a first line `__ignore__` does not
    count. Pixels with the value 255 are ignored. Overlays, arrays (.npy) and masks of objects are left out.

    Raises:
        DataError: the masks are only arrays (.npy), the names are not valid class names, or no image has a mask.
    """
    folders = [root / name for name in MASKS if (root / name).is_dir()]
    if not (root / IMAGES).is_dir() or not (root / NAMES).is_file() or not folders:
        return None
    masks = next((files for folder in folders if (files := image_files(folder))), {})
    if not masks and not any(folders[-1].glob("*.npy")):
        return None
    if not masks:
        raise DataError(
            f"{root}: holds labelme2voc's masks only as arrays (.npy), which are not read; run labelme2voc.py of a "
            "newer labelme, which writes PNG as well, or open the folder of labelme's JSON files instead"
        )
    try:
        classes = read_class_names(root / NAMES)
    except DataError as error:
        remedy = "name each label in a line of labels.txt, and run labelme2voc.py again"
        raise DataError(f"{root / NAMES}: {error}; {remedy}") from error
    found = Found()
    found.match("", image_files(root / IMAGES), masks)
    layout = layout_of(root, found)
    codes = {IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(classes))}
    folder = next(iter(masks.values())).relative_to(root).parts[0]
    notes = (f"masks from {folder}/", *layout.notes)
    return Recognized("labelme2voc", replace(layout, notes=notes), MaskEncoding("index", classes, codes=codes))
