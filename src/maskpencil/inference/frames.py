"""The frames of films, and what a film says of itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from maskpencil.images import RGBImage
from maskpencil.inference.orientation import orientation, turned


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


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it was decoded, not yet RGB nor upright; times as in `Frame`."""

    picture: av.VideoFrame
    pts: int
    duration: int


def pictures(items: "Iterable[StoredFrame | av.Packet[Any]]") -> "Iterator[Frame | av.Packet[Any]]":
    """Turn frames upright and into RGB of one size, that of the first; packets pass."""
    reformatter = VideoReformatter()
    size: tuple[int, int] | None = None
    for item in items:
        if isinstance(item, av.Packet):
            yield item
            continue
        size = size or (item.picture.height, item.picture.width)
        rgb = reformatter.reformat(item.picture, width=size[1], height=size[0], format="rgb24")
        pixels: Any = rgb.to_ndarray()  # (H, W, 3) uint8, as rgb24 is
        yield Frame(turned(pixels, orientation(item.picture)), item.pts, item.duration)
