"""Convert labelme's shapes to polygons and bitmaps, and collect shapes without an area.

Source: https://github.com/wkentaro/labelme, `labelme/_utils/_shape.py`; for shapes of four points
https://github.com/CVHub520/X-AnyLabeling/blob/main/docs/en/user_guide.md
"""

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.drawing import Bitmap, Points, Polygon, ellipse
from maskpencil.data.formats.annotations import Entry, covers_nothing, shown
from maskpencil.data.formats.problems import Problems
from maskpencil.errors import DataError, ImageError
from maskpencil.images import read_image
from maskpencil.plain_text import counted

LINE_WIDTH = 10
POINT_RADIUS = 5
"""The width of lines and the radius of points in pixels, as labelme draws them."""


@dataclass(frozen=True)
class LabeledShape:
    """A shape with its label; `kind` is labelme's `shape_type`, such as "circle".

    The `class_index` of `shape` is set later, when all labels are known.
    """

    label: str
    kind: str
    shape: Polygon | Bitmap


def read_shape(entry: Entry, problems: Problems) -> list[LabeledShape]:
    """Return the shapes of an entry of `shapes`: usually one; a line strip or a set of points may give several.

    If the entry has no area, such as a polygon of two points, the list is empty, and the entry is added to `problems`.

    Raises:
        DataError: the entry is not in labelme's format.
    """
    label, kind = entry.text("label", blank=True), entry.fields.get("shape_type") or "polygon"
    entry = replace(entry, place=f"{entry.place} ({shown(label)})")
    points = entry.pairs("points")
    if kind == "mask":
        return [LabeledShape(label, kind, _bitmap(entry, points))]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise entry.wrong("shape_type", f"{', '.join(_KINDS)} or mask")
    counts, rings = _KINDS[kind]
    shapes = rings(points) if len(points) in counts else []
    if len(points) < counts[0] or (len(points) in counts and all(map(covers_nothing, shapes))):
        problems.without_area.append(f"{entry}: a {kind} of {counted(len(points), 'point')}")
        return []
    if len(points) not in counts:
        wanted = f"at least {counts[0]}" if len(counts) > 2 else " or ".join(map(str, counts))
        raise DataError(
            f"{entry}: is a {kind} of {counted(len(points), 'point')}; expected {wanted}; correct or remove it"
        )
    return [LabeledShape(label, kind, Polygon(IGNORE_INDEX, (ring,))) for ring in shapes]


def _bitmap(entry: Entry, points: Points) -> Bitmap:
    """Decode the mask of an entry, a PNG in base64.

    Args:
        entry: the entry.
        points: (2, 2), the (x, y) of the upper left and of the lower right pixel of the mask's box.

    Raises:
        DataError: the PNG cannot be read, or the mask and its box differ in size by more than a pixel.
    """
    encoded = entry.fields.get("mask")
    if not isinstance(encoded, str):
        raise entry.wrong("mask", "a PNG in base64")
    if len(points) != 2:
        raise DataError(f"{entry}: is a mask with {counted(len(points), 'point')}; expected 2, the corners of its box")
    try:
        mask = read_image(base64.b64decode(encoded))[..., 0] > 0
    except ImageError as error:
        raise DataError(f"{entry}: its mask cannot be read: {error}") from error
    except ValueError as error:
        raise DataError(f"{entry}: its mask is not base64 ({error}); export it again") from error
    left, top, right, bottom = map(int, np.round(points.astype(np.float64)).ravel())
    height, width = mask.shape
    # some tools write the end of the box one pixel further
    if abs(bottom - top + 1 - height) > 1 or abs(right - left + 1 - width) > 1:
        raise DataError(
            f"{entry}: its mask is {width} x {height} pixels, but its box is {right - left + 1} x {bottom - top + 1}; "
            "export it again"
        )
    return Bitmap.of(IGNORE_INDEX, mask, (top, left))


def _polygon(points: Points) -> list[Points]:
    return [points]


def _rectangle(points: Points) -> list[Points]:
    if len(points) == 4:
        return [points]
    (left, top), (right, bottom) = points
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float32)]


def _circle(points: Points) -> list[Points]:
    middle, rim = points.astype(np.float64)
    return [_disc(middle[0], middle[1], float(np.hypot(*(rim - middle))))]


def _strip(points: Points) -> list[Points]:
    """Return the rings of a line `LINE_WIDTH` pixels wide: a rectangle for each segment, a disc at each inner point."""
    corners = points.astype(np.float64)
    rings = [_disc(x, y, LINE_WIDTH / 2) for x, y in corners[1:-1]]
    for start, end in pairwise(corners):
        length = np.hypot(*(end - start))
        if length > 0:
            across = np.array((start[1] - end[1], end[0] - start[0])) * (LINE_WIDTH / 2 / length)
            rings.append(np.array((start + across, end + across, end - across, start - across), dtype=np.float32))
    return rings


def _dots(points: Points) -> list[Points]:
    return [_disc(x, y, POINT_RADIUS) for x, y in points]


def _disc(x: float, y: float, radius: float) -> Points:
    return ellipse((float(x), float(y)), (radius, radius)).astype(np.float32)


def _from(least: int) -> range:
    return range(least, sys.maxsize)


_KINDS: dict[str, tuple[range | tuple[int, ...], Callable[[Points], list[Points]]]] = {
    "polygon": (_from(3), _polygon),
    "rectangle": ((2, 4), _rectangle),
    "oriented_rectangle": ((4,), _polygon),
    "rotation": ((4,), _polygon),
    "quadrilateral": ((4,), _polygon),
    "circle": ((2,), _circle),
    "line": ((2,), _strip),
    "linestrip": (_from(2), _strip),
    "point": ((1,), _dots),
    "points": (_from(1), _dots),
}
"""The allowed numbers of points of each shape type, and a function that returns the rings of its polygons."""
