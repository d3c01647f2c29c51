"""Send requests over connections that are kept open, within limits of time and size.

Nothing that a server sends is trusted: an answer has a largest size, headers included, and a deadline, in however many
pieces it arrives. Redirects are not followed, and proxies from environment variables are not used.
"""

import io
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from socket import socket
from threading import Lock
from typing import Any, TypeVar, cast

from maskpencil.errors import ModelError, first_line
from maskpencil.pipeline import is_ending
from maskpencil.plain_text import visible
from maskpencil.remote.address import Address

T = TypeVar("T")

CONNECT_SECONDS = 10.0
"""The longest time in seconds to connect to one address of a host."""

SLICE_SECONDS = 0.5
"""The longest time in seconds between two checks whether the answer is still wanted."""

HEAD_BYTES = 2**17
"""The largest size of the headers of an answer in bytes."""

SEND_BYTES = 2**16
"""The largest number of bytes that are handed to the socket at once."""


ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The errors of a connection that the server has closed."""


class LostError(Exception):
    """A request got no answer, or one that cannot be used.

    Args:
        reason: what happened, which becomes the message.
        is_unfit: whether there was an answer, but not one of a maskpencil server.
        after: the seconds after which the request may be sent again, as the server asks; None if it does not.
    """

    def __init__(self, reason: str, *, is_unfit: bool = False, after: float | None = None) -> None:
        super().__init__(reason)
        self.is_unfit, self.after = is_unfit, after


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class _StaleError(Exception):
    """The server closed a connection that was kept, before it read the request."""


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        path: the path with its query parameters.
        limit: the largest size of the content of the answer in bytes.
        body: the content of a POST request; None for a GET request.
    """

    path: str
    limit: int
    body: bytes | None = None


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        status: the status code.
        headers: the headers, with names in lower case.
        content: the content.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """The connections to a server; any thread may use them.

    Args:
        address: the server.
        headers: the headers of every request.
    """

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address, self._headers = address, dict(headers)
        self._idle: list[_Connection] = []
        self._lock = Lock()
        self._context = ssl.create_default_context() if address.scheme == "https" else None
        self.close = weakref.finalize(self, _close_all, self._idle, self._lock)

    def close_idle(self) -> None:
        """Close the connections that are not in use."""
        _close_all(self._idle, self._lock)

    def ask(self, request: Request, *, deadline: float) -> Reply:
        """Send a request, and return the answer, whatever its status.

        Args:
            request: the request.
            deadline: the time by `time.monotonic` at which the answer must be complete.

        Raises:
            LostError: there was no answer, or it is not HTTP, or it exceeds a limit.
            ModelError: the certificate of the server is not valid.
            AbandonedError: nobody waits for the answer any more.
        """
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            with suppress(_StaleError):
                return self._ask(kept or self._new(), request, deadline, is_kept=kept is not None)

    def _new(self) -> "_Connection":
        host, port = self._address.host, self._address.port
        if self._context is None:
            return _Plain(host, port, timeout=CONNECT_SECONDS)
        return _Secure(host, port, timeout=CONNECT_SECONDS, context=self._context)

    def _ask(self, connection: "_Connection", request: Request, deadline: float, *, is_kept: bool) -> Reply:
        is_whole = has_begun = False
        try:
            connection.open(deadline, request.limit + HEAD_BYTES)
            connection.request("GET" if request.body is None else "POST", request.path, request.body, self._headers)
            with closing(connection.getresponse()) as response:
                has_begun = True
                reply = _read(response, request.limit)
            is_whole = not response.will_close
            return reply
        except ssl.SSLCertVerificationError as error:
            raise ModelError(
                f"{self._address.url}: its certificate is not valid here ({error.verify_message}); use a name and a "
                "certificate that this computer trusts"
            ) from error
        except (OSError, HTTPException) as error:
            if is_kept and not has_begun and isinstance(error, ENDED):
                raise _StaleError from error
            raise LostError(_reason(error), is_unfit=_is_foreign(error)) from error
        finally:
            if is_whole:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()


