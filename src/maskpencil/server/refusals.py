"""Define the errors that a client gets, each with its HTTP status code and a message of one line."""

import re
from collections.abc import Mapping

from starlette.responses import Response

from maskpencil.plain_text import json_text, visible

RETRY_SECONDS = 2
"""The number of seconds after which a client may ask a busy server again."""

_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
"""Matches Python's `repr` of an object, which holds an address in memory."""


class RefusedError(Exception):
    """A request gets an error as its answer instead of a result.

    Args:
        status: the HTTP status code.
        text: what is wrong and what to do, in one line.
        headers: more headers of the answer.
        close: close the connection after the answer, because the rest of the request is not read.
    """

    def __init__(
        self, status: int, text: str, *, headers: Mapping[str, str] | None = None, close: bool = False
    ) -> None:
        super().__init__(text)
        self.status, self.text = status, text
        self.headers = {**(headers or {}), **({"Connection": "close"} if close else {})}

    @property
    def response(self) -> Response:
        """The HTTP response, with the text as JSON."""
        return JSONText({"error": _OBJECT.sub("the image", visible(self.text))}, self.status, self.headers)


class JSONText(Response):
    """An HTTP response of ASCII JSON in one line."""

    media_type = "application/json"

    def __init__(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{json_text(value)}\n", status, headers)


class BusyError(RefusedError):
    """The server has no room for a request at this moment."""

    def __init__(self, text: str, *, close: bool = False) -> None:
        super().__init__(503, text, headers={"Retry-After": str(RETRY_SECONDS)}, close=close)


class ClientLeftError(Exception):
    """The client closed its connection before the answer."""
