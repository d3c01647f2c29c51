"""Select frames of a video: a stretch of it, every frame or every N-th."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import av

from maskpencil.inference.options import VideoOptions
from maskpencil.inference.video.frames import StoredFrame

_SOUND_BEHIND = 1  # seconds by which a video's sound may come after its images


def select(
    items: "Iterable[StoredFrame | av.Packet[Any]]", options: VideoOptions, *, time_base: Fraction, has_sound: bool
) -> "Iterator[StoredFrame | av.Packet[Any]]":
    """Yield every `every`-th frame that starts within `start` and `end`, and the stretch's sound.

    Times count from `start` and keep their distances. A frame lasts until the next that is taken, the last one until
    the stretch ends. `time_base` is that of the frames, whose times must grow from 0.
    """
    # by their decimals: the nearest binary fraction may lie just behind the frame that is meant
    first = ceil(Fraction(str(options.start)) / time_base)
    last = None if options.end is None else ceil(Fraction(str(options.end)) / time_base)
    enough = None if last is None else last + (_SOUND_BEHIND / time_base if has_sound else 0)
    held: StoredFrame | None = None  # it lasts until the next, which is not known yet
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
    """Estimate the number of selected frames of a video of `frames` frames and `duration` seconds; None if unknown."""
    if frames is None or not duration:
        return None
    stretch = min(duration, options.end or duration) - options.start
    return max(1, ceil(round(frames * stretch / duration) / options.every))


def _within(packet: "av.Packet[Any]", first: Fraction, last: Fraction | None) -> bool:
    if packet.pts is None:  # it belongs to what came before
        return not first
    seconds = packet.pts * packet.time_base
    # a decoder of sound may need packets from before the beginning
    return (not first or seconds >= first) and (last is None or seconds < last)


def _earlier(packet: "av.Packet[Any]", shift: int) -> "av.Packet[Any]":
    packet.dts = None if packet.dts is None else packet.dts - shift
    packet.pts = None if packet.pts is None else packet.pts - shift
    return packet
