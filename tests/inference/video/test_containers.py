"""Truncated files of every container are reported, and complete ones are not."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo

from maskpencil.errors import VideoError
from maskpencil.inference.video.containers import read_structure
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.reader import VideoReader

KINDS = {
    "fast.mp4": {"options": {"movflags": "+faststart"}},
    "fragments.mp4": {"options": {"movflags": "+frag_keyframe+empty_moov"}, "encoder": {"g": "12"}},
    "sound.mp4": {"options": {"movflags": "+faststart"}, "sound": "aac"},
    "a.mkv": {},
    "sound.mkv": {"sound": "aac"},
    "live.mkv": {"options": {"live": "1"}},
    "a.webm": {"codec": "libvpx-vp9"},
    "a.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "a.wmv": {"codec": "wmv2"},
    "a.ts": {"sound": "aac"},
}
AT_THE_END = {"last.mp4": {}, "last.mov": {"codec": "mpeg4"}}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_cut_file_of_any_kind_is_reported_like_a_cut_mp4(
    make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter, name: str
) -> None:
    path = make_video(name, pts=range(48), size=(96, 128), **KINDS[name])
    assert predict_video(segmenter, path, tmp_path / "whole.mp4").warnings == ()
    data = path.read_bytes()
    for share in (0.97, 0.75):
        path.write_bytes(data[: int(len(data) * share) // 2 * 2 - 3])
        report = predict_video(segmenter, path, tmp_path / "out.mp4")
        (warning,) = [line for line in report.warnings if "damaged or cut short from second" in line]
        assert "the file is shorter than it states" in warning
        assert 10 < report.frames <= 48


@pytest.mark.parametrize("name", AT_THE_END)
def test_a_file_cut_before_its_index_is_refused_as_cut_short(make_video: MakeVideo, name: str) -> None:
    path = make_video(name, pts=range(48), **AT_THE_END[name])
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 20])
    with pytest.raises(VideoError, match=r"is cut short, and the missing part contains the index"):
        VideoReader(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*KINDS, *AT_THE_END])
def test_a_cut_anywhere_is_seen_and_the_whole_file_is_whole(make_video: MakeVideo, name: str) -> None:
    random = np.random.default_rng(0)
    path = make_video(name, pts=range(24), noise=random, **{**KINDS, **AT_THE_END}[name])
    data = path.read_bytes()
    assert not read_structure(path).is_cut
    seen = 0
    lengths = np.linspace(len(data) // 2, len(data) - 1, 60).astype(int)
    for length in lengths:
        path.write_bytes(data[:length])
        seen += read_structure(path).is_cut
    assert seen >= len(lengths) - 3  # a cut between two boxes or packets looks like an end


def test_a_cameras_own_data_behind_the_end_are_no_cut(make_video: MakeVideo) -> None:
    path = make_video()
    path.write_bytes(path.read_bytes() + b"\x7f\xff\xff\xffTRAILER of a camera" * 3)
    assert not read_structure(path).is_cut


def test_headers_that_go_on_for_ever_are_left(tmp_path: Path) -> None:
    for number, data in enumerate(
        [
            b"\0\0\0\x08free" + b"\0\0\0\x01free\0\0\0\0\0\0\0\0" * 9,  # a box of 64 bits that is 0 long
            b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * 50,
            b"\x1a\x45\xdf\xa3\x80" + bytes(50),
            b"RIFF\x04\0\0\0AVI " + b"RIFF\0\0\0\0" * 9,
            b"\0\0\0\x00ftypisom" + bytes(50),
        ]
    ):
        path = tmp_path / str(number)
        path.write_bytes(data)
        assert not read_structure(path).is_cut


def test_two_mp4_in_one_file_are_noted(make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    one, two = make_video("one.mp4"), make_video("two.mp4", size=(96, 128))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    report = predict_video(segmenter, one, tmp_path / "out.mp4")
    assert report.frames == 12
    (warning,) = report.warnings
    assert "the file contains a second video after the first, which was not read" in warning


@pytest.mark.parametrize(("name", "codec", "sound"), [("a.ts", "libx264", "aac"), ("a.webm", "libvpx-vp9", None)])
def test_joined_videos_of_two_sizes_are_reported(
    make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter, name: str, codec: str, sound: str | None
) -> None:
    one = make_video(f"one-{name}", codec=codec, sound=sound, pts=range(24))
    two = make_video(f"two-{name}", codec=codec, sound=sound, pts=range(24), size=(96, 128))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    report = predict_video(segmenter, one, tmp_path / "out.mp4")
    joined, resized = report.warnings
    assert "its time stamps start again at second 2.0, as where videos were joined" in joined
    assert "changes its size from 64x48 to 128x96 (width x height) at second 2.0" in resized
    assert report.frames == 48
    with VideoReader(tmp_path / "out.mp4") as reader:
        times = [float(item.pts * reader.time_base) for item in reader.stored() if not hasattr(item, "stream")]
    assert np.diff(times) == pytest.approx([1 / 12] * 47, abs=0.06)
    assert times[-1] == pytest.approx(47 / 12, abs=0.06)


def test_a_size_that_changes_within_a_stream_is_reported_with_its_second(
    make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter
) -> None:
    one = make_video("one.avi", codec="mjpeg", pixel_format="yuvj420p", pts=range(24))
    two = make_video("two.avi", codec="mjpeg", pixel_format="yuvj420p", pts=range(24), size=(96, 128))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    report = predict_video(segmenter, one, tmp_path / "out.mp4")
    (warning,) = report.warnings
    assert "changes its size from 64x48 to 128x96 (width x height) at second 2.0" in warning
    assert {image.shape for image in segmenter.seen} == {(48, 64, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a.mp4", {}),
        ("b.mp4", {"encoder": {"bf": "3", "b-pyramid": "normal", "g": "8", "x264-params": "open-gop=1"}}),
        ("c.mp4", {"encoder": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}}),
        ("d.mkv", {"encoder": {"slices": "4"}}),
        ("e.ts", {"encoder": {"flags": "+ildct+ilme", "x264-params": "interlaced=1"}, "sound": "aac"}),
        ("f.mp4", {"codec": "libx265", "encoder": {"x265-params": "log-level=none:open-gop=1"}}),
        ("g.webm", {"codec": "libvpx"}),
        ("h.mkv", {"codec": "libvpx-vp9", "encoder": {"auto-alt-ref": "1", "lag-in-frames": "8"}}),
        ("i.avi", {"codec": "mpeg4", "encoder": {"bf": "2"}}),
        ("j.mpg", {"codec": "mpeg2video", "time_base": Fraction(1, 24), "encoder": {"bf": "2"}}),
        ("k.mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
        ("l.mkv", {"codec": "ffv1", "encoder": {"level": "3", "slicecrc": "1"}}),
        ("m.wmv", {"codec": "wmv2"}),
    ],
)
@pytest.mark.parametrize("start", [0.0, pytest.param(1.6, marks=pytest.mark.slow)])
def test_a_whole_video_of_any_codec_never_warns(
    make_video: MakeVideo, name: str, made: dict[str, object], start: float
) -> None:
    path = make_video(name, pts=range(48), size=(96, 128), **made)
    with VideoReader(path) as reader:
        reader.seek(start)
        frames = sum(not hasattr(item, "stream") for item in reader.stored())
        assert frames >= (47 if start == 0 else 20)
        assert (reader.damaged_from, reader.damaged_frames, reader.joints) == (None, 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.avi", "d.mpg", "e.wmv"])
def test_flipped_bytes_are_counted_and_warned_of(
    make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter, name: str
) -> None:
    codec = {"avi": "mpeg4", "mpg": "mpeg2video", "wmv": "wmv2"}.get(name.split(".")[1], "libx264")
    random = np.random.default_rng(0)
    path = make_video(name, codec=codec, pts=range(48), size=(240, 320), time_base=Fraction(1, 24), noise=random)
    data = bytearray(path.read_bytes())
    for place in random.integers(len(data) // 4, len(data) * 3 // 4, size=20):
        data[place] ^= int(random.integers(1, 256))
    path.write_bytes(data)
    report = predict_video(segmenter, path, tmp_path / "out.mp4")
    (warning,) = [line for line in report.warnings if "damaged or cut short from second" in line]
    assert "damaged frame" in warning
    assert report.frames > 3


def test_an_interlaced_video_is_a_note(make_video: MakeVideo, tmp_path: Path, segmenter: BrightnessSegmenter) -> None:
    path = make_video("a.mp4", encoder={"flags": "+ildct+ilme", "x264-params": "interlaced=1"})
    report = predict_video(segmenter, path, tmp_path / "out.mp4")
    (note,) = report.notes
    assert "is interlaced" in note
    assert report.warnings == ()


def test_an_attached_cover_is_no_video(make_video: MakeVideo, tmp_path: Path) -> None:
    import av

    with av.open(str(make_video(sound="aac"))) as video, av.open(str(tmp_path / "song.mp4"), "w") as song:
        voice = song.add_stream_from_template(video.streams.audio[0])
        cover = song.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        song.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        for packet in video.demux(audio=0):
            if packet.size:
                packet.stream = voice
                song.mux(packet)
    with pytest.raises(VideoError, match="no moving images"):
        VideoReader(tmp_path / "song.mp4")
