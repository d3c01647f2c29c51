"""Read ahead of the network, form batches, run calls in parallel, and write results in a thread.

The queues between these steps are short, so that memory does not grow with the number of items.

If a step, such as reading, computing or writing, gives no result for `PATIENCE` seconds while the process computes
nothing, `StalledError` is raised instead of waiting forever. The step's thread cannot be stopped and keeps running.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar, overload

from maskpencil.errors import StalledError

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

MAX_WAITING = 4
"""The largest number of results, per worker of `in_parallel`, that may wait for an earlier result."""

PATIENCE = 180.0
"""Seconds without a result and without computation after which a step counts as stalled."""

POLL = 5.0
"""Seconds between two checks of a step; of a time in which the whole process is paused, at most this much counts."""

IDLE_SHARE = 0.02
"""The share of one processor's time below which a process counts as computing nothing."""

SideBySide: TypeAlias = Callable[[], AbstractContextManager[int]]
"""A function that returns a context manager, which yields how many simultaneous calls are fastest, such as
`Segmenter.side_by_side`."""


_thread = threading.local()
"""For each thread of a pool, the event that is set when the results of its calls are no longer wanted."""


def is_ending() -> bool:
    """Return whether nobody waits for the result of the call in this thread any more, as after Ctrl-C.

    A call that waits, such as for a server, should then raise an error soon. Always False in a thread that this module
    did not start.
    """
    ending: threading.Event | None = getattr(_thread, "ending", None)
    return ending is not None and ending.is_set()


def one_by_one() -> AbstractContextManager[int]:
    """Return a context manager that yields 1, in place of `Predictor.side_by_side`, to run one call at a time."""
    return nullcontext(1)


@overload
def read_ahead(items: Iterable[T], *, depth: int, step: str | None = "reading") -> Generator[T, None, None]: ...
@overload
def read_ahead(
    items: Iterable[T], *, depth: int, step: str | None = "reading", patience: float
) -> Generator[T | None, None, None]: ...
def read_ahead(
    items: Iterable[T], *, depth: int, step: str | None = "reading", patience: float | None = None
) -> Generator[T, None, None] | Generator[T | None, None, None]:
    """Yield the items in order, while a thread fetches up to `depth` further items.

    An error of `items` is raised in place of the item. Close the generator (`contextlib.closing`) to stop the thread
    early; it ends after the current item.

    Args:
        items: the items to fetch.
        depth: the largest number of items that are fetched in advance.
        step: the name of the step in `StalledError`. If None, as for a live stream, the wait for an item may be endless
            and `StalledError` is never raised.
        patience: also yield None whenever this many seconds have passed without an item; if None, yield only items.

    Raises:
        StalledError: no item came for `PATIENCE` seconds; `patience` has no effect on this limit.
    """
    iterator = iter(items)

    def take() -> tuple[T] | None:
        try:
            return (next(iterator),)
        except StopIteration:  # a future cannot carry it
            return None

    watch = _Watch(step, "read-ahead")
    with _pool(1, "read-ahead") as pool:
        pending = deque(pool.submit(take) for _ in range(depth))
        try:
            while True:
                while not watch.wait([pending[0]], timeout=patience):
                    yield None
                taken = pending.popleft().result()
                if taken is None:
                    return
                pending.append(pool.submit(take))
                yield taken[0]
        finally:
            for future in pending:
                future.cancel()


def equal_groups(
    items: Iterable[T], *, size: int | Callable[[T], int], alike: Callable[[T, T], bool]
) -> Iterator[list[T]]:
    """Yield lists of at most `size` consecutive items, in each of which all items are `alike` to the first.

    `size` may be a function, which is called with the first item of a list.
    """
    group: list[T] = []
    for item in items:
        if group and not alike(group[0], item):
            yield group
            group = []
        group.append(item)
        if len(group) == (size if isinstance(size, int) else size(group[0])):  # without waiting for the next
            yield group
            group = []
    if group:
        yield group


