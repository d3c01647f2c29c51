import socket
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Event

import av
import pytest
from tests.helpers import MakeVideo

from maskpencil.errors import VideoError
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video import opening, stream
from maskpencil.inference.video.frames import StoredFrame
from maskpencil.inference.video.opening import opening_of
from maskpencil.inference.video.reader import VideoReader
from maskpencil.inference.video.stream import StreamReader

from .servers import camera_server, file_server, http_server, rtsp_server, tcp_server


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FIRST_WAIT", 0.01)


def opened(
    address: str, *, tries: int = 5, stop: Event | None = None, reported: list[str] | None = None
) -> StreamReader:
    (source,) = find_sources([address])
    tell = [].append if reported is None else reported.append
    return StreamReader(opening_of(source), tries=tries, stop=stop or Event(), tell=tell)


def frame_times(reader: StreamReader | VideoReader) -> list[Fraction]:
    with reader:
        return [item.pts * reader.time_base for item in reader.stored() if isinstance(item, StoredFrame)]


def test_a_video_from_a_web_server_is_read_as_from_a_file(make_video: MakeVideo) -> None:
    video = make_video("video.mkv", pts=[0, 33, 50, 120, 400], time_base=Fraction(1, 1000))
    with file_server(video) as address:
        reader = opened(address)
        assert frame_times(reader) == frame_times(VideoReader(video))
        assert reader.gave_up is None


@pytest.mark.parametrize("name", ["video.mkv", "video.ts", "video.mp4"])
def test_a_video_that_breaks_off_goes_on_where_it_was(make_video: MakeVideo, name: str) -> None:
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    video = make_video(name, pts=range(60), size=(120, 160), options=options)
    reported: list[str] = []
    with file_server(video, break_at={1: 0.5, 2: 0.8}.get) as address:
        reader = opened(address, reported=reported)
        assert frame_times(reader) == frame_times(VideoReader(video))
        assert reader.gave_up is None
    assert len(reported) == 2
    assert all(
        "was interrupted at second" in line and "reconnecting in 0.01 s (attempt 1 of 5)" in line for line in reported
    )


def test_a_stream_that_breaks_off_is_opened_again_and_its_times_go_on(make_video: MakeVideo) -> None:
    video = make_video("video.ts")
    reported: list[str] = []
    with tcp_server(video.read_bytes(), times=3) as address:
        reader = opened(address, tries=2, reported=reported)
        times = frame_times(reader)
    assert len(times) == 36
    assert all(after > before for before, after in pairwise(times))
    assert [float(times[i] - times[i - 1]) for i in (12, 24)] == pytest.approx([1 / 12, 1 / 12], abs=0.09)
    assert [line.split("attempt ")[-1] for line in reported] == ["1 of 2)", "1 of 2)", "1 of 2)", "2 of 2)"]
    assert reader.gave_up
    assert "could not be reconnected in 2 attempts; the frames until then are complete" in reader.gave_up


def test_a_live_stream_begins_with_the_first_image_that_can_be_decoded(make_video: MakeVideo, tmp_path: Path) -> None:
    video = make_video("video.ts", pts=range(30), encoder={"g": "10", "bf": "0", "sc_threshold": "0"})
    late = tmp_path / "late.ts"
    with av.open(str(video)) as source, av.open(str(late), "w") as joined:
        stream = joined.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[3:-1]:  # without the key frame of the first ten
            packet.stream = stream
            joined.mux(packet)
    with tcp_server(late.read_bytes(), times=1) as address:
        times = frame_times(opened(address, tries=0))
    assert [float(time) for time in times] == pytest.approx([number / 12 for number in range(20)], abs=1e-3)


def test_a_network_camera_is_read_by_rtsp(make_video: MakeVideo) -> None:
    video = make_video("video.ts", pts=range(30), encoder={"bf": "0"})
    with rtsp_server(video) as address:
        reader = opened(address, tries=0)
        assert reader.facts().size == (48, 64)
        times = frame_times(reader)
    assert [float(time) for time in times] == pytest.approx([number / 12 for number in range(30)], abs=1e-3)


def test_a_wait_between_two_tries_ends_at_once_when_it_is_stopped(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FIRST_WAIT", 60)
    stop = Event()
    with tcp_server(make_video("video.ts").read_bytes(), times=1) as address:
        reader = opened(address, stop=stop)
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        assert len(frame_times(reader)) <= 12
        timer.join()
    assert reader.gave_up is None


@pytest.mark.slow
def test_frames_of_a_camera_without_times_get_the_times_of_their_arrival() -> None:
    stop = Event()
    with camera_server(frame_seconds=0.05) as address, opened(address, stop=stop) as reader:
        assert reader.facts().size == (48, 64)
        assert reader.facts().duration is None
        times: list[Fraction] = []
        for item in reader.stored():
            assert isinstance(item, StoredFrame)
            times.append(item.pts * reader.time_base)
            if len(times) == 20:
                stop.set()
    assert len(times) == 20
    assert times[-1] - times[10] > 0.4
    assert all(after > before for before, after in pairwise(times))


def test_a_stream_that_falls_silent_counts_as_broken(monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> None:
    monkeypatch.setattr(opening, "STALL_SECONDS", 0.3)
    reported: list[str] = []
    silent = threading.Event()

    def answer(handler, number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(make_video("video.ts", pts=range(30)).read_bytes())
        silent.wait(5)

    with http_server(answer, "video.ts") as address:
        reader = opened(address, tries=0, reported=reported)
        assert 0 < len(frame_times(reader)) <= 30
        silent.set()
    assert "no data for 0.3 s" in str(reader.gave_up)


@pytest.mark.parametrize("kind", ["http", "rtsp", "rtmp", "tcp"])
def test_an_address_that_does_not_answer_is_one_line_without_the_password(kind: str) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        with pytest.raises(VideoError, match=r"cannot be opened \(connection refused\)") as caught:
            opened(f"{kind}://user:secret@127.0.0.1:{port}/video")
    assert str(caught.value).startswith(f"{kind}://127.0.0.1:{port}/video: ")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_web_page_is_refused_as_a_video(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>not a video</html>" * 100)
    with (
        file_server(tmp_path / "page.html") as address,
        pytest.raises(VideoError, match="check that the address belongs"),
    ):
        opened(address)


def test_a_playlist_from_the_web_reaches_for_the_web_and_not_for_files(make_video: MakeVideo) -> None:
    video = make_video("video.ts")
    segments = [f"file://{video}", "video.ts"]
    entries = "".join(f"#EXTINF:1.0,\n{segment}\n" for segment in segments)
    playlist = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n{entries}#EXT-X-ENDLIST\n"

    def answer(handler, _: int) -> None:
        data = playlist.encode() if handler.path.endswith("m3u8") else video.read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    with http_server(answer, "list.m3u8") as address:
        assert len(frame_times(opened(address, tries=0))) == 12


def test_a_local_playlist_cannot_reach_for_the_network(tmp_path: Path, make_video: MakeVideo) -> None:
    asked: list[int] = []

    def answer(handler, number: int) -> None:
        asked.append(number)
        handler.send_error(404)

    with http_server(answer, "video.ts") as address:
        (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoError):
            VideoReader(tmp_path / "list.mp4")
    assert asked == []
