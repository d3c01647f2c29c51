import os
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo, draw_image

from maskpencil.errors import ConfigError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video import outputs
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.reader import probe_video
from maskpencil.inference.video.writers import RawFrames

from .servers import camera_server


class Viewer:
    """A substitute for a window that is closed after some images."""

    def __init__(self, patience: int) -> None:
        self.patience, self.shown, self.threads = patience, 0, set[threading.Thread]()

    def __call__(self, _: str) -> "Viewer":
        return self

    @property
    def is_closed(self) -> bool:
        return self.shown >= self.patience

    def offer(self, _: np.ndarray) -> None:
        self.shown += 1

    def refresh(self) -> None:
        self.threads.add(threading.current_thread())

    def close(self) -> None:
        pass


def test_raw_frames_arrive_whole_and_in_order() -> None:
    reading, writing = os.pipe()
    taken = bytearray()

    def take() -> None:
        while data := os.read(reading, 1000):
            taken.extend(data)

    thread = threading.Thread(target=take)
    thread.start()
    pages = [draw_image((200, 300), i) for i in range(3)]
    raw = RawFrames(writing)
    os.close(writing)
    for page in pages:
        raw.write(page)
    raw.close()
    thread.join()
    os.close(reading)
    assert bytes(taken) == b"".join(page.tobytes() for page in pages)


def test_a_reader_that_leaves_is_noticed_and_no_error() -> None:
    reading, writing = os.pipe()
    raw = RawFrames(writing)
    os.close(writing)
    os.close(reading)
    raw.write(draw_image((48, 64)))
    assert raw.is_closed
    raw.close()


def test_standard_output_gets_the_overlays_without_legend_and_a_line_states_their_size(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    reported: list[str] = []
    options = VideoOptions(stdout=True)
    report = predict(
        segmenter,
        find_sources([make_video()]),
        out=tmp_path / "out",
        tell=reported.append,
        options=PredictOptions(overlays=False, video=options),
    )
    raw = capfdbinary.readouterr().out
    predict_video(segmenter, make_video(), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    (line,) = reported
    height, width = probe_video(make_video()).size
    left = (frames[0].shape[1] - width) // 2  # the legend is wider than the video
    pages = np.frombuffer(raw, dtype=np.uint8).reshape(12, height, width, 3)
    assert report.frames == 12
    assert left > 0
    assert np.abs(pages.astype(int) - [frame[:height, left : left + width] for frame in frames]).mean() < 5
    assert f"standard output: {width}x{height} (width x height)" in line
    assert "rgb24" in line
    assert not (tmp_path / "out").exists()


def test_standard_output_takes_one_video(tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo) -> None:
    videos = find_sources([make_video("a.mp4"), make_video("b.mp4")])
    with pytest.raises(ConfigError, match="writes the frames of one video, but got 2"):
        predict(segmenter, videos, out=tmp_path / "out", options=PredictOptions(video=VideoOptions(stdout=True)))


@pytest.mark.slow
def test_a_reader_that_leaves_ends_a_video_that_is_written_nowhere_else(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(pts=range(500), size=(24, 32))
    program = (
        "from maskpencil.inference.options import PredictOptions, VideoOptions\n"
        "from maskpencil.inference.video.predict import predict_video\n"
        "from tests.helpers import BrightnessSegmenter\n"
        "options = PredictOptions(video=VideoOptions(stdout=True))\n"
        "report = predict_video(BrightnessSegmenter(), 'video.mp4', None, options=options)\n"
        "import sys; print(report.frames, file=sys.stderr)\n"
    )
    root = Path(__file__).parents[3]
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started.stdout.read(1000)
    started.stdout.close()
    reported = started.stderr.read().decode()
    started.stderr.close()
    assert started.wait() == 0
    assert int(reported) < 500


def test_a_window_is_refreshed_from_the_main_thread(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = Viewer(patience=1000)
    monkeypatch.setattr(outputs, "Window", viewer)
    predict_video(segmenter, make_video(), tmp_path / "out.mp4", options=PredictOptions(video=VideoOptions(show=True)))
    assert viewer.shown == 12
    assert viewer.threads == {threading.main_thread()}


def test_a_viewer_who_leaves_ends_a_camera_and_no_video_that_is_written(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = VideoOptions(show=True)
    monkeypatch.setattr(outputs, "Window", Viewer(patience=3))
    assert (
        predict_video(segmenter, make_video(), tmp_path / "out.mp4", options=PredictOptions(video=options)).frames == 12
    )
    monkeypatch.setattr(outputs, "Window", Viewer(patience=3))
    long = make_video("long.mp4", pts=range(200), size=(24, 32))
    assert predict_video(segmenter, long, None, options=PredictOptions(video=options)).frames < 200
    monkeypatch.setattr(outputs, "Window", Viewer(patience=3))
    with camera_server() as address:
        report = predict_video(
            segmenter, find_sources([address])[0], tmp_path / "live.mp4", options=PredictOptions(video=options)
        )
    with av.open(str(tmp_path / "live.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == report.frames >= 3


def test_no_screen_leaves_nothing(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("these have a screen of another kind")
    with pytest.raises(ConfigError, match="--show needs"):
        predict(
            segmenter,
            find_sources([make_video()]),
            out=tmp_path / "out",
            options=PredictOptions(video=VideoOptions(show=True)),
        )
    assert not list(tmp_path.glob("out/**/*.mp4"))
