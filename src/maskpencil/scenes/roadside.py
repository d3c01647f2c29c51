"""Build the objects beside the road: houses, garden walls, trees and hedges."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from maskpencil.scenes.facets import (
    BUILDING,
    FACING_CAMERA,
    FACING_LEFT,
    FACING_RIGHT,
    FACING_UP,
    GLASS,
    LAMP_WINDOW,
    ROUND,
    TREE,
    Floats,
    Model,
    Sketch,
    crosswise,
    rectangles,
    rgb,
    upright,
)

WALLS = [
    rgb(code)
    for code in (
        *("c8745a", "dba566", "ecd9b0", "b3c7a8", "a3bbd0", "e2b49c", "96513f", "b0655a", "ebe6da", "d0ac80"),
        *("86a29a", "e6bf6e", "cf857a", "a7a3b9", "d8cab6", "b98f6a"),
    )
]
TRIMS = [rgb(code) for code in ("f6f2e8", "e8dfcc", "fbfaf5", "d9d2c4")]
ROOFS = [rgb(code) for code in ("5d5f6b", "8a4b3d", "6e5a52", "4f5963", "9c5f47")]
DOORS = [rgb(code) for code in ("2f5d50", "7b2d26", "2c4a6e", "4a3b32", "b5872f")]
AWNINGS = [rgb(code) for code in ("b23a3a", "2f6f5e", "27568a", "c98a2b", "8a3b62")]
PANE = rgb("566f82")

DESIGNS = 40
GROUND_FLOOR = 3.5  # meters
HOUSE_DEPTH = 12.0  # how far a house reaches back from the street


def house_width(design: int) -> float:
    """Return the width of a house design along the street, in meters."""
    return 5.6 + 3.2 * (design * 0.618 % 1)


@lru_cache(maxsize=4 * DESIGNS)
def house_model(design: int, side: int, *, corner: bool) -> Model:
    """Build one of `DESIGNS` houses for the left (-1) or right (1) side of the street.

    The walls take the color `paint` of the `Placement` that puts the house into a scene. The side wall of a
    `corner` house, which faces a side street, has windows.
    """
    rng = np.random.default_rng([1, design])
    sketch = _Plans(side, house_width(design))
    trim = TRIMS[rng.integers(len(TRIMS))]
    roof = ROOFS[rng.integers(len(ROOFS))] + rng.uniform(-0.03, 0.03)
    stories, story = 2 + int(rng.choice(3, p=[0.25, 0.45, 0.3])), rng.uniform(2.8, 3.2)
    eaves = GROUND_FLOOR + story * (stories - 1) + 0.5
    shape = ("gable", "steps", "mansard", "flat")[rng.choice(4, p=[0.3, 0.15, 0.3, 0.25])]
    rise = rng.uniform(2.0, 3.0)
    columns = max(2, round(sketch.width / rng.uniform(2.0, 2.7)))
    centers = (np.arange(columns) + 0.5) * sketch.width / columns
    size = (rng.uniform(0.9, 1.2), rng.uniform(1.45, 1.75))

    if rng.random() < 0.6:
        _chimney(sketch, rng, eaves + (1.4 if shape == "flat" else rise + 0.9))
    _walls(sketch, trim, roof, shape=shape, eaves=eaves, rise=rise)
    s, y = np.meshgrid(centers, GROUND_FLOOR + 0.55 + story * np.arange(stories - 1))
    _windows(sketch, rng, trim, s.ravel(), y.ravel(), size)
    if shape in ("gable", "steps"):
        _windows(sketch, rng, trim, np.array([sketch.width / 2]), np.array([eaves - 0.1]), (0.9, 1.2))
    if shape == "mansard":
        _mansard(sketch, rng, trim, roof, centers, eaves=eaves, rise=rise)
    if rng.random() < 0.45:
        _shop(sketch, rng, trim)
    else:
        _door(sketch, rng, trim, centers, size)
    _side_wall(
        sketch, rng, trim, eaves=eaves, gabled=shape in ("gable", "steps"), rows=stories if corner else 0, story=story
    )
    return sketch.model()


@lru_cache(maxsize=2)
def garden_wall_model(side: int) -> Model:
    """Build one meter of wall, taller than a person, for the gap between two houses.

    The wall takes the color `paint` of the `Placement` that puts it into a scene.
    """
    sketch = _Plans(side, 1.0)
    sketch.front(0, 2.2, 0, 1, takes=0.9)
    sketch.front(2.1, 2.35, 0, 1, takes=0.7)
    sketch.cast(rectangles(0, 0, 2.2, 0, 1))
    return sketch.model()


class _Plans(Sketch):
    """A sketch of a house or wall whose facade extends from 0 to `width` meters along the street.

    The facade is in the plane in which the coordinate to the right is 0.
    """

    def __init__(self, side: int, width: float) -> None:
        super().__init__(BUILDING)
        self.width = width
        self._side = side
        self._light = FACING_LEFT if side > 0 else FACING_RIGHT

    def behind(self, meters: float) -> float:
        """Return the coordinate to the right, in meters, of points that are `meters` behind the facade.

        If `meters` is negative, the points are in front of the facade.
        """
        return self._side * meters

    def facing(
        self, points: npt.ArrayLike, color: npt.ArrayLike = 0, *, takes: float = 0.0, light: int | None = None
    ) -> None:
        """Add polygons with the depth of the facade and, unless `light` is given, its light; see `Sketch.paint`."""
        if np.size(points):
            self.paint(points, color, light=self._light if light is None else light, takes=takes, depth=self.width)

    def front(
        self,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        near: npt.ArrayLike,
        far: npt.ArrayLike,
        color: npt.ArrayLike = 0,
        *,
        takes: float = 0.0,
        light: int | None = None,
    ) -> None:
        """Add rectangles on the facade, from `low` to `high` above ground and `near` to `far` along it, in meters."""
        self.facing(rectangles(0.0, low, high, near, far), color, takes=takes, light=light)


def _walls(sketch: _Plans, trim: Floats, roof: Floats, *, shape: str, eaves: float, rise: float) -> None:
    """Draw the facade, its horizontal bands, and the roof behind a gable.

    `shape` is gable, steps (a stepped gable), mansard or flat; the gable rises `rise` meters above the `eaves`.
    """
    width = sketch.width
    if shape == "gable":
        outline = [(0.0, 0.0), (0.0, eaves), (0.5, eaves + rise), (1.0, eaves), (1.0, 0.0)]
    elif shape == "steps":
        stairs = [(0.13 * i + run, eaves + rise * i / 3) for i in range(4) for run in (0.0, 0.13)][:-1]
        outline = [(0.0, 0.0), *stairs, *((1 - part, height) for part, height in reversed(stairs)), (1.0, 0.0)]
    else:
        outline = [(0.0, 0.0), (0.0, eaves + 0.3), (1.0, eaves + 0.3), (1.0, 0.0)]
    facade = np.array([(0.0, height, part * width) for part, height in outline])
    if shape in ("gable", "steps"):
        # Only the slope that leans towards the camera can be seen.
        back = sketch.behind(HOUSE_DEPTH)
        slope = [(0, eaves, 0), (back, eaves, 0), (back, eaves + rise, width / 2), (0, eaves + rise, width / 2)]
        sketch.facing(slope, roof, light=FACING_UP)
    sketch.facing(facade, takes=1.0)
    sketch.cast(facade)
    sketch.front(0, 0.55, 0, width, takes=0.65)
    sketch.front(3.4, 3.62, 0, width, trim * 0.5, takes=0.5)
    if shape == "gable":
        out = sketch.behind(-0.1)
        for end in (0.0, width):
            edge = [(out, eaves - 0.25, end), (out, eaves + 0.1, end)]
            edge += [(out, eaves + rise + 0.1, width / 2), (out, eaves + rise - 0.3, width / 2)]
            sketch.facing(edge, trim)
    elif shape in ("flat", "mansard"):
        out = sketch.behind(-0.35)
        sketch.facing([(0, eaves - 0.5, 0), (out, eaves, 0), (out, eaves, width), (0, eaves - 0.5, width)], trim * 0.7)
        sketch.facing(rectangles(out, eaves, eaves + 0.3, 0, width), trim)


def _windows(
    sketch: _Plans, rng: np.random.Generator, trim: Floats, s: Floats, y: Floats, size: tuple[float, float]
) -> None:
    """Draw windows centered at `s` along the street, with their lower edges at the height `y`, in meters."""
    width, height = size
    half = width / 2
    sketch.front(y - 0.12, y + height + 0.14, s - half - 0.13, s + half + 0.13, trim)
    lamps = rng.random(s.size) < 0.45
    shades = PANE * rng.uniform(0.75, 1.1, (s.size, 1))
    for light, chosen in ((GLASS, ~lamps), (LAMP_WINDOW, lamps)):
        low, near, far = y[chosen], s[chosen] - half, s[chosen] + half
        sketch.front(low, low + height, near, far, shades[chosen], light=light)
        sketch.front(low + height * 0.62, low + height, near, far, shades[chosen] * 1.25, light=light)
    sketch.front(y, y + height, s - 0.04, s + 0.04, trim)
    sketch.front(y + height * 0.6, y + height * 0.6 + 0.07, s - half, s + half, trim)
    sketch.front(y - 0.2, y - 0.08, s - half - 0.2, s + half + 0.2, trim * 0.85)


def _mansard(
    sketch: _Plans,
    rng: np.random.Generator,
    trim: Floats,
    roof: Floats,
    centers: Floats,
    *,
    eaves: float,
    rise: float,
) -> None:
    """Draw a steep roof, `rise` meters high, with a dormer over each column of windows.

    `centers` are the positions of the columns along the street, in meters.
    """
    inner, back, low, width = sketch.behind(1.1), sketch.behind(HOUSE_DEPTH), eaves + 0.3, sketch.width
    sketch.facing([(0, low, 0), (0, low, width), (inner, low + rise, width), (inner, low + rise, 0)], roof)
    end = [(0, low, 0), (inner, low + rise, 0), (back, low + rise, 0), (back, low, 0)]
    sketch.paint(end, roof * 0.9, light=FACING_CAMERA, depth=0.02)
    sketch.facing(crosswise(0, inner, low + 0.2, low + 1.7, centers - 0.62), roof * 0.8, light=FACING_CAMERA)
    sketch.front(low + 0.2, low + 1.8, centers - 0.62, centers + 0.62, trim)
    _windows(sketch, rng, trim, centers, np.full(centers.size, low + 0.4), (0.8, 1.2))


def _shop(sketch: _Plans, rng: np.random.Generator, trim: Floats) -> None:
    """Draw a shop window over the whole ground floor, under an awning or a sign."""
    frame, cloth = DOORS[rng.integers(len(DOORS))], AWNINGS[rng.integers(len(AWNINGS))]
    near, far = 0.35, sketch.width - 0.35
    sketch.front(0.0, 3.3, near, far, frame)
    panes = max(2, round((far - near) / 1.7))
    edges = np.linspace(near + 0.15, far - 0.05, panes + 1)
    sketch.front(0.5, 2.5, edges[:-1], edges[1:] - 0.12, PANE * 1.05, light=LAMP_WINDOW)
    sketch.front(0.1, 2.5, edges[panes // 2], edges[panes // 2] + 1.0, frame * 1.25)
    if rng.random() < 0.6:
        stripes = np.linspace(near, far, 2 * round(far - near) + 2)
        out = sketch.behind(-1.3)
        starts, ends = stripes[:-1], stripes[1:]
        awning = rectangles(0.0, 3.3, 3.3, starts, ends)
        awning[:, 1:3] = rectangles(out, 2.65, 2.65, starts, ends)[:, 1:3]
        colors = np.where(np.arange(len(starts))[:, np.newaxis] % 2 == 0, cloth, trim)
        sketch.cast(awning)
        sketch.facing(awning, colors, light=FACING_UP)
        sketch.facing(rectangles(out, 2.4, 2.65, starts, ends), colors * 0.85)
        closing = [(0, 3.3, near), (out, 2.65, near), (out, 2.4, near), (0, 2.6, near)]
        sketch.facing(closing, cloth * 0.7, light=FACING_CAMERA)
    else:
        sketch.front(2.65, 3.3, near, far, cloth)
        middle, half = (near + far) / 2, (far - near) * 0.3
        sketch.front(2.85, 3.1, middle - half, middle + half, trim)


def _door(sketch: _Plans, rng: np.random.Generator, trim: Floats, centers: Floats, size: tuple[float, float]) -> None:
    """Draw a front door, and windows in the other columns of the ground floor."""
    chosen = int(rng.integers(len(centers)))
    s, color = centers[chosen], DOORS[rng.integers(len(DOORS))]
    others = np.delete(centers, chosen)
    _windows(sketch, rng, trim, others, np.full(others.size, 1.15), size)
    sketch.front(0, 2.85, s - 0.75, s + 0.75, trim)
    sketch.front(0.15, 2.25, s - 0.55, s + 0.55, color)
    sketch.front(2.32, 2.7, s - 0.55, s + 0.55, PANE, light=LAMP_WINDOW)
    left = s + np.array([-0.42, 0.08, -0.42, 0.08])
    sketch.front((0.3, 0.3, 1.3, 1.3), (1.1, 1.1, 2.1, 2.1), left, left + 0.34, color * 0.8)


def _side_wall(
    sketch: _Plans, rng: np.random.Generator, trim: Floats, *, eaves: float, gabled: bool, rows: int, story: float
) -> None:
    """Draw the side wall that faces the camera, with `rows` rows of windows, one row every `story` meters."""
    back = sketch.behind(HOUSE_DEPTH)
    depth = 0.02  # behind the next house, in front of all objects next to this one

    def paint(
        middle: npt.ArrayLike,
        half: float,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        color: npt.ArrayLike = 0,
        light: int = FACING_CAMERA,
        takes: float = 0.0,
    ) -> None:
        points = crosswise(np.subtract(middle, half), np.add(middle, half), low, high, 0.0)
        sketch.paint(points, color, light=light, takes=takes, depth=depth)

    paint(back / 2, HOUSE_DEPTH / 2, 0, eaves + 0.3 * (not gabled), takes=0.97)
    paint(back / 2, HOUSE_DEPTH / 2, 0, 0.55, takes=0.65)
    for row in range(rows):
        middles = sketch.behind(1) * (np.arange(4) * 2.8 + 1.7)
        low = 1.2 + story * row
        paint(middles, 0.65, low - 0.12, low + 1.7, trim)
        paint(middles, 0.5, low, low + 1.55, PANE, GLASS)
        paint(middles[int(rng.integers(4))], 0.5, low, low + 1.55, PANE, LAMP_WINDOW)
        paint(middles, 0.04, low, low + 1.55, trim)


def _chimney(sketch: _Plans, rng: np.random.Generator, top: float) -> None:
    u, s = sketch.behind(rng.uniform(2, 4)), rng.uniform(0.2, 0.7) * sketch.width
    depth = sketch.width + 0.01
    sketch.paint(crosswise(u - 0.4, u + 0.4, 4, top, s), light=FACING_CAMERA, takes=0.8, depth=depth)
    sketch.paint(crosswise(u - 0.48, u + 0.48, top - 0.2, top, s), light=FACING_CAMERA, takes=0.65, depth=depth)


BARK = rgb("6b5240")
SEASONS = (
    (rgb("8fb84a"), rgb("7fae52"), rgb("a3bf5a")),  # spring
    (rgb("4f8a3c"), rgb("5c9440"), rgb("457f45")),  # summer
    (rgb("6f8f3a"), rgb("5f8a3f"), rgb("86953f")),  # late summer
    (rgb("c9922e"), rgb("b8742c"), rgb("9a9a3a")),  # autumn
)
TREES = 24

_ANGLES = np.linspace(0, 2 * np.pi, 13)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # (12, 2)


@lru_cache(maxsize=TREES)
def tree_model(design: int) -> Model:
    """Build one of `TREES` trees: a trunk, a fork and a crown of leafy clumps, dark below and light towards the sky."""
    rng = np.random.default_rng([2, design])
    sketch = Sketch(TREE)
    scale = rng.uniform(0.85, 1.2)
    fork, middle, radius = 2.3 * scale, 4.4 * scale, 1.95 * scale
    wood = [
        [(-0.17, 0), (-0.11, fork), (0.11, fork), (0.17, 0)],
        [(-0.11, fork - 0.2), (-0.8, middle), (-0.65, middle + 0.1), (0.06, fork)],
        [(-0.05, fork), (0.75, middle), (0.9, middle - 0.1), (0.11, fork - 0.2)],
    ]
    sketch.paint(upright(wood), BARK, light=ROUND)
    sketch.paint(upright([[(0.03, 0), (0.03, fork), (0.11, fork), (0.17, 0)]]), BARK * 0.8, light=ROUND)

    # The clumps fill an egg around a dark core, roughly from the bottom to the top.
    count = 26
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0.05, 1, count))
    x, y = radius * 0.74 * reach * np.cos(angle), radius * 0.78 * reach * np.sin(angle)
    order = np.argsort(y + rng.normal(0, 0.35, count))
    middles = np.stack([np.append(0, x[order]), np.append(0, y[order]) + middle], axis=-1)
    sizes = np.append(radius * 0.9, radius * rng.uniform(0.22, 0.4, count))
    reaches = sizes[:, np.newaxis] * (1 + 0.15 * rng.uniform(-1, 1, (count + 1, len(_ANGLES))))
    clumps = middles[:, np.newaxis] + reaches[..., np.newaxis] * _CIRCLE
    shades = 0.82 + 0.3 * np.append(-0.55, y[order] / radius) + np.append(0, rng.uniform(-0.08, 0.08, count))
    for clump, shade in zip(clumps, shades, strict=True):
        sketch.paint(upright([clump]), light=ROUND, takes=float(shade))

    for height, part in ((middle, 0.85), (middle + 0.6 * radius, 0.75)):
        ring = part * radius * _CIRCLE
        sketch.cast(np.stack([ring[:, 0], np.full(len(ring), height), ring[:, 1]], axis=-1))
    sketch.cast(crosswise(-0.15, 0.15, 0, middle, 0))
    return sketch.model()


@lru_cache(maxsize=8)
def hedge_model(design: int) -> Model:
    """Build six meters of hedge along the pavement, taller than the camera."""
    rng = np.random.default_rng([3, design])
    sketch = Sketch(TREE)
    edges = np.linspace(0, 6, 9)
    tops = np.append(1.9 + rng.uniform(-0.14, 0.14, 8), 1.9)
    tops[0] = 1.9
    for i in range(8):
        near, far = edges[i], edges[i + 1]
        face = [(0, 0, near), (0, tops[i], near), (0, tops[i + 1], far), (0, 0, far)]
        shade = rng.uniform(0.68, 0.82)
        sketch.paint(face, light=ROUND, takes=shade, depth=far)
        sketch.paint([(0, 0, near), (0, 0.5, near), (0, 0.5, far), (0, 0, far)], light=ROUND, takes=0.55, depth=far)
        sketch.cast(face)
    return sketch.model()
