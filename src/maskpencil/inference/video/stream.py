"""Read streams and cameras: reconnect after interruptions, and join their frames into one video."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from threading import Event
from types import TracebackType
from typing import Any, Self

import av
from av.audio.stream import AudioStream

from maskpencil.errors import VideoError
from maskpencil.inference.video.frames import StoredFrame, VideoFacts
from maskpencil.inference.video.opening import Opening, reason_of
from maskpencil.inference.video.reader import MISSING_SECONDS, VideoReader

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""The seconds to wait before the first attempt to reconnect, doubled for every further attempt, and the largest
wait."""

_CLOCK = Fraction(1, 90_000)  # the time base of sources without time stamps; their frames get the times of arrival


class StreamReader:
    """A reader of a stream or camera that reconnects after interruptions; its attributes are as in `VideoReader`.

    After an interruption, a stream that has an end, such as a video file at an address, continues with the next frame.

    A live stream begins with the first image that can be decoded, which may be seconds after the first packet. After an
    interruption its frame times include the time that passed, so that the gap stays visible in the video.

    `gave_up` is a message that says why reading ended before the end of the stream; None if it did not.

    Args:
        opening: the parameters for opening the stream.
        tries: the largest number of attempts to reconnect in a row.
        stop: when it is set, reading ends.
        tell: called with messages for the user.
        hardware: the decoder to use, one of `opening.DEVICES`.

    Raises:
        VideoError: the stream does not answer, or holds no images.
    """

    def __init__(
        self, opening: Opening, *, tries: int, stop: Event, tell: Callable[[str], None], hardware: str | None = None
    ) -> None:
        self._opening, self._tries, self._stop, self._tell, self._hardware = opening, tries, stop, tell, hardware
        self._reader = VideoReader(opening, hardware=hardware)
        self.name, self.rate, self.sound = self._reader.name, self._reader.rate, self._reader.sound
        self._sound_kinds = _kinds(self.sound)
        self._by_clock = self._reader.is_untimed and self._reader.bytes is None
        self.time_base = _CLOCK if self._by_clock else self._reader.time_base
        self.gave_up: str | None = None
        self._failed = 0  # attempts to reconnect since the last frame
        self._last_pts, self._end = -1, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, traceback)

    @property
    def decodes_on(self) -> str | None:
        """The decoder of the last frame, see `VideoReader.decodes_on`."""
        return self._reader.decodes_on

    def facts(self) -> VideoFacts:
        """Return the properties of the source and its first frame, see `VideoReader.facts`."""
        return self._reader.facts()

    def stored(self) -> "Iterator[StoredFrame | av.Packet[Any]]":
        """Yield frames as decoded and packets of sound, see `VideoReader.stored`; reconnect after interruptions."""
        shift = 0
        while True:
            broke_at = time.monotonic()
            for item in self._reader.stored():
                if self._stop.is_set():
                    return
                broke_at = time.monotonic()
                is_first = self._last_pts < 0 and not (self._by_clock or self._has_an_end())
                if isinstance(item, av.Packet):
                    if is_first:
                        continue  # sound before the first image
                    if self._sound_kinds.get(item.stream_index) == _kinds(self._reader.sound)[item.stream_index]:
                        yield _later(item, round(shift * self.time_base / item.time_base))
                    continue
                if is_first:
                    shift = -item.pts
                frame = self._timed(item, shift)
                if frame.pts > self._last_pts:
                    self._failed = 0
                    self._last_pts, self._end = frame.pts, max(self._end, frame.pts + frame.duration)
                    yield frame
            if self._stop.is_set() or self._is_at_its_end() or not self._opened_again():
                return
            if not self._has_an_end():
                shift = max(self._end, self._last_pts + round((time.monotonic() - broke_at) / self.time_base))

    def _timed(self, frame: StoredFrame, shift: int) -> StoredFrame:
        if self._by_clock:
            now = round(time.monotonic() / self.time_base)
            if self._last_pts < 0:
                self._zero = now
            return StoredFrame(
                frame.image, max(now - self._zero, self._last_pts + 1), round(1 / self.rate / self.time_base)
            )
        scale = self._reader.time_base / self.time_base  # 1, unless reconnecting changed the time base
        return replace(frame, pts=round(frame.pts * scale) + shift, duration=max(1, round(frame.duration * scale)))

    def _has_an_end(self) -> bool:
        return self._reader.bytes is not None or self._reader.duration is not None

    def _is_at_its_end(self) -> bool:
        if self._reader.broke_off or not self._has_an_end():
            return False
        # if all bytes of a file arrived, an estimated duration does not show that something is missing
        duration = self._reader.stated_duration if self._reader.bytes is not None else self._reader.duration
        return duration is None or float(self._end * self.time_base) + MISSING_SECONDS >= duration

    def _opened_again(self) -> bool:
        error = self._reader.broke_off
        reason = reason_of(error) if error else "the stream ended"
        second = float(self._end * self.time_base)
        self._reader.__exit__(None, None, None)  # a camera can be opened only once at a time
        while self._failed < self._tries:
            wait = min(FIRST_WAIT * 2**self._failed, LONGEST_WAIT)
            self._failed += 1
            self._tell(
                f"{self.name}: was interrupted at second {second:.1f} ({reason}); reconnecting in {wait:g} s "
                f"(attempt {self._failed} of {self._tries})"
            )
            if self._stop.wait(wait):
                return False
            try:
                reader = VideoReader(self._opening, hardware=self._hardware)
            except VideoError as failure:
                cause = failure.__cause__
                reason = reason_of(cause) if isinstance(cause, av.FFmpegError) else "the stream holds no images"
                continue
            self._reader = reader
            return True
        self.gave_up = (
            f"{self.name}: was interrupted at second {second:.1f} ({reason}) and could not be reconnected in "
            f"{self._tries} attempts; the frames until then are complete"
        )
        return False


def _kinds(streams: tuple[AudioStream, ...]) -> dict[int, str]:
    return {s.index: s.codec_context.codec.canonical_name if s.codec_context else "unknown" for s in streams}


def _later(packet: "av.Packet[Any]", shift: int) -> "av.Packet[Any]":
    packet.dts = None if packet.dts is None else packet.dts + shift
    packet.pts = None if packet.pts is None else packet.pts + shift
    return packet
