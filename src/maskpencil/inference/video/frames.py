"""Select the frames of a video, and convert them to upright RGB."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from threading import Lock
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter

from maskpencil.errors import VideoError
from maskpencil.images import RGBImage
from maskpencil.inference.options import VideoOptions


@dataclass(frozen=True)
class VideoFacts:
    """Properties of a video, from its header and its first frame.

    Attributes:
        size: (height, width) of a frame as shown.
        frames: the number of frames, which may be an estimate; None if unknown.
        rate: frames per second.
        duration: the duration in seconds, which may be an estimate; None if unknown.
        rotation: the angle by which the stored image is rotated clockwise when it is shown: 0, 90, 180 or 270 degrees;
            it does not tell whether the image is also mirrored.
        has_sound: whether the video has an audio stream.
        pixel_aspect: the width of a shown pixel divided by its height.
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
    """One image of a video, (H, W, 3) uint8 RGB, shown at `pts` for `duration`, in units of the reader's time base."""

    pixels: RGBImage
    pts: int
    duration: int


@dataclass(frozen=True)
class StoredFrame:
    """A decoded frame, before its conversion to upright RGB; `pts` and `duration` are as in `Frame`."""

    image: av.VideoFrame
    pts: int
    duration: int


class FrameConverter:
    """A converter of the frames of one video to upright RGB images, all with the size of the first frame.

    Args:
        name: the name of the video in error messages.
    """

    def __init__(self, name: str) -> None:
        self._colors = ColorConverter(name)
        self._size: tuple[int, int] | None = None  # as shown
        self.is_interlaced = False
        """Whether any frame so far is interlaced: its even and odd rows were recorded at different times."""
        self.resized: tuple[int, tuple[int, int]] | None = None
        """The `pts` and the original size (height, width), as shown, of the first frame that was scaled; None so far
        if all frames have the size of the first frame."""

    @property
    def hdr(self) -> str | None:
        """The transfer function of the first HDR frame so far, "PQ" or "HLG"; None without HDR."""
        return self._colors.hdr

    def convert(self, stored: StoredFrame) -> Frame:
        """Convert a frame to an upright RGB image.

        Raises:
            VideoError: the color format of the frame is not supported.
        """
        frame = stored.image
        turn = orientation(frame)
        is_sideways = turn[0] == 0
        shown = (frame.width, frame.height) if is_sideways else (frame.height, frame.width)
        self._size = self._size or shown
        if self.resized is None and shown != self._size:
            self.resized = (stored.pts, shown)
        self.is_interlaced = self.is_interlaced or frame.interlaced_frame
        target = self._size[::-1] if is_sideways else self._size
        return Frame(turned(self._colors.convert(frame, target), turn), stored.pts, stored.duration)


def images(
    items: "Iterable[StoredFrame | av.Packet[Any]]", converter: FrameConverter
) -> "Iterator[Frame | av.Packet[Any]]":
    """Yield the frames among `items` converted to RGB, and the packets of sound unchanged."""
    for item in items:
        yield item if isinstance(item, av.Packet) else converter.convert(item)


Orientation = tuple[int, int, int, int]
"""The signs (a, b, c, d) of a display matrix: stored (x, y) is shown at (a x + c y, b x + d y)."""

UPRIGHT = (1, 0, 0, 1)
"""The orientation of a frame that is shown as it is stored."""


def orientation(frame: av.VideoFrame) -> Orientation:
    """Return the rotation by quarter turns, mirrored or not, that is nearest to a frame's display matrix."""
    # frame.side_data makes a reference cycle: a hundred frames would stay in memory until the garbage collector runs
    matrix: Any = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if matrix is None:
        return UPRIGHT
    (a, b, _), (c, d, _), _ = np.frombuffer(matrix, dtype=np.int32).reshape(3, 3)
    if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
        return (int(np.sign(a)), 0, 0, int(np.sign(d)))
    return (0, int(np.sign(b)), int(np.sign(c)), 0)


