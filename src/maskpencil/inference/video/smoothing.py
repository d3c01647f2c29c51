"""Smooth videos: average the class probabilities over time, and restart the average at every cut."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maskpencil.images import RGBImage
from maskpencil.inference.wrappers import Probabilities, most_probable
from maskpencil.label_maps import LabelMap
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor

CUT_DIFFERENCE = 0.08
"""The smallest difference of two frames at a cut. The difference is the mean absolute difference of the thumbnails'
values, 0..1, after the mean change of each color is subtracted.

In 95 % of pairs of unrelated street images (CamVid) the difference is larger; between frames of one drive, a second
apart, it is 0.06.
"""

CUT_LIGHT = 0.25
"""The smallest mean absolute difference of two thumbnails, 0..1, at a cut between scenes that differ only in
brightness; lamps and automatic exposure cause smaller differences."""

CUT_RATIO = 3.0
"""The smallest mean absolute difference at a cut, as a multiple of its recent average: in a fast pan all frames differ
much, but there is no cut."""

_THUMBNAIL = (16, 16)  # so coarse that noise and small movement hardly change it
_PAST_SHARE = 0.8  # the weight of earlier frames in the moving average of differences


@dataclass(frozen=True)
class Flicker:
    """The average share of pixels, 0..1, that change class from one frame to the next, before and after smoothing.

    Changes at cuts are not counted.
    """

    before: float
    after: float


class Smoother:
    """A predictor for the frames of one video, in order, with probabilities smoothed over time.

    The probabilities are an exponential moving average: `share` times the previous average plus 1 - `share` times the
    probabilities of the frame. The average restarts at a cut, and when the size of the frames changes.
    """

    def __init__(self, segmenter: Predictor, *, share: float) -> None:
        self._segmenter, self._share = segmenter, share
        self._cuts = CutFinder()
        self._average: Probabilities | None = None  # (K, H, W)
        self._labels: tuple[LabelMap, LabelMap] | None = None  # of the previous frame: without and with smoothing
        self._changed, self._pairs = [0.0, 0.0], 0

    @property
    def flicker(self) -> Flicker | None:
        """The flicker before and after smoothing; None if no scene has had two frames yet."""
        return Flicker(*(changed / self._pairs for changed in self._changed)) if self._pairs else None

    def predict(self, image: RGBImage) -> Prediction:
        """Segment the next frame of the video, (H, W, 3) uint8; the prediction has no confidence."""
        (probabilities,) = self._segmenter.probabilities_batch([image])  # (K, H, W)
        alone = most_probable(probabilities)
        is_cut = self._cuts.is_cut(image)
        if self._average is None or is_cut or self._average.shape != probabilities.shape:
            self._average, smoothed = probabilities.astype(np.float32), alone
        else:
            self._average *= np.float32(self._share)
            self._average += probabilities * np.float32(1 - self._share)
            smoothed = most_probable(self._average)
            if self._labels:
                for i, labels in enumerate((alone, smoothed)):
                    self._changed[i] += float(np.mean(labels != self._labels[i]))
                self._pairs += 1
        self._labels = alone, smoothed
        return Prediction(image, smoothed, None, self._segmenter.classes)


class CutFinder:
    """A detector of cuts: at a cut, a frame differs from the previous frame much more than recent frames did."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None
        self._usual: float | None = None

    def is_cut(self, image: RGBImage) -> bool:
        """Return whether the next frame, (H, W, 3) uint8, begins a new scene; False for the first two frames."""
        import cv2  # slow to import, and most runs never need it

        # (16, 16, 3) in 0..1
        thumbnail = np.asarray(cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32) / np.float32(
            255
        )
        before, self._before = self._before, thumbnail
        if before is None:
            return False
        change = thumbnail - before
        difference = float(np.abs(change).mean())
        drawn_difference = float(np.abs(change - change.mean(axis=(0, 1))).mean())
        is_other = drawn_difference > CUT_DIFFERENCE or difference > CUT_LIGHT
        usual = difference if self._usual is None else self._usual
        self._usual = _PAST_SHARE * usual + (1 - _PAST_SHARE) * difference
        return is_other and difference > CUT_RATIO * usual
