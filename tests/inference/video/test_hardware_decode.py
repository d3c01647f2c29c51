from pathlib import Path

import av
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo

from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.video import opening, predict
from maskpencil.inference.video.opening import find_decoder
from maskpencil.inference.video.predict import predict_video


class NoDevice:
    def __init__(self, *_: object, **__: object) -> None:
        pass

    def create(self, *_: object) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")


def test_a_device_that_is_known_but_not_there_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "hwdevices_available", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(opening, "HWAccel", NoDevice)
    assert find_decoder() is None


def test_the_first_device_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "hwdevices_available", lambda: ["vaapi", "opencl", "qsv"])
    monkeypatch.setattr(opening, "_works", lambda device: device != "vaapi")
    assert find_decoder() == "qsv"


def test_without_a_device_videos_are_decoded_in_software_with_a_line_that_says_so(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "find_decoder", lambda: None)
    reported: list[str] = []
    report = predict_video(
        segmenter,
        make_video(),
        tmp_path / "out.mp4",
        tell=reported.append,
        options=PredictOptions(video=VideoOptions(hardware_decode=True)),
    )
    assert report.frames == 12
    (line,) = reported
    assert line.startswith("videos are decoded in software: no hardware decoder")
