"""Films in: upright RGB frames with their times, and the sound's packets beside them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from maskpencil.errors import VideoError
from maskpencil.images import RGBImage

FALLBACK_RATE = Fraction(25)
"""Frames a second of a film that does not say."""

_STATES_DURATION = ("avi", "matroska", "mov")  # containers whose header knows how long the whole film is
_MISSING_SECONDS = 1.0  # sound, pictures and subtitles of an undamaged film end this close together
_GAP_SECONDS = 0.25  # twice the longest packet of sound
_UPRIGHT = (1, 0, 0, 1)

Orientation = tuple[int, int, int, int]
"""The signs (a, b, c, d) of a display matrix: stored (x, y) is shown at (a x + c y, b x + d y)."""


@dataclass(frozen=True)
class VideoFacts:
    """What a film says of itself.

    `size` is (height, width) as shown, after `rotation`: 0, 90, 180 or 270 degrees clockwise from the stored picture
    (mirroring aside). `frames` and `duration` (seconds) may be estimates, and None where nothing is known. `rate` is in
    frames a second. `pixel_aspect` is the width of a shown pixel over its height.
    """

    size: tuple[int, int]
    frames: int | None
    rate: Fraction
    duration: float | None
    rotation: int
    has_sound: bool
    pixel_aspect: Fraction


@dataclass(frozen=True)
class Frame:
    """One picture of a film, (H, W, 3) RGB, shown at `pts` for `duration`, both in units of the reader's time base."""

    pixels: RGBImage
    pts: int
    duration: int


def probe_video(path: str | os.PathLike[str]) -> VideoFacts:
    """Read a film's header and its first frame.

    Raises:
        VideoError: the file is missing, empty, not a film, or none of it can be decoded.
    """
    with VideoReader(path) as reader:
        return reader._facts()