def turned(pixels: RGBImage, orientation: Orientation) -> RGBImage:
    """Rotate or mirror stored pixels (H, W, 3) by a display matrix; the result is (W, H, 3) after a quarter turn."""
    if orientation == UPRIGHT:
        return pixels
    a, b, c, d = orientation
    if a == 0:
        pixels = pixels.transpose(1, 0, 2)  # (W, H, 3)
    if a + c < 0:
        pixels = pixels[:, ::-1]
    if b + d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def rotation(orientation: Orientation) -> int:
    """Return by how many degrees clockwise the stored x axis is rotated when shown: 0, 90, 180 or 270."""
    a, b, _, _ = orientation
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]


HDR_CURVES = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
"""The transfer functions of ITU-R BT.2100, as FFmpeg numbers them, and their usual names."""

WHITE = 203
"""The luminance of HDR, in cd/m², that becomes the white of SDR: the reference white of ITU-R BT.2408."""

_UNSPECIFIED = 2  # the code for both matrix and primaries
_RESERVED = frozenset({0, 3})  # codes without meaning that some writers store; as a matrix, 0 means RGB
_BT2020 = 9  # the code of the matrix (without constant luminance) and of the primaries


class ColorConverter:
    """A converter of video frames to RGB, which uses their color matrix, range and, for HDR, transfer function.

    A frame that states no matrix is read with the matrix of BT.601, as in FFmpeg. SDR is never tone-mapped. HDR is
    converted to linear light by the transfer functions of BT.2100 (with the system gamma of a display of 1000 cd/m² for
    HLG), and then to BT.709. Luminance up to `WHITE` is kept, so that SDR material in an HDR video is unchanged;
    brighter pixels become white. The metadata on the mastering display is not used, since FFmpeg would darken the whole
    image with it.

    `hdr` is the transfer function of the first HDR frame so far, "PQ" or "HLG"; None without HDR.

    Args:
        name: the name of the video in error messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoded = VideoReformatter()
        self.hdr: str | None = None

    def convert(self, frame: av.VideoFrame, size: tuple[int, int]) -> RGBImage:
        """Convert a frame to RGB (H, W, 3) uint8, scaled to `size` (height, width).

        Raises:
            VideoError: the color format of the frame is not supported.
        """
        curve = HDR_CURVES.get(frame.color_trc)
        if frame.colorspace in _RESERVED and not frame.format.is_rgb:
            frame.colorspace = _UNSPECIFIED
        if curve and frame.colorspace == _UNSPECIFIED:
            frame.colorspace = _BT2020
        self.hdr = self.hdr or curve
        try:
            pixels: RGBImage = self._tone_mapped(frame, size) if curve else self._pixels(frame, size, "rgb24")
            return pixels
        except FFmpegError as error:
            raise VideoError(
                f"{self._name}: its colors cannot be read (pixel format {frame.format.name}, color matrix "
                f"{frame.colorspace}, primaries {frame.color_primaries}); convert it to MP4 with H.264"
            ) from error

    def _tone_mapped(self, frame: av.VideoFrame, size: tuple[int, int]) -> Any:
        # without scaling, a chroma sample applies to all its pixels, as FFmpeg reads 8-bit SDR; else edges would differ
        scaling = Interpolation.POINT if (frame.height, frame.width) == size else Interpolation.BILINEAR
        # a frame made from the array, which is not copied, lacks the metadata on the mastering display
        deep = av.VideoFrame.from_numpy_buffer(self._pixels(frame, size, "rgb48le", scaling), format="rgb48le")
        deep.color_trc = frame.color_trc
        unknown = frame.color_primaries in (_UNSPECIFIED, *_RESERVED)
        deep.color_primaries = _BT2020 if unknown else frame.color_primaries
        with _tone_mapper(size, deep.color_trc, deep.color_primaries) as mapper:
            toned = mapper.reformat(
                deep, format="rgb24", dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709
            )
        return toned.to_ndarray()  # (H, W, 3) uint8

    def _pixels(
        self, frame: av.VideoFrame, size: tuple[int, int], pixel_format: str, scaling: Interpolation | None = None
    ) -> Any:
        height, width = size
        rgb = self._decoded.reformat(frame, width=width, height=height, format=pixel_format, interpolation=scaling)
        return rgb.to_ndarray()


MAX_TONE_MAPPERS = 8
"""The largest number of unused tone mappers that are kept for later videos."""

_tone_mappers_lock = Lock()
_tone_mappers: deque[tuple[tuple[object, ...], VideoReformatter]] = deque(maxlen=MAX_TONE_MAPPERS)


@contextmanager
def _tone_mapper(*kind: object) -> Iterator[VideoReformatter]:
    """Yield a reformatter that no other thread uses, for frames of one `kind`: size, transfer function and primaries.

    A new reformatter takes 3 seconds for its first frame, since FFmpeg computes a table. It is therefore kept for later
    videos of the same kind.
    """
    with _tone_mappers_lock:
        found = next((entry for entry in _tone_mappers if entry[0] == kind), None)
        if found:
            _tone_mappers.remove(found)
    mapper = found[1] if found else VideoReformatter()
    yield mapper
    with _tone_mappers_lock:
        _tone_mappers.append((kind, mapper))


_SOUND_BEHIND = 1  # seconds by which sound may come later in a file than the images of its time


def select(
    items: "Iterable[StoredFrame | av.Packet[Any]]", options: VideoOptions, *, time_base: Fraction, has_sound: bool
) -> "Iterator[StoredFrame | av.Packet[Any]]":
    """Yield every `every`-th frame that starts between `start` and `end`, and the sound between these times.

    The times of the result count from `start`; the distances between them do not change. A frame lasts until the next
    selected frame, the last frame until `end` or the end of the video. `time_base` is the time base of the frames;
    their times must increase from 0. With `has_sound`, items are read until `_SOUND_BEHIND` seconds after `end`, since
    sound may come later in the file than the images of the same time.
    """
    # exact decimals, since the nearest binary fraction may be just after the frame that the user means
    first = ceil(Fraction(str(options.start)) / time_base)
    last = None if options.end is None else ceil(Fraction(str(options.end)) / time_base)
    enough = None if last is None else last + (_SOUND_BEHIND / time_base if has_sound else 0)
    held: StoredFrame | None = None  # its duration is known only when the next frame is selected
    reached = number = 0
    for item in items:
        if isinstance(item, av.Packet):
            if _within(item, first * time_base, None if last is None else last * time_base):
                yield _earlier(item, round(first * time_base / item.time_base))
            continue
        if enough is not None and item.pts >= enough:
            break
        if item.pts < first or (last is not None and item.pts >= last):
            continue
        duration = item.duration if last is None else min(item.duration, last - item.pts)
        frame = replace(item, pts=item.pts - first, duration=duration)
        if number % options.every == 0:
            if held:
                yield replace(held, duration=frame.pts - held.pts)
            held = frame if options.every > 1 else None
            if held is None:
                yield frame
        number += 1
        reached = frame.pts + frame.duration
    if held:
        yield replace(held, duration=reached - held.pts)


def expected_frames(options: VideoOptions, frames: int | None, duration: float | None) -> int | None:
    """Estimate how many frames `select` yields from a video of `frames` frames and `duration` seconds.

    Return None if `frames` or `duration` is unknown.
    """
    if frames is None or not duration:
        return None
    stretch = min(duration, options.end or duration) - options.start
    return max(1, ceil(round(frames * stretch / duration) / options.every))


def _within(packet: "av.Packet[Any]", first: Fraction, last: Fraction | None) -> bool:
    if packet.pts is None:  # without a time stamp, it belongs to the packet before it
        return not first
    seconds = packet.pts * packet.time_base
    # a decoder of sound may need packets from before the beginning
    return (not first or seconds >= first) and (last is None or seconds < last)


def _earlier(packet: "av.Packet[Any]", shift: int) -> "av.Packet[Any]":
    packet.dts = None if packet.dts is None else packet.dts - shift
    packet.pts = None if packet.pts is None else packet.pts - shift
    return packet
