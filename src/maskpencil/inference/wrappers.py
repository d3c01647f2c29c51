"""Define wrappers of predictors: `TestTimeAugmentation`, `SingleClass` and `Abstain`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage, scaled
from maskpencil.label_maps import LabelMap
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, batch_size, side_by_side
from maskpencil.runtimes.base import relative_entropy

Probabilities = npt.NDArray[np.float32]
"""The class probabilities of images, (N, K, H, W), or of one image, (K, H, W), 0..1."""

SCALES = (0.75, 1.0, 1.25)
"""The scales of `TestTimeAugmentation` that `--augment scales` chooses."""


class _Wrapper(Predictor):
    """The base of wrappers: a predictor with the classes, batch size and number of threads of its `segmenter`."""

    segmenter: Predictor

    @property
    def classes(self) -> ClassSet:
        """The segmenter's classes."""
        return self.segmenter.classes

    @property
    def batch_size(self) -> int:
        """The segmenter's batch size."""
        return batch_size(self.segmenter)

    def side_by_side(self) -> AbstractContextManager[int]:
        """Prepare the segmenter for simultaneous predictions, see `Segmenter.side_by_side`."""
        return side_by_side(self.segmenter)

    def origin(self) -> dict[str, object] | None:
        """Return the segmenter's origin and the wrapper's settings, see `Predictor.origin`; None without an origin."""
        inner = getattr(self.segmenter, "origin", lambda: None)()
        settings = {name: value for name, value in vars(self).items() if isinstance(value, bool | int | float | tuple)}
        return None if inner is None else {"wrapper": type(self).__name__, "settings": settings, "segmenter": inner}


class TestTimeAugmentation(_Wrapper):
    """A wrapper that averages the probabilities of a segmenter over mirrored and scaled copies (views) of each image.

    Args:
        segmenter: the segmenter that computes the probabilities of the views.
        flip: whether to add to each view a copy that is mirrored left to right.
        scales: the scales of the views, as factors above 0 of the height and width of the image. The probabilities of
            each view are scaled back to the size of the image.

    Raises:
        ConfigError: a scale is not above 0, or there are no scales.
    """

    def __init__(self, segmenter: Predictor, *, flip: bool = True, scales: Sequence[float] = (1.0,)) -> None:
        if not scales or min(scales) <= 0:
            raise ConfigError(f"scales must be one or more factors above 0, but got {tuple(scales)}")
        self.segmenter, self.flip, self.scales = segmenter, flip, tuple(scales)

    def probabilities_batch(self, images: Sequence[RGBImage]) -> Probabilities:
        """Compute the average probabilities (N, K, H, W) float32 of images of one size, (H, W, 3) uint8 each."""
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
        """Segment images of one size by the average probabilities, see `Segmenter.predict_batch`."""
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

    def predict_class(
        self, images: Sequence[RGBImage], index: int, *, confidence: bool = False
    ) -> list[tuple[Prediction, npt.NDArray[np.float32]]]:
        """Segment images of one size; return each prediction with the probability (H, W) of the class `index`."""
        return [
            (
                Prediction(
                    image,
                    most_probable(probabilities),
                    probabilities.max(axis=0) if confidence else None,
                    self.classes,
                ),
                probabilities[index],
            )
            for image, probabilities in zip(images, self.probabilities_batch(images), strict=True)
        ]


def _resized(probabilities: Probabilities, size: tuple[int, int]) -> Probabilities:
    """Scale probabilities (N, K, H, W) bilinearly to `size`, (height, width)."""
    if probabilities.shape[-2:] == size:
        return probabilities
    import cv2  # slow to import, and most runs never need it

    result = np.empty((*probabilities.shape[:2], *size), np.float32)
    for image, maps in enumerate(probabilities):
        for index, one in enumerate(maps):
            result[image, index] = cv2.resize(np.ascontiguousarray(one), size[::-1], interpolation=cv2.INTER_LINEAR)
    return result


