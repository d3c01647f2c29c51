"""The interfaces of readers and writers of formats."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet, Color
from maskpencil.data.formats.upright import is_turned, write_upright
from maskpencil.data.layout import Layout
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.known_classes import voc_color
from maskpencil.label_maps import IGNORE_COLOR, LabelMap
from maskpencil.plain_text import is_utf8


@dataclass(frozen=True)
class Recognized:
    """A folder in the format of the data set or tool `name`: its pairs, and the encoding of its masks."""

    name: str
    layout: Layout
    encoding: MaskEncoding


Reader = Callable[[Path], Recognized | None]
"""Takes a folder, existing or not, and quickly returns None unless it is in the reader's format.

Opens images only for their size, and raises `DataError` only where the folder is certainly in the format and cannot be
used, such as test images without masks.
"""


@dataclass(frozen=True)
class LabeledImage:
    """An image file and its label map (H, W), of the image's size.

    `split` is train, val, test or "" where there are no splits. `name` is the path below the split without suffix,
    with "/" between folders; unique in the split.
    """

    split: str
    name: str
    image: Path
    label_map: LabelMap


AddImage = Callable[[LabeledImage], None]

Writer = Callable[[Path, ClassSet], AbstractContextManager[AddImage]]
"""Takes the empty folder to write to and the classes; the context gives a function that adds an image.

All files are written when the context ends. Memory does not grow with the label maps.
"""


def copy_image(image: LabeledImage, target: Path) -> None:
    """Copy the image's file to `target`, whole or not at all: byte for byte, or upright where EXIF rotates it.

    Tools that ignore EXIF then also show it at the size of its label map.

    Raises:
        ImageError: the image cannot be read.
        OutputError: it cannot be written.
    """
    if is_turned(image.image):
        write_upright(image.image, target)
        return
    with written_whole(target) as temporary:
        shutil.copyfile(image.image, temporary)


def refuse_names(images: Iterable[Path], file_format: str) -> None:
    """Refuse images whose names a format cannot store, before any is written.

    Args:
        images: the files.
        file_format: a key of `formats.WRITERS`; folder and yolo store no names.

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
    """Unique names of images by split, ignoring case."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def free(self, split: str, name: str) -> str:
        """Return the name, with a number after it where another image has it."""
        candidate, number = name, 1
        while (split, candidate.lower()) in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add((split, candidate.lower()))
        return candidate


def with_distinct_colors(classes: ClassSet) -> ClassSet:
    """Return the classes in unique colors that differ from `IGNORE_COLOR`, with the ignore index 255.

    The first class with a color keeps it. The others, and a class in `IGNORE_COLOR`, get the first unused color of
    Pascal VOC: programs that read masks by color would confuse them, as ADE20K's road and skyscraper.
    """
    spare = (voc_color(index) for index in range(256))  # always enough for the classes and the used colors
    taken = {IGNORE_COLOR, *classes.palette}
    palette: list[Color] = []
    for color in classes.palette:
        if color in palette or color == IGNORE_COLOR:
            color = next(other for other in spare if other not in taken)
            taken.add(color)
        palette.append(color)
    return replace(classes, palette=tuple(palette), ignore_index=IGNORE_INDEX)
