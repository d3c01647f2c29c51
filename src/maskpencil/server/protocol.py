"""Read HTTP from a connection by uvicorn's parser, with deadlines and limits that uvicorn does not have.

Middleware cannot help here, since it runs only when the headers of a request are complete.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from maskpencil.server.body import LEAST_RATE

HEAD_SECONDS = 10.0
"""The longest time from the first byte of a request, or from the start of the connection, to the end of its headers."""

MAX_HEAD = 2**16
"""The largest size of the headers of a request in bytes."""

WRITE_SECONDS = 20.0
"""The time after which a client must have read `LEAST_RATE` of its answer, or all of it."""

SEND_BUFFER = 2**17
"""The bytes of an answer that the system takes at a time; with more it would not show whether a slow client reads."""

CLOSING_SECONDS = 2.0
"""The longest time for which a client is heard after an answer that came before the end of its request."""

MAX_CONNECTIONS = 800
"""The largest number of connections; further ones are closed at once. Systems allow about 1,000 open files."""


class _Closing:
    """A transport whose method `close` ends in any case, whatever the client does.

    If the client is still sending, its bytes are dropped for a moment, since closing a socket with unread bytes would
    also destroy the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: "LimitedProtocol") -> None:
        self._transport, self._protocol = transport, protocol
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether `close` was called or the connection is lost."""
        return self._is_closed or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection after the answer was sent."""
        if self.is_closing():
            return
        self._is_closed = True
        if self._protocol.is_receiving:
            self._timer = self._protocol.loop.call_later(CLOSING_SECONDS, self._transport.abort)
            self._protocol.flow.resume_reading()
            with suppress(OSError):  # the client is gone
                self._transport.write_eof()
        else:
            self._protocol.watch_writing()
            self._transport.close()

    def lost(self) -> None:
        """Forget the timer of a connection that is lost."""
        if self._timer is not None:
            self._timer.cancel()


class LimitedProtocol(HttpToolsProtocol):
    """A connection of uvicorn with limits: of time and size for headers, of size for all of a request, of time to read.

    Attributes:
        max_request: the largest size of a request on the wire in bytes; set by `limited_to`.
        uploads: the same for each path that has its own limit.
        is_receiving: whether a request has begun and its body is not complete.
    """

    max_request = 2**27
    uploads: Mapping[str, int] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self.is_receiving = False
        self._in_head, self._size, self._part, self._most = True, 0, 0, self.max_request
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._closing = _Closing(transport, self)
        super().connection_made(self._closing)  # type: ignore[arg-type]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._cancel_head()
        self._cancel_write()
        self._closing.lost()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request, unless the connection is closing or the part is beyond a limit."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._await_head()
        self._part = len(data)
        self._size += self._part
        was_in_head = self._in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if was_in_head and self._in_head and self._size > MAX_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", b"the headers are too large")
        elif self._size > self._most:
            self._refuse(b"413 Content Too Large", b"the request is too large")

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a request."""
        self._in_head, self.is_receiving, self._size, self._most = True, True, self._part, self.max_request
        self._await_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer after a body in chunks."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer the request."""
        self._in_head = False
        self._cancel_head()
        super().on_headers_complete()
        self._most = self.uploads.get(self.scope["path"], self.max_request)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self.is_receiving, self._in_head, self._size = False, True, 0

    def on_response_complete(self) -> None:
        """Wait for the next request, or close the connection if the client is still sending the body of this one."""
        super().on_response_complete()
        if self.is_receiving and not self._in_head and self.cycle.response_complete:
            self.transport.close()

    def pause_writing(self) -> None:
        """Begin to wait for a client that reads its answer slowly."""
        super().pause_writing()
        self.watch_writing()

    def resume_writing(self) -> None:
        """Send more to a client that has read."""
        if not self.transport.is_closing():
            self._cancel_write()
        super().resume_writing()

    def watch_writing(self) -> None:
        """Close the connection unless the client reads what was written, at `LEAST_RATE` or faster."""
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                WRITE_SECONDS, self._check_writing, self.transport.get_write_buffer_size()
            )

    def _check_writing(self, before: int) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size() > before - LEAST_RATE * WRITE_SECONDS:
            self.transport.abort()
        else:
            self.watch_writing()

    def _cancel_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _cancel_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._refuse(b"408 Request Timeout", b"the headers of the request came too late")

    def _refuse(self, status: bytes, reason: bytes) -> None:
        """Close the connection; if no answer has begun, answer with an error before."""
        if self.cycle is None or self.cycle.response_complete:
            body = b'{"error": "' + reason + b'"}\n'
            self.transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, len(body), body)
            )
            self.transport.close()
        else:
            self.transport.abort()


def limited_to(max_request: int, uploads: Mapping[str, int]) -> type[LimitedProtocol]:
    """Return the protocol of connections whose requests have at most this many bytes on the wire.

    Args:
        max_request: the largest size of a request in bytes.
        uploads: the largest size of a request to each path that has its own.
    """
    return type("Protocol", (LimitedProtocol,), {"max_request": max_request, "uploads": uploads})
