"""Streams and cameras through `predict`: without end, broken off, stopped."""

import threading
import time
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo, count_in_flight

from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.report import Progress
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video import outputs, stream
from maskpencil.inference.video.stream import StreamReader
from maskpencil.results import MARKER

from .servers import camera_server, file_server, http_server, tcp_server


def frames_of(video: Path) -> list[float]:
    with av.open(str(video)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(("read-ahead", "write-behind"))]


def after(count: int, stop: Event):
    def report(progress: Progress) -> None:
        if progress.frame == count:
            stop.set()

    return report


@pytest.mark.slow
def test_a_stream_without_end_ends_well_when_it_is_stopped(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    stop = Event()
    with camera_server() as address:
        report = predict(
            segmenter,
            find_sources([address]),
            out=tmp_path,
            report=after(30, stop),
            stop=stop,
            options=PredictOptions(video=VideoOptions(masks="video")),
        )
    assert (report.videos, report.failures, report.warnings) == (1, (), ())
    assert files_below(tmp_path) == {"overlays/camera.mp4", "masks/camera.mkv", MARKER}
    times = frames_of(tmp_path / "overlays/camera.mp4")
    assert len(times) == report.frames >= 30
    assert frames_of(tmp_path / "masks/camera.mkv") == pytest.approx(times, abs=0.001)
    assert our_threads() == []


def test_an_end_ends_a_stream_without_end(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    with camera_server() as address:
        report = predict(
            segmenter,
            find_sources([address]),
            out=tmp_path,
            options=PredictOptions(video=VideoOptions(end=0.5, every=2)),
        )
    assert report.warnings == ()
    times = frames_of(tmp_path / "overlays/camera.mp4")
    assert 2 < len(times) == report.frames
    assert times[-1] < 0.5


@pytest.mark.slow
def test_a_silent_stream_is_stopped_with_its_video_whole_at_once(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = make_video("video.ts", pts=range(100)).read_bytes()
    stop, over = Event(), Event()

    def answer(handler, _: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(video)
        over.wait(10)

    def stop_and_see() -> None:
        time.sleep(0.5)
        stop.set()
        time.sleep(0.5)
        whole.append((tmp_path / "out/overlays/video.mp4").is_file())
        over.set()

    whole: list[bool] = []
    thread = threading.Thread(target=stop_and_see)
    thread.start()
    with http_server(answer, "video.ts") as address:
        report = predict(segmenter, find_sources([address]), out=tmp_path / "out", stop=stop)
    thread.join()
    assert whole == [True]
    assert len(frames_of(tmp_path / "out/overlays/video.mp4")) == report.frames > 20


def test_a_broken_stream_is_reported_and_its_frames_are_written(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FIRST_WAIT", 0.01)
    reported: list[str] = []
    with tcp_server(make_video("video.ts", sound="aac").read_bytes(), times=2) as address:
        report = predict(
            segmenter,
            find_sources([address, make_video()]),
            out=tmp_path / "out",
            tell=reported.append,
            options=PredictOptions(video=VideoOptions(reconnect=1)),
        )
    assert (report.videos, report.failures) == (2, ())
    (warning,) = report.warnings
    assert "could not be reconnected in 1 attempts" in warning
    assert [line.split(" ")[0] for line in reported] == [f"{address}:"] * 2
    name = address.removeprefix("tcp://").replace(":", "-")
    assert len(frames_of(tmp_path / f"out/overlays/{name}.mp4")) == 24
    assert len(frames_of(tmp_path / "out/overlays/video.mp4")) == 12
    with av.open(str(tmp_path / f"out/overlays/{name}.mp4")) as container:
        sound = [p.pts for p in container.demux(audio=0) if p.size]
    assert len(sound) > 80
    assert (np.diff(sound) > 0).all()


def test_a_source_that_cannot_be_opened_does_not_stop_the_others(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    sources = find_sources(["http://127.0.0.1:9/web.mp4", "987", make_video()])
    report = predict(segmenter, sources, out=tmp_path / "out")
    assert [failure.source.name for failure in report.failures] == ["http://127.0.0.1:9/web.mp4", "camera 987"]
    assert all(f.message.startswith(f.source.name) and "\n" not in f.message for f in report.failures)
    assert files_below(tmp_path / "out") == {"overlays/video.mp4", MARKER}


def test_a_video_from_the_web_is_predicted_like_a_file(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = make_video("video.mp4", pts=range(24), options={"movflags": "+faststart"}, sound="aac")
    reported: list[Progress] = []
    with file_server(video) as address:
        predict(segmenter, find_sources([address]), out=tmp_path / "web", report=reported.append)
    predict(segmenter, find_sources([video]), out=tmp_path / "file")
    assert [(p.frame, p.frames) for p in reported] == [(i, 24) for i in range(1, 25)]
    web, file = tmp_path / "web/overlays/video.mp4", tmp_path / "file/overlays/video.mp4"
    assert web.read_bytes() == file.read_bytes()


def test_stopping_within_a_video_drops_it(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    stop = Event()
    with pytest.raises(KeyboardInterrupt):
        predict(segmenter, find_sources([make_video()]), out=tmp_path / "out", report=after(5, stop), stop=stop)
    assert files_below(tmp_path / "out") == set()


def test_sources_that_were_not_begun_before_a_stop_are_reported(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    stop = Event()
    with camera_server() as address:
        sources = find_sources([address, "rtsp://10.255.255.1/never"])
        report = predict(segmenter, sources, out=tmp_path, report=after(5, stop), stop=stop)
    assert report.videos == 1
    assert report.warnings == ("rtsp://10.255.255.1/never: was not begun, because the work was stopped",)


@pytest.mark.slow
def test_the_video_of_a_stream_is_complete_up_to_its_last_seconds_while_it_is_made(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = make_video("video.ts", pts=range(120)).read_bytes()  # 10 seconds
    found: list[int] = []

    def look(progress: Progress) -> None:
        if progress.frame == 120:
            time.sleep(0.5)
            (temporary,) = (tmp_path / "overlays").iterdir()
            found.append(len(frames_of(temporary)))
            raise KeyboardInterrupt

    with tcp_server(video, times=1) as address, pytest.raises(KeyboardInterrupt):
        predict(
            segmenter,
            find_sources([address]),
            out=tmp_path,
            report=look,
            options=PredictOptions(video=VideoOptions(reconnect=0)),
        )
    assert found[0] > 24


@pytest.mark.slow
def test_memory_does_not_grow_with_a_stream(
    tmp_path: Path, segmenter: BrightnessSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = count_in_flight(monkeypatch, StreamReader, pause=0.01)
    stop = Event()
    with camera_server(frame_seconds=0) as address:
        predict(segmenter, find_sources([address]), out=tmp_path, report=after(60, stop), stop=stop)
    assert frames.written >= 60
    assert frames.most <= 3 * outputs.QUEUE_DEPTH + 4  # one each in the hands of reader, network, painter and encoder
