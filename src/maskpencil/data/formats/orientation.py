"""Find out whether an annotation file describes a photograph as it is shown or as it is stored.

Phones store portrait photographs rotated by 90 degrees, with an EXIF entry that says how to rotate them for display.
Tools that ignore EXIF write the size, the outlines, or both for the pixels as stored. If the width and height in
an annotation file are the height and width of the image as shown, the outlines decide: if an outline extends beyond the
size in the file, all outlines are in pixels of the image as shown; if an outline extends beyond the image as shown, the
outlines are not in pixels of the image as shown.
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
"""The distance by which inaccurate outlines may extend beyond their image, as a fraction of its height or width."""


class Reading(Enum):
    """The coordinate system of the outlines in an annotation file.

    - `SHOWN`: pixels of the image as shown, that is after the EXIF rotation.
    - `STORED`: pixels of the image as stored, before the EXIF rotation.
    - `STRETCHED`: fractions of the width and height as shown, multiplied by the width and height as stored.
    """

    SHOWN = auto()
    STORED = auto()
    STRETCHED = auto()


@dataclass(frozen=True)
class Exchanged:
    """An image whose width and height in the annotation file are its height and width as shown.

    `given` is the (height, width) in the annotation file, `header` the header of the image file, and `outlines` are the
    outlines in the annotation file.
    """

    given: tuple[int, int]
    header: Header
    outlines: Sequence[Outline]

    @property
    def turned(self) -> bool:
        """Whether EXIF rotates the image by 90 degrees; `given` is then the size as stored."""
        return self.header.orientation >= 5


def are_exchanged(given: tuple[int, int] | None, header: Header | None) -> bool:
    """Return whether `given`, the (height, width) in an annotation file, is (width, height) of the image as shown.

    The result is False if the image is square, or `given` or `header` is None.
    """
    return given is not None and header is not None and given != header.shown_size == given[::-1]


def known_header(image: Path) -> Header | None:
    """Return the header of an image, or None if the image cannot be read; reading its pixels later raises the error."""
    try:
        return read_header(image)
    except ImageError:
        return None


def undecided(where: str, image: Exchanged) -> DataError:
    """Return the error for an image whose outlines do not show which coordinate system they use.

    The message of the error begins with `where`, the file and the place in it.
    """
    (height, width), (shown_height, shown_width) = image.given, image.header.shown_size
    what = f"{where} is {width} x {height} in the file, but the image is shown as {shown_width} x {shown_height}"
    if image.turned:
        return DataError(
            f"{what}, since EXIF rotates it, and the outlines do not show whether they are in pixels of the image "
            "as stored or as shown; export again with images that are already rotated, or, if the outlines fit the "
            "pixels as stored, remove the EXIF orientation from the images: exiftool -Orientation= FILE"
        )
    return DataError(
        f"{what}, and the outlines do not show whether x and y are exchanged too; if only width and height are "
        "exchanged, exchange them in the file, otherwise export it again"
    )


def find_reading(images: Sequence[Exchanged], otherwise: Reading | None) -> Reading | None:
    """Return the coordinate system of the outlines in an annotation file.

    The result is None if the outlines fit several coordinate systems, contradict each other, or are not `SHOWN`
    although EXIF does not rotate every image by 90 degrees.

    Args:
        images: the images whose width and height are exchanged in the annotation file.
        otherwise: the result if the outlines show only that they are not `SHOWN`: `STORED` or `STRETCHED`, whichever
            the tool writes, or None if the tool is unknown.
    """
    votes = {vote for image in images for outline in image.outlines if (vote := _vote(image, outline))}
    if votes == {Reading.SHOWN}:
        return Reading.SHOWN
    if not votes or Reading.SHOWN in votes or not all(image.turned for image in images):
        return None
    return Reading.STORED if Reading.STORED in votes else otherwise


def _vote(image: Exchanged, outline: Outline) -> Reading | None:
    """Return the coordinate system that an outline shows; None if the outline fits several or does not fit any.

    Run lengths show `SHOWN` or `STORED`, by their size. A polygon or bitmap shows either `SHOWN`, or only that it is
    not in pixels of the image as shown; in the second case the result is `STRETCHED`.
    """
    shown = image.header.shown_size
    if isinstance(outline, RunLengths):
        # without an EXIF rotation both keys are equal, and SHOWN remains
        known = {image.header.size: Reading.STORED, shown: Reading.SHOWN}
        return known.get(outline.size)
    ends: tuple[float, float]
    if isinstance(outline, Bitmap):
        ends = (outline.corner[0] + outline.size[0], outline.corner[1] + outline.size[1])
    else:
        ends = _reach(outline)
    if not _within(ends, shown):
        return Reading.STRETCHED
    return None if _within(ends, image.given) else Reading.SHOWN


def _reach(polygon: Polygon) -> tuple[float, float]:
    """Return (largest y, largest x) of all points of a polygon, in pixels."""
    x, y = zip(*(ring.max(axis=0).tolist() for ring in polygon.rings), strict=True)
    return max(y), max(x)


def reaches_out(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Return whether a polygon extends beyond an image of `size` (height, width) by more than the tolerated distance.

    The tolerated distance is `MARGIN` times the height or width, and at least 1 pixel at the bottom and on the right.
    """
    x, y = zip(*(ring.min(axis=0).tolist() for ring in polygon.rings), strict=True)
    return min(y) < -MARGIN * size[0] or min(x) < -MARGIN * size[1] or not _within(_reach(polygon), size)


def _within(ends: tuple[float, float], size: tuple[int, int]) -> bool:
    (end_y, end_x), (height, width) = ends, size
    return end_y <= height + max(1.0, MARGIN * height) and end_x <= width + max(1.0, MARGIN * width)


def as_shown(outline: Outline, reading: Reading, header: Header) -> Outline:
    """Convert an outline from the coordinate system `reading` to pixels of the image as shown."""
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
    """Convert points (n, 2), x and y in pixels of the image as stored, to pixels of the image as shown."""
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
