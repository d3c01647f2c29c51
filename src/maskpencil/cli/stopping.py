"""Ending what has no end: the first Ctrl-C or SIGTERM finishes the work, the second leaves it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(tell: Callable[[str], None]) -> Iterator[Event]:
    """Give an event that the first of `SIGNALS` sets, which `tell` tells; the next one raises KeyboardInterrupt.

    After the block the signals do what they did before. Works in the main thread only.
    """
    stop = Event()

    def handle(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        tell("finishing what is begun; once more to leave at once")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
