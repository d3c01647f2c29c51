"""Read ADE20K's 150 classes: `images/training/ADE_train_00000001.jpg` and its mask in `annotations/training/`.

Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017; ADEChallengeData2016.zip of
http://sceneparsing.csail.mit.edu, https://github.com/CSAILVision/sceneparsing
"""

import os
import re
from collections.abc import Collection
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.formats.base import Recognized, has_other_classes
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.known_classes import ADE20K

UNPACKED = "ADEChallengeData2016"
IMAGES, MASKS = "images", "annotations"
NAME = re.compile(r"ADE_(train|val)_\d{8}")

PUBLISHED = MaskEncoding("index", ADE20K, codes={0: IGNORE_INDEX} | {index + 1: index for index in range(len(ADE20K))})
"""The published mask values: 1 to 150 are the classes; 0 is everything else, which the benchmark does not evaluate."""

REDUCED = MaskEncoding(
    "index", ADE20K, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(ADE20K))}
)
"""The mask values after the conversion that other tools call "reduce_zero_label": 0 to 149 are the classes; 255 is
everything else."""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or `root`/ADEChallengeData2016, if all masks in its `annotations/` have ADE20K's file names.

    Return None for any other folder, and if a classes.yaml beside `annotations/` does not name exactly 150 classes.

    Raises:
        DataError: no image has a mask, or `root` holds the full ADE20K, with thousands of classes.
    """
    folder = next((f for f in (root, root / UNPACKED) if (f / IMAGES).is_dir() and (f / MASKS).is_dir()), None)
    if folder is None:
        _refuse_full(root)
        return None
    if has_other_classes(folder, len(ADE20K)):
        return None
    names = {split: _named(folder / MASKS, aliases) for split, aliases in SPLIT_ALIASES.items()}
    masks = {split: image_files(folder / MASKS / name) for split, name in names.items() if name}
    every = [name for files in masks.values() for name in files]
    if not every or not all(NAME.fullmatch(name) for name in every):
        return None
    found = Found()
    for split, files in masks.items():
        images = _named(folder / IMAGES, SPLIT_ALIASES[split])
        found.match(split, image_files(folder / IMAGES / images) if images else {}, files)
    return Recognized("ADE20K", layout_of(root, found), PUBLISHED, (REDUCED,), published=True)


def _named(folder: Path, names: tuple[str, ...]) -> str:
    """Return the first of `names` that is a subfolder of `folder`; "" if none of them is."""
    return next((name for name in names if (folder / name).is_dir()), "")


FULL = re.compile(r"ADE_(train|val|frame)_\d+_seg\.png")
"""Matches the mask file names of the full ADE20K, whose masks hold thousands of classes."""

DEEP = 7
"""The number of folder levels that are searched for masks of the full ADE20K, the data folder included."""


def _refuse_full(root: Path) -> None:
    """Check that `root` does not hold the full ADE20K, whose masks `X_seg.png` are beside the images.

    One folder on each of `DEEP` levels is searched: `images/` or else the first subfolder in alphabetical order.

    Raises:
        DataError: a mask of the full ADE20K was found.
    """
    place = root
    for _ in range(DEEP if root.is_dir() else 0):
        try:
            with os.scandir(place) as listed:
                entries = {entry.name: entry.is_dir(follow_symlinks=False) for entry in listed}
        except PermissionError:  # reported when the folder is read
            return
        mask = min((name for name in entries if name.endswith("_seg.png") and _is_full(name, entries)), default="")
        if mask:
            raise DataError(
                f"{place / mask}: belongs to the full ADE20K, with up to 3,688 classes, but at most {IGNORE_INDEX} "
                f"classes can be read; download {UNPACKED}, the same images with 150 classes"
            )
        inside = [name for name, is_folder in entries.items() if is_folder and not name.startswith(".")]
        if not inside:
            return
        place = place / (IMAGES if IMAGES in inside else min(inside))


def _is_full(mask: str, beside: Collection[str]) -> bool:
    """Return whether a mask belongs to the full ADE20K, judged by file names alone.

    Args:
        mask: the file name of the mask, which ends with `_seg.png`.
        beside: the names of all files in the folder of the mask.
    """
    stem = mask.removesuffix("_seg.png")
    parts = f"{stem}_parts_1.png" in beside and f"{stem}.json" in beside
    return bool(FULL.fullmatch(mask)) or parts or f"{stem}_atr.txt" in beside
