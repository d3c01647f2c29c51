"""Cars: four shapes in many colors, seen from behind or from the front."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from maskpencil.scenes.facets import (
    CAR,
    FACING_CAMERA,
    FACING_LEFT,
    FACING_RIGHT,
    FACING_UP,
    GLASS,
    LAMP,
    Floats,
    Model,
    Sketch,
    crosswise,
    rectangles,
    rgb,
)

PAINTS = [
    rgb(code)
    for code in (
        "c0392b",
        "2c5d9e",
        "e8e8e6",
        "2b2d33",
        "9aa2a8",
        "d9a520",
        "2f7a5a",
        "6d7680",
        "7a2436",
        "4aa3b8",
        "e07b39",
        "f2efe4",
    )
]
TYRE, RIM, PLASTIC, PANE = rgb("1d1e21"), rgb("a9adb3"), rgb("33363b"), rgb("3f515f")
REAR_LAMP, HEAD_LAMP, PLATE = rgb("c8202a"), rgb("f4efdc"), rgb("ece7cf")


@dataclass(frozen=True)
class Shape:
    """A car's outline from rear to nose: places along the car and heights in meters, and half its widths."""

    body: tuple[tuple[float, float], ...]  # up to the waist; the first and last point are the bumpers' lower edges
    cabin: tuple[tuple[float, float], ...]  # waist, roof, roof, waist
    pillars: tuple[float, ...]  # between the side windows
    wheels: tuple[float, float]
    half_width: float = 0.88
    roof_half_width: float = 0.66


SHAPES = (
    Shape(  # hatchback
        body=((0.06, 0.28), (0.0, 0.55), (0.1, 0.95), (2.95, 0.98), (3.85, 0.76), (3.95, 0.5), (3.9, 0.26)),
        cabin=((0.1, 0.95), (0.55, 1.46), (1.75, 1.5), (2.95, 0.98)),
        pillars=(1.35,),
        wheels=(0.75, 3.2),
    ),
    Shape(  # sedan
        body=((0.06, 0.28), (0.0, 0.6), (0.06, 0.98), (0.75, 1.0), (3.35, 0.98), (4.4, 0.76), (4.5, 0.5), (4.45, 0.26)),
        cabin=((0.7, 1.0), (1.35, 1.42), (2.4, 1.44), (3.35, 0.98)),
        pillars=(1.85,),
        wheels=(0.9, 3.6),
    ),
    Shape(  # station wagon
        body=((0.06, 0.36), (0.0, 0.65), (0.05, 1.08), (3.2, 1.1), (4.3, 0.94), (4.45, 0.6), (4.4, 0.34)),
        cabin=((0.05, 1.08), (0.3, 1.66), (2.2, 1.72), (3.2, 1.1)),
        pillars=(1.0, 1.85),
        wheels=(0.85, 3.5),
        half_width=0.94,
        roof_half_width=0.76,
    ),
    Shape(  # van
        body=((0.05, 0.34), (0.0, 0.65), (0.03, 1.2), (3.9, 1.15), (4.55, 0.95), (4.7, 0.6), (4.65, 0.32)),
        cabin=((0.03, 1.2), (0.1, 2.05), (3.1, 2.1), (3.9, 1.15)),
        pillars=(2.35,),
        wheels=(0.85, 3.8),
        half_width=0.98,
        roof_half_width=0.88,
    ),
)

_ANGLES = np.linspace(0, 2 * np.pi, 17)[:-1]


@lru_cache(maxsize=4 * len(SHAPES))
def car_model(number: int, *, oncoming: bool, left_side: bool) -> Model:
    """Build one of `SHAPES` with its near end at the origin; the paint is the body's color.

    An `oncoming` car shows its face, any other its back. Either its side to the left of the camera's way is drawn, or
    the one to the right.
    """
    sketch = _Plans(SHAPES[number], oncoming=oncoming, left_side=left_side)
    # From far to near, as in the painter's algorithm.
    sketch.draw_underside()
    sketch.draw_far_end()
    sketch.draw_side()
    sketch.draw_near_end()
    sketch.cast_shadow()
    return sketch.model()


