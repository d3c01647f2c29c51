"""Hold the jobs of a server, one for each video: those that wait, the one that runs, and those that have ended."""

import asyncio
import errno
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request

from maskpencil.errors import MaskPencilError, first_line
from maskpencil.predictor import Predictor
from maskpencil.server.body import body_parts
from maskpencil.server.options import ServeOptions
from maskpencil.server.refusals import BusyError, RefusedError
from maskpencil.server.turns import CanceledError, Turns, call_in
from maskpencil.server.videos.work import RESULTS, UPLOAD, InTurns, said, segment_video, without_paths
from maskpencil.terminal import say

State = Literal["waiting", "running", "done", "failed", "canceled"]

NOW: tuple[State, ...] = ("waiting", "running")
ENDED: tuple[State, ...] = ("done", "failed", "canceled")
"""The states of a video that is not final, and those that are."""

MAX_WAITING = 16
"""The largest number of videos that are received or wait."""

MAX_JOBS = 1000
"""The largest number of videos, with those whose results are kept."""

RECEIVE_SECONDS = 3600.0
"""The longest time for receiving a video of any size."""

PART_BYTES = 2**20
"""The number of bytes of a video that are written at once."""

FULL_SECONDS = 60
"""The number of seconds after which a client may send a video again to a server without room for it."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a disk without room."""


class FullError(Exception):
    """The results of a video have no room."""


@dataclass(eq=False, kw_only=True)
class Job:
    """A video, and what has become of it.

    Attributes:
        id: a text that nobody can guess.
        model: the name of the model.
        predictor: the model.
        folder: the folder of its files.
        min_area: the smallest number of pixels of a region in its results.
        state: how far it is.
        frames: the number of frames that were segmented.
        total: the number of all frames, which may be an estimate; None if it is unknown.
        error: why it failed; None otherwise.
        warnings: damage and other losses.
        received: the size of the file that was sent in bytes; 0 if it was removed.
        written: the size of its results in bytes.
        stop: set when it is canceled.
    """

    model: str
    predictor: Predictor
    folder: Path
    min_area: int
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    frames: int = 0
    total: int | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    received: int = 0
    written: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def place(self) -> Path:
        """The folder of this job."""
        return self.folder / self.id

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    def facts(self) -> dict[str, Any]:
        """Return its state as plain values for JSON."""
        return {
            "id": self.id,
            "state": self.state,
            "model": self.model,
            "frames": self.frames,
            "total": self.total,
            "error": self.error,
            "warnings": list(self.warnings),
            "files": list(RESULTS) if self.state == "done" else [],
        }


