import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.helpers import MakeVideo, draw_image

from maskpencil.errors import VideoError
from maskpencil.images import write_image
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.reader import VideoReader, probe_video


def frames(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return [item for item in reader.read() if isinstance(item, Frame)]


def test_the_properties_of_a_video_are_read(make_video: MakeVideo) -> None:
    facts = probe_video(make_video(sound="aac"))
    assert facts.size == (48, 64)
    assert (facts.frames, facts.rate, facts.rotation, facts.has_sound) == (12, 12, 0, True)
    assert facts.duration == pytest.approx(1, abs=0.1)


def test_pixels_come_as_rgb(make_video: MakeVideo) -> None:
    first = frames(make_video())[0].pixels
    assert first.shape == (48, 64, 3)
    assert first.dtype == np.uint8
    assert first.flags.writeable
    assert np.abs(first.astype(int) - draw_image((48, 64))).mean() < 3


@pytest.mark.parametrize(
    ("stored", "shown", "bright"),
    [
        ((0, False), 0, (0, 0)),
        ((-90, False), 90, (0, 1)),  # as phones held upright store it
        ((90, False), 270, (1, 0)),
        ((180, False), 180, (1, 1)),
        ((0, True), 180, (0, 1)),  # mirrored, as some front cameras store it
        ((90, True), 270, (1, 1)),
    ],
)
def test_rotated_and_mirrored_videos_come_upright(
    make_video: MakeVideo, stored: tuple[float, bool], shown: int, bright: tuple[int, int]
) -> None:
    path = make_video(rotation=stored)
    facts = probe_video(path)
    first = frames(path)[0].pixels
    assert facts.rotation == shown
    assert first.shape[:2] == facts.size == ((64, 48) if shown in (90, 270) else (48, 64))
    height, width = facts.size
    quarters = first[: height // 2 * 2, : width // 2 * 2, 0].reshape(2, height // 2, 2, width // 2).mean(axis=(1, 3))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == bright


def test_the_pixel_aspect_turns_with_the_video(make_video: MakeVideo) -> None:
    wide = Fraction(4, 3)
    assert probe_video(make_video()).pixel_aspect == 1
    assert probe_video(make_video(pixel_aspect=wide)).pixel_aspect == wide
    assert probe_video(make_video(pixel_aspect=wide, rotation=(90, False))).pixel_aspect == 1 / wide


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mov", "mpeg4"), ("a.mpg", "mpeg2video")],
)
def test_common_formats_are_read_to_the_last_frame(make_video: MakeVideo, name: str, codec: str) -> None:
    path = make_video(name, codec=codec, time_base=Fraction(1, 24), pts=range(24))
    read = frames(path)
    assert len(read) == 24
    times = np.array([frame.pts for frame in read])
    assert times[0] == 0
    assert (np.diff(times) > 0).all()


def test_the_last_frames_come_also_where_the_sound_stands_first(make_video: MakeVideo) -> None:
    path = make_video(sound="aac", sound_first=True)
    with VideoReader(path) as reader:
        assert [item.pts for item in reader.read() if isinstance(item, Frame)] == [
            round(i / 12 / reader.time_base) for i in range(12)
        ]
        assert reader.damaged_from is None


def test_a_missing_an_empty_and_a_foreign_file_are_one_line(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://example.org/a.ts\n")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(make_video().read_bytes()[:800])  # the index, at the end, is gone
    for name, reason in [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "not a video"),
        ("list.mp4", "not a video"),
        ("cut.mp4", "cut short"),
    ]:
        with pytest.raises(VideoError, match=reason) as caught:
            probe_video(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_file_of_sound_only_holds_no_video(tmp_path: Path, make_video: MakeVideo) -> None:
    import av

    with av.open(str(make_video(sound="aac"))) as video, av.open(str(tmp_path / "voice.mp4"), "w") as voice:
        stream = voice.add_stream_from_template(video.streams.audio[0])
        for packet in video.demux(audio=0):
            if packet.size:
                packet.stream = stream
                voice.mux(packet)
    with pytest.raises(VideoError, match="no moving images"):
        probe_video(tmp_path / "voice.mp4")


def test_a_video_cut_in_the_middle_is_read_until_there(make_video: MakeVideo) -> None:
    path = make_video(pts=range(60), options={"movflags": "+faststart"}, size=(120, 160))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with VideoReader(path) as reader:
        read = sum(isinstance(item, Frame) for item in reader.read())
        assert 0 < read < 60
        assert reader.damaged_from is not None
        assert reader.damaged_from <= 5


def test_a_video_with_a_broken_stretch_is_read_around_it(make_video: MakeVideo) -> None:
    path = make_video("video.avi", codec="mjpeg", pixel_format="yuvj420p", pts=range(48))
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[starts[24] : starts[25] - 8] = bytes(starts[25] - 8 - starts[24])
    path.write_bytes(data)
    with VideoReader(path) as reader:
        read = [item for item in reader.read() if isinstance(item, Frame)]
        assert len(read) == 47
        assert reader.damaged_from == pytest.approx(2, abs=0.2)


def test_a_part_that_is_skipped_silently_is_noticed_by_its_gap(make_video: MakeVideo) -> None:
    path = make_video("video.mkv", pts=range(120), sound="aac", size=(120, 160))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) * 11 // 20] = bytes(i * 37 % 256 for i in range(len(data) // 20))
    path.write_bytes(data)
    with VideoReader(path) as reader:
        assert 60 < sum(isinstance(item, Frame) for item in reader.read()) < 120
        assert reader.damaged_from == pytest.approx(5, abs=1)


def test_a_whole_video_is_not_called_damaged(make_video: MakeVideo) -> None:
    for name, sound in [("a.mp4", "aac"), ("a.mkv", "aac"), ("a.ts", "aac"), ("b.mkv", None), ("b.mp4", None)]:
        with VideoReader(make_video(name, sound=sound, pts=range(48))) as reader:
            assert sum(isinstance(item, Frame) for item in reader.read()) == 48
            assert reader.damaged_from is None


def test_a_still_image_under_a_videos_name_is_a_video_of_one_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "still.png", draw_image((48, 64)))
    (tmp_path / "still.png").rename(tmp_path / "still.mp4")
    assert len(frames(tmp_path / "still.mp4")) == 1


@pytest.mark.slow
def test_frames_that_were_read_are_gone_at_once(make_video):
    """And do not wait, megabytes each, for the collector of cycles."""
    video = make_video(pts=range(40))
    gc.collect()
    gc.disable()
    try:
        with VideoReader(video) as reader:
            for _ in reader.read():
                pass
            held = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert held < 5
