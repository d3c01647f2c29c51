"""Ctrl-C, SIGTERM and SIGHUP, taken between two steps so that nothing is cut in half."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from maskpencil.signals import ENDING, is_ignored, mute_closed_terminal

STOPPING = (signal.SIGINT, *ENDING)


class StopRequest:
    """Remembers which signal asked to stop: `heard` by this process, `number` as all have agreed; 0 before.

    A second Ctrl-C stops at once. A context manager; outside the main thread, where Python delivers no signals, it
    never hears one.
    """

    def __init__(self) -> None:
        self.heard = self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if not (number in ENDING and is_ignored(number)):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.heard:
            raise KeyboardInterrupt
        if number in ENDING:
            mute_closed_terminal(number)
        if number in ENDING or not self.heard:
            self.heard = number
