"""What annotation files say, checked before it is used: sizes and points; and which files are worth a closer look."""

import mmap
import reprlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Points
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS
from maskpencil.errors import DataError
from maskpencil.images import MAX_PIXELS

FARTHEST = 2**24
"""Pixels; up to here 32-bit floats hold every whole number."""

MASKS_ALONE = frozenset(MASK_FOLDERS) - {"annotations"}
"""The folders of masks in which no tool puts annotation files."""


def checked_size(height: object, width: object, where: str) -> tuple[int, int]:
    """The (height, width) in pixels that an annotation file gives for an image; `where` begins the message.

    Raises:
        DataError: not two whole numbers from 1, or more pixels than `MAX_PIXELS`.
    """
    sides = [
        int(side)
        for side in (height, width)
        if isinstance(side, int | float) and not isinstance(side, bool) and side >= 1 and side % 1 == 0
    ]
    if len(sides) != 2:
        raise DataError(
            f"{where}: has the height {shown(height)} and the width {shown(width)}; expected whole numbers of pixels; "
            "export it again"
        )
    if sides[0] * sides[1] > MAX_PIXELS:
        raise DataError(
            f"{where}: is {shown(width)} x {shown(height)} pixels; at most {MAX_PIXELS / 1e6:.0f} million can be read "
            "at once; correct the size, or cut the image into smaller ones"
        )
    return sides[0], sides[1]


def checked_numbers(values: object, where: str) -> npt.NDArray[np.float32]:
    """A list of coordinates, (n,).

    Raises:
        DataError: not a list of numbers, or one that is not finite or lies farther out than `FARTHEST`.
    """
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
        raise DataError(f"{where}: has the points {shown(values)}; expected a list of numbers; export it again")
    near = not values or (min(values) >= -FARTHEST and max(values) <= FARTHEST)
    numbers = np.array(values if near else (), dtype=np.float32)
    if not near or np.isnan(numbers).any():
        strange = next(value for value in values if not -FARTHEST <= value <= FARTHEST)
        raise DataError(
            f"{where}: has a point at {shown(strange)}; expected pixels of the image; correct or remove the entry"
        )
    return numbers


def checked_points(pairs: object, where: str) -> Points:
    """A list of [x, y], (n, 2).

    Raises:
        DataError: not such a list, or a coordinate that `checked_numbers` refuses.
    """
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise DataError(f"{where}: has the points {shown(pairs)}; expected a list of [x, y]; export it again")
    return checked_numbers([value for pair in pairs for value in pair], where).reshape(-1, 2)


def shown(value: object) -> str:
    """A value as it stands in a message, cut short."""
    return reprlib.repr(value)


def mentions(path: Path, keys: Iterable[str]) -> bool:
    """Whether all keys stand somewhere in a JSON file: much quicker than to parse it; false where it cannot be read."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(f'"{key}"'.encode()) >= 0 for key in keys)
    except OSError:
        return False


def are_images_and_masks(root: Path, images: Iterable[Path]) -> bool:
    """Whether the images lie in folders called after images and after masks; these are read by `layout`."""
    words = {part.lower() for folder in {path.parent for path in images} for part in folder.relative_to(root).parts}
    return not words.isdisjoint(IMAGE_FOLDERS) and not words.isdisjoint(MASKS_ALONE)
