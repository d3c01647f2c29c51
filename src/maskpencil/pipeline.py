"""Reading ahead of the network and writing behind it, in threads that are never far apart; batches; side by side."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, overload

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

MOST_WAITING = 4
"""Results for each worker of `in_parallel` that may wait for one before them."""


@overload
def read_ahead(items: Iterable[T], *, depth: int) -> Generator[T, None, None]: ...
@overload
def read_ahead(items: Iterable[T], *, depth: int, patience: float) -> Generator[T | None, None, None]: ...
def read_ahead(
    items: Iterable[T], *, depth: int, patience: float | None = None
) -> Generator[T, None, None] | Generator[T | None, None, None]:
    """Give the items in order, while a thread fetches up to `depth` more of them.

    What the items raise comes out where the item would have. With `patience` None is given, too, each time that so many
    seconds passed without an item. Close the generator (`contextlib.closing`) to stop the thread early; it ends after
    the item at hand.
    """
    iterator = iter(items)

    def take() -> tuple[T] | None:
        try:
            return (next(iterator),)
        except StopIteration:  # which no future can carry
            return None

    with ThreadPoolExecutor(1, "read-ahead") as pool:
        pending = deque(pool.submit(take) for _ in range(depth))
        try:
            while True:
                while patience and not wait([pending[0]], timeout=patience).done:
                    yield None
                taken = pending.popleft().result()
                if taken is None:
                    return
                pending.append(pool.submit(take))
                yield taken[0]
        finally:
            for future in pending:
                future.cancel()


def equal_groups(items: Iterable[T], *, size: int, alike: Callable[[T, T], bool]) -> Iterator[list[T]]:
    """Items that follow each other and are `alike`, at most `size` together."""
    group: list[T] = []
    for item in items:
        if group and not alike(group[0], item):
            yield group
            group = []
        group.append(item)
        if len(group) == size:  # without waiting for the next
            yield group
            group = []
    if group:
        yield group


def in_parallel(call: Callable[[T], R], items: Iterable[T], *, workers: int) -> Generator[R, None, None]:
    """What `call` gives for the items, in their order, made by so many threads; one is none beside the caller's.

    What a call raises comes out where its result would have, what the items raise at once. Close the generator to drop
    the calls not yet begun.
    """
    if workers == 1:
        yield from map(call, items)
        return
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "in-parallel") as pool:
        try:
            for item in items:
                pending.append(pool.submit(call, item))
                while len(working := [future for future in pending if not future.done()]) > workers + 1:  # one waits
                    wait(working, return_when=FIRST_COMPLETED)
                while pending and (pending[0].done() or len(pending) > MOST_WAITING * workers):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class WriteBehind:
    """Runs calls in order in a thread; at most `depth` wait, then `submit` waits as well.

    As a context manager: a block that ends well waits for all calls, one that raises drops those not yet begun. What a
    call raises comes out of a later `submit` or of the end of the block.
    """

    def __init__(self, *, depth: int) -> None:
        self._pool = ThreadPoolExecutor(1, "write-behind")
        self._pending: deque[Future[None]] = deque()
        self._depth = depth

    def submit(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `call` after all earlier ones."""
        if len(self._pending) == self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(call, *args, **kwargs))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while error is None and self._pending:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
