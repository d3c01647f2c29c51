"""What readers of formats give and writers of formats take."""

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
    """A folder in the form of the data set or tool `name`: which files are pairs, and what their masks mean."""

    name: str
    layout: Layout
    encoding: MaskEncoding


Reader = Callable[[Path], Recognized | None]
"""Takes a folder, existing or not, and returns None, quickly, unless it is in the reader's own form.

It opens no image but for its size, and raises `DataError` only where the folder can be nothing else and is of no use,
such as test images without masks.
"""


@dataclass(frozen=True)
class LabeledImage:
    """An image file and its label map (H, W), of the image's size.

    `split` is train, val, test or "" where there are no splits. `name` is the path below the split without suffix,
    with "/" between folders; no two images of a split have the same.
    """

    split: str
    name: str
    image: Path
    label_map: LabelMap


AddImage = Callable[[LabeledImage], None]

Writer = Callable[[Path, ClassSet], AbstractContextManager[AddImage]]
"""Takes the folder to write to, which is empty, and the classes; gives a function that adds an image.

When the block ends, all is written. Memory does not grow with the label maps.
"""


def copy_image(image: LabeledImage, target: Path) -> None:
    """Copy the image's file to `target`, whole or not at all: byte for byte, or upright where EXIF turns it.

    So it is of its label map's size for tools, too, that show images as they are stored.

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
    """Refuse images whose names the files of a format cannot hold, before any is written.

    Args:
        images: the files.
        file_format: a key of `formats.WRITERS`; folder and yolo hold no names.

    Raises:
        DataError: a name is not valid UTF-8, or has a line break where a line is a name.
    """
    if file_format in ("folder", "yolo"):
        return
    for image in images:
        if not is_utf8(image.name):
            raise DataError(f"{image}: its name is not valid UTF-8, which {file_format} needs; rename the file")
        if file_format in ("voc", "cvat") and len(image.name.splitlines()) != 1:
            raise DataError(f"{image}: its name has a line break, which {file_format} cannot hold; rename the file")


class FreeNames:
    """Names of images by split, of which no two are the same but for upper and lower case."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def free(self, split: str, name: str) -> str:
        """The name, or with a number after it where another image has it."""
        candidate, number = name, 1
        while (split, candidate.lower()) in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add((split, candidate.lower()))
        return candidate


def told_apart(classes: ClassSet) -> ClassSet:
    """The classes in colors that are all different, and different from that of ignored pixels; ignored is 255.

    Of classes of one color the first keeps it. The others, and one in `IGNORE_COLOR`, get the first of Pascal VOC's
    colors that no class has: programs that read masks by color would take them for each other, as ADE20K's road and
    skyscraper.
    """
    spare = (voc_color(index) for index in range(256))  # one more than there can be classes and colors taken
    taken = {IGNORE_COLOR, *classes.palette}
    palette: list[Color] = []
    for color in classes.palette:
        if color in palette or color == IGNORE_COLOR:
            color = next(other for other in spare if other not in taken)
            taken.add(color)
        palette.append(color)
    return replace(classes, palette=tuple(palette), ignore_index=IGNORE_INDEX)
