"""Compare an exported network with the model it was made from: the gate that every export passes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.data.folder import DataFolder
from maskpencil.exported import Output, Weights
from maskpencil.images import RGBImage, scaled
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import ConfusionMatrix
from maskpencil.runtimes.upsampling import Floats
from maskpencil.scenes import draw_scene
from maskpencil.visualize import overlay

Pixels = npt.NDArray[np.uint8]
Run = Callable[[Pixels], list[npt.NDArray[Any]]]
"""Compute the outputs of an exported network for images (N, H, W, 3)."""

SIZES = ((1, 1), (33, 47), (352, 480), (640, 1024))
"""The sizes (height, width) of the drawn images on which networks are compared."""

BATCH = 3

MAX_IMAGES = 32
"""The largest number of images of a data set on which networks are compared."""

LEAST_EQUAL: dict[Weights, float] = {"fp32": 0.9999, "fp16": 0.995, "int8": 0.995}
"""The smallest share of pixels that must have the same class as by the model."""

MAX_DROP = 0.3
"""The largest accepted drop of mean IoU, in percentage points, for weights in fp16 and int8."""

TIE = 1e-3
"""In fp32 a pixel may only have another class if the logits of both differ by at most this share of the largest logit,
or by at most this number if that is greater."""


@dataclass(frozen=True)
class Parity:
    """How an exported network compares with its model.

    Attributes:
        images: the number of images compared.
        pixels: the number of pixels compared.
        equal: the number of pixels with the same class.
        beyond_ties: the number of other pixels that are no near ties, see `TIE`.
        largest_difference: the largest difference of the confidences; or of the logits if these are the output, divided
            by the largest logit of the images if that is greater than 1. Infinity if an output is not finite.
        drop: the drop of mean IoU in percentage points; None without labeled images.
        weights: the number format of the weights, which decides what is required.
    """

    images: int
    pixels: int
    equal: int
    beyond_ties: int
    largest_difference: float
    drop: float | None
    weights: Weights

    @property
    def share(self) -> float:
        """The share of pixels with the same class."""
        return self.equal / max(1, self.pixels)

    @property
    def summary(self) -> str:
        """The comparison in a line."""
        lost = "" if self.drop is None else f", {self.drop:+.2f} points of mean IoU lost"
        return (
            f"same class on {self.equal:,} of {self.pixels:,} pixels in {self.images} images{lost}, largest difference "
            f"{self.largest_difference:.1e}"
        )

    @property
    def faults(self) -> list[str]:
        """The requirements that are not met, in words."""
        faults = []
        least = LEAST_EQUAL[self.weights]
        if self.share < least:
            faults.append(f"only {self.share:.4%} of the pixels have the same class, expected at least {least:.2%}")
        if self.weights == "fp32" and self.beyond_ties:
            faults.append(f"{self.beyond_ties:,} pixels have another class although the model is sure of theirs")
        if not math.isfinite(self.largest_difference):
            faults.append("some outputs are not finite")
        elif self.weights == "fp32" and self.largest_difference > TIE:
            faults.append(f"the outputs differ by up to {self.largest_difference:.3g}, expected at most {TIE}")
        if self.weights == "int8" and self.drop is None:
            faults.append("no pixel of the data is labeled, so that the loss of mean IoU is unknown")
        if self.drop is not None and self.weights != "fp32" and not self.drop <= MAX_DROP:
            faults.append(f"mean IoU drops by {self.drop:.2f} points, expected at most {MAX_DROP}")
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values for parity.json."""
        return asdict(self) | {"share": self.share, "faults": self.faults}


@dataclass(frozen=True)
class Difference:
    """The image with the largest number of pixels of another class, the model's label map, and the other label map."""

    image: RGBImage
    expected: LabelMap
    found: LabelMap

    def drawn(self, classes: ClassSet) -> RGBImage:
        """Draw the label maps of both side by side, and the differing pixels in white on black."""
        differ = np.where(self.expected == self.found, np.uint8(0), np.uint8(255))
        parts = [overlay(self.image, each, classes) for each in (self.expected, self.found)]
        return np.concatenate([*parts, np.repeat(differ[..., None], 3, axis=2)], axis=1)


