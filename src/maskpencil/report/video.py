"""Measure predictions for a video without masks: flicker, class shares over time, and the most uncertain stretches."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maskpencil.images import RGBImage
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.reader import VideoReader
from maskpencil.label_maps import LabelMap
from maskpencil.pipeline import in_parallel, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, side_by_side

STILL = 6
"""A pixel is still if each of its color channels, 0..255, blurred over 5 x 5 pixels, changes by at most this."""

STRETCHES = 4
"""The largest number of uncertain stretches that a report shows."""

STRETCH_SECONDS = 2.0
"""The length of a stretch: videos are divided into stretches of this number of seconds."""


@dataclass
class VideoFindings:
    """Measurements of each frame of a video.

    Attributes:
        seconds: the time of each frame.
        shares: for each frame, the share (K,) of its pixels predicted as each class, 0..1.
        uncertainty: for each frame, the mean of 1 - confidence; NaN if the predictor does not give confidences.
        flicker: for each frame, the share of the still pixels whose class changed since the previous frame, see
            `changed`; NaN for the first frame, and if no pixel is still.
        stretches: the most uncertain stretches in the order of the video: (first second, last second, prediction of
            the most uncertain frame).
    """

    seconds: list[float] = field(default_factory=list)
    shares: list[npt.NDArray[np.float64]] = field(default_factory=list)
    uncertainty: list[float] = field(default_factory=list)
    flicker: list[float] = field(default_factory=list)
    stretches: list[tuple[float, float, Prediction]] = field(default_factory=list)

    @property
    def mean_flicker(self) -> float:
        """The mean flicker over all frames whose flicker is not NaN; NaN if the flicker of all frames is NaN."""
        known = [value for value in self.flicker if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")


def describe_video(
    segmenter: Predictor,
    path: str | os.PathLike[str],
    *,
    report: Callable[[int, int], None] = lambda *_: None,
) -> VideoFindings:
    """Segment all frames of a video and measure the predictions; only a few frames are kept in memory.

    Args:
        segmenter: the predictor that segments the frames.
        path: the path of the video.
        report: called with (frames done, total); the total may be an estimate, and is the frames done if unknown.

    Raises:
        VideoError: no frame of the video can be read.
    """
    found, last = VideoFindings(), None
    stretches: dict[int, tuple[float, Prediction]] = {}
    classes = len(segmenter.classes)
    with VideoReader(path) as reader, side_by_side(segmenter) as workers:
        total = reader.facts().frames
        frames = (item for item in reader.read() if isinstance(item, Frame))

        def predicted(frame: Frame) -> tuple[Frame, Prediction]:
            return frame, segmenter.predict_batch([frame.pixels], confidence=True)[0]

        with (
            closing(read_ahead(frames, depth=2, step=f"{reader.name}: reading frames")) as items,
            closing(in_parallel(predicted, items, workers=workers, step="running the network on frames")) as results,
        ):
            for frame, prediction in results:
                second = float(frame.pts * reader.time_base)
                counts = np.bincount(prediction.label_map.ravel(), minlength=256)[:classes]
                sure = prediction.confidence
                unsure = float("nan") if sure is None else 1 - float(sure.mean(dtype=np.float64))
                found.seconds.append(second)
                found.shares.append(counts / prediction.label_map.size)
                found.uncertainty.append(unsure)
                smooth = _smoothed(frame.pixels)
                found.flicker.append(float("nan") if last is None else changed(*last, smooth, prediction.label_map))
                last = smooth, prediction.label_map
                stretch = int(second // STRETCH_SECONDS)
                if not np.isnan(unsure) and (stretch not in stretches or unsure > stretches[stretch][0]):
                    stretches[stretch] = unsure, prediction
                    for least in sorted(stretches, key=lambda number: stretches[number][0])[:-STRETCHES]:
                        del stretches[least]
                report(len(found.seconds), total or len(found.seconds))
    end = found.seconds[-1] if found.seconds else 0.0
    for number in sorted(stretches):
        first = number * STRETCH_SECONDS
        found.stretches.append((first, min(end, first + STRETCH_SECONDS), stretches[number][1]))
    return found


def changed(before: RGBImage, labels_before: LabelMap, after: RGBImage, labels_after: LabelMap) -> float:
    """Return the share, 0..1, of the still pixels whose class changed between two frames, see `STILL`.

    Return NaN if no pixel is still, as after a cut.

    Args:
        before: (H, W, 3) the earlier frame, blurred so that noise does not count as motion.
        labels_before: (H, W) the predicted class indices of the earlier frame.
        after: (H, W, 3) the later frame, blurred in the same way.
        labels_after: (H, W) the predicted class indices of the later frame.
    """
    still = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(axis=2) <= STILL
    count = np.count_nonzero(still)
    return np.count_nonzero(still & (labels_before != labels_after)) / count if count else float("nan")


def _smoothed(image: RGBImage) -> RGBImage:
    import cv2  # slow to import

    return np.asarray(cv2.blur(image, (5, 5)), np.uint8)
