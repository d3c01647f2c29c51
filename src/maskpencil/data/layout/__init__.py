"""Find pairs of images and masks and their splits."""

from maskpencil.data.layout.find import (
    ANYWHERE,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    Layout,
    Places,
    find_layout,
    layout_of,
)
from maskpencil.data.layout.pairs import Found, Pair, files_below, find_image, image_files, special_files

__all__ = [
    "ANYWHERE",
    "IMAGE_FOLDERS",
    "MASK_FOLDERS",
    "Found",
    "Layout",
    "Pair",
    "Places",
    "files_below",
    "find_image",
    "find_layout",
    "image_files",
    "layout_of",
    "special_files",
]
