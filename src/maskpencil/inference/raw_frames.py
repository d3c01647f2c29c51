"""Frames into a pipe, as bytes and nothing else."""

import os
import sys

from maskpencil.images import RGBImage


class RawFrames:
    """Writes frames as raw rgb24, row by row from the top, to a file descriptor, by default standard output.

    It writes past `sys.stdout`, so that what a reader who left did not take cannot fail at the program's end.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = os.dup(sys.stdout.fileno() if descriptor is None else descriptor)
        self.is_closed = False
        """Whether the reader has left."""

    def write(self, page: RGBImage) -> None:
        """Add a frame, (H, W, 3); waits while the reader is busy, and does nothing once it has left."""
        rest = memoryview(page.tobytes())
        try:
            while rest and not self.is_closed:
                rest = rest[os.write(self._descriptor, rest) :]
        except BrokenPipeError:
            self.is_closed = True

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._descriptor)
