"""`outlines`: polygons with holes that follow the edges of pixels exactly."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Point = tuple[int, int]
Ring = tuple[Point, ...]
"""The corners in order, the first not repeated at the end; every side is horizontal or vertical."""

Polygon = tuple[Ring, ...]
"""The outer ring, then the holes."""

_CELLS = 3
"""Cells per pixel, each way, of the drawing that is traced: two, which tell its edges apart, and one to the next."""


def outlines(ids: npt.NDArray[np.int32], count: int) -> list[tuple[Polygon, ...]]:
    """Outline the regions 1 to `count` of `ids` (H, W), where 0 is none: the polygons of each.

    Points are (x, y) on the grid of the pixels' edges, 0..W and 0..H. Filling the outer rings without their holes gives
    the region again, pixel by pixel. A polygon is a part of a region that hangs together by the sides of its pixels, no
    ring meets itself, and two rings meet in single points at most, as geometry programs want polygons to be. Outer
    rings turn so that their area is positive by the shoelace formula (clockwise on the screen, since y points down),
    holes the other way.
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
            else:  # also what an outer ring encloses where it meets itself
                holes[i if parent < 0 else parent].append(loop)
    for i, loop in reversed(outer.items()):  # OpenCV goes from the bottom to the top
        column, row = (contours[i][0, 0] - 1) // _CELLS
        regions[ids[row, column] - 1].append((loop, *holes[i]))
    return [tuple(polygons) for polygons in regions]


def _cells(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Draw the parts apart from each other: (3 H + 1, 3 W + 1), 1 inside.

    Pixel x covers the cells 3 x + 1 and 3 x + 2. Cell 3 x lies on the edge between x - 1 and x, inside only where one
    part goes on across it; where pixels touch at a corner it is outside, so that what hangs by a corner falls apart.
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
    """Move contours, which run through the middles of the outermost cells, to the edges of the pixels."""
    cells = np.concatenate(contours)[:, 0]  # (N, 2)
    points = (cells + 1) // _CELLS  # 3 x + 1 -> x, the left edge; 3 x + 2 -> x + 1, the right one
    lengths = np.array([len(contour) for contour in contours])
    starts = np.cumsum(lengths) - lengths
    before = np.arange(len(points)) - 1
    before[starts] = starts + lengths - 1
    # contours cut inner corners: the two or three cells there are one corner of the pixels
    kept = (points != points[before]).any(axis=1)
    corners = list(zip(*points[kept].T.tolist(), strict=True))
    ends = np.cumsum(np.add.reduceat(kept, starts, dtype=np.int64)).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        first, *others = corners[start:end]
        yield [first, *reversed(others)]  # OpenCV turns the other way


def _loops(ring: list[Point]) -> Iterator[Ring]:
    """Cut a ring where it meets itself."""
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
    """Twice the signed area."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(ring, (*ring[1:], ring[0]), strict=True))
