"""A video's label maps out: lossless, as a video of gray levels or as one palette PNG a frame."""

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange

from maskpencil.errors import OutputError
from maskpencil.label_maps import LabelMap, write_label_map

DIGITS = 6
"""Of the numbers that PNG frames are named by, from 000001 on."""


def refuse_used_folder(folder: str | os.PathLike[str]) -> None:
    """Make sure that a video's mask images would be alone in their folder.

    Raises:
        OutputError: it holds something already.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder}: is not empty, and the frames of two videos are not mixed; give another --out or remove it"
        )


class WritesMasks(Protocol):
    """Takes a video's label maps one by one; a context manager whose end completes what is written."""

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:
        """Add a frame's (H, W) class indices; `pts` must grow from frame to frame."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class MaskVideo:
    """A Matroska video of FFV1, whose gray levels are the class indices exactly.

    Its times are those given, to the millisecond, which is what Matroska keeps. The file is complete at the end only.

    Args:
        path: where to write, ending in .mkv.
        size: (height, width) of the label maps.
        frame_rate: frames a second, on average.
        time_base: the unit of `pts` and `duration`, in seconds.
        is_live: write no index, which would grow in memory, and no duration.
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
        self._stream.codec_context.color_range = ColorRange.JPEG  # all 256 levels, which no player may stretch

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:
        """Add a frame's (H, W) class indices; `pts` must grow from frame to frame."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(label_map), format="gray")
        frame.color_range = ColorRange.JPEG
        frame.pts, frame.duration, frame.time_base = pts, duration, self._time_base
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


class MaskFrames:
    """A folder of palette PNGs, 000001.png and on, one a frame that is taken; each is whole.

    Raises:
        OutputError: the folder holds something already.
    """

    def __init__(self, folder: str | os.PathLike[str], colors: npt.NDArray[np.uint8]) -> None:
        self._folder, self._colors, self._count = Path(folder), colors, 0
        refuse_used_folder(folder)

    def write(self, label_map: LabelMap, *, pts: int, duration: int) -> None:  # noqa: ARG002 - a PNG has no time
        """Add a frame's (H, W) class indices."""
        self._count += 1
        write_label_map(self._folder / f"{self._count:0{DIGITS}}.png", label_map, self._colors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass
