"""Addresses of videos and streams: what they may reach for, and how they are named without their passwords."""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_WEB = "http,https,httpproxy,tcp,tls,crypto,data"  # redirections between the two, proxies, HLS with keys
_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": "rtsp,rtp,srtp,udp,tcp",
    "rtsps": "rtsp,rtp,srtp,udp,tcp,tls",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "udp": "udp",
    "tcp": "tcp",
}

KINDS = tuple(_PROTOCOLS)
"""The schemes that can be read."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: C:/ is a drive of Windows


def scheme(text: str) -> str | None:
    """The lower-case kind of an address ("rtsp"), or None of what is none."""
    match = _ADDRESS.match(text)
    return match[1].lower() if match else None


def protocols(address: str) -> str:
    """What FFmpeg may speak to read an address of one of `KINDS`, as its whitelist: never files."""
    return _PROTOCOLS[scheme(address) or ""]


def without_secrets(address: str) -> str:
    """The address as it may be shown: user, password and query, which may hold keys, left out."""
    shown = re.sub(r"^([^/]+:/+)[^/?#]*@", r"\1", address)
    return re.split(r"[?#]", shown, maxsplit=1)[0]


def stem_of(address: str) -> str:
    """What the results of an address are called: its last part without suffix, else its host and port; a file name."""
    parts = urlsplit(address)
    last = PurePosixPath(unquote(parts.path)).stem
    name = last or re.sub(r"^.*@", "", parts.netloc)
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "stream"
