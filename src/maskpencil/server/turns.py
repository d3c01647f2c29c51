"""Queue a limited number of calls and run a few at a time in threads; frames of videos get the time that is left."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from math import inf
from typing import TypeVar

from maskpencil.server.refusals import BusyError

T = TypeVar("T")

QUIET_SECONDS = 0.1
"""The seconds after an image in which no frame of a video begins, since the next image may be on its way."""

IDLE_SECONDS = 10.0
"""The seconds after an image in which frames are computed one at a time, so that the next image finds a free thread."""

PAUSE_SECONDS = 1.0
"""The longest time in seconds for which images delay the next frame of a video."""

POLL_SECONDS = 0.1
"""The longest time in seconds between two checks whether a waiting frame is still wanted."""


class CanceledError(Exception):
    """A frame waited for its turn, and its video was canceled."""


class Turns:
    """A queue that runs calls in `workers` threads, in the order of arrival.

    A call whose caller is cancelled while it waits is never run. A running call is always finished, and keeps its
    thread until then. Frames of videos run in threads of their callers, but each takes one of the `workers` places, see
    `frame`. Everything but `frame` and `pools` is used in one event loop only.

    Args:
        workers: the largest number of calls that run at the same time, frames included.
        depth: the largest number of calls that wait.
        seconds: the longest time in seconds for which a call waits.

    Attributes:
        running: the number of calls that run, without frames.
    """

    def __init__(self, *, workers: int, depth: int, seconds: float) -> None:
        self._workers, self._depth, self._seconds = workers, depth, seconds
        self._pool = ThreadPoolExecutor(workers, "maskpencil-server")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self.running = 0
        self._ended = -inf
        self._tickets: deque[threading.Event] = deque()
        self._frames = 0
        self._frame_ended = -inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """The number of calls that wait."""
        return len(self._waiting)

    def refuse_if_full(self, *, close: bool = False) -> None:
        """Raise an error if no further call can wait; for `close` see `RefusedError`.

        Raises:
            BusyError: the queue is full, or the server is stopping.
        """
        if self._is_closed:
            raise BusyError("the server is stopping", close=close)
        if len(self._waiting) >= self._depth:
            raise BusyError(f"{len(self._waiting)} images wait for their turn; send this image later", close=close)

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread when its turn has come, and return its result.

        Raises:
            BusyError: the queue is full, the call waited longer than `seconds`, or the server is stopping.
        """
        self.refuse_if_full()
        if self._is_full:
            await self._turn()
        else:
            self.running += 1
        try:
            running = self._pool.submit(call)
        except BaseException:
            self._end()
            raise
        loop = asyncio.get_running_loop()
        running.add_done_callback(lambda done: _in_loop(loop, self._end, done))
        return await asyncio.shield(asyncio.wrap_future(running))

    @contextmanager
    def frame(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> Iterator[None]:
        """Wait in the caller's thread until a frame of a video may be computed; the `with` block then computes it.

        Frames wait while images run or wait. When `PAUSE_SECONDS` have passed since the last frame ended, one frame
        gets the next turn, so that a video always advances. Images then wait for the end of this frame.

        Args:
            loop: the event loop in which the other methods are called.
            stop: ends the waiting when it is set.

        Raises:
            CanceledError: `stop` was set, or the loop has ended.
        """
        ticket = threading.Event()
        call_in(loop, self._ask, ticket)
        while not ticket.wait(POLL_SECONDS):
            if stop.is_set() or loop.is_closed():
                call_in(loop, self._withdraw, ticket)
                raise CanceledError
        try:
            yield
        finally:
            call_in(loop, self._frame_end)

    def close(self) -> None:
        """Let all waiting calls, and all later calls, raise `BusyError`."""
        self._is_closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(BusyError("the server is stopping"))
        self._waiting.clear()

    @property
    def pools(self) -> tuple[ThreadPoolExecutor, ...]:
        """The pools of threads, which are shut down after the event loop has ended."""
        return (self._pool,)

    @property
    def _is_full(self) -> bool:
        return self.running + self._frames >= self._workers

    @property
    def _idle_from(self) -> float:
        """The time by `time.monotonic` from which a frame may begin, if no image comes before."""
        return self._ended + (IDLE_SECONDS if self._frames else QUIET_SECONDS)

    async def _turn(self) -> None:
        """Wait until this call gets a free thread.

        Raises:
            BusyError: it waited too long, or the server is stopping.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise BusyError(f"the image waited {self._seconds:g} s for its turn; send it again later") from None
        except BaseException:
            self._give_up(turn)
            raise

    def _give_up(self, turn: "asyncio.Future[None]") -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:  # the turn came at the same moment
            self._end()

    def _end(self) -> None:
        self.running -= 1
        self._ended = time.monotonic()
        self._give()

    def _ask(self, ticket: threading.Event) -> None:
        self._tickets.append(ticket)
        self._give()

    def _withdraw(self, ticket: threading.Event) -> None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)
        else:  # the turn came at the same moment
            self._frame_end()

    def _frame_end(self) -> None:
        self._frames -= 1
        self._frame_ended = time.monotonic()
        self._give()

    def _give(self) -> None:
        """Give free threads to an overdue frame, then to the images that wait, then, if no image runs, to frames."""
        now = time.monotonic()
        overdue = self._frame_ended + PAUSE_SECONDS
        while not self._is_full:
            if self._tickets and not self._frames and now >= overdue:
                self._give_frame()
            elif self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    self.running += 1
                    turn.set_result(None)
            elif self._tickets and not self.running and now >= self._idle_from:
                self._give_frame()
            else:
                break
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tickets and not self._is_full and not (self.running and self._frames):
            at = overdue if self.running else self._idle_from
            self._timer = asyncio.get_running_loop().call_later(max(at - now, 0), self._give)

    def _give_frame(self) -> None:
        self._frames += 1
        self._tickets.popleft().set()


def call_in(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    """Schedule `call(*arguments)` in an event loop from any thread; do nothing if the loop has ended."""
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(call, *arguments)


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None], done: "Future[T]") -> None:
    """Schedule `call` in the event loop, if the loop still runs; fetch the error of `done`, as nobody may await it."""
    if not done.cancelled():
        done.exception()
    call_in(loop, call)
