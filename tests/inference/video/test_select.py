from fractions import Fraction
from pathlib import Path

import av
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo

from maskpencil.errors import VideoError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.video.frames import expected_frames
from maskpencil.inference.video.predict import predict_video

UNEVEN = [0, 33, 50, 120, 400, 433, 900, 940]  # thousandths


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as video:
        return [frame.pts * frame.time_base for frame in video.decode(video=0)]


def duration(path: Path) -> float:
    with av.open(str(path)) as video:
        return video.duration / av.time_base


def milliseconds(*values: int) -> list[Fraction]:
    return [Fraction(value, 1000) for value in values]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (VideoOptions(every=3), milliseconds(0, 120, 900)),
        (VideoOptions(every=100), milliseconds(0)),
        (VideoOptions(start=0.05), milliseconds(0, 70, 350, 383, 850, 890)),
        (VideoOptions(start=0.06), milliseconds(60, 340, 373, 840, 880)),
        (VideoOptions(end=0.4), milliseconds(0, 33, 50, 120)),
        (VideoOptions(start=0.1, end=0.91, every=2), milliseconds(20, 333)),
    ],
)
@pytest.mark.parametrize("name", ["video.mkv", "video.mp4"])
def test_selected_frames_keep_their_times(
    tmp_path: Path,
    segmenter: BrightnessSegmenter,
    make_video: MakeVideo,
    name: str,
    options: VideoOptions,
    expected: list[Fraction],
) -> None:
    source = make_video(name, pts=UNEVEN, time_base=Fraction(1, 1000), encoder={"bf": "0"})
    report = predict_video(segmenter, source, tmp_path / "out.mp4", options=PredictOptions(video=options))
    assert times(tmp_path / "out.mp4") == expected
    assert report.frames == len(segmenter.seen) == len(expected)
    assert report.warnings == ()


@pytest.mark.parametrize("every", [1, 2, 5])
def test_the_duration_is_that_of_the_video_or_of_the_stretch(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, every: int
) -> None:
    source = make_video("video.mp4", pts=range(24))
    predict_video(segmenter, source, tmp_path / "out.mp4", options=PredictOptions(video=VideoOptions(every=every)))
    assert duration(tmp_path / "out.mp4") == pytest.approx(duration(source), abs=0.001)
    predict_video(
        segmenter,
        source,
        tmp_path / "out.mp4",
        options=PredictOptions(video=VideoOptions(every=every, start=0.5, end=1.75)),
    )
    assert duration(tmp_path / "out.mp4") == pytest.approx(1.25, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("video.mp4", "libx264", "yuv420p"),
        ("video.mkv", "libx264", "yuv420p"),
        ("video.ts", "libx264", "yuv420p"),
        ("video.avi", "mpeg4", "yuv420p"),
        ("video.mpg", "mpeg2video", "yuv420p"),
        ("video.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_a_start_far_into_a_video_of_any_kind_is_exact(
    make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter, name: str, codec: str, pixel_format: str
) -> None:
    rate = {"pts": range(96), "time_base": Fraction(1, 24)}
    source = make_video(name, codec=codec, pixel_format=pixel_format, encoder={"g": "10"}, **rate)
    predict_video(segmenter, source, tmp_path / "whole.mp4")
    whole = [image.mean() for image in segmenter.seen]
    before = times(tmp_path / "whole.mp4")
    segmenter.seen.clear()
    predict_video(segmenter, source, tmp_path / "out.mp4", options=PredictOptions(video=VideoOptions(start=2.5)))
    taken = [time for time in before if time >= 2.5]
    assert [float(time) for time in times(tmp_path / "out.mp4")] == pytest.approx(
        [float(time) - 2.5 for time in taken], abs=0.002
    )
    assert [image.mean() for image in segmenter.seen] == pytest.approx(whole[-len(taken) :], abs=0.01)


def test_a_stretch_has_its_sound(tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo) -> None:
    source = make_video("video.mp4", pts=range(48), sound="aac")
    predict_video(segmenter, source, tmp_path / "out.mp4", options=PredictOptions(video=VideoOptions(start=1, end=3)))
    with av.open(str(tmp_path / "out.mp4")) as video:
        packets = [float(p.pts * p.time_base) for p in video.demux(audio=0) if p.size]
    assert packets[0] == pytest.approx(0, abs=0.022)
    assert packets[-1] == pytest.approx(2, abs=0.044)
    assert duration(tmp_path / "out.mp4") == pytest.approx(2, abs=0.03)


def test_a_start_after_the_end_is_refused_and_leaves_nothing(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    with pytest.raises(VideoError, match=r"has no frame from second 7, and it is 1\.0 s long"):
        predict_video(
            segmenter, make_video(), tmp_path / "out/video.mp4", options=PredictOptions(video=VideoOptions(start=7))
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_the_number_of_frames_is_estimated() -> None:
    assert expected_frames(VideoOptions(), 100, 4.0) == 100
    assert expected_frames(VideoOptions(every=3), 100, 4.0) == 34
    assert expected_frames(VideoOptions(start=1, end=3, every=10), 100, 4.0) == 5
    assert expected_frames(VideoOptions(), None, 4.0) is None
    assert expected_frames(VideoOptions(start=9), 100, 4.0) == 1
