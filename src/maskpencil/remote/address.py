"""Read the address of a server: http://HOST:PORT, or http://HOST:PORT/NAME for one of several models."""

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from maskpencil.errors import ConfigError
from maskpencil.parsing import is_local, shown

PORTS = {"http": 80, "https": 443}
"""The port of each scheme."""

_ADDRESS = re.compile(r"(https?):[/\\]+(.+)", re.IGNORECASE | re.DOTALL)


def address_text(value: Any) -> str | None:
    """Return a value as an address that begins with http:// or https://; None if it is not an address.

    A `Path` made from an address is an address too, although `Path` joins its double slash into one.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    matched = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if matched is None:
        return None
    rest = matched[2] if isinstance(value, str) else matched[2].replace("\\", "/")
    return f"{matched[1].lower()}://{rest}"


@dataclass(frozen=True)
class Address:
    """The address of a server and of one of its models.

    Attributes:
        scheme: http or https.
        host: the name or the IP address.
        port: the port.
        model: the name of the model; empty for the first.
    """

    scheme: str
    host: str
    port: int
    model: str = ""

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read an address.

        Raises:
            ConfigError: `text` is not the address of a server, or holds a user name or a password.
        """
        example = "expected one such as http://192.168.1.20:8000 or http://192.168.1.20:8000/street"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"{shown(text)}: is not the address of a server ({error}); {example}") from error
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"{host}: the address holds a user name or password, which a server does not accept; leave them out, "
                "and give the server's token as --token-file FILE"
            )
        if parts.scheme not in PORTS or not host or parts.query or parts.fragment or not _is_clean(host):
            raise ConfigError(f"{shown(text)}: is not the address of a server; {example}")
        return cls(parts.scheme, host, PORTS[parts.scheme] if port is None else port, unquote(parts.path).strip("/"))

    @property
    def url(self) -> str:
        """The address of the server, without a model."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    @property
    def is_here(self) -> bool:
        """Whether the server runs on this computer."""
        return is_local(self.host)


def _is_clean(host: str) -> bool:
    try:
        host.encode("idna")  # as the search for its address does
    except UnicodeError:
        return False
    return host.isprintable() and not any(letter.isspace() for letter in host)