class Videos:
    """The videos of a server; all methods but `close` are called in one event loop.

    Videos are segmented one after the other in a thread, frame by frame when `turns` allow it.

    Args:
        folder: the folder for all files.
        turns: the turns of images and frames.
        options: the limits.
        workers: the number of frames that are computed at the same time.
    """

    def __init__(self, folder: Path, turns: Turns, options: ServeOptions, *, workers: int) -> None:
        self._folder, self._turns, self._options, self._workers = folder, turns, options, workers
        self._jobs: dict[str, Job] = {}
        self._receiving: set[Job] = set()
        self._ends: Counter[State] = Counter()
        self._is_closed = False
        self._worker = ThreadPoolExecutor(1, "maskpencil-video")
        self._disk = ThreadPoolExecutor(2, "maskpencil-disk")

    @property
    def max_video(self) -> int:
        """The largest size of a video in bytes."""
        return min(self._options.max_video, self._options.video_quota)

    @property
    def pools(self) -> tuple[ThreadPoolExecutor, ...]:
        """The threads, which are joined after the event loop has ended."""
        return self._worker, self._disk

    def counts(self) -> dict[State, int]:
        """Return the number of videos that wait and run, and of all that have ended, by state."""
        now = Counter(job.state for job in self._jobs.values() if not job.has_ended)
        return {state: self._ends[state] if state in ENDED else now[state] for state in (*NOW, *ENDED)}

    def find(self, name: str) -> Job:
        """Return a job by its id.

        Raises:
            RefusedError: there is none.
        """
        if name not in self._jobs:
            raise RefusedError(404, "there is no such video; results are deleted some time after the video has ended")
        return self._jobs[name]

    async def receive(self, request: Request, *, model: str, predictor: Predictor, min_area: int) -> Job:
        """Write the body of a request to disk, and return the job that waits for its turn.

        Raises:
            RefusedError: the body is empty, too large or too slow, or there is no room for it.
            ClientLeftError: the client closed the connection.
        """
        self._refuse_without_room(request)
        job = Job(model=model, predictor=predictor, folder=self._folder, min_area=min_area)
        with self._received(job):
            await self._store(request, job)
            if not job.received:
                raise RefusedError(
                    400, "the body is empty; expected a video file: curl --data-binary @video.mp4 ADDRESS"
                )
            self._refuse_if_closed()
            self._jobs[job.id] = job
        self._worker.submit(self._work, job, asyncio.get_running_loop())
        return job

    def delete(self, job: Job) -> None:
        """Cancel a job, if it has not ended, and remove its files."""
        self._cancel(job)
        del self._jobs[job.id]
        self._remove(job)

    def stop(self) -> None:
        """Cancel all jobs, and take no more."""
        self._is_closed = True
        for job in self._jobs.values():
            self._cancel(job)

    def _cancel(self, job: Job) -> None:
        job.stop.set()
        self._end(job, "canceled")

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise BusyError("the server is stopping", close=True)

    def _refuse_without_room(self, request: Request) -> None:
        """Refuse a video before its body is read."""
        self._refuse_if_closed()
        waiting = len(self._receiving) + sum(job.state == "waiting" for job in self._jobs.values())
        if waiting >= MAX_WAITING:
            raise _full(f"{waiting} videos wait for their turn; send this one again later")
        if len(self._jobs) >= MAX_JOBS:
            raise _full(f"the server keeps {len(self._jobs)} videos; delete some, or send this one again later")
        declared = request.headers.get("content-length", "")
        size = int(declared) if declared.isdecimal() else 0
        if size <= self.max_video:
            self._refuse_beyond_quota(size)

    def _refuse_beyond_quota(self, more: int) -> None:
        if self._used() + more > self._options.video_quota:
            raise _full("the videos on this server leave no room for another; delete some, or send it again later")

    def _used(self) -> int:
        return sum(job.received + job.written for job in (*self._receiving, *self._jobs.values()))

    @contextmanager
    def _received(self, job: Job) -> Iterator[None]:
        """Count a job among those that are received, and remove its files if that fails."""
        self._receiving.add(job)
        try:
            yield
        except asyncio.CancelledError:  # uvicorn's way to end a request when the server stops
            self._remove(job)
            raise BusyError("the server is stopping", close=True) from None
        except OSError as error:
            self._remove(job)
            if error.errno in FULL:
                raise _full("the disk of the server is full; send the video again later") from None
            raise
        except BaseException:
            self._remove(job)
            raise
        finally:
            self._receiving.discard(job)

    async def _store(self, request: Request, job: Job) -> None:
        on_disk = partial(asyncio.get_running_loop().run_in_executor, self._disk)
        await on_disk(job.place.mkdir)
        file = await on_disk(partial((job.place / UPLOAD).open, "wb", buffering=0))
        buffered = bytearray()
        try:
            async with aclosing(body_parts(request, limit=self.max_video, seconds=RECEIVE_SECONDS)) as parts:
                async for part in parts:
                    self._refuse_if_closed()
                    self._refuse_beyond_quota(len(part))
                    job.received += len(part)
                    buffered += part
                    if len(buffered) >= PART_BYTES:
                        await on_disk(_write_all, file, buffered)
                        buffered = bytearray()
            await on_disk(_write_all, file, buffered)
        finally:
            self._disk.submit(file.close)

    def _remove(self, job: Job) -> None:
        """Remove the files of a job, in a thread; of a job that runs the thread removes what it makes later."""
        self._disk.submit(shutil.rmtree, job.place, ignore_errors=True)

    def _work(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Segment a video, in the thread of all videos."""
        if job.stop.is_set():
            return
        call_in(loop, self._begin, job)
        state, error, warnings = self._segment(job, loop)
        if state == "done":
            with suppress(OSError):
                (job.place / UPLOAD).unlink()
        if state != "done" or job.stop.is_set():
            shutil.rmtree(job.place, ignore_errors=True)
        call_in(loop, self._end, job, state, error, warnings)

    def _segment(self, job: Job, loop: asyncio.AbstractEventLoop) -> tuple[State, str | None, tuple[str, ...]]:
        def on_frame(number: int, total: int | None) -> None:
            job.frames, job.total = number, total and max(total, number)

        def check() -> None:
            job.written = sum(_size(path) for path in job.place.iterdir() if path.name != UPLOAD)
            if self._used() > self._options.video_quota:
                raise FullError

        limit = self._options.max_pixels
        predictor = InTurns(job.predictor, lambda: self._turns.frame(loop, job.stop), self._workers, limit)
        try:
            report = segment_video(
                predictor,
                job.place,
                min_area=job.min_area,
                max_pixels=limit,
                on_frame=on_frame,
                check=check,
                stop=job.stop,
            )
        except (KeyboardInterrupt, CanceledError):
            return "canceled", None, ()
        except FullError:
            return "failed", "the results have no room on this server; delete other videos, or send a shorter one", ()
        except MaskPencilError as error:
            return "failed", said(error, job.place), ()
        except MemoryError:
            return "failed", "the server has not enough memory for this video; scale it down", ()
        except Exception as error:
            if job.stop.is_set():
                return "canceled", None, ()
            say(f"error: a video failed: {type(error).__name__}: {first_line(error)}")
            return "failed", "the server failed; its own messages name the reason", ()
        return "done", None, tuple(without_paths(text, job.place) for text in (*report.warnings, *report.notes))

    def _begin(self, job: Job) -> None:
        if not job.has_ended:
            job.state = "running"

    def _end(self, job: Job, state: State, error: str | None = None, warnings: tuple[str, ...] = ()) -> None:
        """Set the final state of a job, unless it has one."""
        if job.has_ended:
            return
        job.received = 0
        if state == "done":
            job.total = job.frames
        else:
            job.written = 0
        job.error, job.warnings, job.state = error, warnings, state
        self._ends[state] += 1
        if not self._is_closed:
            asyncio.get_running_loop().call_later(self._options.keep, self._expire, job)

    def _expire(self, job: Job) -> None:
        if self._jobs.pop(job.id, None):
            self._remove(job)


def _full(text: str) -> RefusedError:
    return RefusedError(503, text, headers={"Retry-After": str(FULL_SECONDS)}, close=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a temporary file that became a result
        return 0


def _write_all(file: Any, content: bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