def in_parallel(
    call: Callable[[T], R], items: Iterable[T], *, workers: int, step: str | None = "computing"
) -> Generator[R, None, None]:
    """Apply `call` to `items` in `workers` threads and yield the results in order.

    With one worker, the calls run in the caller's thread.

    If a call raises, its error is raised in place of its result. If `items` raises, the error is raised immediately,
    and results that were not yet yielded are lost. Close the generator to drop the calls that have not begun.
    `StalledError` names the `step`; if `step` is None, calls may take any time.

    Raises:
        StalledError: no call gave a result for `PATIENCE` seconds.
    """
    if workers == 1:
        yield from map(call, items)
        return
    pending: deque[Future[R]] = deque()
    watch = _Watch(step, "in-parallel")
    with _pool(workers, "in-parallel") as pool:
        try:
            for item in items:
                pending.append(pool.submit(call, item))
                while len(working := [future for future in pending if not future.done()]) > workers + 1:  # one waits
                    watch.wait(working)
                while pending and (pending[0].done() or len(pending) > MAX_WAITING * workers):
                    watch.wait([pending[0]])
                    yield pending.popleft().result()
            while pending:
                watch.wait([pending[0]])
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class WriteBehind:
    """A thread that runs calls in order; while `depth` calls have not ended, `submit` waits.

    The object is a context manager that waits for all calls at the end of the `with` block; if the block raises, the
    calls that have not begun are dropped. An error of a call is raised by a later `submit` or at the end of the block.
    """

    def __init__(self, *, depth: int, step: str | None = "writing") -> None:
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._pending: deque[Future[None]] = deque()
        self._depth = depth
        self._watch = _Watch(step, "write-behind")

    def submit(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `call` after all earlier calls.

        Raises:
            StalledError: an earlier call has not ended for `PATIENCE` seconds.
        """
        if len(self._pending) == self._depth:
            self._finish_first()
        self._pending.append(self._pool.submit(call, *args, **kwargs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stalled = isinstance(error, StalledError)
        try:
            while error is None and self._pending:
                self._finish_first()
        except StalledError:
            stalled = True
            raise
        finally:
            self._pool.shutdown(wait=not stalled, cancel_futures=True)

    def _finish_first(self) -> None:
        self._watch.wait([self._pending[0]])
        self._pending.popleft().result()


@contextmanager
def _pool(workers: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads named after `name`; after the `with` block wait for them, unless one has stalled."""
    ending, stalled = threading.Event(), False
    pool = ThreadPoolExecutor(workers, name, initializer=setattr, initargs=(_thread, "ending", ending))
    try:
        yield pool
    except StalledError:
        stalled = True
        raise
    finally:
        ending.set()
        pool.shutdown(wait=not stalled, cancel_futures=True)


class _Watch:
    """A watch that raises an error if the threads whose names begin with the string `threads` stall."""

    def __init__(self, step: str | None, threads: str) -> None:
        self._step, self._threads = step, threads
        self._idle = 0.0  # seconds without a result and without computation

    def wait(self, futures: Collection[Future[Any]], *, timeout: float | None = None) -> bool:
        """Wait until one of the futures is done, and return True; return False if `timeout` seconds pass first.

        Raises:
            StalledError: there was no result and no computation for `PATIENCE` seconds.
        """
        if any(future.done() for future in futures):
            self._idle = 0.0
            return True
        left = timeout
        while True:
            pause = POLL if left is None else min(POLL, left)
            computed = _time_of_other_threads()
            if wait(futures, timeout=pause, return_when=FIRST_COMPLETED).done:
                self._idle = 0.0
                return True
            is_idle = _time_of_other_threads() - computed < IDLE_SHARE * pause
            self._idle = self._idle + pause if is_idle else 0.0
            if self._step is not None and self._idle >= PATIENCE:
                raise StalledError(
                    f"{self._step}: no result for {PATIENCE:.0f} s, and nothing was computed meanwhile; the step waits "
                    f"in {self._positions()}; start the command again, and report this line if it happens again"
                )
            if left is not None:
                left -= pause
                if left <= 0:
                    return False

    def _positions(self) -> str:
        """Return the positions at which the threads are waiting: function, file and line."""
        frames = sys._current_frames()
        standing = [
            frames[thread.ident]
            for thread in threading.enumerate()
            if thread.name.startswith(self._threads) and thread.ident in frames
        ]
        return ", ".join(sorted({_described(frame) for frame in standing})) or "a thread that has ended"


def _time_of_other_threads() -> float:
    """Return the seconds of processor time that this process used, except those of this thread, which only waits."""
    return time.process_time() - time.thread_time()


def _described(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_name} ({Path(code.co_filename).name}, line {frame.f_lineno})"
