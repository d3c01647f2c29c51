"""Refuse requests that a foreign site makes a browser send, and requests without the token, before all else."""

import hmac
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskpencil.server.refusals import RefusedError

STRICT_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every answer that sets no others: no site embeds it, no browser guesses its type, nobody keeps it."""

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Guard:
    """An ASGI application that passes on only the requests that are allowed, and makes the headers of answers strict.

    - Host must be an IP address, localhost or one of `hosts`. Otherwise a site whose name is made to lead to this
      computer (DNS rebinding) would count as the same site. With a token any name is allowed, since no site has it.
    - Origin, which browsers send with a page's request, must be this server itself. Links to the page may be anywhere.
    - Authorization must be the token, if there is one; only the paths in `public` need none.

    Args:
        app: the application that answers.
        hosts: names of the server in lower case.
        token: the token; None if none is needed.
        public: the paths that need no token.
        count: called with the status code of every answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        token: str | None,
        public: Collection[str],
        count: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._app, self._hosts, self._public, self._count = app, hosts, public, count
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in STRICT_HEADERS.items():
                    headers.setdefault(name, value)
                self._count(message["status"])
            await send(message)

        try:
            self._refuse_foreign(Headers(scope=scope), scope["path"])
            self._refuse_without_token(Headers(scope=scope), scope["path"])
        except RefusedError as problem:
            await problem.response(scope, receive, send_strictly)
        else:
            await self._app(scope, receive, send_strictly)

    def _refuse_foreign(self, headers: Headers, path: str) -> None:
        """Refuse a request with the name of a foreign site as Host or Origin.

        Raises:
            RefusedError: the request is refused.
        """
        given = headers.getlist("host")
        matched = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if matched is None:
            raise RefusedError(400, "the header Host is missing or not a name", close=True)
        name = matched[1].lower()
        if self._expected is None and not (_is_address(name) or name in self._hosts):
            raise RefusedError(
                421,
                "the header Host names a server that this one is not; use its IP address, or start it with "
                "--allow-host NAME",
                close=True,
            )
        origins = headers.getlist("origin")
        own = given[0].lower()
        if any(origin.lower().partition("://")[2] != own for origin in origins):
            raise RefusedError(403, "pages of other sites may not use this server", close=True)
        kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        is_link = path == "/" and kind == ("navigate", "document")  # to the page, which frames may not hold
        if not origins and not is_link and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RefusedError(403, "pages of other sites may not use this server", close=True)

    def _refuse_without_token(self, headers: Headers, path: str) -> None:
        """Refuse a request without the token.

        Raises:
            RefusedError: the request is refused.
        """
        if self._expected is None or path in self._public:
            return
        given = headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, self._expected):
            raise RefusedError(
                401,
                "the token is missing or wrong; send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
                close=True,
            )


def _is_address(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
