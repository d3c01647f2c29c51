"""Read KITTI's semantic segmentation: `training/image_2/000000_10.png` and `training/semantic/000000_10.png`.

Sources: Alhaija et al., "Augmented Reality Meets Computer Vision", IJCV 2018;
https://www.cvlibs.net/datasets/kitti/eval_semseg.php?benchmark=semantics2015. Datumaro and CVAT write the same folders
with classes of their own, named in `label_colors.txt`: https://docs.cvat.ai/docs/dataset_management/formats/format-kitti
"""

from dataclasses import replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import read_label_colors
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.known_classes import CITYSCAPES, CITYSCAPES_LABELS, CITYSCAPES_TRAIN_IDS

IMAGES, MASKS, OTHERS = "image_2", "semantic", ("semantic_rgb", "instance")
UNSPLIT = ("training", "default", ".")
"""Folders that are no split where they are alone: as published, as CVAT writes them, and the root itself."""

LABEL_COLORS = "label_colors.txt"

CITYSCAPES_IDS = MaskEncoding(
    "index",
    CITYSCAPES,
    codes={label_id % 256: train_id for label_id, train_id in CITYSCAPES_TRAIN_IDS.items()},  # -1 is 255 in a byte
)
"""The label ids of Cityscapes, which KITTI uses."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it, or `training/` or the folder of another split in it, holds `image_2/` and `semantic/`.

    Masks hold the label ids of Cityscapes, unless `label_colors.txt` names classes by their numbers. The data set has
    no splits: one in five images is set aside for validation. `semantic_rgb/`, `instance/` and the images of
    `testing/`, which have no masks, are left out.

    Raises:
        DataError: no image has its mask, or label_colors.txt is not in its format.
    """
    names = {".": "", "default": ""} | {alias: split for split in SPLITS for alias in SPLIT_ALIASES[split]}
    folders = {name: root / name for name in names if (root / name / IMAGES).is_dir()}
    labeled = {name: folder for name, folder in folders.items() if (folder / MASKS).is_dir()}
    if not labeled:
        return None
    found = Found()
    for name, folder in labeled.items():
        split = "" if len(labeled) == 1 and name in UNSPLIT else names[name]
        found.match(split, image_files(folder / IMAGES), image_files(folder / MASKS))
    layout = layout_of(root, found)
    notes = [
        f"{other}/ left out, its masks show the same"
        if other == OTHERS[0]
        else f"{other}/ left out, it numbers objects"
        for other in OTHERS
        if any((folder / other).is_dir() for folder in labeled.values())
    ]
    notes += [f"{name}/ left out, its images have no masks" for name in folders if name not in labeled]
    encoding = encoding_of(root, CITYSCAPES_IDS)
    return Recognized("KITTI semantics", replace(layout, notes=(*notes, *layout.notes)), encoding)


def encoding_of(root: Path, published: MaskEncoding) -> MaskEncoding:
    """Return the encoding by label_colors.txt, in whose order the classes are numbered from 0.

    It is the `published` one where there is no such file, or where it names the labels of Cityscapes.

    Raises:
        DataError: label_colors.txt is not in its format.
    """
    path = root / LABEL_COLORS
    if not path.is_file():
        return published
    classes = read_label_colors(path)
    if [*map(_plain, classes.names)] == [*map(_plain, CITYSCAPES_LABELS[: len(classes)])]:
        return published
    return MaskEncoding("index", classes, codes={IGNORE_INDEX: IGNORE_INDEX} | {i: i for i in range(len(classes))})


def _plain(name: str) -> str:
    return "".join(name.lower().split())  # Datumaro writes "trafficlight"
