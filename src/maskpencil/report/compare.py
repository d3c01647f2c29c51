"""Compare two models on the same images: differences of scores with intervals, and the difference of each image."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from maskpencil.metrics import DetailedScores
from maskpencil.metrics.detailed import measure, ranges_of, score_names, summed
from maskpencil.metrics.intervals import MIN_GROUPS, Interval, bounds, resampled_sums


@dataclass(frozen=True)
class Difference:
    """The score of a second model minus the score of a first model.

    Attributes:
        value: the difference; NaN if no pixel is labeled.
        interval: the 95% interval of the difference; None if there are too few images for an interval.
    """

    value: float
    interval: Interval | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval does not contain 0, so that the choice of the images hardly explains the difference."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class Comparison:
    """The differences between two models on the same images: the score of the second minus that of the first.

    Attributes:
        mean_iou: the difference of the mean IoU.
        classes: the difference of the IoU of each class, by the name of the class; classes without an IoU in one of
            the models are left out.
        images: the difference of the mean IoU of each image; NaN for an image whose pixels are all ignored.
    """

    mean_iou: Difference
    classes: dict[str, Difference]
    images: tuple[float, ...]


def compare(one: DetailedScores, other: DetailedScores, groups: Sequence[Hashable] | None = None) -> Comparison:
    """Compute the scores of `other` minus the scores of `one`, with intervals from the same random draws of images.

    Args:
        one: the scores of the first model.
        other: the scores of the second model on the same images.
        groups: the group of each image, for example its video: whole groups are drawn. By default single images are.
    """
    names = list(one.classes)
    sums = [summed(scores.per_image, len(names), groups) for scores in (one, other)]
    values = np.subtract(*(measure(each.sum(axis=0)[None])[0] for each in reversed(sums)))
    ranges = {}
    if len(sums[0]) >= MIN_GROUPS:
        drawn = [np.concatenate([measure(part) for part in resampled_sums(each)]) for each in sums]
        ranges = ranges_of(names, bounds(drawn[1] - drawn[0]), sums[0] + sums[1])
    differences = {
        name: Difference(value, ranges.get(name))
        for name, value in zip(score_names(names), values.tolist(), strict=True)
        if not np.isnan(value)
    }
    return Comparison(
        mean_iou=differences.get(("", "mean_iou"), Difference(float("nan"), None)),
        classes={name: differences[name, "iou"] for name in names if (name, "iou") in differences},
        images=tuple(b.mean_iou - a.mean_iou for a, b in zip(one.per_image, other.per_image, strict=True)),
    )


def verdict(comparison: Comparison, one: str, other: str) -> str:
    """Return a sentence that says which model is better, by how many points (hundredths) of mean IoU, and how surely.

    `one` and `other` are the names of the first and the second model.
    """
    difference = comparison.mean_iou
    if np.isnan(difference.value):
        return f"{other} and {one} cannot be compared: no pixel of these images is labeled"
    by = f"{100 * difference.value:+.1f}"
    if difference.interval is None:
        return f"{other} minus {one}: {by} points of mean IoU; so few images say little about other images"
    low, high = (100 * bound for bound in difference.interval)
    numbers = f"{by}, 95% {low:+.1f} to {high:+.1f}"
    if difference.is_clear:
        return f"{other} is {'better' if difference.value > 0 else 'worse'} than {one} ({numbers} points of mean IoU)"
    return f"{other} and {one} cannot be told apart by these images ({numbers} points of mean IoU)"
