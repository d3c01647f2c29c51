"""Give no class to pixels of low confidence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.prediction import Prediction
from maskpencil.segmenter import Predictor


class Abstaining(Predictor):
    """Set pixels whose confidence is below a threshold to `IGNORE_INDEX`; a wrapper for `predict`.

    Raises:
        ConfigError: the threshold is not above 0 and below 1.
    """

    def __init__(self, segmenter: Predictor, *, below: float) -> None:
        if not 0 < below < 1:
            raise ConfigError(f"--abstain must be a probability above 0 and below 1, but got {below}")
        self.segmenter, self.below = segmenter, below

    @property
    def classes(self) -> ClassSet:
        """Those of the segmenter."""
        return self.segmenter.classes

    @property
    def legend(self) -> Sequence[int]:
        """See `Predictor`."""
        return (*self.segmenter.legend, IGNORE_INDEX)

    def predict_batch(
        self, images: Sequence[RGBImage], *, confidence: bool = False, entropy: bool = False
    ) -> list[Prediction]:
        """Segment images of one size, (H, W, 3) uint8 each."""
        results = []
        for prediction in self.segmenter.predict_batch(images, confidence=True, entropy=entropy):
            sure = prediction.confidence
            unsure = np.zeros(prediction.label_map.shape, bool) if sure is None else sure < self.below
            label_map = np.where(unsure, np.uint8(IGNORE_INDEX), prediction.label_map)
            results.append(replace(prediction, label_map=label_map, confidence=sure if confidence else None))
        return results
