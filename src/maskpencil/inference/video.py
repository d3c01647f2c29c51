"""A film through the network: every frame coloured, times and sound as they were."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from av.audio.stream import AudioStream
from av.error import InvalidDataError

from maskpencil.classes import ClassSet
from maskpencil.errors import VideoError
from maskpencil.files import written_whole
from maskpencil.images import RGBImage
from maskpencil.inference.pipeline import PredictsImages, WriteBehind, read_ahead
from maskpencil.inference.video_reader import Frame, VideoFacts, VideoReader, probe_video
from maskpencil.inference.video_writer import MP4_SOUND, VideoWriter, write_video
from maskpencil.prediction import Prediction
from maskpencil.regions import Region
from maskpencil.visualize import MAX_LEGEND_CLASSES, PAPER, with_legend

__all__ = ["VideoFacts", "VideoReport", "predict_video", "probe_video", "write_video"]

QUEUE_DEPTH = 4
"""Frames that may wait before each step: the network, painting, encoding."""


@dataclass(frozen=True)
class VideoReport:
    """How a film went: its frames, and in `warnings` what was damaged or left out, one line each."""

    frames: int
    warnings: tuple[str, ...]


def predict_video(
    segmenter: PredictsImages,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    opacity: float = 0.5,
    find_boxes: Callable[[Prediction], Sequence[Region]] | None = None,
    on_frame: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Lay the classes over every frame of a film and write it as MP4 with H.264, whole or not at all.

    Frame times and sound are kept, rotated films come out upright, and a legend stands below the picture (unless there
    are more than `MAX_LEGEND_CLASSES`, which would hide it). Memory does not grow with the film's length. Of a damaged
    film all that can be decoded is written. `find_boxes` gives the regions of each frame that get a box. `on_frame` is
    called after each frame with its number, from 1, and the number of frames, which may be an estimate, or None where
    nothing is known.

    Raises:
        VideoError: nothing of the film can be read.
        OutputError: the film cannot be written.
    """
    facts = probe_video(source)
    sheet = _Sheet(segmenter.classes, facts.size)
    count = 0
    with VideoReader(source) as reader, _muxing(source):
        kept = [stream for stream in reader.sound if _codec(stream) in MP4_SOUND]
        kept_indices = {stream.index for stream in kept}
        with (
            written_whole(out) as temporary,
            VideoWriter(
                temporary,
                size=sheet.size,
                frame_rate=reader.rate,
                time_base=reader.time_base,
                pixel_aspect=facts.pixel_aspect,
                sound=kept,
            ) as writer,
            WriteBehind(depth=QUEUE_DEPTH) as encoding,
            WriteBehind(depth=QUEUE_DEPTH) as painting,  # left first, while encoding still takes its frames
            closing(read_ahead(reader.read(), depth=QUEUE_DEPTH)) as items,
        ):

            def paint(prediction: Prediction, pts: int, duration: int) -> None:
                boxes = find_boxes(prediction) if find_boxes else ()
                encoding.submit(writer.write, sheet.paint(prediction, opacity, boxes), pts=pts, duration=duration)

            for item in items:
                if isinstance(item, Frame):
                    (prediction,) = segmenter.predict_batch([item.pixels])
                    painting.submit(paint, prediction, item.pts, item.duration)
                    count += 1
                    if on_frame:
                        on_frame(count, facts.frames)
                elif item.stream_index in kept_indices:
                    painting.submit(encoding.submit, writer.write_sound, item)
        return VideoReport(count, tuple(_warnings(reader, kept_indices)))


@contextmanager
def _muxing(source: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except InvalidDataError as error:  # not from the reader, which notes damage, nor from our own pictures
        raise VideoError(
            f"{os.fspath(source)}: its sound is too damaged to be copied; copy or export it again, or without sound"
        ) from error


def _warnings(reader: VideoReader, kept: set[int]) -> list[str]:
    warnings = [
        f"{reader.path}: the sound is of the kind {_codec(stream)}, which is not copied into MP4, and was left out; "
        "convert it to AAC first to keep it"
        for stream in reader.sound
        if stream.index not in kept
    ]
    if reader.damaged_from is not None:
        warnings.append(
            f"{reader.path}: is damaged or cut short from second {reader.damaged_from:.1f} on; what could be read was "
            "done; copy or export it again"
        )
    return warnings


def _codec(stream: AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


class _Sheet:
    """The page every frame is painted on: the picture above, the same legend below."""

    def __init__(self, classes: ClassSet, size: tuple[int, int]) -> None:
        empty: RGBImage = np.full((*size, 3), PAPER, dtype=np.uint8)
        self._page = empty if len(classes) > MAX_LEGEND_CLASSES else with_legend(empty, classes)
        self._left = (self._page.shape[1] - size[1]) // 2  # as with_legend centres narrow pictures

    @property
    def size(self) -> tuple[int, int]:
        height, width, _ = self._page.shape
        return height, width

    def paint(self, prediction: Prediction, opacity: float, boxes: Sequence[Region]) -> RGBImage:
        page = self._page.copy()
        picture = prediction.overlay(opacity=opacity, legend=False, boxes=boxes)
        height, width, _ = picture.shape
        page[:height, self._left : self._left + width] = picture
        return page
