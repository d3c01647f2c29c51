"""Compute the scores of one class at thresholds on its probability, as the KITTI Road benchmark does."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import DataError

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

    Example:
        >>> from maskpencil.metrics import ThresholdCounts
        >>> counts = ThresholdCounts(1)
        >>> counts.update(np.array([[0, 1, 1]]), np.array([[0.2, 0.6, 0.9]]))
        >>> scores = counts.scores()
        >>> scores.max_f1, scores.recall, scores.images
        (1.0, 1.0, 1)

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
            raise DataError(f"probabilities must be from 0 to 1, but got {strange[0]}")
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
        false_positives, true_positives = self._reached()
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

    def curve(self) -> tuple[tuple[float, float, float], ...]:
        """Return (threshold, precision, recall) for each threshold that a pixel reaches; () without positive pixels."""
        false_positives, true_positives = self._reached()
        return tuple(
            (step / STEPS, hits / (hits + alarms), hits / int(true_positives[0]))
            for step, (hits, alarms) in enumerate(zip(true_positives.tolist(), false_positives.tolist(), strict=True))
            if true_positives[0] and hits + alarms
        )

    def _reached(self) -> npt.NDArray[np.int64]:
        """Return the number (2, 256) of pixels that reach each threshold: a pixel's highest threshold and all below."""
        return self.counts[:, ::-1].cumsum(axis=1)[:, ::-1]


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