def _read(response: HTTPResponse, limit: int) -> Reply:
    """Read an answer.

    Raises:
        LostError: the content is larger than `limit` bytes.
        HTTPException: the content was cut short.
    """
    too_large = LostError(f"its answer is larger than {limit} bytes", is_unfit=True)
    if (response.length or 0) > limit:
        raise too_large
    content = response.read(limit + 1)
    if len(content) > limit:
        raise too_large
    is_cut = not content and response.getheader("content-length") is None  # http.client takes cut headers as whole
    if response.length or is_cut:
        raise IncompleteRead(content, response.length)
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def _is_foreign(error: Exception) -> bool:
    """Return whether an error is caused by an answer that is not HTTP, rather than by a broken connection."""
    return not isinstance(error, OSError | IncompleteRead)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, IncompleteRead | ConnectionError):
        return "the connection broke"
    if isinstance(error, OSError):
        return visible(error.strerror or first_line(error))[:100]
    return f"its answer is not HTTP ({type(error).__name__})"


class _Wire:
    """A socket for `http.client` in which every wait ends at a deadline, and every answer has a largest size.

    Attributes:
        deadline: the time by `time.monotonic` at which the answer must be complete.
        left: the number of bytes that the server may still send.
    """

    def __init__(self, connected: socket) -> None:
        self._socket = connected
        self._is_read = self._is_closed = False
        self.deadline, self.left = 0.0, 0

    def sendall(self, data: Any) -> None:
        """Send all bytes of `data`.

        Raises:
            TimeoutError: the deadline has passed.
            AbandonedError: nobody waits for the answer any more.
        """
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._wait(partial(self._socket.send, rest[:SEND_BYTES])) :]

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """Return a file object that reads one answer of the server."""
        self._is_read = True
        return io.BufferedReader(_Reader(self))

    def receive(self, buffer: memoryview) -> int:
        """Receive bytes into a buffer, and return their number; 0 at the end.

        Raises:
            LostError: the server has sent more bytes than the limit.
            TimeoutError: the deadline has passed.
            AbandonedError: nobody waits for the answer any more.
        """
        count = self._wait(partial(self._socket.recv_into, buffer))
        self.left -= count
        if self.left < 0:
            raise LostError("its answer is larger than expected", is_unfit=True)
        return count

    def close(self) -> None:
        """Close the socket, or, while an answer is read, only after the answer.

        `http.client` calls this before it reads the content of an answer after which the server closes the connection.
        """
        self._is_closed = True
        if not self._is_read:
            self._socket.close()

    def end_reading(self) -> None:
        """End the reading of an answer; close the socket if `close` was called before."""
        self._is_read = False
        if self._is_closed:
            self._socket.close()

    def _wait(self, call: Callable[[], T]) -> T:
        while True:
            left = self.deadline - time.monotonic()
            if is_ending():
                raise AbandonedError
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(left, SLICE_SECONDS))
            with suppress(TimeoutError):
                return call()


class _Reader(io.RawIOBase):
    """A stream of the bytes of one answer."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive bytes into a buffer, and return their number, see `_Wire.receive`."""
        return self._wire.receive(memoryview(buffer).cast("B"))

    def close(self) -> None:
        """End the reading of the answer."""
        if not self.closed:
            self._wire.end_reading()
        super().close()


class _Connection(HTTPConnection):
    """A connection whose socket is a `_Wire`."""

    def connect(self) -> None:
        """Connect to the server."""
        super().connect()
        self.sock = _Wire(self.sock)

    def open(self, deadline: float, limit: int) -> None:
        """Connect if necessary, and set the limits of the next answer."""
        if self.sock is None:
            self.connect()
        wire = cast(_Wire, self.sock)
        wire.deadline, wire.left = deadline, limit


class _Plain(_Connection):
    """A connection that is not encrypted."""


class _Secure(_Connection, HTTPSConnection):
    """A connection that is encrypted by TLS."""


def _close_all(idle: list[_Connection], lock: Lock) -> None:
    with lock:
        for connection in idle:
            connection.close()
        idle.clear()
