"""People on the pavement, in the middle of a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskpencil.scenes.facets import PERSON, ROUND, Facets, Floats, Outlines, Sketch, rgb

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
    """The looks of a person."""

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
    """The position of a person who has `walked` this many meters.

    `across` says how much of the stride is seen from the side: -1 to the left, 1 to the right, near 0 along the
    street. Of one who walks `away` the back of the head is seen.
    """

    person: Person
    right: float
    along: float
    walked: float
    across: float
    away: bool


def some_person(rng: np.random.Generator) -> Person:
    """Draw the looks of a person at random."""
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
    """Return the facets of all walkers, and the outlines of their shadows; there must be at least one walker."""
    return _Crowd(walkers).drawn()


class _Crowd:
    """A drawing of P people at once, each with a height of 1 and the feet at the origin."""

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
        """Add a limb from joint to joint (P, 2), `width` thick at its beginning and `taper` at its end."""
        normal = (end - begin)[:, ::-1] * (0.5, -0.5)
        normal /= 2 * np.hypot(normal[:, :1], normal[:, 1:])
        wide, narrow = normal * width, normal * taper
        self._shape([begin - wide, begin + wide, end + narrow, end - narrow], color)

    def _blob(
        self, middle: Floats, wide: float, high: float, color: Floats, whom: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self._shape([middle + corner * (wide, high) for corner in _CIRCLE], color, whom)

    def _shape(self, corners: Sequence[Floats], color: Floats, whom: npt.NDArray[np.bool_] | None = None) -> None:
        """Add a polygon of corners (P, 2) in a color (3,) or (P, 3), for all people or for those in `whom` (P,)."""
        points = self._on_street(np.stack(corners, axis=1))
        colors, depths = np.broadcast_to(color, (len(points), 3)), self._places[:, 2]
        if whom is not None:
            points, colors, depths = points[whom], colors[whom], depths[whom]
        self._sketch.paint(points, colors, light=ROUND, depth=depths)

    def _on_street(self, shapes: Floats) -> Floats:
        """Move shapes (P, V, 2) to street coordinates (P, V, 3)."""
        points = np.repeat(self._places[:, np.newaxis], shapes.shape[1], axis=1)
        points[..., :2] += shapes * self._heights[:, np.newaxis, np.newaxis]
        return points


def _point(x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """Return positions (P, 2), or (2,) for two numbers."""
    return np.stack(np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)), axis=-1)
