"""Rings of points: the outlines of boxes and ellipses, and polygons with holes as one ring."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.regions.find import Point

Ring = npt.NDArray[np.float64]
"""(n, 2), (x, y), closed from the last point to the first; y points down."""

SAGITTA = 0.02
"""Pixels: the largest distance of an ellipse from the polygon that approximates it."""

CORNERS = (16, 1024)
"""The fewest and the most corners of an approximated ellipse."""


def box(left: float, top: float, width: float, height: float) -> Ring:
    """Return the corners of a rectangle, the upper left first, then clockwise."""
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def ellipse(center: tuple[float, float], radii: tuple[float, float]) -> Ring:
    """Return an ellipse with its axes along x and y; `center` is (x, y), `radii` (along x, along y), in pixels."""
    largest = max(abs(radii[0]), abs(radii[1]), 1.0)
    count = round(min(CORNERS[1], max(CORNERS[0], math.pi / math.acos(1 - SAGITTA / largest))))
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    ring: Ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + center
    return ring


def turned(ring: Ring, degrees: float, about: tuple[float, float]) -> Ring:
    """Turn a ring clockwise, as seen on the screen, about the point (x, y)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (ring - about).T
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=1) + about


def bridged(rings: Sequence[Sequence[Point]]) -> list[Point]:
    """Join an outer ring and its holes, from `regions.outlines`, into one closed ring of (x, y).

    A line leads from the ring on its left to the upper left corner of each hole and back, along the upper edges of
    pixels of the polygon. The lines are horizontal and cross the center line of no row, so by the even-odd rule exactly
    the same pixels are inside.
    """
    outer, *holes = rings
    if not holes:
        return list(outer)
    bridges = _Bridges(rings)
    points: list[Point] = []
    open_rings = [bridges.walk(0)]  # not recursive: long chains of holes may hang on each other
    while open_rings:
        for step in open_rings[-1]:
            if isinstance(step, int):
                open_rings.append(bridges.walk(step))
                break
            if not points or points[-1] != step:
                points.append(step)
        else:
            open_rings.pop()
    return points


class _Bridges:
    """The start of the line to each hole: a ring and one of its edges."""

    def __init__(self, rings: Sequence[Sequence[Point]]) -> None:
        self._rings = rings
        self._first = [0] + [_upper_left(ring) for ring in rings[1:]]
        self._on: dict[tuple[int, int], list[tuple[int, int]]] = {}  # ring and side: places y, and holes
        corners = np.concatenate([np.array(ring) for ring in rings])
        following = np.concatenate([np.roll(np.array(ring), -1, axis=0) for ring in rings])
        ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        side_of = np.concatenate([np.arange(len(ring)) for ring in rings])
        # cut the vertical edges into pieces of one row; sorted by (row, x), they give the edge on the left of a point
        top = np.minimum(corners[:, 1], following[:, 1])
        heights = np.abs(corners[:, 1] - following[:, 1])
        pieces = np.repeat(np.arange(len(corners)), heights)
        rows = top[pieces] + np.arange(len(pieces)) - np.repeat(np.cumsum(heights) - heights, heights)
        width = int(corners[:, 0].max()) + 1
        keys = rows * width + corners[pieces, 0]
        order = np.argsort(keys, kind="stable")
        starts = np.array([ring[first] for ring, first in zip(rings[1:], self._first[1:], strict=True)])
        left = pieces[order[np.searchsorted(keys[order], starts[:, 1] * width + starts[:, 0]) - 1]]
        for hole, piece in enumerate(left.tolist(), start=1):
            side = int(ring_of[piece]), int(side_of[piece])
            self._on.setdefault(side, []).append((int(starts[hole - 1, 1]), hole))

    def walk(self, number: int) -> Iterator[Point | int]:
        """Yield the corners of a ring, closed if it is a hole, and the number of a hole where a line to it begins."""
        ring, first = self._rings[number], self._first[number]
        for place in range(first, first + len(ring)):
            side = place % len(ring)
            (x, y), (_, next_y) = ring[side], ring[(side + 1) % len(ring)]
            yield x, y
            for level, hole in sorted(self._on.get((number, side), []), reverse=next_y < y):
                yield x, level
                yield hole
                yield x, level
        if number:
            yield ring[first]


def _upper_left(ring: Sequence[Point]) -> int:
    """Return the highest corner with the smallest x: an edge goes down from it, with the polygon on its left."""
    return min(range(len(ring)), key=ring.__getitem__)
