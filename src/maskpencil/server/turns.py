"""Let a bounded number of calls wait for their turn, and run a few of them at a time in threads."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from maskpencil.server.refusals import BusyError

T = TypeVar("T")


class Turns:
    """Turns of calls in `workers` threads, in the order of arrival; all methods are called in one event loop.

    A call whose caller is cancelled while it waits is never run. A call that runs is finished, and keeps its thread
    until then.

    Args:
        workers: the number of calls that run at the same time.
        depth: the largest number of calls that wait.
        seconds: the longest time for which a call waits.

    Attributes:
        running: the number of calls that run.
    """

    def __init__(self, *, workers: int, depth: int, seconds: float) -> None:
        self._workers, self._depth, self._seconds = workers, depth, seconds
        self._pool = ThreadPoolExecutor(workers, "maskpencil-server")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_closed = False
        self.running = 0

    @property
    def waiting(self) -> int:
        """The number of calls that wait."""
        return len(self._waiting)

    def refuse_if_full(self, *, close: bool = False) -> None:
        """Refuse a call that would have to wait but cannot; `close` as in `RefusedError`.

        Raises:
            BusyError: the queue is full, or the server is stopping.
        """
        if self._is_closed:
            raise BusyError("the server is stopping", close=close)
        if len(self._waiting) >= self._depth:
            raise BusyError(f"{len(self._waiting)} images wait for their turn; send this one again later", close=close)

    async def run(self, call: Callable[[], T]) -> T:
        """Run `call` in a thread when its turn has come, and return its result.

        Raises:
            BusyError: the queue is full, the turn did not come in time, or the server stops.
        """
        self.refuse_if_full()
        if self.running >= self._workers:
            await self._turn()
        else:
            self.running += 1
        try:
            running = self._pool.submit(call)
        except BaseException:
            self._pass_on()
            raise
        loop = asyncio.get_running_loop()
        running.add_done_callback(lambda done: _in_loop(loop, self._pass_on, done))
        return await asyncio.shield(asyncio.wrap_future(running))

    def close(self) -> None:
        """Refuse all calls that wait, and all later ones."""
        self._is_closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(BusyError("the server is stopping"))
        self._waiting.clear()

    def join(self) -> None:
        """Wait for the calls that run, and end the threads; called outside of the event loop."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _turn(self) -> None:
        """Wait until a call has ended and left its thread to this one."""
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
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the thread of a call that has ended to the next."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None], done: "Future[T]") -> None:
    """Run `call` in the event loop, if that still runs; fetch the error of a call that nobody awaits any more."""
    if not done.cancelled():
        done.exception()
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
