"""Segment the video of one job, by the same code as `maskpencil predict`."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any

from maskpencil.classes import ClassSet
from maskpencil.errors import MaskPencilError, OutputError, VideoError
from maskpencil.images import RGBImage
from maskpencil.inference.video.outputs import VideoFiles
from maskpencil.inference.video.predict import VideoReport, predict_video
from maskpencil.inference.video.reader import VideoReader
from maskpencil.plain_text import visible
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor

OVERLAY, MASKS, REGIONS = "overlay.mp4", "masks.mkv", "regions.jsonl"

RESULTS = {OVERLAY: "video/mp4", MASKS: "video/x-matroska", REGIONS: "application/x-ndjson"}
"""The names of the results, each with its media type."""

UPLOAD = "video"
"""The name of the file that was sent; it has no suffix, since the format is not known."""

CHECK_SECONDS = 0.1
"""The shortest time in seconds between two checks of the size of the results."""

Turn = Callable[[], AbstractContextManager[None]]
"""A function that returns a context in which one frame may be computed."""


class InTurns(Predictor):
    """A predictor that waits for a turn before each frame.

    Args:
        predictor: the predictor that computes the frames.
        turn: called before each frame.
        workers: the number of frames that may be computed at the same time.
        max_pixels: the largest number of pixels of a frame.
    """

    def __init__(self, predictor: Predictor, turn: Turn, workers: int, max_pixels: int) -> None:
        self._predictor, self._turn, self._workers, self._max_pixels = predictor, turn, workers, max_pixels

    @property
    def classes(self) -> ClassSet:
        """The classes of the label maps."""
        return self._predictor.classes

    @property
    def legend(self) -> Sequence[int]:
        """The indices of the classes to name in legends."""
        return self._predictor.legend

    def side_by_side(self) -> AbstractContextManager[int]:
        """Return a context that yields the number of frames that may be computed at the same time."""
        return nullcontext(self._workers)  # the server has prepared the predictor

    def predict_batch(self, images: Sequence[RGBImage], **asked: Any) -> list[Prediction]:
        """Segment a frame when its turn has come.

        Raises:
            VideoError: the frame has more than `max_pixels` pixels, whatever size the video states.
        """
        height, width, _ = images[0].shape
        if height * width > self._max_pixels:
            raise VideoError(too_large((height, width), self._max_pixels))
        with self._turn():
            return self._predictor.predict_batch(images, **asked)


def segment_video(
    predictor: Predictor,
    folder: Path,
    *,
    min_area: int,
    max_pixels: int,
    on_frame: Callable[[int, int | None], None],
    check: Callable[[], None],
    stop: Event,
) -> VideoReport:
    """Segment the file `UPLOAD` in a folder, and write all of `RESULTS` beside it, or none of them.

    Args:
        predictor: the predictor that segments the frames.
        folder: the folder of the job.
        min_area: the smallest number of pixels of a region.
        max_pixels: the largest number of pixels of a frame.
        on_frame: called after each frame with its number and the number of all frames, see `predict_video`.
        check: called after frames, and at the end; an error that it raises ends the work.
        stop: ends the work when it is set.

    Raises:
        KeyboardInterrupt: `stop` was set.
        MaskPencilError: the file is not a video, its frames are too large, or the results cannot be written.
    """
    upload = folder / UPLOAD
    with VideoReader(upload) as reader:
        height, width = reader.stated_size
        if reader.is_image:
            raise VideoError("the file is an image; send it to /v1/mask")
        if height * width > max_pixels:
            raise VideoError(too_large((height, width), max_pixels))
    checked = time.monotonic()

    def frame(number: int, total: int | None) -> None:
        nonlocal checked
        on_frame(number, total)
        if time.monotonic() - checked > CHECK_SECONDS:
            check()
            checked = time.monotonic()

    files = VideoFiles(folder / OVERLAY, folder / MASKS, folder / REGIONS, min_area)
    report = predict_video(predictor, upload, files, on_frame=frame, stop=stop)
    check()
    return report


def too_large(size: tuple[int, int], max_pixels: int) -> str:
    """Return the message about frames of `size` (H, W) that are too large."""
    return (
        f"the frames of the video have {size[1]} x {size[0]} pixels, but this server takes at most {max_pixels}; scale "
        "them down"
    )


def said(error: MaskPencilError, folder: Path) -> str:
    """Return the message of an error for a client, without paths of this computer."""
    if isinstance(error, OutputError):
        reason = getattr(error.__cause__, "strerror", None) or "the disk failed"
        return f"the results cannot be written on the server ({reason.lower()})"
    return without_paths(str(error), folder)


def without_paths(text: str, folder: Path) -> str:
    """Return a message in which words replace the paths of a job's video and folder."""
    return visible(text.replace(str(folder / UPLOAD), "the video").replace(str(folder), "the folder"))
