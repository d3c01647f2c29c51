"""Score a data set in detail: intervals, boundaries, sizes of objects, calibration, and the scores of every image."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.label_maps import LabelMap
from maskpencil.metrics.boundary import boundary_counts
from maskpencil.metrics.calibration import CalibrationCounts
from maskpencil.metrics.confusion import (
    ClassScores,
    ConfusionMatrix,
    Scores,
    mean_of_present,
    pixel_measures,
    plain,
    ratio,
)
from maskpencil.metrics.counting import pair_counts
from maskpencil.metrics.intervals import MIN_GROUPS, Interval, Values, group_sums, intervals
from maskpencil.metrics.objects import SIZES, object_counts
from maskpencil.metrics.thresholds import RoadScores, ThresholdCounts

SUMMARY = {
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "mean_iou": "mean IoU",
    "frequency_weighted_iou": "frequency weighted IoU",
    "mean_boundary_f1": "mean boundary F1",
    "mean_boundary_iou": "mean Boundary IoU",
}
"""The scores of a whole data set, and their titles."""

PER_CLASS = ("iou", "accuracy", "precision", "boundary_f1", "boundary_iou")
"""The scores of each class."""

_COLUMNS = 9
"""The number of counts of a class in an image: hits, pixels in the target, pixels in the prediction, and the six counts
of `boundary_counts`."""


@dataclass(frozen=True)
class ObjectScores:
    """The objects of one class and size in the targets: connected regions of pixels.

    `objects` is the number of objects, `found` the number of objects at least half of whose pixels were predicted as
    the class. `accuracy` is the share of the pixels of all these objects that was predicted as the class, None without
    objects. `share` is the share of the class's pixels that belongs to objects of this size.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> cars = scores.classes["car"].objects["small"]
        >>> cars.found <= cars.objects
        True
    """

    objects: int
    found: int
    accuracy: float | None
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON."""
        return {"objects": self.objects, "found": self.found, "accuracy": self.accuracy, "share": self.share}


@dataclass(frozen=True)
class DetailedClassScores(ClassScores):
    """The scores of one class, with the scores of its boundaries and objects.

    `boundary_f1` and `boundary_iou` are in 0..1, or None if the class has no boundary, see `metrics.boundary`.
    `objects` holds the scores of the small, medium and large objects, see `metrics.objects.SIZES`. `intervals` holds
    the 95% intervals of the scores by their names. `calibration_error` is the expected calibration error of the pixels
    predicted as the class, None without such pixels or without confidences.

    Example:
        >>> road = mp.evaluate("runs/train/street/model", "street").classes["road"]
        >>> 0 <= road.boundary_f1 <= 1, 0 <= road.precision <= 1
        (True, True)
    """

    boundary_f1: float | None
    boundary_iou: float | None
    objects: Mapping[str, ObjectScores]
    intervals: Mapping[str, Interval]
    calibration_error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON."""
        return super().to_dict() | {
            "boundary_f1": self.boundary_f1,
            "boundary_iou": self.boundary_iou,
            "objects": {size: scores.to_dict() for size, scores in self.objects.items()},
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "calibration_error": self.calibration_error,
        }


@dataclass(frozen=True)
class ImageScores:
    """The counts of one image.

    Attributes:
        classes: (n,) the classes that occur in the target or in the prediction.
        counts: (n, 9) the number of pixels of each of these classes that are right, in the target and in the
            prediction, then the `boundary_counts` of the class.
        confused: (p, 3) the target's class, the predicted class, and the number of pixels of each pair that occurs.
        uncertainty: the mean of 1 - confidence over all pixels that are not ignored, 0..1; NaN if unknown.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> worst = min(scores.per_image, key=lambda image: image.mean_iou)
        >>> 0 <= worst.mean_iou <= scores.mean_iou, 0 <= worst.uncertainty <= 1
        (True, True)
    """

    classes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    confused: npt.NDArray[np.int64]
    uncertainty: float

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes that occur in the image; NaN if all pixels are ignored."""
        return float(pixel_measures(*self.counts[:, :3].T).mean_iou)

    @property
    def pixel_accuracy(self) -> float:
        """The share of the pixels that are right; NaN if all pixels are ignored."""
        return float(pixel_measures(*self.counts[:, :3].T).pixel_accuracy)


