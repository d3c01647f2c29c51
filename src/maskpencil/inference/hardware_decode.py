"""Decoding on the graphics card or chip, where one is there."""

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError

DEVICES = ("cuda", "videotoolbox", "d3d11va", "dxva2", "vaapi", "qsv", "vdpau")
"""FFmpeg's names of what decodes, in the order they are tried."""

_PROBE = "h264"  # what every one of them can decode


def find_decoder() -> str | None:
    """Return the first of `DEVICES` that this build of FFmpeg supports and this machine has."""
    known = hwdevices_available()
    return next((device for device in DEVICES if device in known and _works(device)), None)


def accelerated(device: str) -> HWAccel:
    """What `av.open` needs to decode on a device; what the device cannot decode is decoded in software."""
    return HWAccel(device, allow_software_fallback=True)


def _works(device: str) -> bool:
    try:
        accelerated(device).create(av.Codec(_PROBE, "r"))
    except (FFmpegError, NotImplementedError):  # no such device here; this build cannot decode on it
        return False
    return True
