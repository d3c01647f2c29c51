"""Answer the requests for videos: send a video, get its state, follow it, get its results, cancel and delete it."""

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from maskpencil.plain_text import json_text
from maskpencil.server import openapi
from maskpencil.server.models import Models
from maskpencil.server.openapi import Endpoint
from maskpencil.server.parameters import read_area, read_parameters
from maskpencil.server.refusals import JSONText, RefusedError
from maskpencil.server.videos.jobs import Job, Videos
from maskpencil.server.videos.work import RESULTS

PATH = "/v1/videos"

EVENT_SECONDS = 0.25
"""The seconds between two checks of the state of a video whose events a client reads."""

BEAT_SECONDS = 15.0
"""The seconds without a change after which a client that reads events gets an empty comment."""

_RANGE = re.compile(rb"bytes=(\d{1,18})-(\d{0,18})|bytes=-(\d{1,18})")


class VideoRoutes:
    """The routes of the videos of a server.

    Args:
        videos: the videos.
        models: the models.
    """

    def __init__(self, videos: Videos, models: Models) -> None:
        self._videos, self._models = videos, models

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the routes."""
        one, json, missing = f"{PATH}/{{id}}", {"application/json": openapi.JOB}, ("404",)
        return (
            Endpoint(
                PATH,
                self._send,
                "Segment a video; it waits for its turn.",
                json,
                method="POST",
                done=("202",),
                refusals=("413", "415", "503"),
                takes="video",
            ),
            Endpoint(one, self._state, "Describe the state of a video.", json, refusals=missing),
            Endpoint(one, self._delete, "Cancel a video and delete its files.", {}, "DELETE", ("204",), missing),
            Endpoint(
                f"{one}/events",
                self._events,
                "Send the state of a video whenever it changes, until it is final.",
                {"text/event-stream": openapi.EVENT},
                refusals=missing,
            ),
            *(
                Endpoint(
                    f"{one}/{name}",
                    partial(self._file, name),
                    f"Send {name}, or a part of it.",
                    {kind: {}},
                    done=("200", "206"),
                    refusals=(*missing, "409", "416"),
                )
                for name, kind in RESULTS.items()
            ),
        )

    async def _send(self, request: Request) -> Response:
        values = read_parameters(request, ("model", "min_area"))
        model, predictor = self._models.find(values.get("model"))
        job = await self._videos.receive(request, model=model, predictor=predictor, min_area=read_area(values))
        return JSONText(job.facts(), 202, {"Location": f"{PATH}/{job.id}"})

    async def _state(self, request: Request) -> Response:
        return JSONText(self._job(request).facts())

    async def _delete(self, request: Request) -> Response:
        self._videos.delete(self._job(request))
        return Response(status_code=204)

    async def _events(self, request: Request) -> Response:
        return StreamingResponse(_states(request, self._job(request)), media_type="text/event-stream")

    async def _file(self, name: str, request: Request) -> Response:
        job = self._job(request)
        path = job.place / name
        if job.state != "done" or not path.is_file():
            reason = f"; {job.error}" if job.error else ""
            raise RefusedError(409, f"{name} is not there, since the state of the video is: {job.state}{reason}")
        return WholeOrPart(path, media_type=RESULTS[name])

    def _job(self, request: Request) -> Job:
        return self._videos.find(request.path_params["id"])


class WholeOrPart(FileResponse):
    """An answer with a file, or with the one range of it that the header Range names; any other Range is ignored."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, its range, or the status 416 if the range holds no byte of the file."""
        size = self.path.stat().st_size  # type: ignore[union-attr]
        asked = _RANGE.fullmatch(dict(scope["headers"]).get(b"range", b""))
        if asked is None or (asked[2] and int(asked[2]) < int(asked[1])):
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"range"]}
        elif int(asked[1] or 0) >= size or int(asked[3] or 1) == 0:
            text = f"the file has {size} bytes, none of them in the range; ask for a range within the file"
            refused = RefusedError(416, text, headers={"Content-Range": f"bytes */{size}"})
            await refused.response(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


async def _states(request: Request, job: Job) -> AsyncIterator[str]:
    """Yield the state of a job as a server-sent event whenever it has changed, until it is final.

    A slow client gets only the state at the time when it reads.
    """
    sent, quiet = None, 0.0
    while True:
        has_ended, state = job.has_ended, json_text(job.facts())
        if state != sent:
            sent, quiet = state, 0.0
            yield f"data: {state}\n\n"
        elif quiet >= BEAT_SECONDS:
            quiet = 0.0
            yield ":\n\n"
        if has_ended or await request.is_disconnected():
            return
        await asyncio.sleep(EVENT_SECONDS)
        quiet += EVENT_SECONDS
