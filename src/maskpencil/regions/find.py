"""Find regions, the connected components of a label map, and outline them by polygons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, DataError
from maskpencil.parsing import is_several, read_whole, shown

Point = tuple[int, int]
Ring = tuple[Point, ...]
"""A closed ring of corners (x, y) in order; the first corner is not repeated at the end. Every side is horizontal or
vertical."""

Polygon = tuple[Ring, ...]
"""The outer ring, followed by the rings of the holes, if any."""

_CELLS = 3
"""The cells per pixel along each axis in the array of `_cells`: two for the pixel, and one for the edge before it."""


def outlines(ids: npt.NDArray[np.int32], count: int) -> list[tuple[Polygon, ...]]:
    """Outline regions by polygons along the edges of pixels.

    Points are (x, y) on the grid of the pixels' edges, 0..W and 0..H. Filling the outer rings without their holes gives
    exactly the pixels of the region. Parts of a region that touch only at corners are separate polygons. The polygons
    are valid for geometry programs: no ring touches itself, and two rings touch in single points at most. Outer rings
    have a positive area by the shoelace formula (clockwise on the screen, since y points down), holes a negative area.

    Args:
        ids: (H, W), the number of the region of each pixel, from 1; 0 outside all regions.
        count: the number of regions.

    Returns:
        A list with the polygons of region i + 1 at index i.
    """
    import cv2  # slow to import

    # CCOMP: outer rings, and as their children the holes; SIMPLE: the ends of straight lines
    contours, hierarchy = cv2.findContours(_cells(ids), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    regions: list[list[Polygon]] = [[] for _ in range(count)]
    if not contours:
        return [() for _ in regions]
    parents = hierarchy[0, :, 3].tolist()  # -1 for outer rings
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {i: [] for i, parent in enumerate(parents) if parent < 0}
    for i, (ring, parent) in enumerate(zip(_on_edges(contours), parents, strict=True)):
        for loop in _loops(ring):
            if parent < 0 and (len(loop) == len(ring) or _area(loop) > 0):
                outer[i] = loop
            else:  # a hole, or the part of an outer ring that encloses a hole because the ring touches itself
                holes[i if parent < 0 else parent].append(loop)
    for i, loop in reversed(outer.items()):  # OpenCV goes from the bottom to the top
        column, row = (contours[i][0, 0] - 1) // _CELLS
        regions[ids[row, column] - 1].append((loop, *holes[i]))
    return [tuple(polygons) for polygons in regions]


def _cells(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Draw the regions into an array (3 H + 1, 3 W + 1): 1 inside a region, 0 outside and between regions.

    Along each axis, pixel x covers the cells 3 x + 1 and 3 x + 2, and cell 3 x is the edge between the pixels x - 1 and
    x. A cell on an edge is 1 only if the pixels on both sides belong to the same region, a cell on a corner only if all
    four pixels around it belong to the same region. Pixels that touch only at a corner are therefore separate.
    """
    height, width = ids.shape
    cells = np.zeros((_CELLS * height + 1, _CELLS * width + 1), dtype=np.uint8)
    inside = ids > 0
    across = inside[:, 1:] & (ids[:, 1:] == ids[:, :-1])  # (H, W - 1)
    down = inside[1:] & (ids[1:] == ids[:-1])  # (H - 1, W)
    for row in (1, 2):
        for column in (1, 2):
            cells[row::_CELLS, column::_CELLS] = inside
        cells[row::_CELLS, _CELLS:-1:_CELLS] = across
        cells[_CELLS:-1:_CELLS, row::_CELLS] = down
    cells[_CELLS:-1:_CELLS, _CELLS:-1:_CELLS] = across[1:] & across[:-1] & down[:, 1:]
    return cells


def _on_edges(contours: Sequence[npt.NDArray[Any]]) -> Iterator[list[Point]]:
    """Convert OpenCV's contours of the array from `_cells` to rings of pixel corners (x, y), one for each contour.

    The points of a contour are the outermost cells inside a region.
    """
    cells = np.concatenate(contours)[:, 0]  # (N, 2)
    points = (cells + 1) // _CELLS  # 3 x + 1 -> x, the left edge; 3 x + 2 -> x + 1, the right edge
    lengths = np.array([len(contour) for contour in contours])
    starts = np.cumsum(lengths) - lengths
    before = np.arange(len(points)) - 1
    before[starts] = starts + lengths - 1
    # contours cut inner corners: the two or three cells there become one corner of the pixels
    kept = (points != points[before]).any(axis=1)
    corners = list(zip(*points[kept].T.tolist(), strict=True))
    ends = np.cumsum(np.add.reduceat(kept, starts, dtype=np.int64)).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        first, *others = corners[start:end]
        yield [first, *reversed(others)]  # OpenCV goes around in the other direction


def _loops(ring: list[Point]) -> Iterator[Ring]:
    """Cut a ring into rings that do not touch themselves; yield the ring itself if it does not touch itself."""
    if len(set(ring)) == len(ring):
        yield tuple(ring)
        return
    path: list[Point] = []
    places: dict[Point, int] = {}
    for point in ring:
        if point in places:
            start = places[point]
            yield tuple(path[start:])
            for left in path[start:]:
                del places[left]
            del path[start:]
        places[point] = len(path)
        path.append(point)
    yield tuple(path)


