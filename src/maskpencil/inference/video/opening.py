"""Open a source with FFmpeg, which gets access to this source only."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError, InvalidDataError

from maskpencil.errors import VideoError
from maskpencil.inference.sources import Source, scheme
from maskpencil.inference.video.containers import read_structure
from maskpencil.regular_files import refuse_special

STALL_SECONDS = 10.0
"""The time without data, in seconds, after which a stream counts as interrupted."""


@dataclass(frozen=True)
class Opening:
    """Parameters for FFmpeg to open a source.

    Attributes:
        name: the name of the source in messages.
        address: the address, path or device that FFmpeg opens.
        whitelist: the protocols, separated by commas, that the source and everything it refers to may use.
        demuxers: the names of the demuxers (FFmpeg's readers of containers) that may read the source.
        input_format: the name of the input device of a camera, such as v4l2; None for other sources.
        options: further options for FFmpeg.
        stall: reading fails after this many seconds without data; None for a file.
    """

    name: str
    address: str
    whitelist: str
    demuxers: frozenset[str]
    input_format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    stall: float | None = None

    @property
    def is_file(self) -> bool:
        """Whether the source is a file, which supports seeking."""
        return self.stall is None


def opening_of(source: Source | str | os.PathLike[str]) -> Opening:
    """Return the parameters for opening a source; a path is a video file, even if it looks like an address.

    Raises:
        VideoError: the camera does not exist, or the path is a named pipe, a device or a socket.
    """
    if not isinstance(source, Source):
        return _file(os.fspath(Path(source)))
    if source.kind == "stream":
        # TCP is tried before UDP, whose lost packets damage images
        options = {"rtsp_flags": "prefer_tcp"} if source.address.lower().startswith("rtsp") else {}
        return Opening(
            source.name,
            source.address,
            protocols(source.address),
            stream_demuxers(source.address),
            options=options,
            stall=STALL_SECONDS,
        )
    if source.kind == "camera":
        camera = find_camera(int(source.address))
        demuxers = frozenset({camera.input_format})
        return Opening(source.name, camera.name, "file", demuxers, camera.input_format, camera.options, STALL_SECONDS)
    return _file(source.address)


def open_container(opening: Opening, *, hardware: str | None = None) -> InputContainer:
    """Open a source; `hardware` is the decoder to use, one of `DEVICES`, or None to decode in software.

    Raises:
        VideoError: the source is missing, does not answer, or is not a video.
    """
    if opening.is_file:
        _refuse_no_file(opening.name)
    try:
        return av.open(
            opening.address,
            format=opening.input_format,
            container_options={
                "protocol_whitelist": opening.whitelist,
                "format_whitelist": ",".join(sorted(opening.demuxers)),
                **opening.options,
            },
            metadata_errors="replace",
            timeout=opening.stall,
            hwaccel=accelerated(hardware) if hardware else None,
        )
    except FFmpegError as error:
        raise (_not_a_video if opening.is_file else _no_stream)(opening.name, error) from error


def reason_of(error: FFmpegError) -> str:
    """Describe an error of FFmpeg in a few words, without the address."""
    if isinstance(error, MemoryError):
        return "it states an impossible size"
    if isinstance(error, ExitError):  # FFmpeg's error after `Opening.stall` seconds without data
        return f"no data for {STALL_SECONDS:g} s"
    return (error.strerror or type(error).__name__).lower()


def _file(path: str) -> Opening:
    refuse_special(path, error=VideoError)
    # with "file:" and the whitelist, no name and no playlist can make FFmpeg use the network
    return Opening(path, f"file:{path}", "file", FILE_DEMUXERS)


def _refuse_no_file(name: str) -> None:
    path = Path(name)
    if path.is_file():
        if path.stat().st_size == 0:
            raise VideoError(f"{name}: is empty (0 bytes); expected a video; copy or export it again")
        return
    if path.exists():  # FFmpeg would wait for a pipe without end
        raise VideoError(f"{name}: is not a regular file; expected a video; give the path of a video file")
    raise VideoError(f"{name}: there is no such file; check the path")


def _not_a_video(name: str, error: FFmpegError) -> VideoError:
    if isinstance(error, ArgumentError):  # FFmpeg's error for a demuxer that is not in the whitelist
        return VideoError(
            f"{name}: is damaged or not a video; playlists and texts are not opened, since they may refer to "
            "other files; expected MP4, MOV, MKV, WebM, AVI, ...; give the video itself, or remove this file"
        )
    try:
        is_cut = read_structure(name).is_cut
    except OSError:
        is_cut = False  # the file cannot be read, which `error` says already
    if is_cut:
        return VideoError(
            f"{name}: is cut short, and the missing part contains the index, without which it cannot be read "
            f"({reason_of(error)}); copy or export it again, or remove it"
        )
    return VideoError(
        f"{name}: is damaged, cut short or not a video ({reason_of(error)}); expected MP4, MOV, MKV, WebM, AVI, ...; "
        "copy or export it again, or remove it"
    )


def _no_stream(name: str, error: FFmpegError) -> VideoError:
    if isinstance(error, InvalidDataError):
        return VideoError(
            f"{name}: sends no readable video ({reason_of(error)}); check that the address belongs to the video "
            "and not to a web page; some videos must be downloaded first"
        )
    return VideoError(
        f"{name}: cannot be opened ({reason_of(error)}); expected a video, stream or camera that answers; check that "
        "the server or camera runs, and that the address, user and password are right"
    )


FILE_DEMUXERS = frozenset(
    {
        "mov",  # MP4, MOV, 3GP; references to other files stay off, as they are by default
        "matroska",  # MKV, WebM
        "avi",
        "asf",  # WMV
        "flv",
        "ogg",
        "mxf",
        "nut",
        "ivf",
        "dv",
        # transport and program streams, and bare video streams
        "mpegts",
        "mpeg",
        "mpegvideo",
        "m4v",
        "h264",
        "hevc",
        "vvc",
        "obu",
        "av1",
        "mjpeg",
        "yuv4mpegpipe",
        # one image, or an animation
        "gif",
        "apng",
        "png_pipe",
        "jpeg_pipe",
        "webp_pipe",
    }
)
"""The demuxers that may read a file; none of them opens another file."""

_WEB = "http,https,httpproxy,tcp,tls,crypto,data"  # redirections, proxies, encrypted HLS
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

_WEB_DEMUXERS = FILE_DEMUXERS | {
    "hls",
    "dash",
    "live_flv",
    "mpjpeg",  # network cameras
    "aac",  # the sound of playlists, which may be in separate segments
    "ac3",
    "eac3",
    "mp3",
    "webvtt",
}
_STREAM_DEMUXERS = {
    "http": _WEB_DEMUXERS,
    "https": _WEB_DEMUXERS,
    "rtsp": frozenset({"rtsp"}),
    "rtsps": frozenset({"rtsp"}),
    "rtmp": frozenset({"flv", "live_flv"}),
    "rtmps": frozenset({"flv", "live_flv"}),
    "udp": FILE_DEMUXERS,
    "tcp": FILE_DEMUXERS,
}


def protocols(address: str) -> str:
    """Return the protocols, separated by commas, that FFmpeg may use for an address; never `file`.

    The scheme of the address must be one of `sources.SCHEMES`.
    """
    return _PROTOCOLS[scheme(address) or ""]


def stream_demuxers(address: str) -> frozenset[str]:
    """Return the demuxers that may read an address, whose scheme must be one of `sources.SCHEMES`."""
    return _STREAM_DEMUXERS[scheme(address) or ""]


DEVICES = ("cuda", "videotoolbox", "d3d11va", "dxva2", "vaapi", "qsv", "vdpau")
"""FFmpeg's names of hardware decoders, in the order in which they are tried."""

_PROBE = "h264"  # a format that all of them can decode


def find_decoder() -> str | None:
    """Return the first of `DEVICES` that this build of FFmpeg supports and this machine has; None if there is none."""
    known = hwdevices_available()
    return next((device for device in DEVICES if device in known and _works(device)), None)


def accelerated(device: str) -> HWAccel:
    """Return the argument of `av.open` to decode on a device, or in software if the device cannot decode the format."""
    return HWAccel(device, allow_software_fallback=True)


def _works(device: str) -> bool:
    try:
        accelerated(device).create(av.Codec(_PROBE, "r"))
    except (FFmpegError, NotImplementedError):  # no such device; FFmpeg does not support it
        return False
    return True


@dataclass(frozen=True)
class Camera:
    """Parameters for FFmpeg to open a camera: its device name, the input format, and the options of this format."""

    name: str
    input_format: str
    options: dict[str, str] = field(default_factory=dict)


def find_camera(number: int, *, platform: str = sys.platform) -> Camera:
    """Find the camera with this number, by v4l2 on Linux, avfoundation on macOS and dshow on Windows.

    Raises:
        VideoError: there is no such camera, or FFmpeg does not support cameras on this system.
    """
    if platform == "darwin":
        _need_format("avfoundation", number)
        # "none" is for no sound; most macOS cameras refuse the default rate of 29.97
        return Camera(f"{number}:none", "avfoundation", {"framerate": "30"})
    if platform == "win32":
        _need_format("dshow", number)
        return Camera(f"video={_windows_name(number)}", "dshow", {"rtbufsize": "64M"})
    _need_format("v4l2", number)
    device = Path(f"/dev/video{number}")
    if not device.exists():
        raise _missing(number, sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*")))
    if not os.access(device, os.R_OK | os.W_OK):
        raise VideoError(
            f"camera {number}: permission to read {device} is denied; add your user to the group video, or check the "
            "permissions of this file"
        )
    return Camera(str(device), "v4l2")


def _need_format(name: str, number: int) -> None:
    try:
        av.format.ContainerFormat(name, "r")
    except ValueError as error:
        raise VideoError(
            f"camera {number}: this build of PyAV does not include {name}, which cameras need on this system; record a "
            "video and give its path"
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
    there = f"the numbers here are {', '.join(found)}" if found else "no camera was found on this machine; plug one in"
    return VideoError(f"camera {number}: there is no such camera; {there}")
