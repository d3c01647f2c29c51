"""Compute the FCN paper's scores, such as mean IoU, and KITTI Road's scores of one class, over a whole data set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES
from maskpencil.errors import DataError
from maskpencil.parsing import read_whole

_BYTES = 256
"""The number of values of a uint8 number."""


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    `iou` and `accuracy` are in 0..1, None if the class does not occur; `pixels` is the number of pixels of the class in
    the targets.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> scores.classes["road"].pixels
        7563
    """

    iou: float | None
    accuracy: float | None
    pixels: int


@dataclass(frozen=True)
class Scores:
    """The agreement of predictions and targets: four scores, each in 0..1, or NaN if no pixel was counted.

    `images` is the number of images, `classes` the scores of each class by its name.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> 0 <= scores.mean_iou <= 1, scores.images
        (True, 4)
        >>> list(scores.classes)
        ['sky', 'building', 'road', 'lane mark', 'pavement', 'tree', 'car', 'person']

    Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 5.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    images: int
    classes: dict[str, ClassScores]
    confusion_matrix: npt.NDArray[np.int64]
    """(K, K) pixel counts, rows target, columns prediction."""

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON; NaN becomes None."""
        return {
            "pixel_accuracy": _plain(self.pixel_accuracy),
            "mean_accuracy": _plain(self.mean_accuracy),
            "mean_iou": _plain(self.mean_iou),
            "frequency_weighted_iou": _plain(self.frequency_weighted_iou),
            "images": self.images,
            "classes": {
                name: {"iou": scores.iou, "accuracy": scores.accuracy, "pixels": scores.pixels}
                for name, scores in self.classes.items()
            },
            "confusion_matrix": self.confusion_matrix.tolist(),
        }


class ConfusionMatrix:
    """Pixel counts n_ij of class i predicted as j, summed in int64 over a whole data set.

    The counts of all images are summed before scores are computed; averaging the scores of images would be wrong for
    rare classes.

    Example:
        >>> matrix = mp.ConfusionMatrix(2)
        >>> matrix.update(np.array([[0, 1, mp.IGNORE_INDEX]]), np.array([[0, 0, 0]]))
        >>> matrix.scores(["road", "car"]).pixel_accuracy
        0.5
    """

    def __init__(self, num_classes: int) -> None:
        num_classes = read_whole("num_classes", num_classes, least=1, most=MAX_CLASSES)
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.images = 0

    def update(self, target: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]) -> None:
        """Add an image: its class indices `target` and `prediction`, (H, W) each.

        Pixels whose target is not a class index, such as 255, are left out.

        Raises:
            DataError: the shapes differ, the arrays do not hold whole numbers, or a counted pixel's prediction is not
                a class index.
        """
        target, prediction = np.asarray(target), np.asarray(prediction)
        for name, array in (("target", target), ("prediction", prediction)):
            if array.dtype.kind not in "biu":
                raise DataError(f"{name} must be an array of whole class numbers, but got {array.dtype}")
        if target.shape != prediction.shape:
            raise DataError(
                f"target and prediction must have equal shapes, but got {target.shape} and {prediction.shape}"
            )
        num_classes = len(self.counts)
        if target.dtype == prediction.dtype == np.uint8:  # five times as fast as below
            pairs = np.bincount((target.astype(np.uint16) * _BYTES + prediction).ravel(), minlength=_BYTES**2)
            of_classes = pairs.reshape(_BYTES, _BYTES)[:num_classes]
            if not of_classes[:, num_classes:].any():
                self.add(of_classes[:, :num_classes], images=1)
                return
        counted = (target >= 0) & (target < num_classes)
        rows, columns = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
        if columns.size and (columns.min() < 0 or columns.max() >= num_classes):
            strange = columns.min() if columns.min() < 0 else columns.max()
            raise DataError(f"predictions must be classes 0 to {num_classes - 1}, but got {strange}")
        self.add(
            np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(self.counts.shape), images=1
        )

    def add(self, counts: npt.NDArray[np.int64], *, images: int) -> None:
        """Add the pixel counts (K, K) of several images, whose number is `images`."""
        self.counts += counts
        self.images += images

    def scores(self, names: Sequence[str]) -> Scores:
        """Compute the scores; the means leave out classes that occur neither in targets nor in predictions."""
        hits = self.counts.diagonal().astype(np.float64)
        target, predicted = self.counts.sum(1), self.counts.sum(0)
        union = target + predicted - hits
        iou = _ratio(hits, union)
        accuracy = _ratio(hits, target)
        return Scores(
            pixel_accuracy=float(_ratio(hits.sum(), target.sum())),
            mean_accuracy=_mean(accuracy),
            mean_iou=_mean(iou),
            frequency_weighted_iou=float(_ratio(np.nansum(target * iou), target.sum())),
            images=self.images,
            classes={
                name: ClassScores(_plain(iou[i]), _plain(accuracy[i]), int(target[i])) for i, name in enumerate(names)
            },
            confusion_matrix=self.counts.copy(),
        )


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `part / whole`, NaN if `whole` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: npt.NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


STEPS = 255
THRESHOLDS = np.arange(STEPS + 1, dtype=np.float32) / np.float32(STEPS)
"""The thresholds 0/255, 1/255, ..., 255/255, float32 as probabilities: level i of an 8-bit map reaches threshold i."""

