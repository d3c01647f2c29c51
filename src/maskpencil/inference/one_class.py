"""Segment one class against all others by its probability."""

from collections.abc import Sequence

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.prediction import Prediction
from maskpencil.runtimes.base import relative_entropy
from maskpencil.segmenter import Predictor

_BLACK, _GREEN = (0, 0, 0), (0, 255, 0)
_OTHERS, _CLASS = 0, 1


class OneClass(Predictor):
    """Color only the pixels whose probability of one class is above a threshold, in green; a wrapper for `predict`.

    The label maps have two classes: 0 for the others, 1 for the class.

    Raises:
        ConfigError: the threshold is not from 0 to below 1.
        DataError: the model has no such class.
    """

    def __init__(self, segmenter: Predictor, name: str, *, threshold: float) -> None:
        if not 0 <= threshold < 1:
            raise ConfigError(f"--threshold must be a probability from 0 to below 1, but got {threshold}")
        self.segmenter, self.threshold = segmenter, threshold
        self.index = segmenter.classes.index(name)
        self._classes = ClassSet((f"not {name}", name), (_BLACK, _GREEN))

    @property
    def classes(self) -> ClassSet:
        """The two classes of the label maps: the others, and the class."""
        return self._classes

    @property
    def legend(self) -> Sequence[int]:
        """The index of the class."""
        return (_CLASS,)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each.

        `confidence` also computes the class's probability, `entropy` that of the class against all others together.
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