class VideoReader:
    """An open film, to be read once from start to end; a context manager.

    `damaged_from` is set while reading: the second from which on something was missing or broken.

    Raises:
        VideoError: the file is missing, empty, not a film, or holds no pictures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.damaged_from: float | None = None
        try:
            # "file:" and the whitelist: no name and no playlist makes FFmpeg reach for the network
            self._container = av.open(
                f"file:{self.path}", container_options={"protocol_whitelist": "file"}, metadata_errors="replace"
            )
        except FFmpegError as error:
            raise _not_a_film(self.path, error) from error
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            self._container.close()
            found = "pictures in a format unknown here" if videos else "no moving pictures"
            raise VideoError(f"{self.path}: holds {found}; convert it to MP4 with H.264, or remove it")
        self._video = videos[0]
        self.sound = self._container.streams.audio
        self.rate = self._video.average_rate or self._video.guessed_rate or FALLBACK_RATE
        self.time_base = self._video.time_base or 1 / self.rate
        self._start = Fraction(self._container.start_time or 0, av.time_base)  # seconds
        self._end = float(self._start)  # of all that was read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container.close()

    def read(self) -> "Iterator[Frame | av.Packet[Any]]":
        """Give frames and the sound's packets in the order of the file, with times that start at 0.

        Frames are turned upright and of one size, that of the first. Their times always grow.
        """
        reformatter = VideoReformatter()
        size: tuple[int, int] | None = None
        usual_duration = max(1, round(1 / self.rate / self.time_base))
        next_pts = earliest_pts = 0
        start = round(self._start / self.time_base)
        for item in self._decoded():
            if isinstance(item, av.Packet):
                shift = round(self._start / item.time_base)
                item.dts = None if item.dts is None else item.dts - shift
                item.pts = None if item.pts is None else item.pts - shift
                yield item
                continue
            size = size or (item.height, item.width)
            rgb = reformatter.reformat(item, width=size[1], height=size[0], format="rgb24")
            pts = max(next_pts if item.pts is None else item.pts - start, earliest_pts)
            duration = item.duration or usual_duration
            next_pts, earliest_pts = pts + duration, pts + 1
            pixels: Any = rgb.to_ndarray()  # (H, W, 3) uint8, as rgb24 is
            yield Frame(_turned(pixels, _orientation(item)), pts, duration)

    def _facts(self) -> VideoFacts:
        first = next((item for item in self._decoded() if isinstance(item, av.VideoFrame)), None)
        if first is None:
            raise VideoError(f"{self.path}: has no frame that can be decoded; copy or export it again, or remove it")
        orientation = _orientation(first)
        turned = orientation[0] == 0
        length = self._container.duration
        duration = None if length is None else length / av.time_base
        frames = self._video.frames or (duration and round(duration * self.rate)) or None
        aspect = self._video.sample_aspect_ratio or Fraction(1)
        return VideoFacts(
            size=(first.width, first.height) if turned else (first.height, first.width),
            frames=frames,
            rate=self.rate,
            duration=duration,
            rotation=_rotation(orientation),
            has_sound=bool(self.sound),
            pixel_aspect=1 / aspect if turned else aspect,
        )

    def _decoded(self) -> "Iterator[av.VideoFrame | av.Packet[Any]]":
        """Give frames and sound packets as they stand; what cannot be decoded is left out and noted."""
        try:
            for packet in self._container.demux(self._video, *self.sound):
                if packet.is_corrupt:
                    self._note_damage()
                if packet.stream is self._video:  # its stream_index is wrong in the last, empty packets
                    yield from self._decode(packet)
                elif packet.size and self._sounds(packet):  # the last of each stream is an empty one, for decoders
                    self._reach(packet.pts, packet.duration, packet.time_base)
                    yield packet
        except FFmpegError:
            self._note_damage()
        stated = self._container.duration if self._container.format.name.startswith(_STATES_DURATION) else None
        if stated is not None and stated / av.time_base - self._end > _MISSING_SECONDS:
            self._note_damage()

    def _decode(self, packet: "av.Packet[Any]") -> Iterator[av.VideoFrame]:
        try:
            frames: list[av.VideoFrame] = packet.decode()
        except FFmpegError:
            self._note_damage()
            return
        for frame in frames:
            if frame.is_corrupt:
                self._note_damage()
            self._reach(frame.pts, frame.duration, self.time_base)
            yield frame

    def _sounds(self, packet: "av.Packet[Any]") -> bool:
        """Whether a packet of sound is sound: one that is not would end the writing of the whole film."""
        if packet.stream.codec_context is None:
            return False  # of a kind unknown here, so that nothing can be said
        try:
            packet.decode()
        except FFmpegError:
            self._note_damage()
            return False
        return True

    def _reach(self, pts: int | None, duration: int | None, time_base: Fraction) -> None:
        if pts is None:
            return
        # pictures alone may pause; when sound and pictures do, a stretch of the file was unreadable
        if self.sound and pts * time_base - self._end > _GAP_SECONDS:
            self._note_damage()
        self._end = max(self._end, float((pts + (duration or 0)) * time_base))

    def _note_damage(self) -> None:
        if self.damaged_from is None:
            self.damaged_from = self._end - float(self._start)


def _not_a_film(path: Path, error: FFmpegError) -> VideoError:
    if not path.is_file():
        return VideoError(f"{path}: there is no such file")
    if path.stat().st_size == 0:
        return VideoError(f"{path}: is empty (0 bytes); expected a film; copy or export it again")
    reason = (error.strerror or type(error).__name__).lower()
    return VideoError(
        f"{path}: is damaged, cut short or not a film ({reason}); expected MP4, MOV, MKV, WebM, AVI, ...; "
        "copy or export it again, or remove it"
    )


def _orientation(frame: av.VideoFrame) -> Orientation:
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _UPRIGHT
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, dtype=np.int32).reshape(3, 3)
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):  # the nearest quarter turn
        return (int(np.sign(a)), 0, 0, int(np.sign(d)))
    return (0, int(np.sign(b)), int(np.sign(c)), 0)


def _turned(pixels: RGBImage, orientation: Orientation) -> RGBImage:
    """Show stored pixels as the film's display matrix asks: (H, W, 3), or (W, H, 3) after a quarter turn."""
    if orientation == _UPRIGHT:
        return pixels
    a, b, c, d = orientation
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)  # (W, H, 3)
    if a + c < 0:
        pixels = pixels[:, ::-1]
    if b + d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _rotation(orientation: Orientation) -> int:
    """Degrees clockwise, by where the stored picture's x axis points."""
    a, b, _, _ = orientation
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]
