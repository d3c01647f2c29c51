"""The formats of public data sets and other tools: one file per format, reading and writing together."""

from pathlib import Path

from maskpencil.data.formats import (
    bdd100k,
    coco,
    coco_panoptic,
    cvat,
    cvat_xml,
    darwin,
    datumaro,
    ground_truth,
    hasty,
    kitti_semantic,
    label_studio,
    label_studio_brush,
    labelbox,
    labelme,
    labelme_voc,
    labelme_web,
    mapillary,
    open_images,
    oxford_pets,
    published,
    supervisely,
    via,
    voc,
    yolo,
)
from maskpencil.data.formats.base import (
    AddImage,
    FreeNames,
    LabeledImage,
    Reader,
    Recognized,
    Writer,
    refuse_names,
    write_folder,
)
from maskpencil.data.layout.splits import find_lists
from maskpencil.images import IMAGE_SUFFIXES

__all__ = [
    "READERS",
    "WRITERS",
    "AddImage",
    "FreeNames",
    "LabeledImage",
    "Reader",
    "Recognized",
    "Writer",
    "recognize",
    "recognize_annotations",
    "recognize_inside",
    "refuse_names",
]

READERS: tuple[Reader, ...] = (
    published.recognize_kitti_road,
    kitti_semantic.recognize,
    published.recognize_cityscapes,
    published.recognize_ade20k,
    published.recognize_camvid,
    mapillary.recognize,
    bdd100k.recognize,
    oxford_pets.recognize,
    open_images.recognize,
    cvat.recognize,
    labelme_voc.recognize,
    labelme_web.recognize,
    voc.recognize,
    published.recognize_roboflow,
    cvat_xml.recognize,
    supervisely.recognize,
    datumaro.recognize,
    coco.recognize,
    coco_panoptic.recognize,
    labelme.recognize,
    via.recognize,
    hasty.recognize,
    darwin.recognize,
    labelbox.recognize,
    ground_truth.recognize,
    label_studio.recognize,
    label_studio_brush.recognize,
    yolo.recognize,
)
"""All readers; the first that recognizes a folder reads it."""

READERS_OF_FOLDERS: tuple[Reader, ...] = (
    published.recognize_kitti_road,
    kitti_semantic.recognize,
    published.recognize_cityscapes,
    published.recognize_ade20k,
    published.recognize_camvid,
    mapillary.recognize,
    bdd100k.recognize,
    oxford_pets.recognize,
    open_images.recognize,
    cvat.recognize,
    labelme_voc.recognize,
    voc.recognize,
    published.recognize_roboflow,
    supervisely.recognize,
)
"""The readers that know a folder by the names in it, which is quick, and do not search the folders below it."""

ANNOTATION_READERS = (
    coco.recognize,
    labelme.recognize,
    label_studio.recognize,
    label_studio_brush.recognize,
    datumaro.recognize,
    cvat_xml.recognize,
    supervisely.recognize,
    via.recognize,
    hasty.recognize,
    darwin.recognize,
    labelbox.recognize,
    labelme_web.recognize,
)
"""The readers that can take the images from a folder of their own, as their second argument."""

WRITERS: dict[str, Writer] = {
    "folder": write_folder,
    "voc": voc.write_voc,
    "cvat": cvat.write_cvat,
    "coco": coco.write_coco,
    "labelme": labelme.write_labelme,
    "yolo": yolo.write_yolo,
}
"""All writers by the name of their format."""


def recognize(root: Path) -> Recognized | None:
    """Return the result of the first reader that recognizes the folder; None where no reader does.

    Raises:
        DataError: a reader recognizes the folder, but nothing in it can be used.
    """
    return next((recognized for reader in READERS if (recognized := reader(root))), None)


def recognize_inside(root: Path) -> Recognized | None:
    """Return what a reader recognizes in the only folder in `root`, such as `data_road/`, without images beside it.

    Raises:
        DataError: a reader recognizes the folder, but nothing in it can be used.
    """
    if not root.is_dir():
        return None
    entries = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    folders = [path for path in entries if path.is_dir()]
    if len(folders) != 1 or any(path.suffix.lower() in IMAGE_SUFFIXES for path in entries) or find_lists(root):
        return None
    return next((recognized for reader in READERS_OF_FOLDERS if (recognized := reader(folders[0]))), None)


def recognize_annotations(root: Path, images: Path) -> Recognized | None:
    """Return the result of the first reader that finds annotations in the folder `root` of images in another folder.

    Raises:
        DataError: a reader recognizes the annotations, but nothing in them can be used.
    """
    return next((recognized for read in ANNOTATION_READERS if (recognized := read(root, images))), None)
