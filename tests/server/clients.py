"""A model without a network, and clients of a server that runs in this process."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from threading import Event
from typing import Any

import numpy as np
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.inference.wrappers import most_probable
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor
from maskpencil.runtimes.base import relative_entropy
from maskpencil.server import ServeOptions, serve

SICK = (13, 13)
"""The size of images for which `Brightness` fails."""


class Brightness(Predictor):
    """A model without a network: bright pixels and dark ones. It computes only while `may_run` is set."""

    classes = ClassSet(("dark", "bright"), ((10, 20, 30), (250, 240, 230)))
    title = "by eye"

    def __init__(self, workers: int = 1) -> None:
        self.workers, self.may_run, self.seen = workers, Event(), []
        self.may_run.set()

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        yield self.workers

    def predict_batch(self, images, *, confidence=False, **_) -> list[Prediction]:
        self.seen.append(images[0].shape)
        assert self.may_run.wait(30)
        if images[0].shape[:2] == SICK:
            raise RuntimeError("a bug in /home/secret/model.bin")
        sure = [np.full(image.shape[:2], 0.75, np.float32) if confidence else None for image in images]
        maps = [(image.mean(axis=2) > 127).astype(np.uint8) for image in images]
        return [Prediction(*parts, self.classes) for parts in zip(images, maps, sure, strict=True)]


class Probable(Brightness):
    """A model without a network whose probability of bright is the brightness."""

    def probabilities_batch(self, images):
        bright = np.stack([image.mean(axis=2) / 255 for image in images])
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)

    def predict_batch(self, images, *, confidence=False, entropy=False):
        self.seen.append(images[0].shape)
        assert self.may_run.wait(30)
        found = self.probabilities_batch(images)
        spread = relative_entropy(found)
        return [
            Prediction(image, most_probable(each), each.max(axis=0) if confidence else None, self.classes, entropy=some)
            for image, each, some in zip(images, found, spread if entropy else [None] * len(images), strict=True)
        ]

    def predict_class(self, images, index, *, confidence=False):
        predictions = self.predict_batch(images, confidence=confidence)
        return list(zip(predictions, self.probabilities_batch(images)[:, index], strict=True))


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Served:
    """A running server, and ways to reach it."""

    predictor: Any
    url: str
    count: Callable[[], int]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        return host.strip("[]"), int(port)

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Reply:
        """Send a request as browsers and curl do; `_` in the names of headers stands for `-`."""
        connection = HTTPConnection(*self.address, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def follow(self, path: str) -> list[Any]:
        """Read server-sent events until the server ends them."""
        content = self.ask(path).content.decode("ascii")
        return [json.loads(event[6:]) for event in content.split("\n\n") if event.startswith("data: ")]

    def metric(self, name: str) -> int:
        """A number of /metrics."""
        lines = self.ask("/metrics").content.decode("ascii").splitlines()
        (number,) = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
        return int(number)

    def connect(self) -> socket.socket:
        """Open a plain connection."""
        return socket.create_connection(self.address, timeout=20)


@contextmanager
def starting() -> Iterator[Callable[..., Served]]:
    """Start servers with the given options at free ports of this computer; they stop after the block."""
    with ExitStack() as stack:

        def started(predictor: Any = None, **settings: Any) -> Served:
            predictor = predictor or Brightness()
            server = stack.enter_context(serve(predictor, options=ServeOptions(port=0, **settings)))
            if isinstance(predictor, Brightness):
                stack.callback(predictor.may_run.set)
            return Served(predictor, server.url, server.count)

        yield started


def png(size: tuple[int, int] = (8, 12), **options: Any) -> bytes:
    """An encoded image whose right half is bright."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, size[1] // 2 :] = 200
    return encoded(Image.fromarray(pixels), **options)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    content = BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def received(connection: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    content = b""
    while part := connection.recv(65536):
        content += part
    return content


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until a condition holds."""
    waiting = Event()
    for _ in range(int(seconds * 100)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("the condition did not come true")
