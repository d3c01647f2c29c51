"""Define the application that answers the server's requests: its routes, and the steps from an image to the answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from maskpencil.errors import DataError, StalledError, first_line
from maskpencil.predictor import Predictor
from maskpencil.server import openapi
from maskpencil.server.answers import MEDIA_TYPES, Answer, Wish, answer, check_image
from maskpencil.server.body import Memory, Share, read_body
from maskpencil.server.guard import Guard
from maskpencil.server.models import Models
from maskpencil.server.openapi import Endpoint
from maskpencil.server.options import ServeOptions
from maskpencil.server.page import page
from maskpencil.server.refusals import BusyError, ClientLeftError, JSONText, RefusedError
from maskpencil.server.turns import Turns
from maskpencil.server.videos.jobs import ENDED, NOW, Videos
from maskpencil.server.videos.routes import VideoRoutes
from maskpencil.terminal import say

T = TypeVar("T")

BODIES = 4
"""The number of bodies of the largest size that fit into the memory of all bodies."""

MIN_MEMORY = 2**28
"""The smallest memory budget of all bodies in bytes."""

MAX_RESULTS = 2**30
"""The memory budget in bytes of the arrays of all answers; arrays are held until their client has read them."""

PART_BYTES = 2**18
"""The number of bytes of an answer that are handed to the connection at once."""

CHECKERS = 2
"""The number of threads that check the headers of images."""

LEFT = 499
"""The status code of a request whose client has left; nobody receives it, but the metrics count it."""


class App:
    """The server's application; `asgi` is what uvicorn calls.

    Args:
        models: the models.
        options: the settings.
        folder: the folder for videos.
        token: the token that requests must have; None if they need none.

    Attributes:
        images: the number of images that were segmented.
        videos: the videos.
        endpoints: the routes.
    """

    def __init__(self, models: Models, options: ServeOptions, *, folder: Path, token: str | None) -> None:
        self._models, self._options = models, options
        self.turns = Turns(workers=models.at_once, depth=options.queue, seconds=options.timeout)
        self._memory = Memory(max(BODIES * options.max_body, MIN_MEMORY))
        self._results = Memory(MAX_RESULTS)
        self._checkers = ThreadPoolExecutor(CHECKERS, "maskpencil-check")
        self._answers: Counter[int] = Counter()
        self.images = 0
        self._model_facts = models.facts()  # which reads the weights
        self.videos = Videos(folder, self.turns, options, workers=models.at_once)
        self._video_routes = VideoRoutes(self.videos, models)
        self._page = page()
        self.endpoints = self._endpoints()
        self._document = openapi.document(self.endpoints, version("maskpencil"), tuple(models.predictors))
        self.asgi = self._asgi(token)

    def close(self, seconds: float) -> None:
        """Wait for the images and frames that are being computed; called after the event loop has ended.

        Raises:
            StalledError: they did not all end within `seconds`.
        """
        end = time.monotonic() + seconds
        for pool in (self._checkers, *self.turns.pools, *self.videos.pools):
            ending = Thread(target=partial(pool.shutdown, cancel_futures=True), daemon=True)
            ending.start()
            ending.join(max(end - time.monotonic(), 0.01))
            if ending.is_alive():
                raise StalledError("a prediction did not end in time, so the server was stopped without it")

    def _endpoints(self) -> tuple[Endpoint, ...]:
        binary: dict[str, Any] = {}
        schemas = {"json": openapi.PREDICTION, "regions": openapi.LINES}
        forms = {kind: schemas.get(form, binary) for form, kind in MEDIA_TYPES.items()}
        busy = ("503",)
        text = {"text/plain": openapi.TEXT}
        json = "application/json"
        return (
            Endpoint("/", self._show_page, "Show a page for people.", {"text/html": openapi.TEXT}, needs_token=False),
            Endpoint("/healthz", self._health, "Say that the server lives.", text, needs_token=False),
            Endpoint(
                "/readyz",
                self._ready,
                "Say whether the server has room for an image.",
                text,
                refusals=busy,
                needs_token=False,
            ),
            Endpoint("/metrics", self._metrics, "Count answers, images and videos, for Prometheus.", text),
            Endpoint("/openapi.json", self._openapi, "Describe this interface.", {json: {"type": "object"}}),
            Endpoint("/v1/models", self._facts, "Describe the models and the limits.", {json: openapi.MODELS}),
            Endpoint(
                "/v1/mask",
                self._mask,
                "Segment an image.",
                forms,
                method="POST",
                refusals=("406", "413", "415", "422", *busy),
                takes="image",
            ),
            *self._video_routes.endpoints(),
        )

    def _asgi(self, token: str | None) -> ASGIApp:
        application = Starlette(
            routes=[Route(each.path, each.answer, methods=[each.method]) for each in self.endpoints],
            exception_handlers={
                RefusedError: _refused,
                DataError: _unreadable,
                ClientLeftError: _left_behind,
                HTTPException: _not_found,
                Exception: _failed,
            },
        )
        application.router.redirect_slashes = False
        return Guard(
            application,
            hosts={self._options.host.lower(), *(name.lower() for name in self._options.allow_host)},
            token=token,
            public=[each.path for each in self.endpoints if not each.needs_token],
            count=self._count,
        )

    def _count(self, status: int) -> None:
        self._answers[status] += 1

    async def _show_page(self, _: Request) -> Response:
        return self._page

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        self.turns.refuse_if_full()
        return PlainTextResponse("ready\n")

    async def _openapi(self, _: Request) -> Response:
        return JSONText(self._document)

    async def _metrics(self, _: Request) -> Response:
        lines = ["# TYPE maskpencil_answers_total counter"]
        lines += [f'maskpencil_answers_total{{status="{code}"}} {n}' for code, n in sorted(self._answers.items())]
        gauges = {"waiting": self.turns.waiting, "running": self.turns.running}
        for name, number in gauges.items():
            lines += [f"# TYPE maskpencil_images_{name} gauge", f"maskpencil_images_{name} {number}"]
        lines += ["# TYPE maskpencil_images_total counter", f"maskpencil_images_total {self.images}"]
        counts = self.videos.counts()
        for name, states, kind in (("videos", NOW, "gauge"), ("videos_total", ENDED, "counter")):
            lines.append(f"# TYPE maskpencil_{name} {kind}")
            lines += [f'maskpencil_{name}{{state="{state}"}} {counts[state]}' for state in states]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def _facts(self, _: Request) -> Response:
        return JSONText(
            {
                "version": version("maskpencil"),
                "models": self._model_facts,
                "at_once": self._models.at_once,
                "max_body": self._options.max_body,
                "max_pixels": self._options.max_pixels,
                "max_video": self.videos.max_video,
            }
        )

    async def _mask(self, request: Request) -> Response:
        wish = Wish.of(request)
        name, predictor = self._models.find(wish.model)
        wish.refuse_unfit(predictor)
        self.turns.refuse_if_full(close=True)  # before the body is read
        start = time.perf_counter()
        try:
            with ExitStack() as stack, self._memory.share() as share:
                body = await read_body(request, share, limit=self._options.max_body)
                room = stack.enter_context(self._results.share())
                made = await _unless_left(request, self._segment(predictor, body, wish, room))
                kept = stack.pop_all()
        except asyncio.CancelledError:  # uvicorn's way to end a request when the server stops
            raise BusyError("the server is stopping", close=True) from None
        self.images += 1
        waited = 1000 * (time.perf_counter() - start) - sum(made.timing.values())
        timing = ", ".join(f"{step};dur={ms:.1f}" for step, ms in {"receive": waited, **made.timing}.items())
        headers = {**self._models.headers(name), "Server-Timing": timing}
        return Sent(made.content, media_type=made.media_type, headers=headers, then=kept.close)

    async def _segment(self, predictor: Predictor, body: bytes, wish: Wish, room: Share) -> Answer:
        check = partial(check_image, body, max_pixels=self._options.max_pixels)
        size = await asyncio.get_running_loop().run_in_executor(self._checkers, check)
        room.grow(wish.array_bytes(size, predictor))
        return await self.turns.run(partial(answer, predictor, body, wish))


class Sent(Response):
    """An answer that is sent in parts, as fast as the client reads; `then` is called at the end or after an error."""

    def __init__(self, content: bytes, *, then: Callable[[], None], **settings: Any) -> None:
        super().__init__(content, **settings)
        self._then = then

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(self.body), PART_BYTES):
                part = self.body[start : start + PART_BYTES]
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._then()


async def _unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result; cancel it as soon as the client closes the connection.

    Raises:
        ClientLeftError: the client closed the connection.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, error: Exception) -> Response:
    return cast(RefusedError, error).response


async def _unreadable(_: Request, error: Exception) -> Response:
    return RefusedError(422, str(error)).response


async def _left_behind(_: Request, __: Exception) -> Response:
    return Response(status_code=LEFT)


async def _not_found(request: Request, error: Exception) -> Response:
    status, headers = cast(HTTPException, error).status_code, cast(HTTPException, error).headers
    text = cast(HTTPException, error).detail
    if status == 404:
        text = "there is no such path; /openapi.json lists all"
    if status == 405:  # by all routes of the path, of which Starlette lists the first
        routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
        allowed = ", ".join(sorted({method for route in routes for method in route.methods}))
        text, headers = f"this path does not allow {request.method}; use {allowed}", {"Allow": allowed}
    return RefusedError(status, text, headers=headers, close=request.method != "GET").response


async def _failed(_: Request, error: Exception) -> Response:
    if isinstance(error, MemoryError):
        return BusyError("there is not enough memory at this moment; send the image again later").response
    say(f"error: a request failed: {type(error).__name__}: {first_line(error)}")
    return RefusedError(500, "the server failed; its error output names the reason").response
