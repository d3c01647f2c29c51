"""Build cars, in four shapes and many colors, and walking people."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from maskpencil.scenes.facets import (
    CAR,
    FACING_CAMERA,
    FACING_LEFT,
    FACING_RIGHT,
    FACING_UP,
    GLASS,
    LAMP,
    PERSON,
    ROUND,
    Facets,
    Floats,
    Model,
    Outlines,
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
    """The shape of a car, in meters: outlines of points (along the car, height) from rear to front, and half widths."""

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

_WHEEL_ANGLES = np.linspace(0, 2 * np.pi, 17)[:-1]


@lru_cache(maxsize=4 * len(SHAPES))
def car_model(number: int, *, oncoming: bool, left_side: bool) -> Model:
    """Build a car, one of `SHAPES`, with its near end at the origin.

    The body takes the color `paint` of the `Placement` that puts the car into a scene. An `oncoming` car shows its
    front, any other car its rear. Only one side is drawn: with `left_side` the side that is on the left as seen
    from the camera, else the side on the right.
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
                disc = [(side, max(0.0, 0.33 + radius * np.sin(a)), wheel + radius * np.cos(a)) for a in _WHEEL_ANGLES]
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
        """Return points (along the car, height), given from rear to front, in order from the end near the camera."""
        return [(self._length - s, y) for s, y in reversed(points)] if self._oncoming else list(points)

    def _on_cabin(self, along: float, part: float) -> tuple[float, float, float]:
        """Return a point on the sloping side of the cabin, `along` meters from the near end.

        `part` is its height: 0 at the waist, 1 at the roof.
        """
        (near, near_waist), (_, near_roof), (_, far_roof), (far, far_waist) = self._cabin
        waist = near_waist + (far_waist - near_waist) * (along - near) / (far - near)
        height = waist + part * (max(near_roof, far_roof) - waist)
        return (self._side + part * (self._roof_side - self._side), height, along)


def _across(low: tuple[float, float], high: tuple[float, float], half_low: float, half_high: float) -> Floats:
    """Return the corners (4, 3) of a strip across the car's width.

    `low` and `high` are points (position along the car, height) of the car's outline, between which the strip extends.
    Half its width is `half_low` at `low` and `half_high` at `high`.
    """
    (s0, y0), (s1, y1) = low, high
    return np.array([(-half_low, y0, s0), (-half_high, y1, s1), (half_high, y1, s1), (half_low, y0, s0)])


SKINS = [rgb(code) for code in ("f0c8a8", "d9a47c", "a9744f", "6f4a35", "e6b896")]
HAIRS = [rgb(code) for code in ("2a211c", "5a3b25", "a8743a", "d8b46a", "8a8a8c", "73281e")]
TOPS = [
    rgb(code)
    for code in ("c23b3b", "2f5fa8", "e3b23c", "3e8a6a", "f0ece2", "7a4a8c", "33363f", "e07a4f", "5aa6b8", "d96a8b")
]
LEGS = [rgb(code) for code in ("2b3550", "3a3a3e", "5b4a3a", "4a5f86", "7a7468", "23252b")]
SHOE = rgb("2a2625")

LEFT, RIGHT = -1, 1

_ANGLES = np.linspace(0, 2 * np.pi, 13)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # (12, 2)


@dataclass(frozen=True)
class Person:
    """The appearance of a person."""

    height: float  # meters
    skin: Floats
    hair: Floats
    top: Floats
    legs: Floats
    coat: bool
    long_hair: bool
    bag: int  # in the LEFT or RIGHT hand, or 0
    phase: float  # the phase of the step at the beginning, 0-1


@dataclass(frozen=True)
class Walker:
    """A walking person at one moment.

    The position, in meters, is `right` of the street's center line and `along` the street; `walked` is the distance
    walked so far, in meters, on which the position of the legs depends. `across` is the direction of the stride: -1 to
    the left, 1 to the right, near 0 along the street. A person who walks `away` shows the back of the head.
    """

    person: Person
    right: float
    along: float
    walked: float
    across: float
    away: bool


def some_person(rng: np.random.Generator) -> Person:
    """Return a person of random appearance."""
    chance = rng.random(10).tolist()

    def one_of(colors: Sequence[Floats], i: int) -> Floats:
        return colors[int(chance[i] * len(colors))]

    return Person(
        height=1.55 + 0.35 * chance[0] if chance[1] < 0.88 else 1.1 + 0.3 * chance[0],
        skin=one_of(SKINS, 2),
        hair=one_of(HAIRS, 3),
        top=one_of(TOPS, 4),
        legs=one_of(LEGS, 5),
        coat=chance[6] < 0.35,
        long_hair=chance[7] < 0.45,
        bag=int(chance[8] * 3) - 1,
        phase=chance[9],
    )


def people_facets(walkers: Sequence[Walker]) -> tuple[Facets, Outlines]:
    """Return the facets of one or more walkers, and the outlines that cast their shadows."""
    return _Crowd(walkers).drawn()


