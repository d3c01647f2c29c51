"""Describe the predictions of a video without truth: flicker, shares of the classes over time, uncertain stretches."""

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
"""A pixel is still if none of its colors, 0-255, smoothed over 5x5 pixels, changes by more than this."""

STRETCHES = 4
STRETCH_SECONDS = 2.0
"""The number and the length of the uncertain stretches that are shown."""


@dataclass
class VideoFindings:
    """Measurements of each frame of a video.

    Attributes:
        seconds: the time of each frame.
        shares: (frames, K) the share of the pixels of each class.
        uncertainty: the mean of 1 - confidence of each frame; NaN if the predictor has no confidence.
        flicker: the share of the still pixels whose class changed since the frame before; NaN where none is still.
        stretches: (first second, last second, prediction of the most uncertain frame) of the most uncertain stretches.
    """

    seconds: list[float] = field(default_factory=list)
    shares: list[npt.NDArray[np.float64]] = field(default_factory=list)
    uncertainty: list[float] = field(default_factory=list)
    flicker: list[float] = field(default_factory=list)
    stretches: list[tuple[float, float, Prediction]] = field(default_factory=list)

    @property
    def mean_flicker(self) -> float:
        """The mean flicker over all frames that have one; NaN if none has."""
        known = [value for value in self.flicker if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")


def describe_video(
    segmenter: Predictor,
    path: str | os.PathLike[str],
    *,
    report: Callable[[int, int], None] = lambda *_: None,
) -> VideoFindings:
    """Segment all frames of a video and measure the predictions; only a few frames are kept in memory.

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
    """Return the share of the still pixels that got another class; NaN if no pixel is still, as after a cut.

    Both images (H, W, 3) are smoothed, so that noise does not count as motion.
    """
    still = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(axis=2) <= STILL
    count = np.count_nonzero(still)
    return np.count_nonzero(still & (labels_before != labels_after)) / count if count else float("nan")


def _smoothed(image: RGBImage) -> RGBImage:
    import cv2  # slow to import

    return np.asarray(cv2.blur(image, (5, 5)), np.uint8)
