"""Data sets in the formats of other tools: one writer a file."""

from maskpencil.data.writers.base import AddImage, LabeledImage, Writer
from maskpencil.data.writers.coco import write_coco
from maskpencil.data.writers.cvat import write_cvat
from maskpencil.data.writers.folder import write_folder
from maskpencil.data.writers.labelme import write_labelme
from maskpencil.data.writers.voc import write_voc
from maskpencil.data.writers.yolo import write_yolo

__all__ = ["WRITERS", "AddImage", "LabeledImage", "Writer"]

WRITERS: dict[str, Writer] = {
    "folder": write_folder,
    "voc": write_voc,
    "cvat": write_cvat,
    "coco": write_coco,
    "labelme": write_labelme,
    "yolo": write_yolo,
}
"""All writers by the name of their format."""
