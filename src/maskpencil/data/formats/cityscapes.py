"""Cityscapes: `leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png` and its mask in `gtFine/`.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016;
https://github.com/mcordts/cityscapesScripts
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES, CITYSCAPES_TRAIN_IDS

IMAGES, MASKS = "leftImg8bit", "gtFine"
IMAGE_ENDING = "_leftImg8bit"

BY_ENDING = {
    "_gtFine_labelIds": MaskEncoding(
        "index",
        CITYSCAPES,
        codes={label_id % 256: train_id for label_id, train_id in CITYSCAPES_TRAIN_IDS.items()},  # -1 is 255 in a byte
    ),
    "_gtFine_labelTrainIds": MaskEncoding(
        "index", CITYSCAPES, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(CITYSCAPES))}
    ),
}
"""What the masks mean by the end of their names. labelIds come first: they are as published, while trainIds are made on
the user's machine, by a table that one is invited to change."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` where it holds `leftImg8bit/` and `gtFine/` with the masks of `labelIds`, or of `labelTrainIds`.

    The test split is left out: its masks were never published, what lies in `gtFine/test` are dummies.

    Raises:
        DataError: no image has its mask, as where there is the test split alone.
    """
    if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
        return None
    masks = {split: _files(root / MASKS / split) for split in ("train", "val")}
    ending = next((e for e in BY_ENDING if any(name.endswith(e) for files in masks.values() for name in files)), None)
    has_test = (root / IMAGES / "test").is_dir()
    if ending is None:
        if not has_test or any((root / IMAGES / split).is_dir() for split in masks):
            return None
        raise DataError(
            f"{root}: holds Cityscapes' test split alone, whose masks were never published; add train/ and val/"
        )
    found = Found()
    for split, files in masks.items():
        images = _files(root / IMAGES / split)
        found.match(split, _ending_with(IMAGE_ENDING, images), _ending_with(ending, files))
    layout = layout_of(root, found)
    notes = ["test left out, its masks are dummies"] if has_test else []
    return Recognized("Cityscapes", replace(layout, notes=(*notes, *layout.notes)), BY_ENDING[ending])


def _files(folder: Path) -> dict[str, Path]:
    return image_files(folder) if folder.is_dir() else {}


def _ending_with(ending: str, files: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files whose names end so, by their names without it, such as aachen/aachen_000000_000019."""
    return {name.removesuffix(ending): path for name, path in files.items() if name.endswith(ending)}
