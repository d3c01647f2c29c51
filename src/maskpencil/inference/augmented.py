"""Average the probabilities of an image over mirrored and scaled views: test-time augmentation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage, scaled
from maskpencil.inference.smoothing import Probabilities, most_probable
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import relative_entropy
from maskpencil.segmenter import Predictor

SCALES = (0.75, 1.0, 1.25)
"""The scales of `--augment scales`."""


class Augmented(Predictor):
    """Average a segmenter's probabilities over views of each image; a wrapper for `predict`.

    Args:
        segmenter: segments the views.
        flip: add the mirrored image of each view.
        scales: factors of the image's size, each above 0. Scaled views' probabilities are scaled back.

    Raises:
        ConfigError: a scale is not above 0.
    """

    def __init__(self, segmenter: Predictor, *, flip: bool = True, scales: Sequence[float] = (1.0,)) -> None:
        if not scales or min(scales) <= 0:
            raise ConfigError(f"scales must be one or more factors above 0, but got {tuple(scales)}")
        self.segmenter, self.flip, self.scales = segmenter, flip, tuple(scales)

    @property
    def classes(self) -> ClassSet:
        """Those of the segmenter."""
        return self.segmenter.classes

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Probabilities:
        """Compute the average probabilities (N, K, H, W) of images of one size, (H, W, 3) uint8 each."""
        height, width, _ = images[0].shape
        total = np.zeros((len(images), len(self.classes), height, width), np.float32)
        for factor in self.scales:
            size = (max(1, round(height * factor)), max(1, round(width * factor)))
            views = [scaled(image, size) for image in images]
            for mirrored in (False, True) if self.flip else (False,):
                seen = [np.ascontiguousarray(view[:, ::-1]) for view in views] if mirrored else views
                found = self.segmenter.probabilities_batch(seen)
                total += _resized(found[..., ::-1] if mirrored else found, (height, width))
        total /= len(self.scales) * (2 if self.flip else 1)
        return total

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """See `Segmenter.predict_batch`."""
        return [
            Prediction(
                image,
                most_probable(probabilities),
                probabilities.max(axis=0) if confidence else None,
                self.classes,
                entropy=relative_entropy(probabilities[None])[0] if entropy else None,
            )
            for image, probabilities in zip(images, self.probabilities_batch(images), strict=True)
        ]

    def predict_class(self, images: Sequence[RGBImage], index: int) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images of one size and compute the probability (H, W) of one class."""
        return [
            (Prediction(image, most_probable(probabilities), None, self.classes), probabilities[index])
            for image, probabilities in zip(images, self.probabilities_batch(images), strict=True)
        ]


def _resized(probabilities: Probabilities, size: tuple[int, int]) -> Probabilities:
    """Bilinear scaling of (N, K, H, W) to (height, width) `size`, one image and class after the other."""
    if probabilities.shape[-2:] == size:
        return probabilities
    import cv2  # slow to import, and most runs never need it

    result = np.empty((*probabilities.shape[:2], *size), np.float32)
    for image, maps in enumerate(probabilities):
        for index, one in enumerate(maps):
            result[image, index] = cv2.resize(np.ascontiguousarray(one), size[::-1], interpolation=cv2.INTER_LINEAR)
    return result
