"""Read videos: upright RGB frames with their times, and packets of sound."""

import os
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
from av.error import BlockingIOError as NotYetError
from av.error import FFmpegError
from av.format import Flags

from maskpencil.errors import VideoError
from maskpencil.inference.video.containers import Structure, read_structure
from maskpencil.inference.video.frames import (
    Frame,
    FrameConverter,
    StoredFrame,
    VideoFacts,
    images,
    orientation,
    rotation,
)
from maskpencil.inference.video.opening import Opening, open_container, opening_of

FALLBACK_RATE = Fraction(25)
"""The assumed frame rate of a video that does not state it, in frames per second."""

MISSING_SECONDS = 1.0
"""The longest time, in seconds, between the ends of sound, images and subtitles of an undamaged video."""

_STATES_DURATION = ("avi", "matroska", "mov")  # containers whose header states the length of the whole video
_GAP_SECONDS = 0.25  # twice the longest packet of sound
_JOINT_SECONDS = 2.0  # near a joint of two videos packets seem to be missing, without damage
_NOT_YET_SECONDS = 0.005  # the pause before reading again from a camera that had no new image


def probe_video(path: str | os.PathLike[str]) -> VideoFacts:
    """Read a video's header and its first frame.

    Raises:
        VideoError: the file is missing, empty or not a video, or nothing in it can be decoded.
    """
    with VideoReader(path) as reader:
        return reader.facts()


