"""Ultralytics YOLO: a YAML file that names the classes, and polygons in `labels/` or label maps in `masks/`."""

from maskpencil.data.formats.yolo.read import recognize
from maskpencil.data.formats.yolo.write import write_yolo

__all__ = ["recognize", "write_yolo"]
