from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.helpers import draw_image

from maskpencil.errors import VideoError
from maskpencil.images import RGBImage
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.reader import VideoReader, probe_video
from maskpencil.inference.video.writers import write_video


def test_frames_become_a_video_that_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "deep/video.mp4"
    write_video(path, [draw_image((48, 64), i) for i in range(10)], frame_rate=25)
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (10, 25)
        assert video.duration == 400_000
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (250, 250, 250)])
def test_colors_survive(tmp_path: Path, color: tuple[int, int, int]) -> None:
    write_video(tmp_path / "video.mp4", [np.full((48, 64, 3), color, dtype=np.uint8)], frame_rate=25)
    with VideoReader(tmp_path / "video.mp4") as reader:
        frame = next(item for item in reader.read() if isinstance(item, Frame))
    assert np.abs(frame.pixels.astype(int) - color).max() <= 4


def test_odd_sizes_are_padded_with_paper(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4", [np.zeros((47, 63, 3), np.uint8)], frame_rate=25)
    with VideoReader(tmp_path / "video.mp4") as reader:
        frame = next(item for item in reader.read() if isinstance(item, Frame))
    assert frame.pixels.shape == (48, 64, 3)
    assert frame.pixels[:40, :56].max() < 20
    assert frame.pixels[47, 63].min() > 200


def test_the_rate_of_american_television_is_kept(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4", [draw_image((48, 64))] * 3, frame_rate=29.97)
    assert float(probe_video(tmp_path / "video.mp4").rate) == pytest.approx(29.97)
    write_video(tmp_path / "video.mp4", [draw_image((48, 64))] * 3, frame_rate=Fraction(30000, 1001))
    assert probe_video(tmp_path / "video.mp4").rate == Fraction(30000, 1001)


def test_frames_are_taken_one_by_one(tmp_path: Path) -> None:
    alive = 0
    most = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is not None and self.shape == (48, 64, 3)

    def frames() -> Iterator[RGBImage]:
        nonlocal alive, most
        for i in range(50):
            frame = draw_image((48, 64), i).view(Counted)
            alive += 1
            most = max(most, alive)
            yield frame

    write_video(tmp_path / "video.mp4", frames(), frame_rate=25)
    assert most <= 4


def test_no_frames_and_frames_of_two_sizes_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="at least one frame"):
        write_video(tmp_path / "video.mp4", [], frame_rate=25)
    with pytest.raises(VideoError, match="frame 2 is"):
        write_video(tmp_path / "video.mp4", [draw_image((48, 64)), draw_image((64, 64))], frame_rate=25)
    assert list(tmp_path.iterdir()) == []
