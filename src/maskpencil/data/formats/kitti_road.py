"""KITTI Road: `training/image_2/um_000000.png` and its mask `training/gt_image_2/um_road_000000.png`.

Source: Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms",
ITSC 2013; https://www.cvlibs.net/datasets/kitti/eval_road.php
"""

import re
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError

CLASSES = ClassSet(("not road", "road"), ((0, 0, 0), (255, 0, 255)))
"""Road in the magenta of the masks; all else black, not their red, which would hide the image in an overlay."""

ENCODING = MaskEncoding("color", CLASSES, codes={0xFF0000: 0, 0xFF00FF: 1, 0x000000: IGNORE_INDEX})
"""Red, magenta, and black for what the benchmark does not judge."""

# urban roads: unmarked (uu), marked with one lane a direction (um), and with several (umm)
IMAGE = re.compile(r"(uu|umm?)_\d{6}")
MASK = re.compile(r"(?P<road>uu|umm?)_(?P<task>road|lane)_(?P<number>\d{6})")


def recognize(root: Path) -> Recognized | None:
    """Read `root` where it, or the `training/` in it, holds `image_2/` and `gt_image_2/`.

    The data set has no splits of its own: one in five images is set aside for validation, or list files share them
    out, see `layout.layout_of`. The masks of the ego-lane, `um_lane_*`, belong to another task and are left out.

    Raises:
        DataError: no image has its mask, or `root` is the `testing/` folder, whose masks were never published.
    """
    folder = next(
        (f for f in (root, root / "training") if (f / "image_2").is_dir() and (f / "gt_image_2").is_dir()), None
    )
    if folder is None:
        _refuse_testing(root)
        return None
    images, masks = image_files(folder / "image_2"), image_files(folder / "gt_image_2")
    known = {path: match for name, path in masks.items() if (match := MASK.fullmatch(name))}
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
    return Recognized("KITTI Road", replace(layout, notes=(*notes, *layout.notes)), ENCODING)


def _refuse_testing(root: Path) -> None:
    if (root / "image_2").is_dir() and any(IMAGE.fullmatch(name) for name in image_files(root / "image_2")):
        raise DataError(
            f"{root}: holds KITTI Road images in image_2/, but no gt_image_2/ with their masks, which the test set "
            "does not have; open training/ instead"
        )
