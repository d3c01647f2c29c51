"""`maskpencil predict` on streams and cameras: signals, standard output, final messages."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from tests.helpers import BrightnessSegmenter
from tests.inference.video.servers import camera_server

from maskpencil.cli import main
from maskpencil.signals import stopped_by_signals


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    import maskpencil.segmenter

    segmenter = BrightnessSegmenter()
    segmenter.title = "nothing"
    segmenter.limit, segmenter.has_blended = lambda **_: None, False
    monkeypatch.setattr(maskpencil.segmenter, "Segmenter", SimpleNamespace(from_pretrained=lambda *_, **__: segmenter))
    return segmenter


def signal_after(frames, segmenter, number):
    def wait_and_signal():
        while len(segmenter.seen) < frames:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait_and_signal)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to itself")
@pytest.mark.parametrize(("number", "ended"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_camera_and_completes_its_video(number, ended, tmp_path, capsys, no_network):
    before = signal.getsignal(number)
    with camera_server() as address:
        thread = signal_after(11, no_network, number)  # the last of them may be dropped
        code = main(["predict", "MODEL", address, "--out", str(tmp_path / "out")])
        thread.join()
    assert code == ended
    shown = capsys.readouterr()
    assert shown.out.startswith("1 video done at ")
    assert "finishing the current step; interrupt again to stop at once" in shown.err
    with av.open(str(tmp_path / "out/overlays/camera.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 10
    assert signal.getsignal(number) is before


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to itself")
def test_the_second_signal_stops_at_once():
    reported = []
    with stopped_by_signals(reported.append) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(reported) == 1


def test_results_are_named_after_the_stream_and_not_after_its_keys(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with camera_server() as address:
        assert main(["predict", "MODEL", f"{address}?key=secret", "--end", "0.2"]) == 0
    shown = capsys.readouterr()
    assert "runs/predict/camera" in shown.out.replace(os.sep, "/")
    assert (tmp_path / "runs/predict/camera/overlays/camera.mp4").is_file()
    assert "secret" not in shown.out + shown.err


def test_standard_output_holds_frames_and_nothing_else(tmp_path, capfdbinary, make_video, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "MODEL", str(make_video()), "--stdout", "--no-overlays", "--every", "4"]) == 0
    shown = capfdbinary.readouterr()
    width, height = (int(side) for side in shown.err.decode().split("standard output: ")[1].split(" ")[0].split("x"))
    assert len(shown.out) == 3 * width * height * 3
    assert "1 video done at" in shown.err.decode()
    assert not Path("runs").exists()


def test_a_stretch_and_its_masks(tmp_path, make_video):
    words = ["--start", "0:00:00.5", "--end", "0.75", "--masks", "png", "--no-overlays", "--out", str(tmp_path / "out")]
    assert main(["predict", "MODEL", str(make_video()), *words]) == 0
    assert sorted(path.name for path in (tmp_path / "out/masks/video").iterdir()) == [
        *("000001.png", "000002.png", "000003.png"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--start", "soon"], "--start must be a time such as 90, 90s, 1m30s, 1h30m or 1:30, but got 'soon'"),
        (["--every", "0"], "every must be 1"),
        (["--smooth", "2"], "smooth must be from 0 (off) to below 1, but got 2"),
        (["--smooth", "0.5"], "smoothing needs the probabilities"),
        (["--start", "3", "--end", "2"], "end must be after start"),
        (["--no-overlays"], "no result of the video is requested"),
    ],
)
def test_settings_that_cannot_work_are_one_line_and_code_2(words, message, tmp_path, make_video, capsys):
    assert main(["predict", "MODEL", str(make_video()), "--out", str(tmp_path / "out"), *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1


def test_a_stream_that_does_not_answer_is_one_line_and_code_1(tmp_path, capsys):
    address = "rtsp://user:secret@127.0.0.1:9/live"
    assert main(["predict", "MODEL", address, "--out", str(tmp_path / "out")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: rtsp://127.0.0.1:9/live: cannot be opened (connection refused)")
