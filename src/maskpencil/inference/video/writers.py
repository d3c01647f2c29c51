"""Write videos: H.264 in MP4, lossless label maps, and raw frames into a pipe."""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.video import VideoStream
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from maskpencil.errors import OutputError, VideoError
from maskpencil.files import written_whole
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap, write_label_map
from maskpencil.plain_text import json_text
from maskpencil.prediction import Prediction
from maskpencil.regions import region_facts
from maskpencil.visualize import PAPER

CRF = 19
"""The constant rate factor of H.264: 18 looks like the original; raising it by 6 halves the size of the file."""

MAX_FRAME_REGIONS = 2000
"""The largest number of regions that are written for a frame; a noisy label map has more than 100,000."""

PRESET = "superfast"
"""The speed preset of the encoder; veryfast would make files a third smaller, but take 3 ms more per 720p frame."""

MP4_SOUND = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus"})
"""The audio codecs that are copied into the MP4 unchanged."""

_FRAGMENTS = {"movflags": "+frag_keyframe", "frag_duration": "2000000", "flush_packets": "1"}  # microseconds
_BT709 = 1  # FFmpeg's code for the matrix, the primaries and the transfer curve
_LIMITED_RANGE = 1


class _Encoder:
    """An encoder of frames into a video stream; a context manager that completes the file at its end."""

    _container: OutputContainer
    _stream: VideoStream
    _time_base: Fraction

    def _encode(self, frame: av.VideoFrame, *, pts: int, duration: int) -> None:
        frame.pts, frame.duration, frame.time_base = pts, duration, self._time_base
        self._container.mux(self._stream.encode(frame))

    def _close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._close()


class VideoWriter(_Encoder):
    """A writer of an MP4 file, frame by frame; a context manager that completes the file at its end.

    Args:
        path: the file to write.
        size: (height, width) of the frames; if a side is odd, a row or column in the background color is added, since
            H.264 requires even sides.
        frame_rate: frames per second, on average.
        time_base: the unit of `pts` and `duration`, in seconds.
        pixel_aspect: the width of a pixel divided by its height.
        sound: the audio streams of an open video that are copied; each codec must be one of `MP4_SOUND`.
        is_live: whether the source may have no end; then the file is written in self-contained fragments, since an
            index of all frames would fill memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        frame_rate: Fraction,
        time_base: Fraction,
        pixel_aspect: Fraction = Fraction(1),
        sound: Sequence[AudioStream] = (),
        is_live: bool = False,
    ) -> None:
        # faststart: the index is at the front, so that browsers can play before the whole file is loaded
        layout = _FRAGMENTS if is_live else {"movflags": "+faststart"}
        # FFmpeg does not report that a fragment could not be written; Python does
        self._file = Path(path).open("wb") if is_live else None  # noqa: SIM115 - closed by __exit__
        self._container = av.open(self._file or f"file:{os.fspath(path)}", "w", format="mp4", options=layout)
        options = {"crf": str(CRF), "preset": PRESET, "bf": "0"}  # with B-frames MP4 loses the end of uneven videos
        self._stream = self._container.add_stream("libx264", frame_rate, options)
        self._height, self._width = (side + side % 2 for side in size)
        self._stream.height, self._stream.width, self._stream.pix_fmt = self._height, self._width, "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = time_base
        codec.sample_aspect_ratio = pixel_aspect
        codec.flags |= Flags.frame_duration  # else the last of unevenly timed frames has no duration
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = _LIMITED_RANGE
        self._time_base = time_base
        self._reformatter = VideoReformatter()
        self._sound = {stream.index: self._container.add_stream_from_template(stream) for stream in sound}
        self._last_dts: dict[int, int] = {}

    def write(self, pixels: RGBImage, *, pts: int, duration: int) -> None:
        """Add a frame, (H, W, 3) uint8 RGB; `pts` must increase from frame to frame."""
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(self._even(pixels), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        self._encode(frame, pts=pts, duration=duration)

    def write_sound(self, packet: "av.Packet[Any]") -> None:
        """Add a packet of one of the `sound` streams.

        A packet that is not later than the previous packet is left out.
        """
        stream = self._sound[packet.stream_index]
        if packet.dts is None or packet.dts <= self._last_dts.get(packet.stream_index, packet.dts - 1):
            return
        self._last_dts[packet.stream_index] = packet.dts
        packet.stream = stream
        self._container.mux(packet)

    def _close(self) -> None:
        with self._file or nullcontext():
            super()._close()

    def _even(self, pixels: RGBImage) -> RGBImage:
        height, width, _ = pixels.shape
        if (height, width) == (self._height, self._width):
            return pixels
        page = np.full((self._height, self._width, 3), PAPER, dtype=np.uint8)
        page[:height, :width] = pixels
        return page


def write_video(path: str | os.PathLike[str], frames: Iterable[RGBImage], *, frame_rate: float | Fraction) -> None:
    """Write frames of one size, (H, W, 3) uint8 RGB each, as an MP4 video, whole or not at all.

    Only one frame is in memory at a time. `frame_rate` is in frames per second.

    Raises:
        VideoError: there are no frames, or their sizes differ.
        OutputError: the file cannot be written.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)  # rates such as 29.97 are n / 1001
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise VideoError(f"{os.fspath(path)}: a video must have at least one frame, but got none")
    size = (first.shape[0], first.shape[1])
    with (
        written_whole(path) as temporary,
        VideoWriter(temporary, size=size, frame_rate=rate, time_base=1 / rate) as writer,
    ):
        for number, frame in enumerate(chain([first], remaining)):
            if frame.shape != first.shape:
                raise VideoError(
                    f"{os.fspath(path)}: all frames must be {first.shape}, but frame {number + 1} is {frame.shape}"
                )
            writer.write(frame, pts=number, duration=1)


