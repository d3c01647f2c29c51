"""Count pixels by target and predicted class over a whole data set, and compute scores such as mean IoU from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import MAX_CLASSES
from maskpencil.metrics.counting import pair_counts
from maskpencil.parsing import read_whole


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class, in 0..1, or None if the class does not occur.

    `iou` is TP / (TP + FP + FN), `accuracy` (recall) TP / (TP + FN), `precision` TP / (TP + FP); `pixels` is the number
    of pixels of the class in the targets.

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street")
        >>> scores.classes["road"].pixels
        7563
    """

    iou: float | None
    accuracy: float | None
    precision: float | None
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON."""
        return {"iou": self.iou, "accuracy": self.accuracy, "precision": self.precision, "pixels": self.pixels}


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
    classes: Mapping[str, ClassScores]
    confusion_matrix: npt.NDArray[np.int64]
    """(K, K) pixel counts, rows target, columns prediction."""

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain numbers for JSON; NaN becomes None."""
        return {
            "pixel_accuracy": plain(self.pixel_accuracy),
            "mean_accuracy": plain(self.mean_accuracy),
            "mean_iou": plain(self.mean_iou),
            "frequency_weighted_iou": plain(self.frequency_weighted_iou),
            "images": self.images,
            "classes": {name: scores.to_dict() for name, scores in self.classes.items()},
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
        self.add(pair_counts(target, prediction, len(self.counts)), images=1)

    def add(self, counts: npt.NDArray[np.int64], *, images: int) -> None:
        """Add the pixel counts (K, K) of several images, whose number is `images`."""
        self.counts += counts
        self.images += images

    def scores(self, names: Sequence[str]) -> Scores:
        """Compute the scores; the means leave out classes that occur neither in targets nor in predictions."""
        measures = pixel_measures(self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0))
        classes = {
            name: ClassScores(
                plain(measures.iou[i]),
                plain(measures.accuracy[i]),
                plain(measures.precision[i]),
                int(self.counts[i].sum()),
            )
            for i, name in enumerate(names)
        }
        return Scores(
            pixel_accuracy=float(measures.pixel_accuracy),
            mean_accuracy=float(measures.mean_accuracy),
            mean_iou=float(measures.mean_iou),
            frequency_weighted_iou=float(measures.frequency_weighted_iou),
            images=self.images,
            classes=classes,
            confusion_matrix=self.counts.copy(),
        )


Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PixelMeasures:
    """Scores computed from counts (..., K) of pixels: per class (..., K), and over all classes (...); NaN if undefined.

    For the definitions see `Scores` and `ClassScores`.
    """

    iou: Values
    accuracy: Values
    precision: Values
    pixel_accuracy: Values
    mean_accuracy: Values
    mean_iou: Values
    frequency_weighted_iou: Values


def pixel_measures(hits: npt.NDArray[Any], target: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> PixelMeasures:
    """Compute scores from pixel counts (..., K) by class.

    The means leave out classes that occur neither in targets nor in predictions.

    Args:
        hits: the number of pixels that have the class in the target and in the prediction.
        target: the number of pixels that have the class in the target.
        predicted: the number of pixels that have the class in the prediction.
    """
    iou, accuracy = ratio(hits, target + predicted - hits), ratio(hits, target)
    return PixelMeasures(
        iou,
        accuracy,
        ratio(hits, predicted),
        pixel_accuracy=ratio(hits.sum(-1), target.sum(-1)),
        mean_accuracy=mean_of_present(accuracy),
        mean_iou=mean_of_present(iou),
        frequency_weighted_iou=ratio(np.nansum(target * iou, axis=-1), target.sum(-1)),
    )


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Values:
    """Return `part / whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def mean_of_present(values: Values) -> Values:
    """Return the mean over the last axis of the values that are not NaN, NaN if there are none."""
    return ratio(np.nansum(values, axis=-1), np.sum(~np.isnan(values), axis=-1))


def plain(value: float) -> float | None:
    """Return a number for JSON: None in place of NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
