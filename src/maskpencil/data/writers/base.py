"""What is handed to the writers of other tools' formats, and what they share."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from maskpencil.classes import ClassSet
from maskpencil.data.writers.upright import is_turned, write_upright
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.label_maps import LabelMap
from maskpencil.plain_text import is_utf8


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
        file_format: a key of `writers.WRITERS`; folder and yolo hold no names.

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
