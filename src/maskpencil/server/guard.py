"""Reject requests that pages of other sites make a browser send, and requests without the token."""

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
"""Headers for every answer, unless it sets them itself: no site embeds it, no browser guesses its type or caches it."""

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Guard:
    """An ASGI application that passes only allowed requests on to `app`, and adds `STRICT_HEADERS` to every answer.

    All other requests get an error as their answer. Of an allowed request,

    - the header Host is an IP address, localhost or one of `hosts`. Otherwise a site whose name leads to this computer
      (DNS rebinding) would count as this server. With a token any name is allowed, since no site has the token.
    - the header Origin, which browsers send with a page's request, is this server. Any site may link to the page.
    - the header Authorization holds the token, if there is one; only the paths in `public` need no token.

    Args:
        app: the application that answers.
        hosts: the allowed names of the server in lower case.
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
        """Answer a request, by `app` if it is allowed."""

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
        """Raise an error if the headers of a request show that it comes from a page of another site.

        Raises:
            RefusedError: Host is missing, invalid or not a name of this server, or the request is from another site.
        """
        given = headers.getlist("host")
        matched = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if matched is None:
            raise RefusedError(400, "the header Host must be given once, as a name or address", close=True)
        name = matched[1].lower()
        if self._expected is None and not (_is_address(name) or name in self._hosts):
            raise RefusedError(
                421,
                "the header Host is not a name of this server; use the server's IP address, or start the server with "
                "--allow-host NAME",
                close=True,
            )
        origins = headers.getlist("origin")
        own = given[0].lower()
        if any(origin.lower().partition("://")[2] != own for origin in origins):
            raise RefusedError(403, "pages of other sites may not use this server; open its own page", close=True)
        kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        is_link = path == "/" and kind == ("navigate", "document")  # to the page, which frames may not hold
        if not origins and not is_link and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RefusedError(403, "pages of other sites may not use this server; open its own page", close=True)

    def _refuse_without_token(self, headers: Headers, path: str) -> None:
        """Raise an error if a request needs the token and does not have it.

        Raises:
            RefusedError: the token is missing or wrong.
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
