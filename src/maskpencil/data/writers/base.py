"""What is handed to the writers of other tools' formats, and what they share."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from maskpencil.classes import ClassSet
from maskpencil.files import written_whole
from maskpencil.label_maps import LabelMap


@dataclass(frozen=True)
class LabelledPicture:
    """A picture file and its label map (H, W), of the picture's size.

    `split` is train, val, test or "" where there are no splits. `name` is the path below the split without suffix,
    with "/" between folders; no two pictures of a split have the same.
    """

    split: str
    name: str
    image: Path
    label_map: LabelMap


AddPicture = Callable[[LabelledPicture], None]

Writer = Callable[[Path, ClassSet], AbstractContextManager[AddPicture]]
"""Takes the folder to write to, which is empty, and the classes; gives a function that adds a picture.

When the block ends, all is written. Memory does not grow with the label maps.
"""


def copy_picture(picture: LabelledPicture, target: Path) -> None:
    """Copy the picture's file to `target`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with written_whole(target) as temporary:
        shutil.copyfile(picture.image, temporary)


class FreeNames:
    """Names of pictures by split, of which no two are the same but for upper and lower case."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def free(self, split: str, name: str) -> str:
        """The name, or with a number after it where another picture has it."""
        candidate, number = name, 1
        while (split, candidate.lower()) in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add((split, candidate.lower()))
        return candidate
