"""Compute 95% intervals of scores by the bootstrap: score many random selections of the images, with repetition."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
"""The lower and the upper bound; 95% of the resampled scores lie between them."""

Values = npt.NDArray[np.float64]

MIN_GROUPS = 6
"""The smallest number of images or videos for an interval. If two models are equally good, the differences of their
scores have the same sign on all of six images in 3% of the cases, and on all of five images in 6%."""

ROUNDS = 1000
SEED = 0
BOUNDS = (0.025, 0.975)

_ROUNDS_AT_ONCE = 50
"""The number of resampled data sets whose counts are in memory at the same time."""


def group_sums(counts: npt.NDArray[np.int64], groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """Add up the counts (N, ...) of the images of each group: (G, ...), in the order of the groups' first images."""
    numbers: dict[Hashable, int] = {}
    places = [numbers.setdefault(group, len(numbers)) for group in groups]
    sums = np.zeros((len(numbers), *counts.shape[1:]), np.int64)
    np.add.at(sums, places, counts)
    return sums


def resampled_sums(counts: npt.NDArray[np.int64]) -> Iterator[Values]:
    """Draw `ROUNDS` times as many rows as there are, with repetition, and yield the sums of the drawn rows.

    The drawn rows depend only on the number of rows, so that two models are compared on the same images.

    Args:
        counts: (N, ...), the counts of each image, or of each video.

    Yields:
        The sums (rounds, ...) of at most `_ROUNDS_AT_ONCE` rounds at a time.
    """
    random = np.random.default_rng(SEED)
    rows = counts.reshape(len(counts), -1).astype(np.float64)  # exact: counts are far below 2 ** 53
    for start in range(0, ROUNDS, _ROUNDS_AT_ONCE):
        drawn = [random.integers(0, len(rows), len(rows)) for _ in range(min(_ROUNDS_AT_ONCE, ROUNDS - start))]
        weights = np.stack([np.bincount(each, minlength=len(rows)) for each in drawn]).astype(np.float64)
        yield (weights @ rows).reshape(len(drawn), *counts.shape[1:])


def intervals(counts: npt.NDArray[np.int64], measure: Callable[[Values], Values]) -> Values | None:
    """Compute the 95% interval of each of the M scores that `measure` computes from summed counts.

    Args:
        counts: (N, ...), the counts of each image, or of each video.
        measure: computes scores (rounds, M) from sums (rounds, ...).

    Returns:
        (2, M): the lower and the upper bounds, NaN where no round has the score; None if N is less than `MIN_GROUPS`.
    """
    if len(counts) < MIN_GROUPS:
        return None
    scores = np.concatenate([measure(sums) for sums in resampled_sums(counts)])
    return bounds(scores)


def bounds(scores: Values) -> Values:
    """Return the lower and upper bounds (2, M) of scores (rounds, M), leaving out NaN; NaN if all are NaN."""
    result = np.full((2, scores.shape[1]), np.nan)
    known = ~np.isnan(scores).all(axis=0)
    if known.any():
        result[:, known] = np.nanquantile(scores[:, known], BOUNDS, axis=0)
    return result