@dataclass(frozen=True)
class DetailedScores(Scores):
    """The scores of `Scores`, with intervals, boundaries, objects, calibration, and the scores of every image.

    Attributes:
        mean_boundary_f1: the mean of the classes' boundary F1; NaN without a boundary.
        mean_boundary_iou: the mean of the classes' Boundary IoU; NaN without a boundary.
        intervals: the 95% intervals of the scores of the whole data set, by their names; empty for fewer than
            `MIN_GROUPS` images or videos.
        groups: the number of images, or of videos, from which the intervals were computed.
        calibration_error: the expected calibration error; None without confidences.
        reliability: the mean confidence, the accuracy and the number of pixels of each bin of confidence.
        foreground: if there are two classes, the scores of the second class at thresholds on its probability; None with
            another number of classes, or without confidences.
        precision_recall: the threshold, the precision and the recall of the second class at each threshold; empty if
            `foreground` is None.
        per_image: the counts of each image, in the order of the data set.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> scores.intervals  # four images are too few
        {}
        >>> sorted(scores.classes["car"].objects)
        ['large', 'medium', 'small']
    """

    classes: Mapping[str, DetailedClassScores]
    mean_boundary_f1: float
    mean_boundary_iou: float
    intervals: Mapping[str, Interval]
    groups: int
    calibration_error: float | None
    reliability: tuple[tuple[float, float, int], ...]
    foreground: RoadScores | None
    precision_recall: tuple[tuple[float, float, float], ...]
    per_image: tuple[ImageScores, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON; NaN becomes None."""
        return super().to_dict() | {
            "mean_boundary_f1": plain(self.mean_boundary_f1),
            "mean_boundary_iou": plain(self.mean_boundary_iou),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "groups": self.groups,
            "calibration_error": self.calibration_error,
            "reliability": [
                {"confidence": confidence, "accuracy": accuracy, "pixels": pixels}
                for confidence, accuracy, pixels in self.reliability
            ],
            "foreground": self.foreground.to_dict() if self.foreground else None,
        }


class DetailedCounts:
    """The counts of all images of a data set, from which `scores` computes `DetailedScores`.

    Example:
        >>> from maskpencil.metrics import DetailedCounts
        >>> counts = DetailedCounts(2)
        >>> target = np.array([[0, 0, 1]], np.uint8)
        >>> counts.update(target, target)
        >>> counts.scores(["road", "car"]).mean_boundary_f1
        1.0
    """

    def __init__(self, num_classes: int) -> None:
        self._matrix = ConfusionMatrix(num_classes)
        self._objects = np.zeros((num_classes, len(SIZES), 4), np.int64)
        self._calibration = CalibrationCounts(num_classes)
        self._foreground = ThresholdCounts(1) if num_classes == 2 else None
        self._images: list[ImageScores] = []

    @property
    def images(self) -> int:
        """The number of images that were added."""
        return len(self._images)

    def update(
        self, target: LabelMap, prediction: LabelMap, confidence: npt.NDArray[np.floating] | None = None
    ) -> None:
        """Add an image: target, prediction and, if known, the confidence in 0..1 of the prediction, (H, W) each.

        Raises:
            DataError: see `ConfusionMatrix.update`.
        """
        num_classes = len(self._matrix.counts)
        pairs = pair_counts(target, prediction, num_classes)
        self._matrix.add(pairs, images=1)
        self._objects += object_counts(target, prediction, num_classes)
        uncertainty = float("nan")
        if confidence is not None:
            uncertainty = 1 - self._calibration.update(target, prediction, confidence)
            if self._foreground:
                probability = np.where(prediction == 1, confidence, 1 - confidence)
                self._foreground.update(target, probability.clip(0, 1))
        table = np.column_stack(
            [pairs.diagonal(), pairs.sum(1), pairs.sum(0), boundary_counts(target, prediction, num_classes)]
        )
        present = np.flatnonzero(table.any(axis=1))
        rows, columns = np.nonzero(pairs)
        confused = np.column_stack([rows, columns, pairs[rows, columns]])
        self._images.append(ImageScores(present, table[present], confused, uncertainty))

    def merge(self, other: "DetailedCounts") -> None:
        """Add the counts of other images, which come after the images that were already added."""
        self._matrix.add(other._matrix.counts, images=other._matrix.images)
        self._objects += other._objects
        self._calibration.merge(other._calibration)
        if self._foreground and other._foreground:
            self._foreground.add(other._foreground.counts, images=other._foreground.images)
        self._images += other._images

    def scores(self, names: Sequence[str], groups: Sequence[Hashable] | None = None) -> DetailedScores:
        """Compute the scores of all images.

        Args:
            names: the names of the K classes.
            groups: the group of each image, such as its video, for intervals over groups; by default each image by
                itself.
        """
        num_classes = len(names)
        sums = summed(self._images, num_classes, groups)
        measured = dict(zip(score_names(names), measure(sums.sum(axis=0)[None])[0].tolist(), strict=True))
        limits = intervals(sums, measure)
        ranges = {} if limits is None else ranges_of(names, limits, sums)
        basic = self._matrix.scores(names)
        has_confidence = bool(self._calibration.pixels.any())
        errors = self._calibration.class_errors()
        foreground = self._foreground if has_confidence else None
        return DetailedScores(
            pixel_accuracy=basic.pixel_accuracy,
            mean_accuracy=basic.mean_accuracy,
            mean_iou=basic.mean_iou,
            frequency_weighted_iou=basic.frequency_weighted_iou,
            images=basic.images,
            classes={
                name: DetailedClassScores(
                    **vars(scores),
                    boundary_f1=plain(measured[name, "boundary_f1"]),
                    boundary_iou=plain(measured[name, "boundary_iou"]),
                    objects=dict(_objects(self._objects[i])),
                    intervals={score: ranges[name, score] for score in PER_CLASS if (name, score) in ranges},
                    calibration_error=plain(errors[i]),
                )
                for i, (name, scores) in enumerate(basic.classes.items())
            },
            confusion_matrix=basic.confusion_matrix,
            mean_boundary_f1=measured["", "mean_boundary_f1"],
            mean_boundary_iou=measured["", "mean_boundary_iou"],
            intervals={score: ranges["", score] for score in SUMMARY if ("", score) in ranges},
            groups=len(sums),
            calibration_error=self._calibration.error() if has_confidence else None,
            reliability=tuple(self._calibration.reliability()),
            foreground=foreground.scores() if foreground else None,
            precision_recall=foreground.curve() if foreground else (),
            per_image=tuple(self._images),
        )


def score_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the class (or "" for the whole data set) and the name of each score that `measure` computes."""
    return [("", score) for score in SUMMARY] + [(name, score) for score in PER_CLASS for name in names]


def measure(counts: npt.NDArray[Any]) -> Values:
    """Compute the scores named by `score_names` from summed counts (..., K, 9): (..., scores), NaN where undefined."""
    hits, target, predicted, edges, edges_found, drawn, drawn_right, both, either = np.moveaxis(counts, -1, 0)
    pixels = pixel_measures(hits, target, predicted)
    precision, recall = (np.nan_to_num(ratio(*pair)) for pair in ((drawn_right, drawn), (edges_found, edges)))
    f1 = np.where(edges + drawn > 0, np.nan_to_num(ratio(2 * precision * recall, precision + recall)), np.nan)
    band = ratio(both, either)
    summary = [
        pixels.pixel_accuracy,
        pixels.mean_accuracy,
        pixels.mean_iou,
        pixels.frequency_weighted_iou,
        mean_of_present(f1),
        mean_of_present(band),
    ]
    return np.concatenate(
        [np.stack(summary, axis=-1), pixels.iou, pixels.accuracy, pixels.precision, f1, band], axis=-1
    )


def summed(images: Sequence[ImageScores], num_classes: int, groups: Sequence[Hashable] | None) -> npt.NDArray[np.int64]:
    """Return the `_COLUMNS` (9) counts of each class, summed over each group of images: an array (G, K, 9).

    By default each image is a group.
    """
    tables = np.zeros((len(images), num_classes, _COLUMNS), np.int64)
    for table, image in zip(tables, images, strict=True):
        table[image.classes] = image.counts
    return tables if groups is None else group_sums(tables, groups)


def ranges_of(names: Sequence[str], limits: Values, sums: npt.NDArray[np.int64]) -> dict[tuple[str, str], Interval]:
    """Return the 95% intervals of scores by the names that `score_names` gives them.

    Left out are scores whose bounds are NaN, and the scores of classes that occur in fewer than `MIN_GROUPS` groups.

    Args:
        names: the names of the K classes.
        limits: (2, scores) the bounds of the scores named by `score_names`.
        sums: (G, K, 9) the counts of the groups, see `summed`.
    """
    occurrences = np.count_nonzero(sums[..., :3].any(axis=2), axis=0)
    often = {"", *(name for name, count in zip(names, occurrences.tolist(), strict=True) if count >= MIN_GROUPS)}
    pairs = zip(score_names(names), limits.T.tolist(), strict=True)
    return {name: (low, high) for name, (low, high) in pairs if not np.isnan(low) and name[0] in often}


def _objects(counts: npt.NDArray[np.int64]) -> Iterator[tuple[str, ObjectScores]]:
    total = int(counts[:, 2].sum()) or 1
    for size, (objects, found, pixels, hits) in zip(SIZES, counts.tolist(), strict=True):
        yield size, ObjectScores(objects, found, plain(float(ratio(hits, pixels))), pixels / total)
