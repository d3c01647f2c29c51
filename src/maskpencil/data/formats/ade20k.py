"""ADE20K's scene parsing benchmark: `images/training/ADE_train_00000001.jpg` and its mask in `annotations/training/`.

Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017; ADEChallengeData2016.zip of
http://sceneparsing.csail.mit.edu, https://github.com/CSAILVision/sceneparsing
"""

import re
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.known_classes import ADE20K

UNPACKED = "ADEChallengeData2016"
SPLIT_FOLDERS = {"train": "training", "val": "validation"}
NAME = re.compile(r"ADE_(train|val)_\d{8}")

ENCODING = MaskEncoding("index", ADE20K, codes={0: IGNORE_INDEX} | {index + 1: index for index in range(len(ADE20K))})
"""0 is any other thing, which the benchmark does not judge; the classes are numbered from 1."""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or the ADEChallengeData2016/ in it, where all masks in `annotations/` are named as ADE20K's.

    Raises:
        DataError: no image has its mask.
    """
    folder = next(
        (f for f in (root, root / UNPACKED) if (f / "images").is_dir() and (f / "annotations").is_dir()), None
    )
    if folder is None:
        return None
    masks = {
        split: image_files(folder / "annotations" / name)
        for split, name in SPLIT_FOLDERS.items()
        if (folder / "annotations" / name).is_dir()
    }
    names = [name for files in masks.values() for name in files]
    if not names or not all(NAME.fullmatch(name) for name in names):
        return None
    found = Found()
    for split, files in masks.items():
        found.match(split, image_files(folder / "images" / SPLIT_FOLDERS[split]), files)
    return Recognized("ADE20K", layout_of(root, found), ENCODING)
