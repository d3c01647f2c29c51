"""Read Mapillary Vistas 1.x and 2.0: `training/images/`, with masks in `training/labels/` or `training/v2.0/labels/`.

Source: Neuhold et al., "The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes", ICCV 2017;
https://www.mapillary.com/dataset/vistas and https://github.com/mapillary/mapillary_vistas
"""

from dataclasses import dataclass, replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.class_files import VistasLabel, read_vistas_labels, vistas_classes
from maskpencil.data.formats.base import Recognized
from maskpencil.data.layout import Found, image_files, layout_of
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError

FOLDERS = {"training": "train", "validation": "val", "train": "train", "val": "val"}
"""Maps each folder name to its split: the published names first, then the names that tools write."""
TESTING = "testing"
IMAGES, LABELS, OBJECTS, PANOPTIC = "images", "labels", "instances", "panoptic"


@dataclass(frozen=True)
class Release:
    """A release of the data set.

    `config` is the name of the JSON file that lists the label names. `folder` is the subfolder of each split folder
    that holds `labels/`: "v2.0" for `training/v2.0/labels/`, "." for `training/labels/`.
    """

    config: str
    folder: str


RELEASES = (Release("config_v2.0.json", "v2.0"), Release("config_v1.2.json", "v1.2"), Release("config.json", "."))
"""The releases, the newest first; `recognize` reads the first release whose masks and file of label names exist."""


def recognize(root: Path) -> Recognized | None:
    """Read `root` if it has `training/images/` or `validation/images/`, and the masks and label names of a release.

    Otherwise return None. If there are several releases, the newest is read. The masks in `instances/` and `panoptic/`
    are left out, and so are the images in `testing/`, which have no masks. Pixels with a label that the data set does
    not evaluate are ignored.

    Raises:
        DataError: the file of label names has another format, no image has a mask, or all masks are in `instances/`,
            whose values number objects.
    """
    there = [release for release in RELEASES if _has_labels(root, release)]
    named = [release for release in there if (root / release.config).is_file()]
    if not named:
        _refuse_without_labels(root)
        return None
    release = named[0]
    labels = read_vistas_labels(root / release.config)
    if labels is None:
        if release.folder == ".":  # config.json may be anything
            return None
        raise DataError(
            f"{root / release.config}: has no labels with names and colors; unpack the file from the data set again"
        )
    found = Found()
    for folder, split in FOLDERS.items():
        masks = root / folder / release.folder / LABELS
        if masks.is_dir() and (root / folder / IMAGES).is_dir():
            found.match(split, image_files(root / folder / IMAGES), image_files(masks))
    layout = layout_of(root, found)
    notes = [f"labels from {LABELS}/ in {release.folder}/" if release.folder != "." else f"labels from {LABELS}/"]
    if others := [f"{LABELS}/" if other.folder == "." else other.folder for other in there if other != release]:
        notes.append(f"{', '.join(others)} left out; to read it, move {release.folder}/ and {release.config} away")
    if (root / TESTING).is_dir():
        notes.append(f"{TESTING}/ left out, its images have no masks")
    name = "Mapillary Vistas" + (f" {release.folder}" if release.folder != "." else "")
    return Recognized(name, replace(layout, notes=(*notes, *layout.notes)), _encoding(root / release.config, labels))


def _refuse_without_labels(root: Path) -> None:
    """Raise an error for a data set whose only masks are in `instances/`; their values number objects, not classes.

    A data set with `panoptic/` raises no error, since `coco_panoptic.recognize` reads it.

    Raises:
        DataError: `instances/` exists, but neither `labels/` nor `panoptic/`.
    """
    if not any((root / folder / IMAGES).is_dir() for folder in FOLDERS):
        return
    for release in RELEASES:
        config, folders = root / release.config, [root / folder / release.folder for folder in FOLDERS]
        objects = next((folder / OBJECTS for folder in folders if (folder / OBJECTS).is_dir()), None)
        panoptic = any((folder / PANOPTIC).is_dir() for folder in folders)
        if objects and not panoptic and config.is_file() and read_vistas_labels(config):
            raise DataError(
                f"{objects}: its masks from Mapillary Vistas number objects, not classes, and {LABELS}/ with the class "
                f"masks is missing; unpack {LABELS}/ from the data set to {objects.parent / LABELS}"
            )


def _has_labels(root: Path, release: Release) -> bool:
    """Return whether at least one split folder has both `images/` and the folder `labels/` of the release."""
    folders = [root / folder for folder in FOLDERS]
    return any((f / IMAGES).is_dir() and (f / release.folder / LABELS).is_dir() for f in folders)


def _encoding(path: Path, labels: tuple[VistasLabel, ...]) -> MaskEncoding:
    try:
        classes = vistas_classes(labels)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    numbers = [number for number, label in enumerate(labels) if label.evaluated]
    codes = dict.fromkeys(range(len(labels)), IGNORE_INDEX) | {number: index for index, number in enumerate(numbers)}
    return MaskEncoding("index", classes, codes=codes)
