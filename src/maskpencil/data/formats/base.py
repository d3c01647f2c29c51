"""Define the interfaces of readers and writers of formats, copy images upright, and write this package's own format."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import ImageOps

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color, write_classes
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.layout import Layout
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.images import ORIENTATION, decoding, is_tiff, opened_image, read_exif, read_header, save_image
from maskpencil.known_classes import voc_color
from maskpencil.label_maps import IGNORE_COLOR, LabelMap, write_label_map
from maskpencil.plain_text import is_utf8


@dataclass(frozen=True)
class Recognized:
    """A data set in a known format, as a reader found it: its pairs and the possible encodings of its masks.

    Attributes:
        name: the name of the public data set or of the tool, for messages.
        layout: the pairs of images and masks by split.
        encoding: the most likely encoding, which maps mask values to classes.
        others: encodings that copies of the data set use. The first encoding that fits all masks is used.
        published: whether the data set is a public data set. A public data set in which no mask fits an encoding is
            read as a copy with other classes, which a classes.yaml must name, see `known.choose_encoding`.
    """

    name: str
    layout: Layout
    encoding: MaskEncoding
    others: tuple[MaskEncoding, ...] = ()
    published: bool = False

    @property
    def encodings(self) -> tuple[MaskEncoding, ...]:
        """All possible encodings, the most likely encoding first."""
        return (self.encoding, *self.others)


def has_other_classes(folder: Path, *counts: int) -> bool:
    """Return whether a folder holds a classes.yaml whose number of classes is not one of `counts`.

    In this case the folder is not the public data set, which has one of these numbers of classes.

    Raises:
        DataError: the classes.yaml does not describe classes.
    """
    given = find_own_class_file(folder)
    return given is not None and len(given.classes) not in counts


Reader = Callable[[Path], Recognized | None]
"""A function that reads a folder in one format, and quickly returns None for other folders and for missing folders.

A reader opens images only for their size. It raises `DataError` only if the folder is certainly in its format but
cannot be used, such as test images without masks.
"""


@dataclass(frozen=True)
class LabeledImage:
    """An image and its label map, to be written by a `Writer`.

    Attributes:
        split: train, val or test, or "" if there are no splits.
        name: the path below the split without suffix, with "/" between folders; it is unique in the split.
        image: the image file.
        label_map: the class indices or `IGNORE_INDEX`, (H, W) uint8, in the size of the image as rotated by EXIF.
    """

    split: str
    name: str
    image: Path
    label_map: LabelMap


AddImage = Callable[[LabeledImage], None]

Writer = Callable[[Path, ClassSet], AbstractContextManager[AddImage]]
"""A function that writes a data set into an empty folder: `with writer(folder, classes) as add`, then `add(image)`.

All files are complete when the `with` block ends. Label maps are not kept in memory.
"""


def copy_image(image: LabeledImage, target: Path) -> None:
    """Copy an image file byte for byte, or write the image upright if EXIF rotates or mirrors it.

    An upright image has the size of its label map even in tools that ignore EXIF. The file `target` appears whole or
    not at all.

    Raises:
        ImageError: the image cannot be read.
        OutputError: the copy cannot be written.
    """
    if is_turned(image.image):
        write_upright(image.image, target)
        return
    with written_whole(target) as temporary:
        shutil.copyfile(image.image, temporary)


def refuse_names(images: Iterable[Path], file_format: str) -> None:
    """Check, before any image is written, that a format can store the names of all images.

    Args:
        images: the image files.
        file_format: a key of `formats.WRITERS`. The formats "folder" and "yolo" store no names, so any name is valid.

    Raises:
        DataError: a name is not valid UTF-8, or has a line break where the format has one name per line.
    """
    if file_format in ("folder", "yolo"):
        return
    for image in images:
        if not is_utf8(image.name):
            raise DataError(f"{image}: its name is not valid UTF-8, which {file_format} needs; rename the file")
        if file_format in ("voc", "cvat") and len(image.name.splitlines()) != 1:
            raise DataError(f"{image}: its name has a line break, which {file_format} cannot hold; rename the file")


class FreeNames:
    """Makes names of images unique in each split; names that differ only in case count as equal."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def free(self, split: str, name: str) -> str:
        """Return `name`, with a number appended if it is already used in the split, and mark the result as used."""
        candidate, number = name, 1
        while (split, candidate.lower()) in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add((split, candidate.lower()))
        return candidate