RECALL_TENTHS = np.arange(11)


@dataclass(frozen=True)
class RoadScores:
    """The scores of one class against all others, from thresholds on its probability, as KITTI Road measures them.

    A pixel is assigned to the class if its probability is equal to or greater than the threshold. The best threshold is
    the threshold in `THRESHOLDS` with the greatest F1; if several have the same F1, the lowest. All measures are in
    0..1 and count all pixels that are not ignored:

    max_f1: the greatest F1 = 2 TP / (2 TP + FP + FN).
    threshold: the best threshold, at which F1 is `max_f1`.
    average_precision: the mean, over the recalls 0, 0.1, ..., 1, of the greatest precision at any threshold with at
        least this recall; thresholds without true positives are left out.
    precision: TP / (TP + FP) at the best threshold.
    recall: TP / (TP + FN) at the best threshold.
    false_positive_rate: FP / (FP + TN) at the best threshold.
    false_negative_rate: FN / (FN + TP) at the best threshold.
    positives, negatives: the number of pixels of the class, and of all other classes.
    images: the number of images.

    All measures are NaN if no pixel is of the class, since there is no recall and so no best threshold. If all pixels
    are of the class, only `false_positive_rate` is NaN.

    Source: Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms",
    ITSC 2013, and the benchmark's development kit. The benchmark ranks by these measures after warping
    images to a view from above; here the measures are computed in the image itself.
    """

    max_f1: float
    threshold: float
    average_precision: float
    precision: float
    recall: float
    false_positive_rate: float
    false_negative_rate: float
    positives: int
    negatives: int
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON; NaN becomes None."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


class ThresholdCounts:
    """The histogram of one class's probability: pixel counts by the highest threshold that the probability reaches.

    The pixels of the class, whose index is `positive`, and of all other classes are counted separately.

    The counts (int64) are summed over a whole data set before scores are computed.
    """

    def __init__(self, positive: int) -> None:
        self.positive = positive
        self.counts = np.zeros((2, len(THRESHOLDS)), dtype=np.int64)
        """Rows: all other classes, the class; columns: `THRESHOLDS`."""
        self.images = 0

    def update(self, target: npt.NDArray[np.integer], probability: npt.NDArray[np.floating]) -> None:
        """Add an image: its class indices `target` and the class's probability in 0..1, (H, W) each.

        Pixels of target 255 are left out.

        Raises:
            DataError: the shapes differ, or the probability of a counted pixel is not in 0..1.
        """
        if target.shape != probability.shape:
            raise DataError(
                f"target and probability must have equal shapes, but got {target.shape} and {probability.shape}"
            )
        counted = target != IGNORE_INDEX
        probabilities = probability[counted].astype(np.float32)
        strange = probabilities[~((probabilities >= 0) & (probabilities <= 1))]  # NaN is neither
        if strange.size:
            raise DataError(f"probabilities must be 0 to 1, but got {strange[0]}")
        reached = np.searchsorted(THRESHOLDS, probabilities, side="right") - 1
        cells = np.where(target[counted] == self.positive, len(THRESHOLDS), 0) + reached
        self.add(np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape), images=1)

    def add(self, counts: npt.NDArray[np.int64], *, images: int) -> None:
        """Add the pixel counts (2, 256) of `images` images.

        Row 0 counts the pixels of all other classes, row 1 the pixels of the class; the columns are `THRESHOLDS`.
        """
        self.counts += counts
        self.images += images

    def scores(self) -> RoadScores:
        """Compute the scores of the class from the counts."""
        negatives, positives = (int(total) for total in self.counts.sum(axis=1))
        if not positives:
            nan = float("nan")
            return RoadScores(nan, nan, nan, nan, nan, nan, nan, positives, negatives, self.images)
        # a pixel reaches its highest threshold and all below
        false_positives, true_positives = self.counts[:, ::-1].cumsum(axis=1)[:, ::-1]
        f1 = 2 * true_positives / (true_positives + false_positives + positives)  # TP + FN are all positives
        best = int(f1.argmax())  # the first, and so the lowest, of equals
        hits, alarms = int(true_positives[best]), int(false_positives[best])
        return RoadScores(
            max_f1=float(f1[best]),
            threshold=best / STEPS,
            average_precision=_average_precision(true_positives, false_positives),
            precision=hits / (hits + alarms),  # the best threshold is reached by a positive, as threshold 0 is by all
            recall=hits / positives,
            false_positive_rate=alarms / negatives if negatives else float("nan"),
            false_negative_rate=(positives - hits) / positives,
            positives=positives,
            negatives=negatives,
            images=self.images,
        )


def _average_precision(true_positives: npt.NDArray[np.int64], false_positives: npt.NDArray[np.int64]) -> float:
    """Compute `RoadScores.average_precision`.

    Both arguments are pixel counts (256,), one for each of the `THRESHOLDS`. All pixels of the class count as true
    positives at the first threshold, which is 0.
    """
    # 0 where there is no positive; never the greatest, since the precision at threshold 0 is higher
    precision = true_positives / np.maximum(true_positives + false_positives, 1)
    # in integers, so that a recall of exactly 0.3 reaches the level 0.3
    reached = 10 * true_positives >= RECALL_TENTHS[:, None] * true_positives[0]  # (11, 256)
    return float(np.where(reached, precision, 0).max(axis=1).mean())
