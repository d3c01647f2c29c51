"""Read images of any kind as RGB uint8, and write images."""

from maskpencil.images.files import (
    FORMATS,
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    ORIENTATION,
    UNREAD_SUFFIXES,
    decoding,
    encoded,
    image_bytes,
    is_tiff,
    naming,
    opened_image,
    read_exif,
    refuse_unknown_suffix,
    save_image,
    upright,
    write_image,
)
from maskpencil.images.pages import count_pages, pages_of
from maskpencil.images.pixels import ImageSource, Pixels, Remarks, RGBImage, fitted_size, scaled
from maskpencil.images.quick_png import quick_png
from maskpencil.images.read import Header, encoded_size, read_header, read_image, read_pixels
from maskpencil.images.stored import Stored, read_stored

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ORIENTATION",
    "UNREAD_SUFFIXES",
    "Header",
    "ImageSource",
    "Pixels",
    "RGBImage",
    "Remarks",
    "Stored",
    "count_pages",
    "decoding",
    "encoded",
    "encoded_size",
    "fitted_size",
    "image_bytes",
    "is_tiff",
    "naming",
    "opened_image",
    "pages_of",
    "quick_png",
    "read_exif",
    "read_header",
    "read_image",
    "read_pixels",
    "read_stored",
    "refuse_unknown_suffix",
    "save_image",
    "scaled",
    "upright",
    "write_image",
]
