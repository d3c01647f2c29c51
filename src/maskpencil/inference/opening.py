"""A source -> an open FFmpeg container that may reach for nothing but that source."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.container import InputContainer
from av.error import ArgumentError, ExitError, FFmpegError, InvalidDataError

from maskpencil.errors import VideoError
from maskpencil.inference.addresses import protocols
from maskpencil.inference.cameras import find_camera
from maskpencil.inference.containers import read_structure
from maskpencil.inference.demuxers import FILE_DEMUXERS, stream_demuxers
from maskpencil.inference.hardware_decode import accelerated
from maskpencil.inference.sources import Source
from maskpencil.regular_files import refuse_special

STALL_SECONDS = 10.0
"""How long a stream may stay silent before it counts as broken."""


@dataclass(frozen=True)
class Opening:
    """How FFmpeg is to open a source.

    `name` is what messages call it. `whitelist` names the protocols that it and whatever it refers to may use,
    `demuxers` FFmpeg's readers of containers. `stall` is after how many seconds of silence reading it fails.
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
        """Whether it can be sought in, and stays as it is."""
        return self.stall is None


def opening_of(source: Source | str | os.PathLike[str]) -> Opening:
    """How a source is opened; a plain path is a video's file, whatever it looks like.

    Raises:
        VideoError: there is no such camera, or the path is that of a named pipe, a device or a socket.
    """
    if not isinstance(source, Source):
        return _file(os.fspath(Path(source)))
    if source.kind == "stream":
        # lost packets spoil images, so that TCP is tried before UDP
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
    """Open a source; `hardware` is one of `hardware_decode.DEVICES` to decode on.

    Raises:
        VideoError: it is missing, does not answer, or is no video.
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
    """What went wrong, in a few words without the address."""
    if isinstance(error, MemoryError):
        return "it lists a size that no file has"
    if isinstance(error, ExitError):  # how FFmpeg calls our time limit
        return f"nothing came for {STALL_SECONDS:g} s"
    return (error.strerror or type(error).__name__).lower()


def _file(path: str) -> Opening:
    refuse_special(path, error=VideoError)
    # "file:" and the whitelist: no name and no playlist makes FFmpeg reach for the network
    return Opening(path, f"file:{path}", "file", FILE_DEMUXERS)


def _refuse_no_file(name: str) -> None:
    path = Path(name)
    if path.is_file():
        if path.stat().st_size == 0:
            raise VideoError(f"{name}: is empty (0 bytes); expected a video; copy or export it again")
        return
    if path.exists():  # a pipe would be waited for without end
        raise VideoError(f"{name}: is not a regular file; expected a video; give the path of one")
    raise VideoError(f"{name}: there is no such file")


def _not_a_video(name: str, error: FFmpegError) -> VideoError:
    if isinstance(error, ArgumentError):  # how FFmpeg calls a reader that is not allowed
        return VideoError(
            f"{name}: is damaged, or no video but such as a playlist or a text, which could name other files and is "
            "not opened; expected MP4, MOV, MKV, WebM, AVI, ...; give the video itself, or remove it"
        )
    try:
        is_cut = read_structure(name).is_cut
    except OSError:
        is_cut = False  # what keeps it from being read is the error already
    if is_cut:
        return VideoError(
            f"{name}: is cut short, and what a video's beginning needs is in the part that is missing "
            f"({reason_of(error)}); copy or export it again, or remove it"
        )
    return VideoError(
        f"{name}: is damaged, cut short or not a video ({reason_of(error)}); expected MP4, MOV, MKV, WebM, AVI, ...; "
        "copy or export it again, or remove it"
    )


def _no_stream(name: str, error: FFmpegError) -> VideoError:
    if isinstance(error, InvalidDataError):
        return VideoError(
            f"{name}: sends nothing that can be read as a video ({reason_of(error)}); check that the address is the "
            "video's own and not its page's; a video that must be sought in has to be downloaded first"
        )
    return VideoError(
        f"{name}: cannot be opened ({reason_of(error)}); expected a video, stream or camera that answers; check that "
        "it runs, and its address, user and password"
    )
