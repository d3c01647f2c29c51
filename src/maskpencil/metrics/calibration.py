"""Compare confidence and accuracy: the reliability curve and the expected calibration error."""

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.label_maps import LabelMap
from maskpencil.metrics.counting import histogram

BINS = 15
"""The number of equally wide bins of confidence, as in Guo et al."""


class CalibrationCounts:
    """Pixels by predicted class and confidence, summed over a whole data set.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """

    def __init__(self, num_classes: int) -> None:
        shape = num_classes, BINS
        self.pixels = np.zeros(shape, np.int64)
        """(K, BINS): the number of pixels by predicted class and bin of confidence."""
        self.hits = np.zeros(shape, np.int64)
        """(K, BINS): the number of these pixels whose predicted class is right."""
        self.confidence = np.zeros(shape, np.float64)
        """(K, BINS): the sum of the confidences of these pixels."""

    def update(self, target: LabelMap, prediction: LabelMap, confidence: npt.NDArray[np.floating]) -> float:
        """Add an image: target, prediction and the confidence in 0..1 of the predicted class, (H, W) each.

        Pixels of target 255 are left out. Returns the mean confidence of all other pixels; NaN if there are none.
        """
        shape, size = self.pixels.shape, self.pixels.size
        counted = target != IGNORE_INDEX
        sure = confidence.astype(np.float64)
        bins = sure * BINS
        np.minimum(bins, BINS - 1, out=bins)
        cells = prediction.astype(np.uint16) * np.uint16(BINS) + bins.astype(np.uint16)
        pixels = histogram(cells, size, counted).reshape(shape)
        cells[~counted] = size  # an additional cell
        confidences = np.bincount(cells.ravel(), sure.ravel(), minlength=size)[:size].reshape(shape)
        self.pixels += pixels
        self.hits += histogram(cells, size, prediction == target).reshape(shape)
        self.confidence += confidences
        total = pixels.sum()
        return float(confidences.sum() / total) if total else float("nan")

    def merge(self, other: "CalibrationCounts") -> None:
        """Add the counts of other images."""
        self.pixels += other.pixels
        self.hits += other.hits
        self.confidence += other.confidence

    def reliability(self) -> list[tuple[float, float, int]]:
        """Return the mean confidence, the accuracy and the number of pixels of each bin that has pixels."""
        pixels, hits, confidence = self.pixels.sum(axis=0), self.hits.sum(axis=0), self.confidence.sum(axis=0)
        return [
            (float(confidence[i] / pixels[i]), float(hits[i] / pixels[i]), int(pixels[i]))
            for i in range(BINS)
            if pixels[i]
        ]

    def error(self) -> float:
        """Compute the expected calibration error; NaN if no pixel was counted.

        This is the mean, over all pixels, of |accuracy - mean confidence| of the bin to which the pixel belongs.
        """
        return _error(self.pixels.sum(axis=0), self.hits.sum(axis=0), self.confidence.sum(axis=0))

    def class_errors(self) -> npt.NDArray[np.float64]:
        """Compute the expected calibration error (K,) of the pixels predicted as each class; NaN if there are none."""
        return np.array([_error(*row) for row in zip(self.pixels, self.hits, self.confidence, strict=True)])


def _error(pixels: npt.NDArray[np.int64], hits: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]) -> float:
    total = pixels.sum()
    return float(np.abs(hits - confidence).sum() / total) if total else float("nan")
