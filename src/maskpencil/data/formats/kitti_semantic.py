"""Read KITTI's semantic segmentation: `training/image_2/000000_10.png` and `training/semantic/000000_10.png`.

Sources: Alhaija et al., "Augmented Reality Meets Computer Vision", IJCV 2018;
https://www.cvlibs.net/datasets/kitti/eval_semseg.php?benchmark=semantics2015. Datumaro and CVAT write the same folders
with other classes, which `label_colors.txt` names: https://docs.cvat.ai/docs/dataset_management/formats/format-kitti
"""

from dataclasses import replace
from pathlib import Path

from maskpencil.data.formats import cityscapes
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS

IMAGES, MASKS, OTHERS = "image_2", "semantic", ("semantic_rgb", "instance")
UNSPLIT = ("training", "default", ".")
"""Folders that hold a data set without splits if no other folder has masks: KITTI's name, CVAT's name and the root."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if `root` or the folder of a split holds `image_2/` and `semantic/`; otherwise return None.

    Masks hold the label ids of Cityscapes. If `root` holds a `label_colors.txt` with other labels, the mask values are
    line numbers of this file, from 0. KITTI itself has no splits, so one in five images is set aside for validation.
    `semantic_rgb/` and `instance/` are left out, and so are the images of `testing/`, which have no masks.

    Raises:
        DataError: no image has a mask, or label_colors.txt is not a list of colors and labels.
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
    encoding = cityscapes.encoding_by_labels(root)
    return Recognized("KITTI semantics", replace(layout, notes=(*notes, *layout.notes)), encoding)
