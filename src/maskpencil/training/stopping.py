"""Ctrl-C and SIGTERM, heard between two steps so that nothing is cut in half."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers the `number` of the signal that asked to stop, 0 before; a second Ctrl-C stops at once.

    A context manager; outside the main thread, where Python delivers no signals, it never hears one.
    """

    def __init__(self) -> None:
        self.number: int = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.number:
            raise KeyboardInterrupt
        self.number = number
