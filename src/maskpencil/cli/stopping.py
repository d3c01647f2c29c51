"""Ending what has no end: the first Ctrl-C, SIGTERM or SIGHUP finishes the work, the second leaves it."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

from maskpencil.signals import CLOSING, ENDING, is_ignored, mute_closed_terminal

SIGNALS = (signal.SIGINT, *ENDING)


class Stop(Event):
    """An event that a signal sets, and the `number` of that signal; 0 before."""

    number = 0


@contextmanager
def stopped_by_signals(tell: Callable[[str], None]) -> Iterator[Stop]:
    """Give an event that the first of `SIGNALS` sets, which `tell` tells; the next one raises KeyboardInterrupt.

    After the block the signals do what they did before. Works in the main thread only.
    """
    stop = Stop()

    def handle(number: int, _: object) -> None:
        if stop.is_set():
            if number == stop.number and number in CLOSING:
                return  # closing a terminal may send two
            raise KeyboardInterrupt
        mute_closed_terminal(number)
        stop.number = number
        stop.set()
        tell("finishing what is begun; once more to leave at once")

    taken = [number for number in SIGNALS if number == signal.SIGINT or not is_ignored(number)]
    before = {number: signal.signal(number, handle) for number in taken}
    try:
        yield stop
    except KeyboardInterrupt:
        _restore(before)
        if stop.number in ENDING:
            signal.raise_signal(stop.number)  # for whoever tells by which signal it ended
        raise
    finally:
        _restore(before)


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
