"""Define facets: flat colored polygons in street coordinates, the parts of every object of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SCENE_CLASSES = ClassSet(
    names=("sky", "building", "road", "lane mark", "pavement", "tree", "car", "person"),
    palette=(
        (88, 172, 232),
        (98, 94, 112),
        (134, 74, 134),
        (255, 220, 84),
        (238, 142, 208),
        (104, 158, 52),
        (28, 66, 186),
        (228, 44, 62),
    ),
)
"""The classes of the built-in street."""

SKY, BUILDING, ROAD, LANE_MARK, PAVEMENT, TREE, CAR, PERSON = range(len(SCENE_CLASSES))

# The light on a facet, as the index of its factor in `Weather.light`.
FACING_RIGHT, FACING_LEFT, FACING_CAMERA, FACING_UP, ROUND, GLASS, LAMP_WINDOW, LAMP = range(8)


@dataclass(frozen=True)
class Outlines:
    """N polygons without color, which have M vertices together.

    `vertices` (M, 3) are in meters: to the right of the street's center line, above the ground, along the street.
    `counts` (N,) is the number of vertices of each polygon; the vertices of a polygon follow the vertices of the
    polygon before it.
    """

    vertices: Floats
    counts: Indices

    @classmethod
    def together(cls, parts: Sequence["Outlines"]) -> "Outlines":
        """Concatenate the polygons of several sets."""
        return cls(np.concatenate([part.vertices for part in parts]), np.concatenate([part.counts for part in parts]))


@dataclass(frozen=True)
class Facets(Outlines):
    """Colored polygons.

    `colors` (N, 3) are in 0..1, `labels` (N,) are class indices, `lights` (N,) are indices of rows of `Weather.light`,
    and `depths` (N,) are in meters along the street. A polygon is painted over all polygons of greater depth, and over
    earlier polygons of the same depth.
    """

    colors: Floats
    labels: Indices
    lights: Indices
    depths: Floats

    @classmethod
    def joined(cls, parts: Sequence["Facets"]) -> "Facets":
        """Concatenate the polygons of several sets."""
        return cls(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.lights for part in parts]),
            np.concatenate([part.depths for part in parts]),
        )


@dataclass(frozen=True)
class Model:
    """An object at the origin: facets, and `casters`, outlines that cast its shadow.

    `takes` (N,) is the weight with which the paint of a `Placement` is added to the color of each facet.
    """

    facets: Facets
    takes: Floats
    casters: Outlines


@dataclass(frozen=True)
class Placement:
    """A model with a position and a paint, the color of the object; `stretch` scales the model along the street."""

    model: Model
    right: float
    along: float
    paint: Floats = field(default_factory=lambda: np.ones(3))
    stretch: float = 1.0


def join_placements(placements: Sequence[Placement]) -> tuple[Facets, Outlines]:
    """Return the facets of all objects at their positions, and the outlines that cast their shadows."""
    models = [placement.model for placement in placements]
    offsets = np.array([(p.right, 0.0, p.along) for p in placements])
    stretches = np.array([(1.0, 1.0, p.stretch) for p in placements])

    def moved(outlines: Sequence[Outlines]) -> tuple[Floats, Indices]:
        owners = np.repeat(np.arange(len(outlines)), [len(o.vertices) for o in outlines])
        vertices = np.concatenate([o.vertices for o in outlines]) * stretches[owners] + offsets[owners]
        return vertices, np.concatenate([o.counts for o in outlines])

    owners = np.repeat(np.arange(len(models)), [len(model.takes) for model in models])
    paints = np.array([p.paint for p in placements])[owners]
    own = Facets.joined([model.facets for model in models])
    colors = own.colors + np.concatenate([model.takes for model in models])[:, np.newaxis] * paints
    depths = own.depths * stretches[owners, 2] + offsets[owners, 2]
    vertices, counts = moved([model.facets for model in models])
    facets = Facets(vertices, counts, np.clip(colors, 0, 1), own.labels, own.lights, depths)
    return facets, Outlines(*moved([model.casters for model in models]))


class Sketch:
    """A collection of polygons that grows into the 3D model of an object."""

    def __init__(self, label: int) -> None:
        self._label = label
        self._facets: list[Facets] = []
        self._takes: list[Floats] = []
        self._casters: list[Floats] = []

    def paint(
        self,
        points: npt.ArrayLike,
        color: npt.ArrayLike = 0,
        *,
        light: int,
        takes: float = 0.0,
        depth: npt.ArrayLike = 0.0,
    ) -> None:
        """Add a polygon (V, 3) with V vertices, or N polygons (N, V, 3) with V vertices each.

        Args:
            points: the vertices, in meters as in `Outlines`.
            color: the color (3,) or (N, 3), in 0..1, without the paint of the `Placement`.
            light: the index of the row of `Weather.light`.
            takes: the weight with which the paint of the `Placement` is added to the color.
            depth: the depths, one number or (N,), see `Facets`.
        """
        polygons = _stacked(points)
        count, corners, _ = polygons.shape
        self._facets.append(
            Facets(
                polygons.reshape(-1, 3),
                np.full(count, corners),
                np.broadcast_to(np.asarray(color, dtype=np.float64), (count, 3)),
                np.full(count, self._label),
                np.full(count, light),
                np.broadcast_to(np.asarray(depth, dtype=np.float64), count),
            )
        )
        self._takes.append(np.full(count, takes))

    def cast(self, points: npt.ArrayLike) -> None:
        """Add an outline (V, 3) with V vertices, or N outlines (N, V, 3), that cast shadows."""
        self._casters.extend(_stacked(points))

    def model(self) -> Model:
        """Return the model of all polygons and shadow-casting outlines that were added."""
        casters = Outlines(np.concatenate(self._casters), np.array([len(outline) for outline in self._casters]))
        return Model(Facets.joined(self._facets), np.concatenate(self._takes), casters)


def rectangles(
    right: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, near: npt.ArrayLike, far: npt.ArrayLike
) -> Floats:
    """Return the corners (N, 4, 3) of upright rectangles parallel to the street, in meters.

    Each lies at the distance `right` to the right of the center line, and extends from `low` to `high` above the ground
    and from `near` to `far` along the street. The arguments are broadcast to N values.
    """
    right, low, high, near, far = np.broadcast_arrays(*(np.atleast_1d(a) for a in (right, low, high, near, far)))
    corners = [(right, low, near), (right, high, near), (right, high, far), (right, low, far)]
    return np.array(corners, dtype=np.float64).transpose(2, 0, 1)


def crosswise(
    left: npt.ArrayLike, right: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, along: npt.ArrayLike
) -> Floats:
    """Return the corners (N, 4, 3) of upright rectangles across the street, which face the camera, in meters.

    Each extends from `left` to `right`, both measured to the right of the center line, and from `low` to `high` above
    the ground, at the position `along` along the street. The arguments are broadcast to N values.
    """
    left, right, low, high, along = np.broadcast_arrays(*(np.atleast_1d(a) for a in (left, right, low, high, along)))
    corners = [(left, low, along), (left, high, along), (right, high, along), (right, low, along)]
    return np.array(corners, dtype=np.float64).transpose(2, 0, 1)


def upright(shapes: npt.ArrayLike) -> Floats:
    """Turn flat shapes into upright polygons that face the camera, at position 0 along the street.

    `shapes` (N, V, 2) are N shapes with V corners each, in meters to the right and up. Returns (N, V, 3) street
    coordinates.
    """
    flat = np.asarray(shapes, dtype=np.float64)
    return np.concatenate([flat, np.zeros((*flat.shape[:-1], 1))], axis=-1)


def rgb(code: str) -> Floats:
    """Return the color (3,), in 0..1, of a hexadecimal code such as "c96f53"."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def _stacked(points: npt.ArrayLike) -> Floats:
    polygons = np.asarray(points, dtype=np.float64)
    return polygons[np.newaxis] if polygons.ndim == 2 else polygons
