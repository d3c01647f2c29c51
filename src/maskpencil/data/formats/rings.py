"""The rings, (n, 2) of x and y, of the shapes that annotation tools draw besides polygons."""

import math

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]
"""(n, 2), (x, y), closed from the last point to the first; y points down."""

SAGITTA = 0.02
"""Pixels that an ellipse may bulge out of the polygon that stands for it."""

CORNERS = (16, 1024)
"""At least and at most so many corners stand for an ellipse."""


def box(left: float, top: float, width: float, height: float) -> Ring:
    """The corners of a rectangle, the upper left first, then clockwise."""
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def ellipse(center: tuple[float, float], radii: tuple[float, float]) -> Ring:
    """An ellipse with its axes along x and y; `center` is (x, y), `radii` (along x, along y), in pixels."""
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
