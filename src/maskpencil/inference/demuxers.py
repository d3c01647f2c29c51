"""Which of FFmpeg's readers of containers may be reached, by what is opened.

FFmpeg chooses a reader by a file's content, whatever its name is. Some of its hundreds open further files or addresses
that the content names (concat, hls, dash, sdp, image2), run a program of their own (lavfi) or hand the content to a
library for drawings or text (svg_pipe, tty, subtitles). None of these is among those for files; a playlist is read from
the web only, and its protocols (`addresses.protocols`) have no files.
"""

from maskpencil.inference.addresses import scheme

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
"""What a file may be read by; each takes all from this one file."""

_WEB_DEMUXERS = FILE_DEMUXERS | {
    "hls",
    "dash",
    "live_flv",
    "mpjpeg",  # network cameras
    "aac",  # the sound of playlists, which may lie in segments of its own
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


def stream_demuxers(address: str) -> frozenset[str]:
    """Give what an address of one of `addresses.KINDS` may be read by."""
    return _STREAM_DEMUXERS[scheme(address) or ""]
