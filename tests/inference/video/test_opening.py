"""FFmpeg's demuxers and protocols are limited to a fixed list for each kind of source."""

import os
from pathlib import Path

import pytest
from av.format import formats_available
from tests.helpers import MakeVideo

from maskpencil.errors import VideoError
from maskpencil.inference.sources import SCHEMES, Source
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.opening import FILE_DEMUXERS, open_container, opening_of, protocols, stream_demuxers
from maskpencil.inference.video.reader import VideoReader, probe_video

from .servers import http_server

DASH = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">
<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {} RTP/AVP 96\na=rtpmap:96 H264/90000\n"


def test_files_are_read_by_these_demuxers_only() -> None:
    assert sorted(FILE_DEMUXERS) == [
        *("apng", "asf", "av1", "avi", "dv", "flv", "gif", "h264", "hevc", "ivf", "jpeg_pipe", "m4v", "matroska"),
        *("mjpeg", "mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "obu", "ogg", "png_pipe", "vvc", "webp_pipe"),
        "yuv4mpegpipe",
    ]
    assert opening_of("a.mp4").demuxers == FILE_DEMUXERS
    assert opening_of("a.mp4").whitelist == "file"


def test_each_kind_of_stream_is_read_by_these_demuxers_and_protocols_only() -> None:
    web = ["aac", "ac3", "dash", "eac3", "hls", "live_flv", "mp3", "mpjpeg", "webvtt"]
    more = {kind: sorted(stream_demuxers(f"{kind}://x/y") - FILE_DEMUXERS) for kind in SCHEMES}
    rtmp = ["live_flv"]
    assert more == {
        "http": web,
        "https": web,
        "rtsp": ["rtsp"],
        "rtsps": ["rtsp"],
        "rtmp": rtmp,
        "rtmps": rtmp,
        "udp": [],
        "tcp": [],
    }
    assert all("file" not in protocols(f"{kind}://x/y").split(",") for kind in SCHEMES)


def test_the_listed_readers_exist_under_these_names() -> None:
    known = {name for joined in formats_available for name in joined.split(",")}
    assert set().union(*(stream_demuxers(f"{kind}://x/y") for kind in SCHEMES)) <= known


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'secret.mp4'\n",
        HLS.format("secret.ts"),
        HLS.format("file:secret.ts"),
        DASH.format("secret.mp4"),
        SDP.format(5004),
        "[Reference]\nRef1=http://127.0.0.1:9/x\n",
        "1\n00:00:00,000 --> 00:00:02,000\nhello\n\n",
        "WEBVTT\n\n00:00.000 --> 00:02.000\nhello\n",
        "[Script Info]\nScriptType: v4.00\n",
        ";FFMETADATA1\ntitle=x\n",
        '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><image href="secret.png"/></svg>',
        "\x1b[31mhello\x1b[0m\n" * 100,
        "XBIN\x1a" + "\x08" * 400,
        "SEGM list of nothing",
    ],
)
def test_a_text_file_named_as_a_video_opens_no_other_file(tmp_path: Path, make_video: MakeVideo, text: str) -> None:
    make_video("secret.mp4")
    make_video("secret.ts")
    for suffix in ("mp4", "mkv", "avi", "webm", "mov", "m3u8", "txt", "ans"):
        bait = tmp_path / f"bait.{suffix}"
        bait.write_bytes(text.encode())
        with pytest.raises(VideoError, match=r"^[^\n]*: is (damaged|cut short)[^\n]*$") as refused:
            probe_video(bait)
        assert str(refused.value).startswith(f"{bait}: ")


@pytest.mark.parametrize(
    "name",
    [
        "100%d.mp4",
        "img%03d.mp4",
        "a[1-3]*?.mp4",
        "concat:a|b.mp4",
        "pipe:.mp4",
        "data:text,x.mp4",
        "file:x.mp4",
        "http:x.mp4",
        "subfile,,start,0,end,9,,:x.mp4",
        "-i.mp4",
    ],
)
def test_a_path_is_a_file_whatever_it_looks_like(
    make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = make_video("plain.mp4")
    made.rename(tmp_path / name)
    make_video("img001.mp4", size=(64, 64))
    monkeypatch.chdir(tmp_path)
    assert probe_video(name).size == (48, 64)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: is a named pipe; expected a regular file"):
        probe_video(tmp_path / "a.mp4")


@pytest.mark.parametrize("playlist", [HLS, DASH])
def test_a_playlist_of_the_web_cannot_reach_the_files_here(
    tmp_path: Path, make_video: MakeVideo, playlist: str
) -> None:
    secret = make_video("secret.ts")
    for target in (f"file://{secret}", f"file:{secret}", str(secret)):

        def answer(handler, _: int, target: str = target) -> None:
            body = playlist.format(target).encode()
            handler.send_response(200 if handler.path.endswith("list.m3u8") else 404)
            handler.send_header("Content-Type", "application/vnd.apple.mpegurl")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        with http_server(answer, "list.m3u8") as address, pytest.raises(VideoError):
            open_container(opening_of(Source("stream", address, "list"))).close()


def test_a_playlist_of_the_web_plays_the_files_beside_it_there(make_video: MakeVideo) -> None:
    video = make_video("part.ts").read_bytes()

    def answer(handler, _: int) -> None:
        body = video if handler.path.endswith(".ts") else HLS.format("part.ts").encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with (
        http_server(answer, "list.m3u8") as address,
        VideoReader(opening_of(Source("stream", address, "list"))) as reader,
    ):
        assert sum(isinstance(item, Frame) for item in reader.read()) == 12


def test_a_list_of_the_web_that_is_no_playlist_is_not_followed() -> None:
    reached: list[str] = []

    def answer(handler, _: int) -> None:
        reached.append(handler.path)
        body = b"ffconcat version 1.0\nfile 'secret.ts'\n"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with http_server(answer, "list.txt") as address, pytest.raises(VideoError):
        open_container(opening_of(Source("stream", address, "list"))).close()
    assert set(reached) == {"/list.txt"}
