"""A server that fails as told, before a real one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection

import pytest
from tests.server.clients import Probable, Served, starting

from maskpencil.remote import RemoteSegmenter, retries

Fault = Callable[[socket.socket, bytes], None]
"""What a stand-in does instead of sending the good answer: it gets the connection and that answer."""


class StandIn:
    """A server that answers each image with the next of its faults, and when none are left as a real server does.

    Attributes:
        faults: the faults that are left.
        requests: the paths of all requests.
    """

    def __init__(self, real: Served) -> None:
        self._real, self.faults, self.requests = real, list[Fault](), list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended, self._connections = False, list[socket.socket]()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._ended = True
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while not self._ended:
            with suppress(OSError):
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with connection, connection.makefile("rb") as file, suppress(OSError):
            while line := file.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (entry := file.readline().decode().strip()) != "":
                    name, _, value = entry.partition(": ")
                    headers[name.lower()] = value
                body = file.read(int(headers.get("content-length", 0)))
                self.requests.append(path)
                good = self._good(method, path, body)
                if method == "POST" and self.faults:
                    self.faults.pop(0)(connection, good)
                    return
                connection.sendall(good)

    def _good(self, method: str, path: str, body: bytes) -> bytes:
        to_real = HTTPConnection(*self._real.address, timeout=20)
        try:
            to_real.request(method, path, body)
            answer = to_real.getresponse()
            content = answer.read()
            head = "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders())
            return f"HTTP/1.1 {answer.status} OK\r\n{head}\r\n".encode() + content
        finally:
            to_real.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Served]]:
    """Start servers with the given options; they stop after the test."""
    with starting() as started:
        yield started


@pytest.fixture
def stand_in(start: Callable[..., Served]) -> Iterator[StandIn]:
    with ExitStack() as stack:
        found = StandIn(start(Probable(2)))
        stack.callback(found.close)
        yield found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said about servers; requests are sent again at once."""
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retries, "LAST_PAUSE", 0.01)
    return []


@pytest.fixture
def remote(stand_in: StandIn, told: list[str]) -> RemoteSegmenter:
    """The model of the stand-in."""
    segmenter = RemoteSegmenter(stand_in.url)
    segmenter.tell_to(told.append)
    return segmenter