DIGITS = 6
"""The number of digits in the names of PNG frames, which begin with 000001."""


def refuse_used_folder(folder: str | os.PathLike[str]) -> None:
    """Check that a folder for the mask images of a video is empty or missing.

    Raises:
        OutputError: the folder is not empty.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder}: is not empty; expected an empty folder for the mask images; give another --out, or empty it"
        )


class MaskWriter(Protocol):
    """A writer of the label maps of a video; a context manager that completes the file or folder at its end."""

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:
        """Add the label map (H, W) uint8 of the next frame; `pts` must increase from frame to frame."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class MaskVideo(_Encoder):
    """A writer of label maps as a Matroska video (FFV1) in which the gray levels are exactly the class indices.

    Times are rounded to milliseconds, as Matroska requires. The file is incomplete until the `with` block ends.

    Args:
        path: the file to write, ending in .mkv.
        size: (height, width) of the label maps.
        frame_rate: frames per second, on average.
        time_base: the unit of `pts` and `duration`, in seconds.
        is_live: whether the source may have no end; then the file has no duration, and no index, since the index would
            grow in memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        frame_rate: Fraction,
        time_base: Fraction,
        is_live: bool = False,
    ) -> None:
        self._container = av.open(
            f"file:{os.fspath(path)}", "w", format="matroska", options={"live": "1"} if is_live else {}
        )
        # version 3 has a checksum in every slice
        self._stream = self._container.add_stream("ffv1", frame_rate, {"level": "3", "slicecrc": "1"})
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "gray"
        self._stream.codec_context.time_base = self._time_base = time_base
        self._stream.codec_context.color_range = ColorRange.JPEG  # full range, so that no player stretches the levels

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:
        """Add the label map (H, W) uint8 of the next frame; `pts` must increase from frame to frame."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(label_map), format="gray")
        frame.color_range = ColorRange.JPEG
        self._encode(frame, pts=pts, duration=duration)


class MaskFrames:
    """A writer of label maps as palette PNGs in a folder, 000001.png and so on; each file appears whole.

    `colors` (K, 3) is the palette.

    Raises:
        OutputError: the folder is not empty.
    """

    def __init__(self, folder: str | os.PathLike[str], colors: npt.NDArray[np.uint8]) -> None:
        self._folder, self._colors, self._count = Path(folder), colors, 0
        refuse_used_folder(folder)

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:  # noqa: ARG002 - a PNG has no time
        """Add the label map (H, W) uint8 of the next frame."""
        self._count += 1
        write_label_map(self._folder / f"{self._count:0{DIGITS}}.png", label_map, self._colors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class RegionLines:
    """A writer of the regions of a video as JSON lines, one object per frame; a context manager that closes the file.

    Each object has the number of the `frame`, from 1, its `time` in seconds, its `min_area`, and its `regions`: the
    entries of `region_facts`, and the polygons. Regions with fewer pixels than `min_area` are left out; in a frame with
    more than `MAX_FRAME_REGIONS` regions `min_area` is larger, so that only the largest regions are written.

    Args:
        path: the file to write.
        time_base: the unit of `pts`, in seconds.
        min_area: the smallest number of pixels of a region.
    """

    def __init__(self, path: str | os.PathLike[str], *, time_base: Fraction, min_area: int) -> None:
        self._time_base, self._min_area, self._count = time_base, min_area, 0
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by __exit__

    def write(self, prediction: Prediction, *, pts: int) -> None:
        """Add the regions of the next frame, shown at `pts`."""
        self._count += 1
        least = self._min_area
        areas = sorted((each.area for each in prediction.regions(min_area=least, polygons=False)), reverse=True)
        if len(areas) > MAX_FRAME_REGIONS:
            least = areas[MAX_FRAME_REGIONS] + 1
        line = {
            "frame": self._count,
            "time": round(float(pts * self._time_base), 6),
            "min_area": least,
            "regions": [
                {**region_facts(region), "polygons": region.polygons} for region in prediction.regions(min_area=least)
            ],
        }
        self._file.write(f"{json_text(line)}\n".encode("ascii"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


class RawFrames:
    """A writer of frames as raw rgb24, row by row from the top, to a file descriptor, by default standard output.

    The buffer of `sys.stdout` is not used: Python flushes it at exit, and flushing fails if the reader has closed the
    pipe.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = os.dup(sys.stdout.fileno() if descriptor is None else descriptor)
        self.is_closed = False
        """Whether the reader has closed the pipe."""

    def write(self, page: RGBImage) -> None:
        """Add a frame, (H, W, 3) uint8; wait while the reader is busy, and do nothing if the reader closed the pipe."""
        rest = memoryview(page.tobytes())
        try:
            while rest and not self.is_closed:
                rest = rest[os.write(self._descriptor, rest) :]
        except BrokenPipeError:
            self.is_closed = True

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
