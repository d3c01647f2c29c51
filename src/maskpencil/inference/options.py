"""`VideoOptions`: how videos and streams are taken, beside what images share with them."""

from dataclasses import dataclass
from typing import Literal, get_args

from maskpencil.errors import ConfigError
from maskpencil.parsing import read_choice, read_number, read_whole

MaskFormat = Literal["video", "png"]


@dataclass(frozen=True)
class VideoOptions:
    """How videos, streams and cameras are taken.

    Args:
        every: only each so-many-th frame is taken, from the first.
        start: where to begin, in seconds of the video.
        end: where to stop, in seconds of the video; None: where the video ends.
        smooth: the share of the past in each frame's probabilities, 0 to below 1; 0 takes each frame by itself.
        masks: also write the label maps: `video`, lossless gray levels, or `png`, one palette PNG a frame.
        hardware_decode: decode on the graphics card or chip where that is possible.
        reconnect: how often in a row a broken stream is tried again.
        show: show the overlay in a window while it is made.
        stdout: write the overlay's frames to standard output, raw rgb24.

    Raises:
        ConfigError: a value is out of range.
    """

    every: int = 1
    start: float = 0.0
    end: float | None = None
    smooth: float = 0.0
    masks: MaskFormat | None = None
    hardware_decode: bool = False
    reconnect: int = 5
    show: bool = False
    stdout: bool = False

    def __post_init__(self) -> None:
        for name in ("every", "reconnect"):
            object.__setattr__(self, name, read_whole(name, getattr(self, name)))
        for name in ("start", "smooth") if self.end is None else ("start", "smooth", "end"):
            object.__setattr__(self, name, read_number(name, getattr(self, name)))
        if self.every < 1:
            raise ConfigError(f"every must be 1 (each frame) or more, but got {self.every}")
        if not 0 <= self.start < float("inf"):
            raise ConfigError(f"start must be 0 seconds or more, but got {self.start:g}")
        if self.end is not None and not self.start < self.end < float("inf"):
            raise ConfigError(f"end must be after start, which is second {self.start:g}, but got {self.end:g}")
        if not 0 <= self.smooth < 1:
            raise ConfigError(f"smooth must be from 0 (off) to below 1, but got {self.smooth:g}")
        if self.masks is not None:
            object.__setattr__(self, "masks", read_choice("masks", self.masks, get_args(MaskFormat)))
        if self.reconnect < 0:
            raise ConfigError(f"reconnect must be 0 (never) or more tries, but got {self.reconnect}")