def drawn_samples() -> list[Pixels]:
    """Draw the images for the comparison: batches (N, H, W, 3) of all `SIZES`, one of several images, one of noise."""
    streets = [draw_scene(number, SIZES[2]).image for number in range(BATCH)]
    samples = [scaled(streets[number % BATCH], size)[None] for number, size in enumerate(SIZES)]
    samples.append(np.stack([scaled(street, (120, 160)) for street in streets]))
    noise = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    return [*samples, noise]


def data_samples(data: DataFolder, split: str) -> Iterator[tuple[Pixels, LabelMap]]:
    """Yield at most `MAX_IMAGES` evenly spaced images (1, H, W, 3) of a split, with their targets (H, W)."""
    for pair in data.spread(split, MAX_IMAGES):
        image, target = data.read_pair(pair)
        yield image[None], target


class Comparison:
    """Compare an exported network with its model, one batch of images after the other.

    Args:
        run: computes the outputs of the exported network.
        logits: computes the model's logits (N, K, H, W) of images of one size.
        output: the outputs of the exported network.
        weights: the number format of its weights.
        num_classes: K.
    """

    def __init__(
        self,
        run: Run,
        logits: Callable[[Sequence[RGBImage]], Floats],
        *,
        output: Output,
        weights: Weights,
        num_classes: int,
    ) -> None:
        self._run, self._logits, self._output = run, logits, output
        self._parity = Parity(0, 0, 0, 0, 0.0, None, weights)
        self._scores = ConfusionMatrix(num_classes), ConfusionMatrix(num_classes)
        self._worst = 0
        self.difference: Difference | None = None

    def add(self, pixels: Pixels, target: LabelMap | None = None, *, is_counted: bool = True) -> None:
        """Compare both networks on images (N, H, W, 3), and measure both if there is a `target` (H, W).

        Without `is_counted` only the sizes of the outputs and whether they are finite are checked.
        """
        expected = self._logits(list(pixels))
        outputs = self._run(pixels)
        best = expected.argmax(axis=1).astype(np.uint8)
        found, difference = self._labels(outputs, expected, best)
        if found.shape != best.shape:
            raise ValueError(f"the labels have the shape {found.shape} instead of {best.shape}")
        if not is_counted:
            if not math.isfinite(difference):
                self._parity = replace(self._parity, largest_difference=math.inf)
            return
        differ = found != best
        margin = np.take_along_axis(expected, best[:, None].astype(np.int64), axis=1) - np.take_along_axis(
            expected, found[:, None].astype(np.int64).clip(max=expected.shape[1] - 1), axis=1
        )
        sure = margin[:, 0] > TIE * max(1.0, float(np.abs(expected).max()))
        before = self._parity
        self._parity = replace(
            before,
            images=before.images + len(pixels),
            pixels=before.pixels + best.size,
            equal=before.equal + int(best.size - np.count_nonzero(differ)),
            beyond_ties=before.beyond_ties + int(np.count_nonzero(differ & sure)),
            largest_difference=max(before.largest_difference, difference),
        )
        counts = np.count_nonzero(differ, axis=(1, 2))
        if counts.max() > self._worst:
            self._worst, number = int(counts.max()), int(counts.argmax())
            self.difference = Difference(pixels[number], best[number], found[number])
        if target is not None:
            for matrix, prediction in zip(self._scores, (best[0], found[0]), strict=True):
                matrix.update(target, prediction.clip(max=expected.shape[1] - 1))

    def result(self) -> Parity:
        """Return the comparison over all images so far."""
        before, after = (
            matrix.scores([str(number) for number in range(len(matrix.counts))]).mean_iou for matrix in self._scores
        )
        drop = 100 * (before - after)
        return replace(self._parity, drop=None if math.isnan(drop) else drop)

    def _labels(
        self, outputs: Sequence[npt.NDArray[Any]], expected: Floats, best: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], float]:
        """Return the label maps of the outputs, and the largest difference of the confidences or logits."""
        scale = max(1.0, float(np.abs(expected).max()))
        if self._output == "logits":
            (logits,) = outputs
            return logits.argmax(axis=1).astype(np.uint8), _largest(logits - expected) / scale
        labels, confidence = outputs
        exponents = np.exp(expected - expected.max(axis=1, keepdims=True))
        chosen = np.take_along_axis(exponents, best[:, None].astype(np.int64), axis=1)[:, 0]
        return labels, _largest(confidence - chosen / exponents.sum(axis=1))


def _largest(difference: npt.NDArray[np.floating]) -> float:
    """Return the largest absolute value, infinity if a value is not finite."""
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else math.inf
