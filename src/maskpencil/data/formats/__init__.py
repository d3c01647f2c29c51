"""Read and write the formats of public data sets and of other tools: one module per format."""

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
"""The readers of all formats, in the order in which they are tried: the first that recognizes a folder reads it."""

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
"""The readers of annotation files that take the folder of the images as an optional second argument."""

WRITERS: dict[str, Writer] = {
    "folder": write_folder,
    "voc": voc.write_voc,
    "cvat": cvat.write_cvat,
    "coco": coco.write_coco,
    "labelme": labelme.write_labelme,
    "yolo": yolo.write_yolo,
}
"""The writers of data sets by the names of their formats."""


def recognize(root: Path) -> Recognized | None:
    """Read a data folder by the first of the `READERS` that recognizes its format; return None if none of them does.

    Raises:
        DataError: a reader recognizes the folder, but cannot use its contents, or a JSON file was cut short.
    """
    return _whole(root, lambda: next((recognized for reader in READERS if (recognized := reader(root))), None))


def recognize_annotations(root: Path, images: Path) -> Recognized | None:
    """Read annotations by the first of the `ANNOTATION_READERS` that recognizes them; return None if none of them does.

    Args:
        root: the folder of the annotations.
        images: the folder of the images, which may be outside `root`.

    Raises:
        DataError: a reader recognizes the annotations, but cannot use them, or a JSON file was cut short.
    """
    readers = ANNOTATION_READERS
    return _whole(root, lambda: next((recognized for read in readers if (recognized := read(root, images))), None))


def _whole(root: Path, recognize: Callable[[], Recognized | None]) -> Recognized | None:
    """Call `recognize`, and if annotations may be missing, check that no JSON file below `root` was cut short.

    Readers skip a JSON file that was cut short, so its annotations would be missing without notice. The JSON files are
    checked in two cases: `recognize` raises an error whose message does not name a JSON file, or masks are drawn from
    annotations and some images have no annotations. The symbolic links whose targets do not exist are added to the
    message of an error of `recognize`.

    Raises:
        DataError: a checked file was cut short or is not JSON, or `recognize` raised the error.
    """
    try:
        recognized = recognize()
    except DataError as error:
        if ".json" not in str(error):  # otherwise the message names the file already
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