class _Crowd:
    """A drawing of P people at once; each is drawn with a height of 1 and the feet at 0, and scaled at the end."""

    def __init__(self, walkers: Sequence[Walker]) -> None:
        people = [walker.person for walker in walkers]
        self._sketch = Sketch(PERSON)
        self._places = np.array([(walker.right, 0.0, walker.along) for walker in walkers])
        self._heights = np.array([person.height for person in people])
        self._skin, self._hair = np.array([p.skin for p in people]), np.array([p.hair for p in people])
        self._top, self._legs = np.array([p.top for p in people]), np.array([p.legs for p in people])
        self._coat, self._long_hair = np.array([p.coat for p in people]), np.array([p.long_hair for p in people])
        self._bag, self._away = np.array([p.bag for p in people]), np.array([walker.away for walker in walkers])
        self._across = np.array([walker.across for walker in walkers])
        walked, phases = np.array([walker.walked for walker in walkers]), np.array([p.phase for p in people])
        self._turn = 2 * np.pi * (phases + walked / (0.85 * self._heights))

    def drawn(self) -> tuple[Facets, Outlines]:
        facing = np.copysign(np.maximum(np.abs(self._across), 0.3), self._across)
        stride = 0.24 * np.sin(self._turn) * facing
        wide = 0.132 * (1 - 0.3 * np.abs(self._across))
        hips, hip = wide / 2, 0.5 + 0.01 * np.abs(np.cos(self._turn))
        toe = 0.05 * facing
        lifts = {LEFT: 0.04 * np.maximum(0, np.cos(self._turn)), RIGHT: 0.04 * np.maximum(0, -np.cos(self._turn))}
        hands = {side: _point(side * (wide + 0.02 + 0.75 * stride), 0.47) for side in (LEFT, RIGHT)}
        for side, shade in ((LEFT, 0.84), (RIGHT, 1.0)):
            x, y = side * (hips - stride), 0.02 + lifts[side]
            knee = _point((side * hips + x) / 2 + 0.4 * toe, 0.27 + y / 2)
            elbow = _point(side * (wide + 0.03 + 0.3 * stride), 0.63)
            self._limb(_point(x - toe / 2, y + 0.01), _point(x + toe * 1.5, y + 0.005), 0.056, 0.046, SHOE)
            self._limb(_point(side * hips, hip), knee, 0.116, 0.09, self._legs * shade)
            self._limb(knee + _point(0, 0.02), _point(x, y), 0.09, 0.064, self._legs * shade)
            sleeve = self._top * (shade - 0.05)
            self._limb(_point(side * wide * 0.9, 0.78), elbow, 0.076, 0.066, sleeve)
            self._limb(elbow, hands[side], 0.066, 0.054, sleeve)
        self._limb(_point(0 * wide, 0.82), _point(0 * wide, 0.9), 0.05, 0.05, self._skin * 0.88)

        hem = np.where(self._coat, 0.33, 0.47)
        flare = hips + np.where(self._coat, 0.065, 0.045)
        outline = [_point(wide / 2, 0.845), _point(wide, 0.8), _point(hips + 0.035, 0.58), _point(flare, hem)]
        self._shape([*outline, *(corner * (-1, 1) for corner in reversed(outline))], self._top)
        self._shape([_point(0 * wide, 0.845), *outline, _point(0 * wide + 0.02, hem)], self._top * 0.9)
        for side in (LEFT, RIGHT):
            self._blob(hands[side], 0.026, 0.03, self._skin)
            low = hands[side] - _point(0, 0.17)
            bag = [low + corner for corner in ((-0.07, 0), (-0.06, 0.14), (0.06, 0.14), (0.07, 0))]
            self._shape(bag, self._top * 0.4 + 0.15, self._bag == side)
        self._blob(_point(-0.01 * facing, 0.88), 0.08, 0.105, self._hair, self._long_hair)
        self._blob(_point(0.012 * facing, 0.915), 0.067, 0.08, self._skin)
        self._blob(_point(-0.012 * self._across, 0.95), 0.073, 0.052, self._hair)
        self._blob(_point(-0.012 * self._across, 0.92), 0.073, 0.083, self._hair, self._away)
        left, right = -wide, wide
        board = [_point(left, 0), _point(left, 0.845), _point(right, 0.845), _point(right, 0)]
        self._sketch.cast(self._on_street(np.stack(board, axis=1)))
        model = self._sketch.model()
        return model.facets, model.casters

    def _limb(self, begin: Floats, end: Floats, width: float, taper: float, color: Floats) -> None:
        """Add a limb from the joints `begin` to `end` (P, 2), `width` thick at its beginning and `taper` at its end."""
        normal = (end - begin)[:, ::-1] * (0.5, -0.5)
        normal /= 2 * np.hypot(normal[:, :1], normal[:, 1:])
        wide, narrow = normal * width, normal * taper
        self._shape([begin - wide, begin + wide, end + narrow, end - narrow], color)

    def _blob(
        self, middle: Floats, wide: float, high: float, color: Floats, whom: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self._shape([middle + corner * (wide, high) for corner in _CIRCLE], color, whom)

    def _shape(self, corners: Sequence[Floats], color: Floats, whom: npt.NDArray[np.bool_] | None = None) -> None:
        """Add a polygon of corners (P, 2) in a color (3,) or (P, 3), for all people or where `whom` (P,) is True."""
        points = self._on_street(np.stack(corners, axis=1))
        colors, depths = np.broadcast_to(color, (len(points), 3)), self._places[:, 2]
        if whom is not None:
            points, colors, depths = points[whom], colors[whom], depths[whom]
        self._sketch.paint(points, colors, light=ROUND, depth=depths)

    def _on_street(self, shapes: Floats) -> Floats:
        """Convert shapes of P people, (P, V, 2) with V corners each, to street coordinates (P, V, 3)."""
        points = np.repeat(self._places[:, np.newaxis], shapes.shape[1], axis=1)
        points[..., :2] += shapes * self._heights[:, np.newaxis, np.newaxis]
        return points


def _point(x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """Return positions (P, 2) from their coordinates (P,), or a position (2,) from two numbers."""
    return np.stack(np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)), axis=-1)
