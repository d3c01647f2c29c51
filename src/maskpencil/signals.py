"""Handle Ctrl-C, SIGTERM and SIGHUP: end a command and clean up its files, or let it finish its current step."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from types import FrameType, TracebackType
from typing import Any, Self

ENDING = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
"""The signals that end a process from outside. SIGHUP, which Windows lacks, is sent when the terminal is closed."""

CLOSING = ENDING[1:]
"""The signal of a closed terminal; () on Windows, which has no such signal."""

STOPPING = (signal.SIGINT, *ENDING)
"""The signals that request a stop."""


@dataclass
class Ended:
    """The number of the signal that ended the `with` block of `ended_by_signals`; 0 if no signal ended it."""

    number: int = 0


@contextmanager
def ended_by_signals() -> Iterator[Ended]:
    """Raise KeyboardInterrupt in the `with` block at the first signal of `ENDING`, so that context managers clean up.

    Further signals are ignored: closing a terminal may send two signals. A signal that was already ignored when the
    process started, as SIGHUP under nohup, stays ignored. Outside the main thread, where Python delivers no signals,
    the block runs unchanged.
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


class Stop(Event):
    """An event that is set by a signal; `number` is the number of the signal, 0 until then."""

    number = 0


@contextmanager
def stopped_by_signals(tell: Callable[[str], None]) -> Iterator[Stop]:
    """Yield an event that the first signal of `STOPPING` sets; the next signal raises KeyboardInterrupt.

    `tell` is called with a message at the first signal. After the `with` block the earlier handlers are restored. The
    function works in the main thread only.
    """
    stop = Stop()

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            if number == stop.number and number in CLOSING:
                return  # closing a terminal may send two signals
            raise KeyboardInterrupt
        mute_closed_terminal(number)
        stop.number = number
        stop.set()
        tell("finishing the current step; interrupt again to stop at once")

    taken = [number for number in STOPPING if number == signal.SIGINT or not is_ignored(number)]
    before = {number: signal.signal(number, handle) for number in taken}
    try:
        yield stop
    except KeyboardInterrupt:
        _restore_handlers(before)
        if stop.number in ENDING:
            signal.raise_signal(stop.number)  # so that the exit code names it
        raise
    finally:
        _restore_handlers(before)


def _restore_handlers(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


class StopRequest:
    """A context manager that records a signal, so that work can stop between two steps instead of within a step.

    `received` is the number of the signal that this process received, 0 until then. `agreed` is the number of the
    signal that any process of the training received, 0 until then; the training sets it in all processes after the same
    step, so that they stop together. A second Ctrl-C interrupts at once. Outside the main thread Python delivers no
    signals, so `received` stays 0.
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
    """Return whether a signal is ignored, as SIGHUP is under nohup."""
    return signal.getsignal(number) == signal.SIG_IGN


def mute_closed_terminal(number: int) -> None:
    """If the signal `number` is SIGHUP, discard later standard output and standard error, unless they go to a file.

    After SIGHUP the terminal is closed, and a program that read the output through a pipe has probably ended as well.
    """
    if number not in CLOSING:
        return
    for descriptor in (1, 2):
        with suppress(OSError):  # it is closed
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # isatty() is false for a closed terminal
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def exit_code(number: int) -> int:
    """Return the exit code that shells give to a process ended by a signal: 143 for SIGTERM."""
    return 128 + number
