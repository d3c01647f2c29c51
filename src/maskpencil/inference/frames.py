"""The frames of videos, and what a video says of itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from maskpencil.images import RGBImage
from maskpencil.inference.colors import ColorConverter
from maskpencil.inference.orientation import orientation, turned


@dataclass(frozen=True)
class VideoFacts:
    """What a video says of itself.

    `size` is (height, width) as shown, after `rotation`: 0, 90, 180 or 270 degrees clockwise from the stored image
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
    """One image of a video, (H, W, 3) RGB, shown at `pts` for `duration`, both in units of the reader's time base."""

    pixels: RGBImage
    pts: int
    duration: int


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it was decoded, not yet RGB nor upright; times as in `Frame`."""

    image: av.VideoFrame
    pts: int
    duration: int


class FrameConverter:
    """Turns the frames of one video upright and into RGB of one size, that of the first, and notes what they were.

    Args:
        name: what error messages call the video.
    """

    def __init__(self, name: str) -> None:
        self._colors = ColorConverter(name)
        self._size: tuple[int, int] | None = None  # as shown
        self.is_interlaced = False
        """Whether any frame holds two fields of different times."""
        self.resized: tuple[int, tuple[int, int]] | None = None
        """The `pts` and size, (height, width) as shown, of the first frame that was scaled to the first one's size."""

    @property
    def hdr(self) -> str | None:
        """The transfer function of the first HDR frame, "PQ" or "HLG"; None of a video that is SDR."""
        return self._colors.hdr

    def convert(self, stored: StoredFrame) -> Frame:
        """Give a frame as it is shown.

        Raises:
            VideoError: its colors are of a kind that cannot be read.
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
    """Convert the frames among `items`; packets pass."""
    for item in items:
        yield item if isinstance(item, av.Packet) else converter.convert(item)