def with_distinct_colors(classes: ClassSet) -> ClassSet:
    """Replace repeated colors of classes, so that programs which read masks by color do not confuse the classes.

    Of several classes with one color, such as ADE20K's road and skyscraper, the first keeps the color. The others, and
    a class whose color is `IGNORE_COLOR`, get the first unused color of Pascal VOC. The ignore index becomes 255.
    """
    spare = (voc_color(index) for index in range(256))  # enough, even if some of them are in use
    taken = {IGNORE_COLOR, *classes.palette}
    palette: list[Color] = []
    for color in classes.palette:
        if color in palette or color == IGNORE_COLOR:
            color = next(other for other in spare if other not in taken)
            taken.add(color)
        palette.append(color)
    return replace(classes, palette=tuple(palette), ignore_index=IGNORE_INDEX)


TURNED = range(2, 9)
"""The EXIF orientations that rotate or mirror an image; with other values the image is shown as stored."""

_EXIF_IFD, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003

_OPTIONS: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "JPEG": {"quality": 100, "subsampling": 0},  # the libraries in use cannot rotate a JPEG without decoding it
    "PNG": {"compress_level": 6},
    "WEBP": {"lossless": True, "exact": True, "method": 1},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
"""Pillow's options by file format, for encoding without loss or, in AVIF and JPEG, with the least loss."""


def is_turned(path: Path) -> bool:
    """Return whether EXIF or XMP rotates or mirrors an image, without decoding its pixels.

    Raises:
        ImageError: the file is not a readable image.
    """
    with decoding(str(path)):
        if is_tiff(path):  # Pillow does not support all combinations of bands
            return read_header(path).orientation in TURNED
    with opened_image(path) as image, decoding(str(path)):
        return read_exif(image, path).get(ORIENTATION, 1) in TURNED


def write_upright(source: Path, target: Path) -> None:
    """Write an image in its own file format, rotated or mirrored as EXIF says, without the EXIF orientation.

    The file `target` appears whole or not at all. Mode, bit depth, ICC profile, XMP and resolution are kept. The other
    EXIF entries are kept too, except in TIFF. PNG, TIFF and WebP are written without loss. AVIF and JPEG are encoded
    again, at quality 100 without chroma subsampling (4:4:4). Of several frames only the first is written.

    Raises:
        ImageError: `source` is not a readable image.
        OutputError: `target` cannot be written.
    """
    with opened_image(source) as image:
        with decoding(str(source)):
            own = image.format or ""
            file_format = "JPEG" if own == "MPO" else own  # a JPEG of a phone, followed by further images
            image.load()  # Pillow rotates a TIFF here
            turned = ImageOps.exif_transpose(image)
        exif = turned.getexif()
        details = exif.get_ifd(_EXIF_IFD)
        if _WIDTH in details and _HEIGHT in details:
            details[_WIDTH], details[_HEIGHT] = turned.size
        metadata = {name: turned.info[name] for name in ("icc_profile", "dpi", "xmp") if turned.info.get(name)}
        save_image(target, turned, file_format, exif=exif, **metadata, **_OPTIONS.get(file_format, {}))


@contextmanager
def write_folder(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images to `images/`, masks to `masks/`, and `classes.yaml`; a context manager, see `Writer`.

    Images are copied by `copy_image`. Masks are palette PNG files, in which the index is the class and 255 is ignored.
    Repeated colors are replaced, see `with_distinct_colors`.

    Raises:
        OutputError: a file cannot be written.
    """
    classes = with_distinct_colors(classes)

    def add(image: LabeledImage) -> None:
        below = Path(image.split) / image.name
        copy_image(image, root / "images" / below.with_name(below.name + image.image.suffix))
        write_label_map(root / "masks" / below.with_name(below.name + ".png"), image.label_map, classes.colors)

    yield add
    write_classes(root / "classes.yaml", classes)
