"""The formats of public data sets and other tools: one file per format, reading and writing together."""

from collections.abc import Callable
from pathlib import Path

from maskpencil.data.drawing import Drawing
from maskpencil.data.formats import (
    ade20k,
    bdd100k,
    camvid,
    cityscapes,
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
    labelme_folders,
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
from maskpencil.data.formats.annotations import refuse_cut_json
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
from maskpencil.data.formats.cityscapes import recognize_masks
from maskpencil.data.layout.leftovers import describe_broken_links
from maskpencil.errors import DataError

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
    "recognize_masks",
    "refuse_names",
]

READERS: tuple[Reader, ...] = (
    published.recognize_kitti_road,
    kitti_semantic.recognize,
    cityscapes.recognize,
    ade20k.recognize,
    camvid.recognize,
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
    labelme_folders.recognize,
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
"""The readers that accept a separate folder of images as their second argument."""

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
    """Return the result of the first reader that recognizes the folder; None if no reader recognizes it.

    Raises:
        DataError: a reader recognizes the folder, but nothing in it can be used.
    """
    return _whole(root, lambda: next((recognized for reader in READERS if (recognized := reader(root))), None))


def recognize_annotations(root: Path, images: Path) -> Recognized | None:
    """Return the result of the first reader that recognizes the annotations in `root`; None if no reader does.

    Args:
        root: the folder of the annotations.
        images: the folder of the images.

    Raises:
        DataError: a reader recognizes the annotations, but nothing in them can be used.
    """
    readers = ANNOTATION_READERS
    return _whole(root, lambda: next((recognized for read in readers if (recognized := read(root, images))), None))


def _whole(root: Path, recognize: Callable[[], Recognized | None]) -> Recognized | None:
    """Return the result of `recognize`, after a check for JSON files below `root` that were cut short.

    Readers do not recognize such a file, so its annotations would be missing. The files are checked only if `recognize`
    raises an error that names no JSON file, or if its result has images without annotations. An error also names the
    symbolic links whose targets do not exist.

    Raises:
        DataError: a checked file was cut short or is not JSON; otherwise any error of `recognize`.
    """
    try:
        recognized = recognize()
    except DataError as error:
        if ".json" not in str(error):  # else it names the file already
            refuse_cut_json(root)
        links = describe_broken_links(root)
        if links and links not in str(error):
            raise DataError(f"{error}; {links}") from error
        raise
    if recognized and any(fault.kind == "images-without-mask" for fault in recognized.layout.faults):
        pairs = (pair for pairs in recognized.layout.splits.values() for pair in pairs)
        if isinstance(next(pairs).mask, Drawing):
            refuse_cut_json(root)
    return recognized