class _Plans(Sketch):
    """The sketch of a car with its center line at 0 and its near end at 0 along the street."""

    def __init__(self, shape: Shape, *, oncoming: bool, left_side: bool) -> None:
        super().__init__(CAR)
        self._oncoming = oncoming
        self._length, self._half, self._top = shape.body[-1][0], shape.half_width, shape.roof_half_width
        self._body, self._cabin = self._turned(shape.body), self._turned(shape.cabin)
        self._wheels = [place for place, _ in self._turned(tuple((wheel, 0.0) for wheel in shape.wheels))]
        self._pillars = [place for place, _ in self._turned(tuple((pillar, 0.0) for pillar in shape.pillars))]
        self._side, self._roof_side = (-self._half, -self._top) if left_side else (self._half, self._top)
        self._side_light = FACING_LEFT if left_side else FACING_RIGHT

    def draw_underside(self) -> None:
        dark = crosswise(-self._half + 0.08, self._half - 0.08, 0.14, 0.4, self._length / 2)
        self.paint(dark, PLASTIC * 0.5, light=FACING_CAMERA)
        left, right = (-self._half + 0.02, self._half - 0.24), (-self._half + 0.24, self._half - 0.02)
        for wheel in reversed(self._wheels):
            self.paint(crosswise(left, right, 0.0, 0.5, wheel - 0.2), TYRE, light=FACING_CAMERA)

    def draw_far_end(self) -> None:
        for low, high in zip(self._body[-2:1:-1], self._body[:2:-1], strict=True):
            self.paint(_across(low, high, self._half, self._half), light=FACING_UP, takes=1.0)
        _, near_roof, far_roof, far_waist = self._cabin
        self.paint(_across(far_roof, far_waist, self._top, self._half), light=FACING_UP, takes=1.0)
        self.paint(_across(near_roof, far_roof, self._top, self._top), light=FACING_UP, takes=1.0)

    def draw_side(self) -> None:
        side, light, (first, last) = self._side, self._side_light, (self._body[0][0], self._body[-1][0])
        self.paint([(side, y, s) for s, y in self._body], light=light, takes=0.95)
        self.paint(rectangles(side, 0.26, 0.4, first + 0.1, last - 0.1), PLASTIC, light=light)
        self.paint(rectangles(side, 0.62, 0.66, first + 0.2, last - 0.3), light=light, takes=0.78)
        cabin = zip((side, self._roof_side, self._roof_side, side), self._cabin, strict=True)
        self.paint([(u, y, s) for u, (s, y) in cabin], light=light, takes=0.95)
        # The outer windows follow the sloping windshield and rear window, the inner ones are upright.
        near, near_roof, far_roof, far = (s for s, _ in self._cabin)
        edges = [near + 0.22, *self._pillars, far - 0.25]
        tops = [max(near + 0.22, near_roof + 0.1) + 0.1, *self._pillars, min(far - 0.25, far_roof - 0.1) - 0.1]
        for i in range(len(edges) - 1):
            gap, next_gap = 0.05 * (i > 0), 0.05 * (i < len(edges) - 2)
            window = [(edges[i] + gap, 0.08), (tops[i] + gap, 0.86)]
            window += [(tops[i + 1] - next_gap, 0.86), (edges[i + 1] - next_gap, 0.08)]
            self.paint([self._on_cabin(s, part) for s, part in window], PANE, light=GLASS)
        for wheel in self._wheels:
            for radius, color in ((0.38, PLASTIC * 0.6), (0.33, TYRE), (0.2, RIM), (0.07, PLASTIC)):
                disc = [(side, max(0.0, 0.33 + radius * np.sin(a)), wheel + radius * np.cos(a)) for a in _ANGLES]
                self.paint(disc, color, light=light)

    def draw_near_end(self) -> None:
        half, (bumper, edge, waist, behind) = self._half, self._body[:4]
        window = _across(self._cabin[0], self._cabin[1], half - 0.02, self._top)
        self.paint(window, light=FACING_CAMERA, takes=0.92)
        middle = window.mean(axis=0)
        self.paint(middle + (window - middle) * (0.86, 0.78, 0.78), PANE, light=GLASS)
        if self._cabin[0][0] > waist[0] + 0.2:  # a trunk, or the hood of an oncoming car
            self.paint(_across(waist, behind, half, half), light=FACING_UP, takes=1.0)
        self.paint(_across(edge, waist, half, half), light=FACING_CAMERA, takes=1.0)
        self.paint(_across(bumper, edge, half - 0.03, half), PLASTIC, light=FACING_CAMERA)
        place, low, rise = edge[0] - 0.02, edge[1], waist[1] - edge[1]
        left, right = (-half + 0.06, half - 0.4), (-half + 0.4, half - 0.06)
        lamps = crosswise(left, right, low + 0.35 * rise, low + 0.85 * rise, place)
        self.paint(lamps, HEAD_LAMP if self._oncoming else REAR_LAMP, light=LAMP)
        if self._oncoming:
            grille = crosswise(-half + 0.48, half - 0.48, low + 0.04, low + 0.7 * rise, place)
            self.paint(grille, PLASTIC, light=FACING_CAMERA)
        self.paint(crosswise(-0.26, 0.26, low - 0.08, low + 0.05, place - 0.02), PLATE, light=FACING_CAMERA)

    def cast_shadow(self) -> None:
        for height, inset in ((0.1, 0.0), (0.6, 0.0), (1.0, 0.05), (1.4, 0.25)):
            near, far, half = 3 * inset, self._length - 3 * inset, self._half - inset
            self.cast([(-half, height, near), (-half, height, far), (half, height, far), (half, height, near)])

    def _turned(self, points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        """Return points (along the car, height) from the near end to the far end."""
        return [(self._length - s, y) for s, y in reversed(points)] if self._oncoming else list(points)

    def _on_cabin(self, along: float, part: float) -> tuple[float, float, float]:
        """Return the point on the sloping side at a share of the height between waist and roof."""
        (near, near_waist), (_, near_roof), (_, far_roof), (far, far_waist) = self._cabin
        waist = near_waist + (far_waist - near_waist) * (along - near) / (far - near)
        height = waist + part * (max(near_roof, far_roof) - waist)
        return (self._side + part * (self._roof_side - self._side), height, along)


def _across(low: tuple[float, float], high: tuple[float, float], half_low: float, half_high: float) -> Floats:
    """Return the strip (4, 3) over the car's width between two points (along the car, height) of its outline."""
    (s0, y0), (s1, y1) = low, high
    return np.array([(-half_low, y0, s0), (-half_high, y1, s1), (half_high, y1, s1), (half_low, y0, s0)])
