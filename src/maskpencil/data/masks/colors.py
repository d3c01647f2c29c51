"""Which colors stand for classes in masks that compression or smoothing has filled with others."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from maskpencil.data.masks.facts import channels

MERGE = 24.0
"""Values nearer to each other than this are one class, by the distance of their colors."""

LEAST_SHARE = 2e-4
"""The part of all even areas that a color must fill to be a class."""

ON_THE_WAY = 12.0
"""How far a color may lie off the straight way between two others and still be a mixture of them."""

MIXED = 0.05
"""Colors of two mixed ones' areas: a third between them that fills less than this part of the smaller is no class."""

ROUND_LEVELS = np.array([0, 32, 64, 96, 128, 160, 192, 224, 255])
ROUNDING = 3
"""Compression moves even areas by so much; palettes are made of round numbers."""


def are_mixtures(values: Counter[int], flat: Counter[int], *, colored: bool) -> bool:
    """Whether the values that fill no area are but what smoothing left between those that do."""
    solid = [value for value in values if flat[value]]
    thin = [value for value in values if not flat[value]]
    if len(solid) < 2 or len(thin) < 3 or len(thin) < len(solid):
        return False
    ends, points = points_of(solid, colored=colored), points_of(thin, colored=colored)
    return bool(_off_the_way(points, ends).max() <= ON_THE_WAY)


def class_values(flat: Counter[int], *, colored: bool) -> list[int]:
    """The values that stand for classes, the most frequent first: those that fill areas and are no mixture of others.

    `flat` counts the pixels of even areas by value: colors as 0xRRGGBB, or gray levels.
    """
    least = LEAST_SHARE * flat.total()
    found: list[int] = []
    for value, count in sorted(flat.items(), key=lambda entry: (-entry[1], entry[0])):
        if count < least:
            break
        point = points_of([value], colored=colored)
        centers = points_of(found, colored=colored)
        if found and np.linalg.norm(centers - point, axis=1).min() < MERGE:
            continue
        if not any(
            count < MIXED * min(flat[one], flat[other])
            and _off_the_way(point, points_of((one, other), colored=colored))[0] <= ON_THE_WAY
            for one, other in combinations(found, 2)
        ):
            found.append(value)
    return [_rounded(value, colored=colored) for value in found]


def points_of(values: Sequence[int], *, colored: bool) -> npt.NDArray[np.float64]:
    """Values as points whose distances tell how much they differ: colors (n, 3), gray levels (n, 1)."""
    numbers = np.array(values, dtype=np.int64)
    return np.stack(channels(numbers) if colored else (numbers,), axis=-1).astype(np.float64)


def totals(counts: Iterable[dict[int, int]]) -> Counter[int]:
    """The sum of many counts."""
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    return total


def _off_the_way(points: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The distance of each point to the nearest of the straight lines between any two ends."""
    nearest = np.full(len(points), np.inf)
    for one, other in combinations(ends, 2):
        way = other - one
        share = np.clip((points - one) @ way / max(way @ way, 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - one - share[:, None] * way, axis=1))
    return nearest


def _rounded(value: int, *, colored: bool) -> int:
    levels = np.array(channels(np.array(value))) if colored else np.array([value])
    near = ROUND_LEVELS[np.abs(levels[:, None] - ROUND_LEVELS).argmin(axis=1)]
    levels = np.where(np.abs(levels - near) <= ROUNDING, near, levels)
    return int(levels[0] << 16 | levels[1] << 8 | levels[2]) if colored else int(levels[0])
