"""Compare an exported network with the model from which it was made; every export must pass this comparison."""

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
"""Images (N, H, W, 3), RGB."""

Run = Callable[[Pixels], list[npt.NDArray[Any]]]
"""A function that computes the outputs of an exported network for images (N, H, W, 3)."""

SIZES = ((1, 1), (33, 47), (352, 480), (640, 1024))
"""The sizes (height, width) of the drawn images on which networks are compared."""

BATCH = 3
"""The number of drawn images in the batch of several images."""

MAX_IMAGES = 32
"""The largest number of images of a data set on which networks are compared."""

LEAST_EQUAL: dict[Weights, float] = {"fp32": 0.9999, "fp16": 0.995, "int8": 0.995}
"""The smallest accepted share, 0..1, of pixels that have the same class as with the model."""

MAX_DROP = 0.3
"""The largest accepted drop of mean IoU, in percentage points, for weights in fp16 and int8."""

TIE = 1e-3
"""The model's scores of two classes count as nearly equal if their logits differ by at most this, times the largest
absolute logit of the batch if that logit is greater than 1. In fp32 a pixel may have another class only at nearly equal
scores, and the largest difference of the outputs may be at most this."""


@dataclass(frozen=True)
class Parity:
    """The comparison of an exported network with its model.

    Attributes:
        images: the number of images compared.
        pixels: the number of pixels compared.
        equal: the number of pixels with the same class as with the model.
        beyond_ties: the number of the other pixels at which the scores of the two classes are not nearly equal, see
            `TIE`.
        largest_difference: the largest absolute difference of the confidences. If the outputs are logits, the largest
            absolute difference of the logits, divided by the largest absolute logit of the batch if that is greater
            than 1. Infinity if an output is not finite.
        drop: the mean IoU of the model minus that of the exported network, in percentage points; None if no pixel of
            the data is labeled, or without data.
        weights: the number format of the weights, on which the requirements depend.
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
        """The share, 0..1, of pixels with the same class as with the model."""
        return self.equal / max(1, self.pixels)

    @property
    def summary(self) -> str:
        """The comparison as one line of text."""
        lost = "" if self.drop is None else f", {self.drop:+.2f} points of mean IoU lost"
        return (
            f"same class on {self.equal:,} of {self.pixels:,} pixels in {self.images} images{lost}, largest difference "
            f"{self.largest_difference:.1e}"
        )

    @property
    def faults(self) -> list[str]:
        """A text for each requirement that is not met; empty if the export passes."""
        faults = []
        least = LEAST_EQUAL[self.weights]
        if self.share < least:
            faults.append(f"only {self.share:.4%} of the pixels have the same class, expected at least {least:.2%}")
        if self.weights == "fp32" and self.beyond_ties:
            faults.append(f"{self.beyond_ties:,} pixels have another class at scores that are not nearly equal")
        if not math.isfinite(self.largest_difference):
            faults.append("some outputs are not finite")
        elif self.weights == "fp32" and self.largest_difference > TIE:
            faults.append(f"the outputs differ by up to {self.largest_difference:.3g}, expected at most {TIE}")
        if self.weights == "int8" and self.drop is None:
            faults.append("no pixel of the data is labeled, so the loss of mean IoU is unknown")
        if self.drop is not None and self.weights != "fp32" and not self.drop <= MAX_DROP:
            faults.append(f"mean IoU drops by {self.drop:.2f} points, expected at most {MAX_DROP}")
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values for parity.json."""
        return asdict(self) | {"share": self.share, "faults": self.faults}


@dataclass(frozen=True)
class Difference:
    """An image whose masks by the model and by the exported network differ.

    Attributes:
        image: (H, W, 3) RGB.
        expected: (H, W) the label map of the model.
        found: (H, W) the label map of the exported network.
    """

    image: RGBImage
    expected: LabelMap
    found: LabelMap

    def drawn(self, classes: ClassSet) -> RGBImage:
        """Draw `expected`, `found` and, white on black, the differing pixels, side by side: (H, 3 W, 3) RGB."""
        differ = np.where(self.expected == self.found, np.uint8(0), np.uint8(255))
        parts = [overlay(self.image, each, classes) for each in (self.expected, self.found)]
        return np.concatenate([*parts, np.repeat(differ[..., None], 3, axis=2)], axis=1)


def drawn_samples() -> list[Pixels]:
    """Draw batches (N, H, W, 3): one image of each of `SIZES`, a batch of `BATCH` images, and an image of noise."""
    streets = [draw_scene(number, SIZES[2]).image for number in range(BATCH)]
    samples = [scaled(streets[number % BATCH], size)[None] for number, size in enumerate(SIZES)]
    samples.append(np.stack([scaled(street, (120, 160)) for street in streets]))
    noise = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    return [*samples, noise]


def data_samples(data: DataFolder, split: str) -> Iterator[tuple[Pixels, LabelMap]]:
    """Yield at most `MAX_IMAGES` evenly spaced images (1, H, W, 3) of a split, each with its target (H, W)."""
    for pair in data.spread(split, MAX_IMAGES):
        image, target = data.read_pair(pair)
        yield image[None], target


class Comparison:
    """A comparison of an exported network with its model, to which batches of images are added one after the other.

    Args:
        run: computes the outputs of the exported network.
        logits: computes the model's logits (N, K, H, W) of N images of one size.
        output: what the exported network computes, labels or logits.
        weights: the number format of the exported network's weights.
        num_classes: the number K of classes.

    Attributes:
        difference: the image with the largest number of pixels whose class differs; None if no class differs.
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
        """Run both networks on a batch of images, and add the differences to the comparison.

        Args:
            pixels: (N, H, W, 3) uint8 RGB.
            target: (H, W) class indices, 255 where ignored, to score both networks; only for a batch of one image.
            is_counted: if False, only check the sizes of the outputs and that the outputs are finite.

        Raises:
            ValueError: the labels do not have the size of the images.
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
        """Return the comparison over all batches added so far."""
        before, after = (
            matrix.scores([str(number) for number in range(len(matrix.counts))]).mean_iou for matrix in self._scores
        )
        drop = 100 * (before - after)
        return replace(self._parity, drop=None if math.isnan(drop) else drop)

    def _labels(
        self, outputs: Sequence[npt.NDArray[Any]], expected: Floats, best: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.uint8], float]:
        """Return the label maps (N, H, W), and the largest difference of the outputs, see `Parity`.

        Args:
            outputs: the outputs of the exported network.
            expected: (N, K, H, W) the logits of the model.
            best: (N, H, W) the labels of the model.
        """
        scale = max(1.0, float(np.abs(expected).max()))
        if self._output == "logits":
            (logits,) = outputs
            return logits.argmax(axis=1).astype(np.uint8), _largest(logits - expected) / scale
        labels, confidence = outputs
        exponents = np.exp(expected - expected.max(axis=1, keepdims=True))
        chosen = np.take_along_axis(exponents, best[:, None].astype(np.int64), axis=1)[:, 0]
        return labels, _largest(confidence - chosen / exponents.sum(axis=1))


def _largest(difference: npt.NDArray[np.floating]) -> float:
    """Return the largest absolute value, or infinity if a value is not finite."""
    return float(np.abs(difference).max()) if np.isfinite(difference).all() else math.inf
