import re
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, InPairs, MakeVideo, count_in_flight

from maskpencil.classes import ClassSet
from maskpencil.errors import OutputError, VideoError
from maskpencil.inference.options import PredictOptions
from maskpencil.inference.video import outputs
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.reader import VideoReader


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as video:
        return [frame.pts * frame.time_base for frame in video.decode(video=0)]


def first_frame(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return next(item for item in reader.read() if isinstance(item, Frame)).pixels


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as video:
        return [(float(p.pts * p.time_base), bytes(p)) for p in video.demux(audio=0) if p.size]


def test_every_frame_is_colored_and_a_legend_stands_below(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    report = predict_video(
        segmenter, make_video(size=(120, 320)), tmp_path / "out.mp4", options=PredictOptions(opacity=1)
    )
    assert (report.frames, report.warnings) == (12, ())
    assert len(segmenter.seen) == 12
    frame = first_frame(tmp_path / "out.mp4").astype(int)
    assert frame.shape[0] > 120
    assert frame.shape[1] == 320
    assert np.abs(frame[:56, :150] - (200, 0, 0)).max() < 12
    assert np.abs(frame[64:116, 8:312] - (0, 0, 200)).max() < 12
    assert np.median(frame[124:], axis=(0, 1)).min() > 240


def test_uneven_frame_times_and_the_duration_are_kept(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.mkv", pts=[0, 33, 50, 120, 400, 433, 900], time_base=Fraction(1, 1000))
    predict_video(segmenter, source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(source)
    pts = [0, 1000, 1001, 5000, 9000]
    source = make_video("video.mp4", pts=pts, time_base=Fraction(1, 9000), encoder={"bf": "0"})
    predict_video(segmenter, source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(source) == [Fraction(time, 9000) for time in pts]
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.duration == before.duration


@pytest.mark.parametrize(
    ("name", "sound"),
    [("a.mp4", "aac"), ("a.mkv", "libmp3lame"), ("a.mkv", "ac3"), ("a.mkv", "libopus"), ("a.mkv", "aac")],
)
def test_sound_is_copied_packet_by_packet(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, name: str, sound: str
) -> None:
    source = make_video(name, sound=sound)
    report = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert report.warnings == ()
    before, after = sound_packets(source), sound_packets(tmp_path / "out.mp4")
    assert [data for _, data in after] == [data for _, data in before]
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=0.003)


def test_a_transport_stream_starts_at_zero_and_keeps_its_sound(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.ts", sound="aac")
    with av.open(str(source)) as video:
        start = video.start_time / av.time_base
    assert start > 0.1
    predict_video(segmenter, source, tmp_path / "out.mp4")
    shifted = [float(time) - start for time in times(source)]
    assert [float(time) for time in times(tmp_path / "out.mp4")] == pytest.approx(shifted, abs=0.001)
    assert len(sound_packets(tmp_path / "out.mp4")) == len(sound_packets(source))


def test_sound_that_mp4_cannot_hold_is_left_out_and_reported(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    report = predict_video(segmenter, make_video("video.avi", codec="mpeg4", sound="pcm_s16le"), tmp_path / "out.mp4")
    (warning,) = report.warnings
    assert "pcm_s16le" in warning
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert not video.streams.audio


def test_sound_of_an_unknown_kind_is_left_out_and_reported(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.webm", codec="libvpx", sound="libopus")
    source.write_bytes(source.read_bytes().replace(b"A_OPUS", b"A_WHAT"))
    report = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert report.frames == 12
    (warning,) = report.warnings
    assert "unknown" in warning


def test_damaged_packets_of_sound_are_left_out_and_reported(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.ts", sound="aac")
    whole = len(sound_packets(source))
    data = source.read_bytes()
    headers = [i for i in range(len(data) // 2, len(data)) if data[i : i + 2] == b"\xff\xf1"]
    broken = bytearray(data)
    broken[headers[0] + 2] = 0xFF  # a rate and a layout that do not exist
    source.write_bytes(broken)
    report = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert 0 < len(sound_packets(tmp_path / "out.mp4")) < whole
    assert report.frames == 12
    assert "damaged" in report.warnings[0]


def test_sound_whose_header_is_damaged_ends_the_video_with_its_reason(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.webm", codec="libvpx", sound="libopus")
    source.write_bytes(source.read_bytes().replace(b"\x63\xa2\x93OpusHead", b"\x63\xa3\x93OpusHead"))
    with pytest.raises(VideoError, match="sound is too damaged"):
        predict_video(segmenter, source, tmp_path / "out/video.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_rotated_video_is_predicted_and_written_upright(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    predict_video(
        segmenter,
        make_video(rotation=(-90, False), size=(120, 320)),
        tmp_path / "out.mp4",
        options=PredictOptions(opacity=1),
    )
    assert segmenter.seen[0].shape == (320, 120, 3)
    with av.open(str(tmp_path / "out.mp4")) as video:
        frame = next(video.decode(video=0))
        assert frame.rotation == 0
        pixels = frame.to_ndarray(format="rgb24").astype(int)
    left = (240 - 120) // 2  # the legend is wider than the image
    assert np.abs(pixels[4:156, left + 64 : left + 116] - (200, 0, 0)).max() < 12
    assert np.abs(pixels[4:156, left + 4 : left + 56] - (0, 0, 200)).max() < 12


def test_odd_sizes_and_a_single_frame_work(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.avi", codec="mjpeg", pixel_format="yuvj420p", size=(47, 301), pts=[0])
    assert predict_video(segmenter, source, tmp_path / "out.mp4").frames == 1
    assert segmenter.seen[0].shape == (47, 301, 3)
    height, width, _ = first_frame(tmp_path / "out.mp4").shape
    assert (height % 2, width) == (0, 302)


def test_very_many_classes_leave_the_legend_out(tmp_path: Path, make_video: MakeVideo) -> None:
    segmenter = BrightnessSegmenter()
    segmenter.classes = ClassSet(tuple(f"class {i}" for i in range(40)))
    predict_video(segmenter, make_video(), tmp_path / "out.mp4")
    assert first_frame(tmp_path / "out.mp4").shape == (48, 64, 3)


def test_a_video_cut_short_is_written_as_far_as_it_goes_and_reported(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video(pts=range(60), options={"movflags": "+faststart"}, size=(120, 160))
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    report = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert len(times(tmp_path / "out.mp4")) == report.frames > 0
    (warning,) = report.warnings
    assert "from second" in warning


def test_progress_has_the_frame_and_the_number_of_frames(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    reported: list[tuple[int, int | None]] = []
    predict_video(segmenter, make_video(), tmp_path / "out.mp4", on_frame=lambda *numbers: reported.append(numbers))
    assert reported == [(i, 12) for i in range(1, 13)]


def test_memory_does_not_grow_with_the_video(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = count_in_flight(monkeypatch, VideoReader)
    predict_video(segmenter, make_video(pts=range(100)), tmp_path / "out.mp4")
    assert frames.decoded == frames.written == 100
    assert frames.most <= 3 * outputs.QUEUE_DEPTH + 4  # one each in the hands of reader, network, painter and encoder


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_no_file_and_no_thread(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, error: type[BaseException]
) -> None:
    def stop(frame: int, _: int | None) -> None:
        if frame == 6:
            raise error

    with pytest.raises(error):
        predict_video(segmenter, make_video(sound="aac"), tmp_path / "out/video.mp4", on_frame=stop)
    assert list((tmp_path / "out").iterdir()) == []
    assert [t.name for t in threading.enumerate() if t.name.startswith(("read-ahead", "write-behind"))] == []


def test_a_file_that_is_no_video_leaves_nothing(tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match="not a video"):
        predict_video(segmenter, tmp_path / "text.mp4", tmp_path / "out/video.mp4")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="cannot be written"):
        predict_video(segmenter, make_video(), tmp_path / "out/video.mp4")


def test_names_that_look_like_addresses_are_files(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video().rename(tmp_path / "http:a%03d.mp4")
    monkeypatch.chdir(tmp_path)
    assert predict_video(segmenter, "http:a%03d.mp4", "out:%d.mp4").frames == 12
    assert (tmp_path / "out:%d.mp4").is_file()


def test_frames_side_by_side_give_the_same_in_the_same_order(tmp_path, segmenter, make_video):
    source, in_pairs = make_video(sound="aac"), InPairs()
    report = predict_video(in_pairs, source, tmp_path / "two.mp4")
    assert report.frames == 12
    predict_video(segmenter, source, tmp_path / "one.mp4")
    assert times(tmp_path / "two.mp4") == times(source)
    assert sound_packets(tmp_path / "two.mp4") == sound_packets(source)
    with av.open(str(tmp_path / "one.mp4")) as one, av.open(str(tmp_path / "two.mp4")) as two:
        for ours, theirs in zip(one.decode(video=0), two.decode(video=0), strict=True):
            np.testing.assert_array_equal(ours.to_ndarray(format="rgb24"), theirs.to_ndarray(format="rgb24"))


def test_sound_without_a_rate_is_left_out_and_reported(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    source = make_video("video.mpg", codec="mpeg1video", sound="mp2", time_base=Fraction(1, 25))
    damaged = re.sub(rb"\xff[\xfc\xfd]", b"\0\0", source.read_bytes())
    source.write_bytes(damaged)
    report = predict_video(segmenter, source, tmp_path / "out.mp4")
    assert report.frames > 5
    assert [line for line in report.warnings if "the sound is damaged and was left out" in line]
