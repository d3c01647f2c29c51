"""Repeat requests while a server does not answer, is busy or restarts, and report it to the user once."""

import random
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from maskpencil.errors import ConfigError, ImageError, ModelError
from maskpencil.pipeline import is_ending
from maskpencil.plain_text import visible
from maskpencil.regular_files import mapping, parse_json, text
from maskpencil.remote.connection import SLICE_SECONDS, AbandonedError, Connections, LostError, Reply, Request

T = TypeVar("T")

RETRY_SECONDS = 120.0
"""The longest time in seconds for which a request is sent again."""

ANSWER_SECONDS = 110.0
"""The longest time in seconds for one answer."""

LAST_SECONDS = 170.0
"""The longest time in seconds for a request and its repetitions; the pipeline calls a step stalled after 180 s."""

FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
"""The seconds before a request is sent for the second time, and the longest pause; each pause is twice the last."""

LONGEST_AFTER = 30.0
"""The longest pause in seconds that a server can ask for."""

UNFIT_TRIES = 3
"""A request is given up after this number of answers that are not those of a maskpencil server."""

AGAIN = frozenset((408, 429, 502, 503, 504))
"""The status codes after which a request is sent again: the server, or a proxy in front of it, is busy."""

MAX_ERROR_BYTES = 2**16
"""The largest size in bytes of an answer that holds an error as JSON."""


class Asker:
    """Sends requests to a server, and repeats them until they are answered.

    Args:
        connections: the connections to the server.
        url: the address of the server, for messages.
        tell: called with messages for the user.

    Attributes:
        retries: the number of requests that were sent again.
        tell: called with messages for the user.
    """

    def __init__(self, connections: Connections, url: str, tell: Callable[[str], None]) -> None:
        self._connections, self._url, self.tell = connections, url, tell
        self._lock, self._is_away = Lock(), False
        self._lost = self._back = 0.0  # when the server was lost for the last time, and when it was back
        self.retries = 0

    def once(self, request: Request, read: Callable[[Reply], T]) -> T:
        """Send a request once, and return what `read` makes of the answer.

        Raises:
            ModelError: there was no answer, or one that cannot be used, such as one for which `read` raises ValueError.
            ConfigError: the server refuses the client or the request.
        """
        try:
            return self._attempt(request, read, time.monotonic() + ANSWER_SECONDS)
        except LostError as error:
            remedy = (
                "check that this is the address of maskpencil serve, and of the same version"
                if error.is_unfit
                else "start the server with maskpencil serve, and check the address"
            )
            raise ModelError(f"{self._url}: cannot be used as a maskpencil server: {error}; {remedy}") from error

    def until_answered(self, request: Request, read: Callable[[Reply], T]) -> T:
        """Send a request until it is answered, for up to `RETRY_SECONDS`; return what `read` makes of the answer.

        Raises:
            ImageError: the server refuses the image.
            ModelError: the server did not answer, or not as a maskpencil server.
            ConfigError: the server refuses the client or the request.
        """
        start, pause, unfit = time.monotonic(), FIRST_PAUSE, 0
        while True:
            sent = time.monotonic()
            try:
                found = self._attempt(request, read, min(sent + ANSWER_SECONDS, start + LAST_SECONDS))
            except LostError as error:
                unfit += error.is_unfit
                wait = max(pause * random.uniform(0.5, 1), error.after or 0)  # noqa: S311 - no secret
                pause = min(2 * pause, LAST_PAUSE)
                if unfit >= UNFIT_TRIES:
                    raise ModelError(
                        f"{self._url}: {error}; check that this is the address of maskpencil serve, and of the same "
                        "version"
                    ) from error
                if time.monotonic() + wait > start + RETRY_SECONDS:
                    raise ModelError(
                        f"{self._url}: {error}, for {RETRY_SECONDS:.0f} s; start the server, then run the same command "
                        "again; predict keeps what is done with --resume"
                    ) from error
                self._is_lost(str(error), sent)
                _sleep(wait)
            else:
                self._has_answered(sent)
                return found

    def _attempt(self, request: Request, read: Callable[[Reply], T], deadline: float) -> T:
        try:
            reply = self._connections.ask(request, deadline=deadline)
        except AbandonedError:
            raise ModelError(f"{self._url}: no answer, since the command is ending") from None
        self._refuse_status(reply, is_image=request.body is not None)
        try:
            return read(reply)
        except ConfigError:
            raise
        except ValueError as error:
            raise LostError(f"its answer cannot be used ({visible(str(error))[:200]})", is_unfit=True) from error

    def _refuse_status(self, reply: Reply, *, is_image: bool) -> None:
        """Raise an error unless the status of an answer is 200."""
        status = reply.status
        if status == 200:
            return
        said = _error_text(reply)
        if status in AGAIN:
            raise LostError(f"it is busy ({status}{said})", after=_pause_asked_for(reply))
        if status == 401:
            raise ConfigError(
                f"{self._url}: demands a token, but the token is missing or wrong; give the file with the token of "
                "the server as --token-file FILE"
            )
        if status in (403, 421):
            raise ConfigError(f"{self._url}: refuses this client ({status}{said}); check the address")
        if status == 400 and said:  # never because of the image
            raise ConfigError(f"{self._url}: refuses the request ({status}{said})")
        if 300 <= status < 400:
            raise ConfigError(
                f"{self._url}: answers with a redirect ({status}), which is not followed; give the address of the "
                "server itself"
            )
        if is_image and status == 413 and not said:
            raise ImageError(
                f"a proxy in front of the server at {self._url} refuses the image as too large (413); raise the "
                "proxy's limit of request bodies, such as client_max_body_size of nginx"
            )
        if is_image and said and status != 404:
            raise ImageError(f"the server at {self._url} refuses the image ({status}{said})")
        raise LostError(
            f"it answers with the status {status}{said}, unlike a maskpencil server of this version", is_unfit=True
        )

    def _is_lost(self, reason: str, sent: float) -> None:
        """Report once that the server does not answer; a request sent before its last return is not reported."""
        with self._lock:
            self.retries += 1
            is_news = not self._is_away and sent >= self._back
            if is_news:
                self._is_away, self._lost = True, time.monotonic()
        if is_news:
            self.tell(f"{self._url}: {reason}; waiting up to {RETRY_SECONDS:.0f} s for the server")

    def _has_answered(self, sent: float) -> None:
        """Report once that the server answers again; a request sent before the server was lost is not reported."""
        if self._is_away:
            with self._lock:
                is_news = self._is_away and sent >= self._lost
                if is_news:
                    self._is_away, self._back = False, time.monotonic()
            if is_news:
                self.tell(f"{self._url}: answers again")


def _error_text(reply: Reply) -> str:
    """Return ": " and the error that a maskpencil server sent; "" if the answer holds no such error."""
    if len(reply.content) > MAX_ERROR_BYTES:
        return ""
    try:
        said = text(mapping(parse_json(reply.content), "the answer").get("error"), "error", MAX_ERROR_BYTES)
    except ValueError:
        return ""
    return f": {visible(said)[:300]}"


def _pause_asked_for(reply: Reply) -> float | None:
    given = reply.headers.get("retry-after", "")
    return min(float(given), LONGEST_AFTER) if re.fullmatch("[0-9]{1,5}", given) else None


def _sleep(seconds: float) -> None:
    """Sleep for `seconds`, or until nobody waits for the answer any more."""
    end = time.monotonic() + seconds
    while not is_ending() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, SLICE_SECONDS))