def _area(ring: Ring) -> int:
    """Return twice the area of a ring by the shoelace formula, positive if the ring is clockwise on the screen."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(ring, (*ring[1:], ring[0]), strict=True))


Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Region:
    """A connected component of one class; pixels are connected by their sides or corners.

    Points are (x, y), x to the right and y down, on the grid of the pixels' edges: pixel [row, column] is the square
    from (column, row) to (column + 1, row + 1), and its center is (column + 0.5, row + 0.5).

    Example:
        >>> label_map = np.array([[0, 1, 1], [0, 0, 0]], np.uint8)
        >>> classes = mp.ClassSet(("road", "car"))
        >>> prediction = mp.Prediction(np.zeros((2, 3, 3), np.uint8), label_map, None, classes)
        >>> (car,) = prediction.regions(wanted=["car"])
        >>> car.box, car.area, car.centroid
        ((1, 0, 3, 1), 2, (2.0, 0.5))
    """

    class_index: int
    class_name: str
    number: int
    """The number of the region among the regions of its class in the image; the largest region has the number 1."""

    box: Box
    """The bounding box (x0, y0, x1, y1), half open: columns x0 to x1 - 1, rows y0 to y1 - 1. The area of the box is
    (x1 - x0) * (y1 - y0)."""

    area: int
    """The number of pixels of the region."""

    centroid: tuple[float, float]
    """(x, y), the mean of the pixels' centers; the centroid of a bent region may be outside the region."""

    confidence: float | None = None
    """The mean probability of the class over the pixels, 0..1; None if `find_regions` did not get a confidence."""

    polygons: tuple[Polygon, ...] = ()
    """A polygon for each part whose pixels are connected by their sides, see `outlines`; () if not requested."""


def find_regions(
    label_map: npt.NDArray[np.uint8],
    classes: ClassSet,
    *,
    confidence: npt.NDArray[np.floating] | None = None,
    min_area: int = 1,
    wanted: Sequence[str] | None = None,
    polygons: bool = True,
) -> list[Region]:
    """Find the connected components (8 neighbors) of each class, ordered by class, then by area, the largest first.

    Ignored pixels (255) do not belong to any region. The function takes 20 to 30 bytes of memory per pixel.

    Args:
        label_map: (H, W) class indices.
        classes: the classes of the label map.
        confidence: (H, W) in 0..1; a region gets the mean over its pixels. If None, regions have no confidence.
        min_area: regions with fewer pixels are left out.
        wanted: the names of the classes whose regions are returned, for example all but the background. If None, all
            classes.
        polygons: whether to compute the outlines as well, which takes longer.

    Raises:
        ConfigError: `min_area` is not an integer of at least 1, or `wanted` is not a list.
        DataError: a wanted class does not exist, or label map and confidence differ in size.
    """
    min_area = read_whole("min_area", min_area)
    if wanted is not None and not is_several(wanted):
        raise ConfigError(f"wanted must be a list of class names, but got {shown(wanted)}")
    if min_area < 1:
        raise ConfigError(f"min_area must be at least 1 pixel, but got {min_area}")
    if confidence is not None and confidence.shape != label_map.shape:
        raise DataError(
            f"label map and confidence must have equal shapes, but got {label_map.shape} and {confidence.shape}"
        )
    indices = range(len(classes)) if wanted is None else sorted({classes.index(name) for name in wanted})
    ids, regions = _components(label_map, classes, indices, min_area)
    if confidence is not None:
        sums = np.bincount(ids.ravel(), confidence.ravel(), minlength=len(regions) + 1)[1:].tolist()
        regions = [replace(r, confidence=total / r.area) for r, total in zip(regions, sums, strict=True)]
    if polygons:
        outlined = outlines(ids, len(regions))
        regions = [replace(r, polygons=outline) for r, outline in zip(regions, outlined, strict=True)]
    return regions


def _components(
    label_map: npt.NDArray[np.uint8], classes: ClassSet, indices: Sequence[int], min_area: int
) -> tuple[npt.NDArray[np.int32], list[Region]]:
    """Find the regions of the classes with the given indices, without confidence and polygons.

    Returns:
        (ids, regions): the regions, and an array (H, W) that is i + 1 at the pixels of regions[i] and 0 elsewhere.
    """
    import cv2  # slow to import

    ids = np.zeros(label_map.shape, dtype=np.int32)
    found: list[Region] = []
    for index in indices:
        mask = (label_map == index).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)  # a class often covers a small part of the image
        window = slice(top, top + height), slice(left, left + width)
        if not width:
            continue
        count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        # regions of equal area are ordered from top to bottom, then left to right; label 0 is all other classes
        order = np.lexsort((centroids[:, 0], centroids[:, 1], -areas))
        order = order[(order > 0) & (areas[order] >= min_area)]
        own_ids = np.zeros(count, dtype=np.int32)
        own_ids[order] = np.arange(len(found) + 1, len(found) + 1 + len(order))
        ids[window] += own_ids.take(labels)
        for number, i in enumerate(order, start=1):
            x, y, w, h, area = map(int, stats[i])
            found.append(
                Region(
                    class_index=index,
                    class_name=classes.names[index],
                    number=number,
                    box=(left + x, top + y, left + x + w, top + y + h),
                    area=area,
                    centroid=(float(left + centroids[i, 0] + 0.5), float(top + centroids[i, 1] + 0.5)),
                )
            )
    return ids, found
