"""Tell whether the numbers in an annotation file are those of a photograph as it is shown or as it is stored.

Phones store portrait photographs lying on their side, and EXIF says how to turn them. Tools that ignore EXIF write the
sides, the outlines, or both as stored. Where the sides in a file are exchanged, the places of its outlines decide:
those beyond the sides in the file are of the image as shown, and those beyond the sides as shown are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import numpy as np

from maskpencil.data.drawing import Bitmap, Points, Polygon, RunLengths
from maskpencil.errors import DataError, ImageError
from maskpencil.images import Header, read_header
from maskpencil.label_maps import turned_as_shown

Outline = Polygon | RunLengths | Bitmap

MARGIN = 0.02
"""How far outlines may reach out of their image without a meaning, as a share of its side."""


class Reading(Enum):
    """What the numbers of a file refer to.

    `SHOWN`: pixels of the image as shown. `STORED`: pixels as stored. `STRETCHED`: shares of the sides as shown, but
    multiplied by those as stored.
    """

    SHOWN = auto()
    STORED = auto()
    STRETCHED = auto()


@dataclass(frozen=True)
class Exchanged:
    """An image whose sides in the file are those of the shown image, exchanged; `given` is (height, width) there."""

    given: tuple[int, int]
    header: Header
    outlines: Sequence[Outline]

    @property
    def turned(self) -> bool:
        """Whether EXIF turns the image, so that the sides in the file are those as stored."""
        return self.header.orientation >= 5


def are_exchanged(given: tuple[int, int] | None, header: Header | None) -> bool:
    """Return whether the sides in a file are those of the shown image, exchanged."""
    return given is not None and header is not None and given != header.shown_size == given[::-1]


def known_header(image: Path) -> Header | None:
    """Return the header of an image, or None where it cannot be read, which is reported when its pixels are read."""
    try:
        return read_header(image)
    except ImageError:
        return None


def undecided(where: str, image: Exchanged) -> DataError:
    """Return the error of an image of which `find_reading` cannot tell; `where` begins the message."""
    (height, width), (shown_height, shown_width) = image.given, image.header.shown_size
    what = f"{where} is {width} x {height} in the file, its image {shown_width} x {shown_height}"
    if image.turned:
        return DataError(
            f"{what} as EXIF turns it, and the outlines do not tell which of them they are of; export again with "
            "images that are turned already, or, if the outlines fit the pixels as stored, remove the EXIF entry from "
            "the images: exiftool -Orientation= FILE"
        )
    return DataError(
        f"{what}, and the outlines do not tell whether they are exchanged as well; if they are not, exchange width and "
        "height in the file, else export it again"
    )


def find_reading(images: Sequence[Exchanged], otherwise: Reading | None) -> Reading | None:
    """Decide by the outlines of all such images of a file; None where they do not tell, or contradict each other.

    Args:
        images: images whose sides are exchanged.
        otherwise: what the tool writes if it is not `SHOWN`; None where the tool is not known.
    """
    votes = {vote for image in images for outline in image.outlines if (vote := _vote(image, outline))}
    if votes == {Reading.SHOWN}:
        return Reading.SHOWN
    if not votes or Reading.SHOWN in votes or not all(image.turned for image in images):
        return None
    return Reading.STORED if Reading.STORED in votes else otherwise


def _vote(image: Exchanged, outline: Outline) -> Reading | None:
    """Return the reading of which an outline gives evidence; `STRETCHED` means only: not `SHOWN`."""
    shown = image.header.shown_size
    if isinstance(outline, RunLengths):
        known = {image.header.size: Reading.STORED, shown: Reading.SHOWN}  # the same without EXIF
        return known.get(outline.size)
    ends: tuple[float, float]
    if isinstance(outline, Bitmap):
        ends = (outline.corner[0] + outline.size[0], outline.corner[1] + outline.size[1])
    else:
        ends = reach(outline)
    if not _within(ends, shown):
        return Reading.STRETCHED
    return None if _within(ends, image.given) else Reading.SHOWN


def reach(polygon: Polygon) -> tuple[float, float]:
    """Return the largest y and x of a polygon."""
    right, bottom = np.concatenate(polygon.rings).max(axis=0)
    return float(bottom), float(right)


def reaches_out(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Return whether a polygon reaches out of an image of `size` (height, width) by more than the margin."""
    left, top = np.concatenate(polygon.rings).min(axis=0)
    least = min(float(top) / size[0], float(left) / size[1])
    return least < -MARGIN or not _within(reach(polygon), size)


def _within(ends: tuple[float, float], size: tuple[int, int]) -> bool:
    return all(end <= side + max(1.0, MARGIN * side) for end, side in zip(ends, size, strict=True))


def as_shown(outline: Outline, reading: Reading, header: Header) -> Outline:
    """Return an outline in the pixels of the image as shown."""
    if reading is Reading.SHOWN:
        return outline
    if isinstance(outline, Polygon):
        place = turned_points if reading is Reading.STORED else _stretched_points
        return replace(outline, rings=tuple(place(ring, header) for ring in outline.rings))
    size = header.shown_size if reading is Reading.STRETCHED else header.size
    mask = np.zeros(size, dtype=np.uint8)
    window, inside = outline.fill(size)
    mask[window] = inside
    shown = turned_as_shown(mask, header.orientation) if reading is Reading.STORED else mask
    return Bitmap.of(outline.class_index, shown.astype(bool))


def turned_points(points: Points, header: Header) -> Points:
    """Turn and mirror points (n, 2) of the image as stored as its EXIF orientation asks for."""
    x, y = points.T
    height, width = header.size
    if header.orientation in (2, 3, 7, 8):
        x = width - x
    if header.orientation in (3, 4, 6, 7):
        y = height - y
    turned: Points = np.stack((y, x) if header.orientation >= 5 else (x, y), axis=1)
    return turned


def _stretched_points(points: Points, header: Header) -> Points:
    (height, width), (shown_height, shown_width) = header.size, header.shown_size
    stretched: Points = points * np.array((shown_width / width, shown_height / height), dtype=np.float32)
    return stretched
