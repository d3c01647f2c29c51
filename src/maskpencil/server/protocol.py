"""Extend uvicorn's HTTP protocol by deadlines and limits that uvicorn does not have.

Middleware cannot enforce them, since it runs only after the headers of a request are complete.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from maskpencil.server.body import LEAST_RATE

HEAD_SECONDS = 10.0
"""The longest time in seconds for the headers of a request, from the start of the connection or of a later request."""

MAX_HEAD = 2**16
"""The largest size of the headers of a request in bytes."""

WRITE_SECONDS = 20.0
"""The seconds between two checks of a slow client: by then it must have read `LEAST_RATE` bytes per second, or all."""

SEND_BUFFER = 2**17
"""The size of the system's send buffer in bytes; it is small, since what is in it counts as read by the client."""

CLOSING_SECONDS = 2.0
"""The longest time in seconds for which the rest of a request is received and dropped, if the answer came first."""

MAX_CONNECTIONS = 800
"""The largest number of connections; more are closed at once. Systems allow about 1,000 open files."""


class _Closing:
    """A transport that closes soon after a call of `close`, whatever the client does.

    If the client is still sending a request, its bytes are first dropped for up to `CLOSING_SECONDS`. If the socket
    were closed with unread bytes, the client would lose the answer.
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
        """Close the connection as soon as the answer is sent."""
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
        """Cancel the timer; called when the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()


class LimitedProtocol(HttpToolsProtocol):
    """An HTTP connection of uvicorn that limits the time and size of headers, the size of requests, and slow reading.

    Attributes:
        max_request: the largest size of a request on the wire in bytes; set by `limited_to`.
        uploads: the largest size for each path that has its own limit.
        is_receiving: whether a request has begun and its body is not complete.
    """

    max_request = 2**27
    uploads: Mapping[str, int] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; close the connection if there are too many."""
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
        """Parse received bytes, and end the connection with an error if the headers or the request are too large.

        Bytes that arrive while the connection is closing are dropped.
        """
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
            reason = b"the headers have more than %d bytes; send fewer or shorter headers" % MAX_HEAD
            self._refuse(b"431 Request Header Fields Too Large", reason)
        elif self._size > self._most:
            reason = b"the request has more than %d bytes, the most for this path; send a smaller file" % self._most
            self._refuse(b"413 Content Too Large", reason)

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a request."""
        self._in_head, self.is_receiving, self._size, self._most = True, True, self._part, self.max_request
        self._await_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; drop a trailer field, which follows a body in chunks."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer the request, and set the limit of its path."""
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
        """Stop sending, since the write buffer is full, and begin to check that the client reads."""
        super().pause_writing()
        self.watch_writing()

    def resume_writing(self) -> None:
        """Send more, since the client has read enough; end the checks, unless the connection is closing."""
        if not self.transport.is_closing():
            self._cancel_write()
        super().resume_writing()

    def watch_writing(self) -> None:
        """Begin to check, every `WRITE_SECONDS`, that the client reads; end the connection if it reads too slowly."""
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
        reason = b"the headers were not complete within %d s; send the request again" % HEAD_SECONDS
        self._refuse(b"408 Request Timeout", reason)

    def _refuse(self, status: bytes, reason: bytes) -> None:
        """Answer with an error and close the connection; if an answer has already begun, only close the connection."""
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
    """Return a subclass of `LimitedProtocol` with these limits.

    Args:
        max_request: the largest size of a request on the wire in bytes.
        uploads: the largest size for each path that has its own limit.
    """
    return type("Protocol", (LimitedProtocol,), {"max_request": max_request, "uploads": uploads})