_BLACK, _GREEN = (0, 0, 0), (0, 255, 0)
_OTHERS, _CLASS = 0, 1


class SingleClass(_Wrapper):
    """A wrapper for `predict` that colors in green the pixels whose probability of one class exceeds a threshold.

    The label maps have two classes: 1 for the selected class, 0 for all other classes.

    Args:
        segmenter: the segmenter that computes the probability.
        name: the name of the selected class.
        threshold: a pixel gets the class if the probability exceeds this threshold, from 0 to below 1.

    Raises:
        ConfigError: the threshold is not from 0 to below 1.
        DataError: the model does not have a class with this name.
    """

    def __init__(self, segmenter: Predictor, name: str, *, threshold: float) -> None:
        if not 0 <= threshold < 1:
            raise ConfigError(f"--threshold must be a probability from 0 to below 1, but got {threshold}")
        self.segmenter, self.threshold = segmenter, threshold
        self.index = segmenter.classes.index(name)
        self._classes = ClassSet((f"not {name}", name), (_BLACK, _GREEN))

    @property
    def classes(self) -> ClassSet:
        """The two classes of the label maps: 0 "not NAME" for all other classes, 1 the selected class."""
        return self._classes

    @property
    def legend(self) -> Sequence[int]:
        """The indices of the classes to name in legends: only 1, the selected class."""
        return (_CLASS,)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each.

        With `confidence`, the confidence of every pixel is the probability of the selected class, even where the label
        is 0; with `entropy`, its entropy is that of two outcomes: the selected class, and any other class.
        """
        return [
            Prediction(
                image=prediction.image,
                label_map=np.where(probability > self.threshold, _CLASS, _OTHERS).astype(np.uint8),
                confidence=probability if confidence else None,
                classes=self.classes,
                plain=(_OTHERS,),
                entropy=relative_entropy(np.stack([probability, 1 - probability])[None])[0] if entropy else None,
            )
            for prediction, probability in self.segmenter.predict_class(images, self.index)
        ]


class Abstain(_Wrapper):
    """A wrapper for `predict` that sets pixels whose confidence is below a threshold to `IGNORE_INDEX` (255, no class).

    Args:
        segmenter: the segmenter that computes the label maps and their confidence.
        below: the threshold, above 0 and below 1.

    Raises:
        ConfigError: the threshold is not above 0 and below 1.
    """

    def __init__(self, segmenter: Predictor, *, below: float) -> None:
        if not 0 < below < 1:
            raise ConfigError(f"--abstain must be a probability above 0 and below 1, but got {below}")
        self.segmenter, self.below = segmenter, below

    @property
    def legend(self) -> Sequence[int]:
        """The indices of the classes to name in legends: the segmenter's `legend`, and `IGNORE_INDEX` (no class)."""
        return (*self.segmenter.legend, IGNORE_INDEX)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each, and set uncertain pixels to `IGNORE_INDEX`."""
        results = []
        for prediction in self.segmenter.predict_batch(images, confidence=True, entropy=entropy):
            sure = prediction.confidence
            unsure = np.zeros(prediction.label_map.shape, bool) if sure is None else sure < self.below
            label_map = np.where(unsure, np.uint8(IGNORE_INDEX), prediction.label_map)
            results.append(replace(prediction, label_map=label_map, confidence=sure if confidence else None))
        return results


def most_probable(probabilities: Probabilities) -> LabelMap:
    """Return the label map (H, W) uint8 of the most probable class of each pixel; `probabilities` are (K, H, W).

    Of equally probable classes the first is chosen, as by `argmax` over axis 0, which is slower.
    """
    best = probabilities[0].copy()
    labels = np.zeros(best.shape, dtype=np.uint8)
    for index in range(1, len(probabilities)):
        better = probabilities[index] > best
        labels[better] = index
        np.maximum(best, probabilities[index], out=best)
    return labels
