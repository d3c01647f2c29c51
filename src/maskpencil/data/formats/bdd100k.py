"""Read BDD100K, images of streets: `images/10k/train/ID.jpg` and masks in `labels/sem_seg/masks/train/ID.png`.

Sources: Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020;
https://doc.bdd100k.com/format.html and, for the first release, https://github.com/ucbdrive/bdd100k/issues/43
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.layout.splits import SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES

TRAIN_IDS = MaskEncoding(
    "index", CITYSCAPES, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(CITYSCAPES))}
)

DRIVABLE = MaskEncoding(
    "index",
    ClassSet(("direct", "alternative", "background"), ((219, 94, 86), (86, 211, 219), (0, 0, 0))),
    codes={IGNORE_INDEX: IGNORE_INDEX, 0: 0, 1: 1, 2: 2},
)
"""The encoding of drivable area masks: direct is the lane of the camera's car, alternative are the other lanes."""

WRAPPERS = (".", "bdd100k", "bdd100k/seg", "seg")
"""The folders, relative to the data folder, into which the archives may have been unpacked."""


@dataclass(frozen=True)
class Task:
    """A task of the data set, such as drivable area.

    Attributes:
        name: the name of the data set for this task, for messages.
        masks: the folder of the masks.
        images: the possible folders of the images, the most likely first.
        ending: the text that follows the image's name in the name of its mask, such as "_train_id".
        encoding: the encoding of the masks.
    """

    name: str
    masks: str
    images: tuple[str, ...]
    ending: str
    encoding: MaskEncoding


TASKS = (
    Task("BDD100K", "labels/sem_seg/masks", ("images/10k", "images/100k", "images"), "", TRAIN_IDS),
    Task("BDD100K, drivable area", "labels/drivable/masks", ("images/100k", "images"), "", DRIVABLE),
    Task("BDD100K", "labels", ("images",), "_train_id", TRAIN_IDS),
)
"""The tasks in order of preference; the last task has the folders of the first release."""


OTHERS = {
    "labels/lane/masks": "hold bits for kind, style and direction of lanes",
    **{f"labels/{task}/bitmasks": "hold numbers of objects" for task in ("ins_seg", "pan_seg", "seg_track_20")},
}
"""The mask folders of tasks that are not read, and what these masks hold: https://doc.bdd100k.com/format.html"""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or one of the `WRAPPERS` below it, if this folder holds images and masks of one of the `TASKS`.

    Return None if no folder holds them. Each split, such as `train/`, has its own folder of masks. The test images are
    left out if they have no masks, since BDD100K does not publish masks for them.

    Raises:
        DataError: no image has a mask, or there are only masks of lanes or of objects.
    """
    for folder in (root / wrapper for wrapper in WRAPPERS):
        for task in TASKS:
            masks = {split: _files(folder / task.masks / split) for split in SPLITS}
            names = [name for files in masks.values() for name in files]
            if names and all(name.endswith(task.ending) for name in names):
                return _recognized(root, folder, task, masks)
        for name, meaning in OTHERS.items():
            if (folder / "images").is_dir() and any((folder / name / split).is_dir() for split in SPLITS):
                raise DataError(
                    f"{folder / name}: its masks {meaning}; expected masks of classes; download the masks of semantic "
                    f"segmentation, {folder / TASKS[0].masks}, or of drivable area, {folder / TASKS[1].masks}"
                )
    return None


def _recognized(root: Path, folder: Path, task: Task, masks: Mapping[str, Mapping[str, Path]]) -> Recognized | None:
    images = next((folder / name for name in task.images if (folder / name / "train").is_dir()), None)
    images = images or next((folder / name for name in task.images if (folder / name / "val").is_dir()), None)
    if images is None:
        return None
    found = Found()
    for split, files in masks.items():
        if files:
            found.match(
                split, _files(images / split), {name.removesuffix(task.ending): path for name, path in files.items()}
            )
    layout = layout_of(root, found, use_lists=False)
    notes = [f"images from {images.relative_to(root)}/, masks from {(folder / task.masks).relative_to(root)}/"]
    if (images / "test").is_dir() and not masks["test"]:
        notes.append("test/ left out, its images have no masks")
    return Recognized(task.name, replace(layout, notes=(*notes, *layout.notes)), task.encoding)


def _files(folder: Path) -> dict[str, Path]:
    return image_files(folder) if folder.is_dir() else {}
