"""Pascal VOC's segmentation: `JPEGImages/2007_000032.jpg` and its mask `SegmentationClass/2007_000032.png`.

Source: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit",
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import CLASS_FILES, find_class_file
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.masks.facts import color_number
from maskpencil.data.splits import SPLITS
from maskpencil.data.text_files import read_lines
from maskpencil.images import read_header
from maskpencil.known_classes import VOC
from maskpencil.label_maps import IGNORE_COLOR

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"

NAME = re.compile(r"20\d\d_\d{6}")
NAME_OF_2007 = re.compile(r"\d{6}")

BY_NUMBER = MaskEncoding("index", VOC, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(VOC))})
BY_COLOR = MaskEncoding(
    "color",
    VOC,
    codes={color_number(IGNORE_COLOR): IGNORE_INDEX}
    | {color_number(color): index for index, color in enumerate(VOC.palette)},
)
"""For masks that a program has turned into color images; the borders are ignored."""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or a `VOC2012/` in it, where its masks are named as Pascal VOC's: by year and number.

    Numbers of six digits alone, as in 2007, could be anyone's: with these, `Annotations/` must stand beside, as in the
    data set. A folder with a class file has classes of its own and is left to others, as are other names; only a
    classes.yaml of 21 names gives Pascal VOC's other ones.

    Raises:
        DataError: no image has its mask, or a list cannot be read.
    """
    years = sorted(root.glob("VOC20[0-9][0-9]"), reverse=True)
    folder = next((f for f in (root, *years) if (f / IMAGES).is_dir() and (f / MASKS).is_dir()), None)
    if folder is None or _has_own_classes(root) or _has_own_classes(folder):
        return None
    masks = image_files(folder / MASKS)
    of_2007 = (folder / "Annotations").is_dir()
    if not masks or not all(NAME.fullmatch(name) or (of_2007 and NAME_OF_2007.fullmatch(name)) for name in masks):
        return None
    found, notes = pair_by_lists(folder, image_files(folder / IMAGES), masks)
    layout = layout_of(folder, found, use_lists=False)
    if others := [year.name for year in years if year != folder]:
        notes.append(f"{', '.join(others)} left out; open each year's folder on its own")
    colored = read_header(next(iter(masks.values()))).mode.startswith("RGB")
    layout = replace(layout, root=root, notes=(*notes, *layout.notes))
    return Recognized("Pascal VOC", layout, BY_COLOR if colored else BY_NUMBER)


def _has_own_classes(folder: Path) -> bool:
    given = find_class_file(folder)
    return given is not None and (given.path.name not in CLASS_FILES or len(given.classes) != len(VOC))


def pair_by_lists(folder: Path, images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[Found, list[str]]:
    """Pair images and masks of equal names, by split where lists in ImageSets/Segmentation/ name any of them.

    Lists of other names than train.txt, val.txt and test.txt do not count. Returns the pairs, and notes on the lists:
    those of Pascal VOC and CVAT name images without masks, too.

    Raises:
        DataError: a list cannot be read.
    """
    found = Found()
    notes = []
    lists = {split: path for split in SPLITS if (path := folder / LISTS / f"{split}.txt").is_file()}
    for split, path in lists.items():
        names = dict.fromkeys(name for _, name in read_lines(path, "an image's name a line"))
        paired = [name for name in names if name in images and name in masks]
        for name in paired:
            found.add(split, Pair(name, images[name], masks[name]))
        if absent := len(names) - len(paired):
            notes.append(f"{absent} of {len(names)} names in {path.name} have no image with a mask and are left out")
    if found:
        return found, [f"splits from {', '.join(path.name for path in lists.values())}", *notes]
    found.match("", images, masks)
    return found, notes
