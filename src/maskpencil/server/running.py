"""Start a server in a thread, and stop it in order."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from maskpencil.server.app import App
from maskpencil.server.models import ModelSource, loaded_models
from maskpencil.server.options import ServeOptions, listening_socket
from maskpencil.server.protocol import CLOSING_SECONDS, limited_to
from maskpencil.server.videos.folder import private_folder
from maskpencil.server.videos.routes import PATH

FINISH_SECONDS = 5
"""The seconds after the start of a stop in which waiting images still get their turn."""

STOP_SECONDS = 7
"""The seconds after the start of a stop in which requests are still answered."""

END_SECONDS = 9
"""The seconds after the start of a stop in which the threads must end; a thread that still computes is left running."""

FORCED_SECONDS = 1
"""The seconds in which the threads must end after a second interrupt."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers requests.

    Attributes:
        url: its address, such as http://127.0.0.1:8000.
        workers: the number of images that are computed at the same time.
        count: returns the number of images that were segmented.
        is_running: returns False if the server ended by an error; the end of the `with` block of `serve` raises it.
    """

    url: str
    workers: int
    count: Callable[[], int]
    is_running: Callable[[], bool]


@contextmanager
def serve(
    models: ModelSource | Mapping[str, ModelSource], *, options: ServeOptions | None = None
) -> Iterator[RunningServer]:
    """Segment the images and videos that clients send over HTTP while the `with` block runs; yield the running server.

    At the end of the block the server takes no new requests, answers those that it has, and cancels its videos.

    Args:
        models: a model folder, a file from `export_model`, or a segmenter; or a mapping from names to several of
            these. Requests choose one with the parameter `model`; the default is the first.
        options: the settings.

    Example:
        >>> from pathlib import Path
        >>> from urllib.request import Request, urlopen
        >>> with mp.serve("runs/train/street/model", options=mp.ServeOptions(port=0)) as server:
        ...     request = Request(f"{server.url}/v1/mask?out=png", Path("photo.jpg").read_bytes())
        ...     with urlopen(request) as answer:
        ...         mask = answer.read()
        >>> mask[1:4]
        b'PNG'

    Raises:
        ConfigError: a value is not a model, a name is not allowed, a package is missing, the port is in use, the token
            cannot be read, or there can be no folder for videos.
        ModelError: a model cannot be read.
        StalledError: after the end of the block a prediction did not end in time; its thread is left running.
    """
    options = options or ServeOptions()
    token = options.read_token()
    with (
        closing(listening_socket(options)) as listener,
        private_folder(options.video_folder) as folder,
        loaded_models(models) as loaded,
    ):
        app = App(loaded, options, folder=folder, token=token)
        server = _Server(app, options, listener)
        server.start()
        try:
            yield RunningServer(_url(options.host, listener), loaded.at_once, lambda: app.images, server.is_running)
        finally:
            end = time.monotonic() + END_SECONDS
            try:
                server.stop()
            finally:
                app.close(FORCED_SECONDS if server.force_exit else end - time.monotonic())


class _Server(uvicorn.Server):
    """A server of uvicorn in a thread; signals are left to the main thread."""

    def __init__(self, app: App, options: ServeOptions, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app.asgi,
            loop="asyncio",
            http=limited_to(_on_wire(options.max_body), {PATH: _on_wire(options.max_video)}),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        super().__init__(config)
        self._turns, self._videos, self._listener = app.turns, app.videos, listener
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="maskpencil-http", daemon=True)

    def is_running(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, and wait until the server accepts requests; raise the error if it fails."""
        self._thread.start()
        self._begun.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no new requests, answer those received, wait for the end of the thread, and raise its error, if any."""
        self.should_exit = True
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self.force_exit = True
            raise
        if self._failure is not None:
            raise self._failure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept requests."""
        await super().startup(sockets)
        self._begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cancel the videos, and answer the requests received; images that still wait after `FINISH_SECONDS` fail."""
        loop = asyncio.get_running_loop()
        self._videos.stop()
        timer = loop.call_later(FINISH_SECONDS, self._turns.close)
        await super().shutdown(sockets)
        timer.cancel()
        end = loop.time() + CLOSING_SECONDS + 0.1  # by then a connection that was just refused is closed
        while self.server_state.connections and loop.time() < end and not self.force_exit:
            await asyncio.sleep(0.02)

    def _work(self) -> None:
        try:
            self.run(sockets=[self._listener])
        except BaseException as error:  # raised again by `start` or `stop`
            self._failure = error
        finally:
            self._begun.set()


def _on_wire(size: int) -> int:
    """Return the largest size in bytes, headers and chunks included, of a request whose body has `size` bytes."""
    return 2 * size + 2**20


def _url(host: str, listener: socket.socket) -> str:
    address: Any = listener.getsockname()
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{address[1]}"
