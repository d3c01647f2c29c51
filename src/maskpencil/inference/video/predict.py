"""Segment the frames of videos, streams and cameras, and keep their times and sound."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from av import Packet
from av.audio.stream import AudioStream
from av.error import InvalidDataError

from maskpencil.errors import ConfigError, DataError, VideoError
from maskpencil.images import RGBImage
from maskpencil.inference.options import MaskFormat, PredictOptions, VideoOptions
from maskpencil.inference.report import Tally
from maskpencil.inference.sources import Source
from maskpencil.inference.video.frames import WHITE, Frame, FrameConverter, VideoFacts, expected_frames, images, select
from maskpencil.inference.video.opening import find_decoder, opening_of
from maskpencil.inference.video.outputs import QUEUE_DEPTH, VideoFiles, VideoForm, VideoOutputs
from maskpencil.inference.video.reader import VideoReader
from maskpencil.inference.video.smoothing import Smoother
from maskpencil.inference.video.stream import StreamReader
from maskpencil.inference.video.writers import MP4_SOUND
from maskpencil.pipeline import in_parallel, one_by_one, read_ahead
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, side_by_side, supports
from maskpencil.results import recorded_results

T = TypeVar("T")

WAKE_SECONDS = 0.05
"""The longest time, in seconds, between two checks for a stop request while no frame arrives."""


@dataclass(frozen=True)
class VideoReport:
    """The result of `predict_video`.

    Attributes:
        frames: the number of frames.
        warnings: lines about damage, lost data and scaled frames.
        notes: lines about HDR, interlacing and the measured flicker.
    """

    frames: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def predict_video(
    segmenter: Predictor,
    source: Source | str | os.PathLike[str],
    out: VideoFiles | str | os.PathLike[str] | None,
    *,
    options: PredictOptions | None = None,
    on_frame: Callable[[int, int | None], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
) -> VideoReport:
    """Draw the classes over every frame of a video and write it as MP4 with H.264, whole or not at all.

    Frame times and sound are kept, rotated videos are written upright, and a legend is drawn below the image, unless
    there are more than `MAX_LEGEND_CLASSES` classes. Memory does not grow with the length of the video. If a video is
    damaged, everything that can be decoded is written. A stream that is interrupted is opened again, and the MP4 of a
    stream or camera is written in fragments. Frames of a file go through the network in parallel, except with
    smoothing, where each frame depends on the frames before it.

    Args:
        segmenter: the predictor that segments the frames.
        source: the path of a video, or a source returned by `find_sources`.
        out: the path of the MP4 to write, or the paths of several files; None to write no file.
        options: the settings, including `options.video`.
        on_frame: called after each frame with its number, from 1, and the expected number of frames, or None if that
            is unknown.
        tell: called with messages for the user.
        stop: when it is set, a stream or camera is completed with the frames so far, and the result of a video file is
            discarded.

    Raises:
        ConfigError: there is no screen for a window, or `segmenter` has no probabilities to smooth.
        KeyboardInterrupt: `stop` was set, and the result of the video was discarded.
        OutputError: the video cannot be written.
        VideoError: no frame of the video can be read, or `start` is after its end.
    """
    options, stop = options or PredictOptions(), stop or Event()
    video, files = options.video, out if isinstance(out, VideoFiles) else VideoFiles(overlay=out)
    predictor = _predictor(segmenter, video)
    warnings: list[str] = []
    hardware = _hardware(video, tell)
    count = 0
    with _opened(source, video, hardware, stop=stop, tell=tell) as reader, _muxing(reader.name):
        facts = reader.facts()
        if isinstance(reader, VideoReader):
            reader.seek(video.start)
        is_live = not (isinstance(reader, VideoReader) or facts.duration)
        kept = [stream for stream in reader.sound if _can_be_copied(stream)]
        kept_indices = {stream.index for stream in kept}
        if files.overlay is not None:
            warnings += [
                _not_copied(reader.name, stream) for stream in reader.sound if stream.index not in kept_indices
            ]
        expected = None if is_live else expected_frames(video, facts.frames, facts.duration)
        selected = select(reader.stored(), video, time_base=reader.time_base, has_sound=facts.has_sound)
        converter = FrameConverter(reader.name)
        outputs = VideoOutputs(
            segmenter.classes,
            segmenter.legend,
            VideoForm(
                reader.name, facts.size, reader.rate / video.every, reader.time_base, facts.pixel_aspect, is_live
            ),
            options,
            files=files,
            sound=kept,
            tell=tell,
        )

        reading = None if is_live else f"{reader.name}: reading frames"

        def predicted(item: T) -> tuple[T, Prediction | None]:
            return item, predictor.predict(item.pixels) if isinstance(item, Frame) else None

        with (
            one_by_one() if is_live or video.smooth else side_by_side(segmenter) as workers,
            # closed after the files are complete, since the reading thread may wait long for a silent stream
            closing(
                read_ahead(images(selected, converter), depth=QUEUE_DEPTH, patience=WAKE_SECONDS, step=reading)
            ) as items,
            closing(in_parallel(predicted, items, workers=workers, step="running the network on frames")) as results,
            outputs,
        ):
            for item, prediction in results:
                outputs.refresh()
                if stop.is_set() and isinstance(reader, VideoReader):
                    raise KeyboardInterrupt
                if stop.is_set() or outputs.is_left:
                    break
                if isinstance(item, Frame) and prediction:
                    if count == 0 and hardware:
                        _tell_decoder(reader, tell)
                    outputs.submit(prediction, pts=item.pts, duration=item.duration)
                    count += 1
                    if on_frame:
                        on_frame(count, expected)
                elif isinstance(item, Packet) and item.stream_index in kept_indices:
                    outputs.submit_sound(item)
            if count == 0:
                raise _nothing_taken(reader, video, facts, stopped=stop.is_set())
        resized = _resized(reader, converter, facts, video.start)
        notes = (*_kinds(reader.name, converter), *_flicker(reader.name, predictor))
        return VideoReport(count, (*warnings, *_losses(reader), *resized), notes)


def _opened(
    source: Source | str | os.PathLike[str],
    options: VideoOptions,
    hardware: str | None,
    *,
    stop: Event,
    tell: Callable[[str], None],
) -> VideoReader | StreamReader:
    opening = opening_of(source)
    if opening.is_file:
        return VideoReader(opening, hardware=hardware)
    return StreamReader(opening, tries=options.reconnect, stop=stop, tell=tell, hardware=hardware)


def _predictor(segmenter: Predictor, options: VideoOptions) -> "_FrameByFrame | Smoother":
    if not options.smooth:
        return _FrameByFrame(segmenter)
    if not supports(segmenter, "probabilities_batch"):
        raise ConfigError(
            f"smooth needs the probabilities of all classes, which {type(segmenter).__name__} does not compute; "
            "leave out --smooth or --class"
        )
    return Smoother(segmenter, share=options.smooth)


class _FrameByFrame:
    """A predictor with the methods of `Smoother` that segments each frame separately, without smoothing."""

    flicker = None

    def __init__(self, segmenter: Predictor) -> None:
        self._segmenter = segmenter

    def predict(self, image: RGBImage) -> Prediction:
        (prediction,) = self._segmenter.predict_batch([image])
        return prediction


def _hardware(options: VideoOptions, tell: Callable[[str], None]) -> str | None:
    if not options.hardware_decode:
        return None
    device = find_decoder()
    if device is None:
        tell("videos are decoded in software: no hardware decoder that FFmpeg supports was found on this machine")
    return device


def _tell_decoder(reader: VideoReader | StreamReader, tell: Callable[[str], None]) -> None:
    where = (
        f"on {reader.decodes_on}"
        if reader.decodes_on
        else "in software: the hardware decoder does not support its format"
    )
    tell(f"{reader.name}: is being decoded {where}")


@contextmanager
def _muxing(name: str) -> Iterator[None]:
    try:
        yield
    except InvalidDataError as error:  # only for sound: the reader notes damage, and encoded frames are valid
        raise VideoError(
            f"{name}: its sound is too damaged to be copied; export the video again, or without sound"
        ) from error


def _nothing_taken(
    reader: VideoReader | StreamReader, options: VideoOptions, facts: VideoFacts, *, stopped: bool
) -> VideoError:
    if stopped:
        return VideoError(f"{reader.name}: was stopped before the first frame, so nothing was written")
    length = "" if facts.duration is None else f", and it is {facts.duration:.1f} s long"
    until = "" if options.end is None else f" to {options.end:g}"
    return VideoError(
        f"{reader.name}: has no frame from second {options.start:g}{until}{length}; choose another --start or --end"
    )


def _losses(reader: VideoReader | StreamReader) -> Iterator[str]:
    if isinstance(reader, StreamReader):
        if reader.gave_up:
            yield reader.gave_up
        return
    if reader.damaged_from is not None:
        count = reader.damaged_frames
        found = [f"{count} damaged frame{'s' if count > 1 else ''}"] if count else []
        found += ["the file is shorter than it states"] if reader.is_cut else []
        details = f" ({'; '.join(found)})" if found else ""
        since = f"{reader.name}: is damaged or cut short from second {reader.damaged_from:.1f} on"
        yield f"{since}{details}; everything readable was processed; copy or export it again"
    for joint in reader.joints[:1]:
        more = f", and {len(reader.joints) - 1} more times later" if len(reader.joints) > 1 else ""
        yield (
            f"{reader.name}: its time stamps start again at second {joint:.1f}{more}, as where videos were "
            "joined; the result continues from there"
        )
    if reader.has_unread_video:
        yield (
            f"{reader.name}: the file contains a second video after the first, which was not read; join both with "
            "a video editor, or save each in its own file"
        )


def _resized(
    reader: VideoReader | StreamReader, converter: FrameConverter, facts: VideoFacts, start: float
) -> Iterator[str]:
    if converter.resized:
        pts, (height, width) = converter.resized
        before, after = f"{facts.size[1]}x{facts.size[0]}", f"{width}x{height}"
        yield (
            f"{reader.name}: changes its size from {before} to {after} (width x height) at second "
            f"{start + float(pts * reader.time_base):.1f}; all frames were scaled to the first size"
        )


def _kinds(name: str, converter: FrameConverter) -> Iterator[str]:
    if converter.hdr:
        yield (
            f"{name}: is HDR ({converter.hdr}), and was tone-mapped to SDR (BT.709), where {WHITE} cd/m² and "
            "brighter became white"
        )
    if converter.is_interlaced:
        yield (
            f"{name}: is interlaced: each frame mixes two moments; for clean edges of moving objects, deinterlace "
            "the video first"
        )


def _can_be_copied(stream: AudioStream) -> bool:
    """Return whether an audio stream can be copied into MP4; a damaged stream, without a sample rate, cannot."""
    return _codec(stream) in MP4_SOUND and stream.codec_context.sample_rate > 0 and stream.codec_context.channels > 0


def _not_copied(name: str, stream: AudioStream) -> str:
    if _codec(stream) in MP4_SOUND:
        return f"{name}: the sound is damaged and was left out; copy or export the video again to keep it"
    return (
        f"{name}: the sound (codec {_codec(stream)}) cannot be copied into MP4 and was left out; convert it to "
        "AAC first to keep it"
    )


def _flicker(name: str, predictor: "_FrameByFrame | Smoother") -> list[str]:
    measured = predictor.flicker
    if measured is None:
        return []
    before, after = f"{measured.before:.2%}", f"{measured.after:.2%}"
    return [f"{name}: flicker {before} before smoothing, {after} after (pixels that change class from frame to frame)"]


def _codec(stream: AudioStream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def predict_videos(
    segmenter: Predictor,
    videos: Sequence[Source],
    *,
    out: Path,
    options: PredictOptions,
    tally: Tally,
    tell: Callable[[str], None],
    stop: Event,
) -> None:
    """Segment videos, streams and cameras one after the other, and count them in `tally`.

    `tally` also gets the failures, and a warning for each source that is not begun because `stop` was set.

    Raises:
        KeyboardInterrupt: `stop` was set within a video; its result is discarded.
        OutputError: a result cannot be written.
    """
    for source in videos:
        if stop.is_set():
            tally.warnings.append(f"{source.name}: was not begun, because the work was stopped")
            continue
        number = tally.begin()

        def on_frame(frame: int, total: int | None, source: Source = source, number: int = number) -> None:
            tally.tell(source, number, frame=frame, frames=total)

        masks = _mask_place(out, source, options.video.masks) if options.video.masks else None

        try:
            with recorded_results(out):
                done = predict_video(
                    segmenter,
                    source,
                    VideoFiles(_overlay_file(out, source) if options.overlays else None, masks),
                    options=options,
                    on_frame=on_frame,
                    tell=tell,
                    stop=stop,
                )
        except DataError as error:
            tally.tell(source, number, frame=0, frames=None, error=error)
        else:
            tally.videos += 1
            tally.frames += done.frames
            tally.warnings.extend(done.warnings)
            tally.notes.extend(done.notes)


def video_files(out: Path, videos: Sequence[Source], options: PredictOptions) -> list[Path]:
    """List all files that are written for videos, except the files in `frame_folders`."""
    files = [_overlay_file(out, source) for source in videos] if options.overlays else []
    if options.video.masks == "video":
        files += [_mask_place(out, source, "video") for source in videos]
    return files


def frame_folders(out: Path, videos: Sequence[Source], options: PredictOptions) -> list[Path]:
    """List the folders that hold one mask per frame of a video, if such masks are requested."""
    return [_mask_place(out, source, "png") for source in videos] if options.video.masks == "png" else []


def _overlay_file(out: Path, source: Source) -> Path:
    return out / "overlays" / f"{source.stem}.mp4"


def _mask_place(out: Path, source: Source, mask_format: MaskFormat) -> Path:
    return out / "masks" / (f"{source.stem}.mkv" if mask_format == "video" else source.stem)
