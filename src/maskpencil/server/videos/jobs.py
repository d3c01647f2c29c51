"""Manage the jobs of a server, one for each video: those that wait, the one that runs, and those that have ended."""

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
"""The states of jobs that have not ended, `NOW`, and the final states, `ENDED`."""

MAX_WAITING = 16
"""The largest number of videos that are being received or wait for their turn."""

MAX_JOBS = 1000
"""The largest number of jobs, including those that have ended and whose results are kept."""

RECEIVE_SECONDS = 3600.0
"""The longest time in seconds for receiving a video, whatever its size."""

PART_BYTES = 2**20
"""The number of bytes of a video that are written at once."""

FULL_SECONDS = 60
"""The number of seconds after which a client may send a video again, if the server had no room for it."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The error numbers of writing to a full disk, or beyond a quota or the largest size of a file."""


class FullError(Exception):
    """The results of a video exceed the quota of all videos."""


@dataclass(eq=False, kw_only=True)
class Job:
    """A video that a client sent, and the state of its segmentation.

    Attributes:
        id: a random text that nobody can guess.
        model: the name of the model.
        predictor: the model.
        folder: the folder of all jobs; the files of this job are in `place`.
        min_area: the smallest number of pixels of a region in the results.
        state: one of `NOW` or `ENDED`.
        frames: the number of frames that were segmented.
        total: the number of all frames, which may be an estimate; None if it is unknown.
        error: why the job failed; None otherwise.
        warnings: messages about damaged parts of the video and other losses.
        received: the number of bytes received of the video file; 0 after the job has ended.
        written: the size of the results in bytes.
        stop: set when the job is canceled.
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
        """The folder of this job's files."""
        return self.folder / self.id

    @property
    def has_ended(self) -> bool:
        """Whether the state is final."""
        return self.state in ENDED

    def facts(self) -> dict[str, Any]:
        """Return what a client gets about this job, as plain values for JSON."""
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
    """The jobs of a server; all public methods are called in one event loop.

    Videos are segmented one after the other in a thread of their own, frame by frame when `turns` allows it.

    Args:
        folder: the folder for all files.
        turns: the queue of images and frames.
        options: the settings of the server, which hold the limits.
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
        """The pools of threads, which are shut down after the event loop has ended."""
        return self._worker, self._disk

    def counts(self) -> dict[State, int]:
        """Return the number of jobs by state: for `NOW` at present, for `ENDED` since the start of the server."""
        now = Counter(job.state for job in self._jobs.values() if not job.has_ended)
        return {state: self._ends[state] if state in ENDED else now[state] for state in (*NOW, *ENDED)}

    def find(self, name: str) -> Job:
        """Return the job with the id `name`.

        Raises:
            RefusedError: there is no such job.
        """
        if name not in self._jobs:
            raise RefusedError(404, "there is no such video; results are deleted some time after the video has ended")
        return self._jobs[name]

    async def receive(self, request: Request, *, model: str, predictor: Predictor, min_area: int) -> Job:
        """Write the body of a request to disk, and return a new job, which waits for its turn.

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
        """Cancel all jobs, and accept no more."""
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
        """Raise an error if there is no room for a video; called before its body is read."""
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
            raise _full("the videos on this server leave no room for this one; delete some, or send this one later")

    def _used(self) -> int:
        return sum(job.received + job.written for job in (*self._receiving, *self._jobs.values()))

    @contextmanager
    def _received(self, job: Job) -> Iterator[None]:
        """Count a job as being received during the `with` block, and remove its files if the block fails.

        Raises:
            RefusedError: the server is stopping, or its disk is full.
        """
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
        """Remove the files of a job, in a thread. `_work` removes the files that a running job still writes later."""
        self._disk.submit(shutil.rmtree, job.place, ignore_errors=True)

    def _work(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Segment the video of a job, in the one thread for videos, and set the final state of the job."""
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
            return "failed", "the results have no room on this server; delete other videos, or send a shorter video", ()
        except MaskPencilError as error:
            return "failed", said(error, job.place), ()
        except MemoryError:
            return "failed", "the server has not enough memory for this video; scale it down", ()
        except Exception as error:
            if job.stop.is_set():
                return "canceled", None, ()
            say(f"error: a video failed: {type(error).__name__}: {first_line(error)}")
            return "failed", "the server failed; its error output names the reason", ()
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
