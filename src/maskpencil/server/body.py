"""Read the body of a request within limits of size, time, rate and memory."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from starlette.requests import ClientDisconnect, Request

from maskpencil.server.refusals import BusyError, ClientLeftError, RefusedError

START_SECONDS = 10.0
"""The seconds that a body may take at first; each received byte adds 1 / `LEAST_RATE` seconds."""

LEAST_RATE = 2**14
"""The smallest accepted rate in bytes per second, of a body that is received and of an answer that a client reads."""

BODY_SECONDS = 300.0
"""The longest time in seconds for the body of an image, whatever its size."""


class Memory:
    """A memory budget from which requests reserve bytes.

    Args:
        limit: the largest number of bytes of all reservations together.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield the reservation of one request, at first of 0 bytes, and release it after the `with` block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.used -= share.size


class Share:
    """A reservation of `size` bytes of a `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self.size = memory, 0

    def grow(self, size: int) -> None:
        """Reserve `size` more bytes.

        Raises:
            BusyError: all reservations together would exceed the limit.
        """
        if self._memory.used + size > self._memory.limit:
            raise BusyError("the server holds as many images as it can; send this image again later", close=True)
        self._memory.used += size
        self.size += size


async def read_body(request: Request, share: Share, *, limit: int) -> bytes:
    """Read a body of at most `limit` bytes, whether its size is declared or it comes in chunks.

    Raises:
        RefusedError: the body is empty, too large or too slow, or has a Content-Encoding.
        BusyError: the memory for bodies is used up.
        ClientLeftError: the client closed the connection.
    """
    kept = bytearray()  # one block, which goes back to the system, unlike thousands of small parts
    async with aclosing(body_parts(request, limit=limit, seconds=BODY_SECONDS)) as parts:
        async for part in parts:
            share.grow(len(part))
            kept += part
    if not kept:
        raise RefusedError(400, "the body is empty; expected an image file: curl --data-binary @photo.jpg ADDRESS")
    return bytes(kept)


async def body_parts(request: Request, *, limit: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a body of at most `limit` bytes as they arrive.

    Raises:
        RefusedError: the body has a Content-Encoding, is too large, takes longer than `seconds`, or is slower than
            `LEAST_RATE`.
        ClientLeftError: the client closed the connection.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    if "content-encoding" in request.headers:
        raise RefusedError(415, "Content-Encoding is not supported; send the file without it", close=True)
    start, size = asyncio.get_running_loop().time(), 0
    stream = request.stream()
    try:
        while True:
            allowed = min(START_SECONDS + size / LEAST_RATE, seconds)
            async with asyncio.timeout_at(start + allowed):
                part = await anext(stream, b"")
            if not part:
                return
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            yield part
    except TimeoutError:
        raise RefusedError(
            408,
            f"the body came too slowly ({size} bytes in {allowed:.0f} s); expected at least {LEAST_RATE >> 10} KiB per "
            f"second, and all of it within {seconds:.0f} s; send a smaller file, or use a faster connection",
            close=True,
        ) from None
    except ClientDisconnect:
        raise ClientLeftError from None
    finally:
        await stream.aclose()


def _too_large(limit: int) -> RefusedError:
    return RefusedError(
        413, f"the body is larger than {limit} bytes, the most that this server reads; send a smaller file", close=True
    )
