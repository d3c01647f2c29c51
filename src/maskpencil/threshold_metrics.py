"""`ThresholdCounts` -> `RoadScores`: one class against all others, at every threshold of its probability."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import DataError

STEPS = 255
THRESHOLDS = np.arange(STEPS + 1, dtype=np.float32) / np.float32(STEPS)
"""The 256 thresholds 0/255, 1/255, ..., 255/255, in float32 as probabilities are: level i of an 8-bit map reaches i."""

RECALL_TENTHS = np.arange(11)


@dataclass(frozen=True)
class RoadScores:
    """How well the probability of one class tells its pixels from all others, as KITTI Road measures it.

    A pixel counts as the class where its probability is equal to or greater than the threshold. The best of
    `THRESHOLDS` is the one of the greatest F1; of several the lowest. All measures lie in 0..1, over all pixels of
    the set that are not ignored:

    max_f1: the greatest F1 = 2 TP / (2 TP + FP + FN).
    threshold: the best threshold, that of `max_f1`.
    average_precision: the mean over the recalls 0, 0.1, ..., 1 of the greatest precision at any threshold whose recall
        is equal to or greater than it; thresholds that no pixel of the class reaches are left out.
    precision: TP / (TP + FP) at the best threshold.
    recall: TP / (TP + FN) at the best threshold.
    false_positive_rate: FP / (FP + TN) at the best threshold.
    false_negative_rate: FN / (FN + TP) at the best threshold.
    positives, negatives: the pixels of the class and of all others.
    images: the images counted.

    Without a pixel of the class there is no recall and hence no best threshold: all measures are NaN. Where there are
    only pixels of the class, `false_positive_rate` alone is NaN.

    Source: Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms",
    ITSC 2013, and the benchmark's development kit. The benchmark ranks by these measures after warping
    images to a view from above; here they are taken in the image itself.
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
        """Plain numbers for JSON; NaN becomes None."""
        return {name: None if np.isnan(value) else value for name, value in asdict(self).items()}


class ThresholdCounts:
    """Pixels of the class `positive` and of all others, by the highest threshold their probability reaches.

    The counts are int64 and summed over a whole data set: sum first, divide once.
    """

    def __init__(self, positive: int) -> None:
        self.positive = positive
        self.counts = np.zeros((2, len(THRESHOLDS)), dtype=np.int64)
        """Rows: other classes, the class; columns: `THRESHOLDS`."""
        self.images = 0

    def update(self, target: npt.NDArray[np.integer], probability: npt.NDArray[np.floating]) -> None:
        """Add one image: class indices and the class's probability in 0..1, both (H, W); 255 in `target` is left out.

        Raises:
            DataError: the shapes differ, or the probability of a counted pixel is not in 0..1.
        """
        if target.shape != probability.shape:
            raise DataError(
                f"target and probability must have one shape, but got {target.shape} and {probability.shape}"
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
        """Add (2, 256) counts made elsewhere, and the number of their images."""
        self.counts += counts
        self.images += images

    def scores(self) -> RoadScores:
        """Divide."""
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
    """`RoadScores.average_precision` from counts (256,) by threshold; the first counts every positive."""
    # 0 where no positive is: never the greatest, since threshold 0 has more
    precision = true_positives / np.maximum(true_positives + false_positives, 1)
    # in whole numbers, so that a recall of exactly 0.3 reaches the level 0.3
    reached = 10 * true_positives >= RECALL_TENTHS[:, None] * true_positives[0]  # (11, 256)
    return float(np.where(reached, precision, 0).max(axis=1).mean())