class VideoReader:
    """An open video, stream or camera, to be read once from start to end; a context manager.

    `damaged_frames` is the number of frames so far that the decoder reported as damaged or could not decode. Some
    damage cannot be detected, since most codecs have no checksums. `broke_off` is the error that ended the reading
    before the end of the source; None if there was no such error.

    Args:
        source: the path of a video, or the parameters for opening another source.
        hardware: the decoder to use, one of `opening.DEVICES`; None to decode in software.

    Raises:
        VideoError: the source is missing or empty, does not answer, is not a video, or holds no images.
    """

    def __init__(self, source: str | os.PathLike[str] | Opening, *, hardware: str | None = None) -> None:
        self.opening = source if isinstance(source, Opening) else opening_of(source)
        self.name = self.opening.name
        self._hardware = hardware
        self._open()

    def _open(self) -> None:
        self._container = open_container(self.opening, hardware=self._hardware)
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            self._container.close()
            found = "images in an unknown format" if videos else "no moving images"
            raise VideoError(f"{self.name}: holds {found}; convert it to MP4 with H.264, or remove it")
        self._video = videos[0]
        if self.opening.is_file and self._hardware is None and self._video.codec_context.name == "h264":
            # with FFmpeg's default, threads within a frame, this decoder does not report damaged frames
            self._video.thread_type = "FRAME"
        self.sound = self._container.streams.audio
        self.rate = self._video.average_rate or self._video.guessed_rate or FALLBACK_RATE
        self.time_base = self._video.time_base or 1 / self.rate
        self.start = Fraction(self._container.start_time or 0, av.time_base)
        """The time stamp of the beginning of the source, in seconds."""
        self._end: float | None = float(self.start)  # of everything read so far; None if unknown, after seeking
        self.broke_off: FFmpegError | None = None
        self.damaged_frames = 0
        self._damaged_at: list[float] = []  # in seconds after the start
        self._structure = Structure()
        self._timeline = Timeline()
        self._items = self._decoded()
        self._peeked: deque[av.VideoFrame | av.Packet[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def damaged_from(self) -> float | None:
        """The time in seconds of the first damage or gap that was found so far; None if no damage was found."""
        joints = self.joints
        around = (at for at in self._damaged_at if all(abs(at - joint) > _JOINT_SECONDS for joint in joints))
        return min(self._damaged_at if self.damaged_frames or self.is_cut else around, default=None)

    @property
    def joints(self) -> list[float]:
        """The times in seconds, as far as the file was read, at which its time stamps jump back.

        This happens where two videos were joined into one file.
        """
        return [joint - float(self.start) for joint in self._timeline.joints]

    @property
    def is_cut(self) -> bool:
        """Whether the file ends earlier than its container states; False until the file is read to its end."""
        return self._structure.is_cut

    @property
    def has_unread_video(self) -> bool:
        """Whether the file holds a second video after the first, which FFmpeg skips; False until the file is read."""
        return self._structure.has_unread_video

    @property
    def is_untimed(self) -> bool:
        """Whether the source has no time stamps, as with some simple network cameras."""
        return Flags.no_timestamps in Flags(self._container.format.flags)

    @property
    def is_image(self) -> bool:
        """Whether the source is a file with one image instead of a video."""
        return self._container.format.name.endswith("_pipe")

    @property
    def stated_size(self) -> tuple[int, int]:
        """The size (height, width) of the stored frames that the source states; known before a frame is decoded."""
        return self._video.codec_context.height, self._video.codec_context.width

    @property
    def duration(self) -> float | None:
        """The duration in seconds, stated by the source or estimated by FFmpeg; None if unknown, as for cameras."""
        return None if self._container.duration is None else self._container.duration / av.time_base

    @property
    def stated_duration(self) -> float | None:
        """The `duration` if the source itself states it; None if it is an estimate."""
        return self.duration if self._container.format.name.startswith(_STATES_DURATION) else None

    @property
    def bytes(self) -> int | None:
        """The size of the source's file in bytes; None if it is unknown."""
        size = self._container.size
        return size if size > 0 else None

    @property
    def decodes_on(self) -> str | None:
        """The decoder of the last frame: one of `opening.DEVICES`, or None for software."""
        context = self._video.codec_context
        if self._hardware is None or not context.is_hwaccel or context.format is None:
            return None
        software = context.format.components  # the pixel format of a hardware decoder has no components
        return None if software else self._hardware

    def seek(self, seconds: float) -> None:
        """Seek to a time after the start of the video, or to the nearest earlier time that can be reached reliably."""
        if seconds <= 0 or not self.opening.is_file:
            return
        self._peeked.clear()
        try:
            self._container.seek(round((seconds + float(self.start)) * av.time_base))
        except FFmpegError:
            self._reopen()
            return
        self._items, self._end, self._timeline = self._decoded(), None, Timeline()
        first = self._first_frame()
        # without an index, FFmpeg may seek too far, or to a frame without a time stamp
        if first is None or first.pts is None or first.pts * self.time_base - self.start > seconds:
            self._reopen()

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def read(self) -> "Iterator[Frame | av.Packet[Any]]":
        """Yield frames and packets of sound in the order of the file, with times from 0.

        Frames are upright and have the size of the first frame. Their times increase.
        """
        return images(self.stored(), FrameConverter(self.name))

    def stored(self) -> "Iterator[StoredFrame | av.Packet[Any]]":
        """Yield the items of `read`, but with frames as decoded, before the conversion to upright RGB."""
        next_pts = earliest_pts = 0
        is_timed = False
        usual_duration = max(1, round(1 / self.rate / self.time_base))
        start = round(self.start / self.time_base)
        for item in self._replayed():
            if isinstance(item, av.Packet):
                shift = round(self.start / item.time_base)
                item.dts = None if item.dts is None else item.dts - shift
                item.pts = None if item.pts is None else item.pts - shift
                yield item
                continue
            if not is_timed and item.pts is not None:
                is_timed = True
                if next_pts:  # the first frames of a stream may lack time stamps: they come right before this frame
                    start = min(start, item.pts - next_pts)
            pts = max(next_pts if item.pts is None else item.pts - start, earliest_pts)
            duration = item.duration or usual_duration
            next_pts, earliest_pts = pts + duration, pts + 1
            yield StoredFrame(item, pts, duration)

    def facts(self) -> VideoFacts:
        """Return the properties of the source and its first frame; `read` still yields all frames afterwards.

        Raises:
            VideoError: nothing in the source can be decoded.
        """
        first = self._first_frame()
        if first is None:
            reason = "copy or export it again, or remove it" if self.opening.is_file else "check that it sends images"
            raise VideoError(f"{self.name}: no frame can be decoded; {reason}")
        shown = orientation(first)
        sideways = shown[0] == 0
        frames = self._video.frames or (self.duration and round(self.duration * self.rate)) or None
        aspect = self._video.sample_aspect_ratio or Fraction(1)
        return VideoFacts(
            size=(first.width, first.height) if sideways else (first.height, first.width),
            frames=frames,
            rate=self.rate,
            duration=self.duration,
            rotation=rotation(shown),
            has_sound=bool(self.sound),
            pixel_aspect=1 / aspect if sideways else aspect,
        )

    def _first_frame(self) -> av.VideoFrame | None:
        for item in self._items if not any(isinstance(item, av.VideoFrame) for item in self._peeked) else ():
            self._peeked.append(item)
            if isinstance(item, av.VideoFrame):
                break
        return next((item for item in self._peeked if isinstance(item, av.VideoFrame)), None)

    def _replayed(self) -> "Iterator[av.VideoFrame | av.Packet[Any]]":
        while self._peeked:
            yield self._peeked.popleft()
        yield from self._items

    def _decoded(self) -> "Iterator[av.VideoFrame | av.Packet[Any]]":
        """Yield frames and packets of sound as stored, and note where the source is damaged.

        Frames and sound that cannot be decoded are left out; damaged frames that can be decoded are yielded.
        """
        try:
            for packet in self._packets():
                if packet.is_corrupt:
                    self._note_damage()
                if packet.stream is self._video:  # its stream_index is wrong in the last, empty packets
                    yield from self._decode(packet)
                elif packet.size and self._sounds(packet):  # each stream ends with an empty packet, only for decoders
                    self._place(packet)
                    self._reach(packet.pts, packet.duration, packet.time_base)
                    yield packet
        except FFmpegError as error:
            self.broke_off = error
            self._note_damage()
        if self.opening.is_file:
            self._structure = read_structure(self.name)
        stated = self.stated_duration
        if self.is_cut or (stated is not None and stated - (self._end or float(self.start)) > MISSING_SECONDS):
            self._note_damage()

    def _packets(self) -> "Iterator[av.Packet[Any]]":
        quiet_since = time.monotonic()
        while True:
            try:
                for packet in self._container.demux(self._video, *self.sound):
                    quiet_since = time.monotonic()
                    yield packet
                return
            except NotYetError:  # cameras of macOS raise it if they have no new image
                if time.monotonic() - quiet_since > (self.opening.stall or 0):
                    raise
                time.sleep(_NOT_YET_SECONDS)

    def _decode(self, packet: "av.Packet[Any]") -> Iterator[av.VideoFrame]:
        try:
            frames: list[av.VideoFrame] = packet.decode()
        except FFmpegError:
            self._note_damage()
            self.damaged_frames += 1
            return
        for frame in frames:
            self._place(frame)
            if frame.is_corrupt:
                self._note_damage()
                self.damaged_frames += 1
            self._reach(frame.pts, frame.duration, self.time_base)
            yield frame

    def _sounds(self, packet: "av.Packet[Any]") -> bool:
        """Return whether a packet of sound can be decoded; writing a damaged packet would fail."""
        if packet.stream.codec_context is None:
            return False  # there is no decoder for this kind of sound
        try:
            packet.decode()
        except FFmpegError:
            self._note_damage()
            return False
        return True

    def _place(self, item: "av.VideoFrame | av.Packet[Any]") -> None:
        """Shift the time stamps of a frame or packet as `Timeline` says."""
        number = item.stream_index if isinstance(item, av.Packet) else self._video.index
        shift = self._timeline.shift(number, item.pts, item.time_base or self.time_base, end=self._end)
        if shift:
            item.pts = None if item.pts is None else item.pts + shift
            item.dts = None if item.dts is None else item.dts + shift

    def _reach(self, pts: int | None, duration: int | None, time_base: Fraction) -> None:
        if pts is None:
            return
        begins = float(pts * time_base)
        # images alone may pause; if images and sound pause together, a part of the file was unreadable
        if self.sound and self._end is not None and begins - self._end > _GAP_SECONDS:
            self._note_damage()
        self._end = max(self._end or begins, begins + float((duration or 0) * time_base))

    def _note_damage(self) -> None:
        at = max(0.0, (self._end or float(self.start)) - float(self.start))
        if not self._damaged_at or at > self._damaged_at[-1] + _JOINT_SECONDS / 2:
            self._damaged_at.append(at)


_BACK_SECONDS = 0.5  # within one video, the time stamps of a stream never go back by this much


class Timeline:
    """A correction of the time stamps of a file of joined videos: in the file they jump back to 0 at each joint.

    After each jump, all time stamps are shifted so that they continue from the end of the video before. The first
    stream that jumps sets the shift for all streams, so that sound and frames stay synchronous. `joints` are the times
    of the jumps in seconds, counted in shifted time stamps.
    """

    def __init__(self) -> None:
        self.joints: list[float] = []
        self._shifts = [Fraction(0)]  # seconds, for each of the joined videos
        self._parts: dict[int, int] = {}  # the index of the joined video that each stream has reached
        self._last: dict[int, Fraction] = {}

    def shift(self, stream: int, pts: int | None, time_base: Fraction, *, end: float | None) -> int:
        """Return the number to add to the time stamps of a frame or packet, in units of `time_base`.

        Args:
            stream: the index of the stream.
            pts: the time stamp in the file; with None the shift is the stream's last shift.
            time_base: the unit of `pts`, in seconds.
            end: the end of everything read so far in seconds, counted in shifted time stamps; None if it is unknown.
        """
        if pts is not None:
            time = pts * time_base
            if time < self._last.get(stream, time) - Fraction(_BACK_SECONDS):
                self._parts[stream] = part = self._parts.get(stream, 0) + 1
                if part == len(self._shifts):
                    begins = Fraction(end if end is not None else float(time)).limit_denominator(1_000_000)
                    self._shifts.append(begins - time)
                    self.joints.append(float(begins))
            self._last[stream] = time
        return round(self._shifts[self._parts.get(stream, 0)] / time_base)
