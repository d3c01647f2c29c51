"""Read KITTI Road and the mask exports of Roboflow; both are recognized by their file and folder names."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import read_pixel_values
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError

KITTI_ROAD_CLASSES = ClassSet(("not road", "road"), ((0, 0, 0), (255, 0, 255)))
"""The classes and their colors in overlays. The class road is magenta, as in the masks. The class not road is black
instead of the red in the masks, since red would hide the image."""

KITTI_ROAD_ENCODING = MaskEncoding(
    "color", KITTI_ROAD_CLASSES, codes={0xFF0000: 0, 0xFF00FF: 1, 0x000000: IGNORE_INDEX}
)
"""In the masks red is not road, magenta is road, and black marks pixels that the benchmark does not evaluate."""

# urban roads: unmarked (uu), marked with one lane per direction (um), marked with several lanes per direction (umm)
KITTI_ROAD_IMAGE = re.compile(r"(uu|umm?)_\d{6}")
KITTI_ROAD_MASK = re.compile(r"(?P<road>uu|umm?)_(?P<task>road|lane)_(?P<number>\d{6})")


def recognize_kitti_road(root: Path) -> Recognized | None:
    """Read `root` if `root` or `root/training/` holds `image_2/` and `gt_image_2/`; otherwise return None.

    `training/image_2/um_000000.png` has the mask `training/gt_image_2/um_road_000000.png`. Source: Fritsch, Kuehnl,
    Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms", ITSC 2013;
    https://www.cvlibs.net/datasets/kitti/eval_road.php

    The data set has no splits: one in five images is set aside for validation, unless list files assign images to
    splits, see `layout.layout_of`. The masks `um_lane_*`, which mark the lane of the vehicle, belong to another task
    and are left out.

    Raises:
        DataError: no image has a mask, or `root` is the folder `testing/`, whose masks were never published.
    """
    folder = next(
        (f for f in (root, root / "training") if (f / "image_2").is_dir() and (f / "gt_image_2").is_dir()), None
    )
    if folder is None:
        _refuse_kitti_testing(root)
        return None
    images, masks = image_files(folder / "image_2"), image_files(folder / "gt_image_2")
    known = {path: match for name, path in masks.items() if (match := KITTI_ROAD_MASK.fullmatch(name))}
    road = {f"{match['road']}_{match['number']}": path for path, match in known.items() if match["task"] == "road"}
    found = Found(masks_alone=[path for path in masks.values() if path not in known])
    found.match("", images, road)
    if not any(found.splits.values()):
        raise DataError(
            f"{folder}: no image in image_2/ has a mask in gt_image_2/; expected image_2/um_000000.png and "
            "gt_image_2/um_road_000000.png, as in the data set"
        )
    layout = layout_of(root, found)
    notes = []
    if lanes := len(known) - len(road):
        notes.append(f"{lanes} um_lane masks left out, they are for another task")
    if folder != root and (root / "testing").is_dir():
        notes.append("testing/ left out, its images have no masks")
    return Recognized("KITTI Road", replace(layout, notes=(*notes, *layout.notes)), KITTI_ROAD_ENCODING)


def _refuse_kitti_testing(root: Path) -> None:
    if (root / "image_2").is_dir() and any(KITTI_ROAD_IMAGE.fullmatch(name) for name in image_files(root / "image_2")):
        raise DataError(
            f"{root}: holds images of KITTI Road in image_2/, but gt_image_2/ with their masks is missing, as in the "
            "test set; open the folder training/ of the data set instead"
        )


ROBOFLOW_CLASS_FILE = "_classes.csv"
ROBOFLOW_ENDING = "_mask"


def recognize_roboflow(root: Path) -> Recognized | None:
    """Read `root` if its `train/`, `valid/` or `test/`, or `root` itself, holds `_classes.csv` and masks.

    Otherwise return None. The mask of `train/x.jpg` is `train/x_mask.png`; the columns of `_classes.csv` are
    `Pixel Value` and `Class`. Classes are numbered from 0 in the order of their pixel values. Pixels of 255 are ignored
    unless `_classes.csv` gives the value 255 a class. Source:
    https://roboflow.com/formats/semantic-segmentation-masks-png

    Raises:
        DataError: a `_classes.csv` has another format, or two splits have different classes or pixel values.
    """
    folders = {
        split: folder
        for split, aliases in SPLIT_ALIASES.items()
        if (folder := next((root / alias for alias in aliases if (root / alias / ROBOFLOW_CLASS_FILE).is_file()), None))
    }
    if not folders and (root / ROBOFLOW_CLASS_FILE).is_file():
        folders = {"": root}
    found = Found()
    for split, folder in folders.items():
        _add(found, split, folder)
    found.warn(
        "splits-without-classes",
        [root / alias for alias in _without_table(root, folders)],
        f"{{n}} {{folder|folders}} with masks, but without {ROBOFLOW_CLASS_FILE} left out",
        f"copy {ROBOFLOW_CLASS_FILE} there from another split",
    )
    if not any(found.splits.values()):
        return None
    tables = {
        folder / ROBOFLOW_CLASS_FILE: read_pixel_values(folder / ROBOFLOW_CLASS_FILE) for folder in folders.values()
    }
    (first, table), *others = tables.items()
    for path, other in others:
        if other != table:
            raise DataError(f"{path}: has other classes or pixel values than {first}; export all splits together")
    return Recognized("Roboflow masks", layout_of(root, found), _encoding(first, table))


def _without_table(root: Path, folders: Mapping[str, Path]) -> list[str]:
    """Return the names of split folders (such as `valid`) that hold masks but no `_classes.csv`, sorted.

    Args:
        root: the folder of the data set.
        folders: {split: folder} for the splits that have a `_classes.csv`; other folders of these splits do not count.
    """
    others = {alias for split, aliases in SPLIT_ALIASES.items() if split not in folders for alias in aliases}
    return sorted(alias for alias in others if any((root / alias).glob(f"*{ROBOFLOW_ENDING}.*")))


def _add(found: Found, split: str, folder: Path) -> None:
    files = image_files(folder)
    masks = {name.removesuffix(ROBOFLOW_ENDING): path for name, path in files.items() if name.endswith(ROBOFLOW_ENDING)}
    for name, path in files.items():
        if name in masks:
            found.add(split, Pair(name, path, masks[name]))
        elif not name.endswith(ROBOFLOW_ENDING):
            found.images_alone.append(path)
        elif name.removesuffix(ROBOFLOW_ENDING) not in files:
            found.masks_alone.append(path)


def _encoding(path: Path, table: dict[int, str]) -> MaskEncoding:
    try:
        classes = ClassSet(tuple(table.values()))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {v: i for i, v in enumerate(table)})
