"""Define `ServeOptions`: the settings of a server, and the checks of their values and combinations."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskpencil.errors import ConfigError
from maskpencil.parsing import is_local, read_flag, read_number, read_path, read_text, read_whole
from maskpencil.tokens import read_token

LOCAL = "127.0.0.1"
"""The address that only programs on the same computer can reach."""


@dataclass(frozen=True)
class ServeOptions:
    """The settings of a server.

    Attributes:
        host: the address to listen at; other computers reach any address but 127.0.0.1, ::1 and localhost.
        port: the port to listen at; 0 is any free port.
        token_file: a file that holds a token; requests must then have the header `Authorization: Bearer TOKEN`.
        open: whether other computers may use the server without a token.
        allow_host: more names under which clients reach the server, such as that of a proxy.
        max_body: the largest size of an encoded image in bytes.
        max_pixels: the largest number of pixels of an image.
        queue: the largest number of images that wait for their turn.
        timeout: the longest time in seconds that an image waits for its turn.
        max_video: the largest size of a video in bytes.
        video_quota: the largest size in bytes of all videos and their results together.
        video_folder: an existing folder in which the server makes a folder for videos; None is the system's folder for
            temporary files.
        keep: the time in seconds for which the results of a video are kept after its end.

    Example:
        >>> mp.ServeOptions(host="0.0.0.0")
        Traceback (most recent call last):
            ...
        maskpencil.errors.ConfigError: --host 0.0.0.0 lets other computers use the server; ...

    Raises:
        ConfigError: a setting is out of range, or other computers would reach the server without a token although
            `open` is not set.
    """

    host: str = LOCAL
    port: int = 8000
    token_file: Path | None = None
    open: bool = False
    allow_host: Sequence[str] = ()
    max_body: int = 64 * 2**20
    max_pixels: int = 2**26
    queue: int = 64
    timeout: float = 30.0
    max_video: int = 2 * 2**30
    video_quota: int = 20 * 2**30
    video_folder: Path | None = None
    keep: float = 3600.0

    def __post_init__(self) -> None:
        read_text("--host", self.host)
        read_whole("--port", self.port, least=0, most=65535)
        read_flag("--open", self.open)
        read_whole("--max-body", self.max_body, least=1, most=2**31)
        read_whole("--max-pixels", self.max_pixels, least=1)
        read_whole("--queue", self.queue, least=1, most=10_000)
        read_number("--timeout", self.timeout, least=0.1, most=3600)
        read_whole("--max-video", self.max_video, least=1, most=2**43)
        read_whole("--video-quota", self.video_quota, least=1)
        read_number("--keep", self.keep, least=1, most=30 * 24 * 3600)
        if isinstance(self.allow_host, str) or not all(isinstance(name, str) and name for name in self.allow_host):
            raise ConfigError(f"--allow-host must be names of hosts, but got {self.allow_host!r}")
        if self.token_file is not None:
            object.__setattr__(self, "token_file", read_path("--token-file", self.token_file))
        if self.video_folder is not None:
            object.__setattr__(self, "video_folder", read_path("--video-folder", self.video_folder))
        if self.open and self.token_file is not None:
            raise ConfigError("--open and --token-file exclude each other; leave --open out to demand the token")
        if not self.open and self.token_file is None and not is_local(self.host):
            raise ConfigError(
                f"--host {self.host} lets other computers use the server; give --token-file FILE to serve only those "
                "that send the token in FILE, or --open to serve all of them"
            )

    def read_token(self) -> str | None:
        """Read the token from `token_file`, and return it; return None if the server needs no token.

        Raises:
            ConfigError: the file cannot be read, or its content is not a token.
        """
        if self.token_file is None:
            return None
        return read_token(self.token_file, f"write one with: openssl rand -hex 32 > {self.token_file}")


def listening_socket(options: ServeOptions) -> socket.socket:
    """Open the socket on which the server listens.

    Raises:
        ConfigError: the port is in use, this computer does not have the address, or other computers may reach the
            address although the server needs no token.
    """
    host, port = options.host, options.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if options.token_file is None and not options.open:
            found = [entry for entry in found if is_local(str(entry[4][0]))]
        if not found:
            raise ConfigError(
                f"--host {host} may be reachable from other computers; without --token-file or --open, expected an "
                f"address that only this computer can reach, such as --host {LOCAL}"
            )
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=512)
    except OSError as error:
        if port and error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is in use by another program; give another, such as --port {port % 65535 + 1}"
            ) from error
        raise ConfigError(
            f"cannot listen at port {port} of {host} ({error.strerror or error}); give an address of this computer as "
            "--host, and a port above 1023 as --port"
        ) from error
