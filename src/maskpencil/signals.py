"""SIGTERM and SIGHUP: they end a command as Ctrl-C does, with its files cleaned up and an exit code of their own."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

ENDING = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""Those that end a process from outside. SIGHUP, which Windows lacks, comes when the terminal is closed."""

CLOSING = ENDING[1:]
"""That of a closed terminal alone."""


STOPPING = (signal.SIGINT, *ENDING)
"""Those that ask for a stop."""


@dataclass
class Ended:
    """The number of the signal that ended a block; 0 where none did."""

    number: int = 0


@contextmanager
def ended_by_signals() -> Iterator[Ended]:
    """Raise KeyboardInterrupt in the block at the first signal of `ENDING`, so that all that is open is closed.

    Those that follow are passed over: closing a terminal may send two. A signal that the process was started to ignore,
    as nohup does with SIGHUP, stays ignored. Outside the main thread, where Python delivers no signals, none is taken.
    """
    ended = Ended()
    in_main = threading.current_thread() is threading.main_thread()
    taken = [number for number in ENDING if in_main and not is_ignored(number)]

    def end(number: int, _frame: FrameType | None) -> None:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        mute_closed_terminal(number)
        ended.number = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in taken}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequest:
    """Record in a block which signal asks for a stop, so that work stops between two steps and not within one.

    `received` is the number of the signal that came to this process, `agreed` that which all processes stop by; both
    are 0 before. A second Ctrl-C interrupts at once. Outside the main thread, where Python delivers no signals, none is
    received.
    """

    def __init__(self) -> None:
        self.received = self.agreed = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if not (number in ENDING and is_ignored(number)):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        if number in ENDING:
            mute_closed_terminal(number)
        if number in ENDING or not self.received:
            self.received = number


def is_ignored(number: int) -> bool:
    """Whether a signal is ignored, as nohup has SIGHUP ignored."""
    return signal.getsignal(number) == signal.SIG_IGN


def mute_closed_terminal(number: int) -> None:
    """After SIGHUP let what is still printed go nowhere, unless it goes to a file.

    The terminal is there no more, and a program at the other end of a pipe was ended with it.
    """
    if number not in CLOSING:
        return
    for descriptor in (1, 2):
        with suppress(OSError):  # it is closed
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a closed terminal no longer passes for one
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def exit_code(number: int) -> int:
    """The exit code of a process that a signal has ended, as shells count it: 143 for SIGTERM."""
    return 128 + number
