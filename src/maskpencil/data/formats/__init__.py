"""Public data sets, read as they were unpacked: one reader a file, known by the names of their folders."""

from pathlib import Path

from maskpencil.data.formats import (
    ade20k,
    camvid,
    cityscapes,
    coco,
    cvat,
    datumaro,
    kitti_road,
    label_studio,
    labelme,
    roboflow,
    voc,
    yolo,
)
from maskpencil.data.formats.base import Reader, Recognized

__all__ = ["READERS", "Reader", "Recognized", "recognize"]

READERS: tuple[Reader, ...] = (
    kitti_road.recognize,
    cityscapes.recognize,
    ade20k.recognize,
    camvid.recognize,
    cvat.recognize,
    voc.recognize,
    roboflow.recognize,
    datumaro.recognize,
    coco.recognize,
    labelme.recognize,
    label_studio.recognize,
    yolo.recognize,
)
"""All readers; the first that knows a folder reads it."""


def recognize(root: Path) -> Recognized | None:
    """What the first reader that knows the folder says of it; None where none does.

    Raises:
        DataError: a reader knows the folder, but there is nothing in it to use.
    """
    return next((recognized for reader in READERS if (recognized := reader(root))), None)
