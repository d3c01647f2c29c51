"""`ConfusionMatrix` -> `Scores`: the four published measures from one count over the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import MAX_CLASSES
from maskpencil.errors import DataError
from maskpencil.parsing import read_whole


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    `iou` and `accuracy` are in 0..1, None where the class does not occur; `pixels` counts the class in the targets.

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
    """How well predictions match targets, each in 0..1; NaN when no pixel was counted.

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
        """Plain numbers for JSON; NaN becomes None."""
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

    Means over images or batches of these measures are wrong for rare classes; sum first, divide once.

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
        """Add one image: `target` and `prediction` (H, W); pixels whose target is no class (255) are left out.

        Raises:
            DataError: the shapes differ, the numbers are not whole, or a counted pixel's prediction is no class.
        """
        target, prediction = np.asarray(target), np.asarray(prediction)
        for name, array in (("target", target), ("prediction", prediction)):
            if array.dtype.kind not in "biu":
                raise DataError(f"{name} must be an array of whole class numbers, but got {array.dtype}")
        if target.shape != prediction.shape:
            raise DataError(f"target and prediction must have one shape, but got {target.shape} and {prediction.shape}")
        num_classes = len(self.counts)
        counted = (target >= 0) & (target < num_classes)
        rows, columns = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
        if columns.size and (columns.min() < 0 or columns.max() >= num_classes):
            strange = columns.min() if columns.min() < 0 else columns.max()
            raise DataError(f"predictions must be classes 0 to {num_classes - 1}, but got {strange}")
        self.add(
            np.bincount(rows * num_classes + columns, minlength=num_classes**2).reshape(self.counts.shape), images=1
        )

    def add(self, counts: npt.NDArray[np.int64], *, images: int) -> None:
        """Add (K, K) counts made elsewhere, of `images` images."""
        self.counts += counts
        self.images += images

    def scores(self, names: Sequence[str]) -> Scores:
        """Divide; a class absent from targets and predictions is left out of the means, never counted as 0 or NaN."""
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
    """`part / whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: npt.NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
