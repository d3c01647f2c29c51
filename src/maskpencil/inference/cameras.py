"""Camera numbers -> what FFmpeg calls the cameras of this machine."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.error import FFmpegError

from maskpencil.errors import VideoError

_DEVICE_FILE = re.compile(r"/dev/video([0-9]+)")


@dataclass(frozen=True)
class Camera:
    """What FFmpeg needs to open a camera: its name there, the input format, and that format's options."""

    name: str
    input_format: str
    options: dict[str, str] = field(default_factory=dict)


def camera_number(text: str) -> int | None:
    """The number that "0" or "/dev/video0" stands for, or None of what is no camera."""
    device = _DEVICE_FILE.fullmatch(text)
    digits = device[1] if device else text
    return int(digits) if digits.isdecimal() and digits.isascii() else None


def find_camera(number: int, *, platform: str = sys.platform) -> Camera:
    """Find the camera of a number: v4l2 on Linux, avfoundation on macOS, dshow on Windows.

    Raises:
        VideoError: there is no such camera, or FFmpeg cannot speak to cameras here.
    """
    if platform == "darwin":
        _need_format("avfoundation", number)
        # without sound; most of these cameras refuse the default rate of 29.97
        return Camera(f"{number}:none", "avfoundation", {"framerate": "30"})
    if platform == "win32":
        _need_format("dshow", number)
        return Camera(f"video={_windows_name(number)}", "dshow", {"rtbufsize": "64M"})
    _need_format("v4l2", number)
    device = Path(f"/dev/video{number}")
    if not device.exists():
        raise _missing(number, sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*")))
    if not os.access(device, os.R_OK | os.W_OK):
        raise VideoError(f"camera {number}: {device} may not be read; join the group video, or check its permissions")
    return Camera(str(device), "v4l2")


def _need_format(name: str, number: int) -> None:
    try:
        av.format.ContainerFormat(name, "r")
    except ValueError as error:
        raise VideoError(
            f"camera {number}: this build of PyAV has no {name}, by which cameras are read here; record a video and "
            "give its path"
        ) from error


def _windows_name(number: int) -> str:
    try:
        devices = av.enumerate_input_devices("dshow")
    except FFmpegError as error:
        raise VideoError(f"camera {number}: the cameras cannot be listed ({error.strerror}); plug one in") from error
    names = [device.name for device in devices if "video" in device.media_types]
    if number >= len(names):
        raise _missing(number, [str(i) for i in range(len(names))])
    return names[number]


def _missing(number: int, found: list[str]) -> VideoError:
    there = f"the numbers here are {', '.join(found)}" if found else "there is none on this machine; plug one in"
    return VideoError(f"camera {number}: there is no such camera; {there}")
