from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.helpers import BrightnessSegmenter, MakeVideo

from maskpencil.errors import ConfigError, OutputError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.reader import VideoReader
from maskpencil.inference.video.writers import MaskVideo
from maskpencil.label_maps import read_label_map


def label_maps_of(video: Path) -> list[np.ndarray]:
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def times(video: Path) -> list[float]:
    with av.open(str(video)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize("is_live", [False, True])
def test_every_class_number_comes_back_exactly(tmp_path: Path, is_live: bool) -> None:
    numbers = np.random.default_rng(0)
    label_maps = [numbers.integers(0, 256, (47, 63), dtype=np.uint8) for _ in range(8)]
    pts = [0, 10, 11, 500, 501, 900, 2000, 2001]
    with MaskVideo(
        tmp_path / "a.mkv", size=(47, 63), frame_rate=Fraction(25), time_base=Fraction(1, 1000), is_live=is_live
    ) as masks:
        for label_map, time in zip(label_maps, pts, strict=True):
            masks.write(label_map, pts=time, duration=1)
    for before, after in zip(label_maps, label_maps_of(tmp_path / "a.mkv"), strict=True):
        np.testing.assert_array_equal(before, after)
    assert times(tmp_path / "a.mkv") == [time / 1000 for time in pts]
    with av.open(str(tmp_path / "a.mkv")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray")


def expected(video: Path) -> list[np.ndarray]:
    with VideoReader(video) as reader:
        frames = [item.pixels for item in reader.read() if isinstance(item, Frame)]
    return [prediction.label_map for prediction in BrightnessSegmenter().predict_batch(frames)]


def test_masks_of_a_video_as_video_have_its_frames_and_times(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = make_video(pts=[0, 40, 55, 300, 320], time_base=Fraction(1, 1000), encoder={"bf": "0"})
    report = predict(
        segmenter,
        find_sources([video]),
        out=tmp_path / "out",
        options=PredictOptions(video=VideoOptions(masks="video")),
    )
    assert (report.videos, report.frames) == (1, 5)
    read = label_maps_of(tmp_path / "out/masks/video.mkv")
    for before, after in zip(expected(video), read, strict=True):
        np.testing.assert_array_equal(before, after)
    assert times(tmp_path / "out/masks/video.mkv") == times(tmp_path / "out/overlays/video.mp4") == times(video)


def test_masks_of_a_video_as_images_are_palette_pngs(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    video = make_video()
    options = VideoOptions(masks="png", every=5)
    predict(
        segmenter, find_sources([video]), out=tmp_path / "out", options=PredictOptions(overlays=False, video=options)
    )
    folder = tmp_path / "out/masks/video"
    assert sorted(path.name for path in folder.iterdir()) == ["000001.png", "000002.png", "000003.png"]
    for label_map, path in zip(expected(video)[::5], sorted(folder.iterdir()), strict=True):
        np.testing.assert_array_equal(read_label_map(path), label_map)
    with Image.open(folder / "000001.png") as mask:
        assert (mask.mode, mask.getpalette("RGB")[:6]) == ("P", [0, 0, 200, 200, 0, 0])
    assert not (tmp_path / "out/overlays").exists()


def test_frames_of_two_videos_are_not_mixed(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    (tmp_path / "out/masks/video").mkdir(parents=True)
    (tmp_path / "out/masks/video/000009.png").touch()
    with pytest.raises(OutputError, match=r"000009\.png: was not written by an earlier run"):
        predict(
            segmenter,
            find_sources([make_video()]),
            out=tmp_path / "out",
            options=PredictOptions(video=VideoOptions(masks="png")),
        )
    assert [path.name for path in tmp_path.glob("out/**/*") if path.is_file()] == ["000009.png"]


def test_a_video_without_any_result_is_refused(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    with pytest.raises(ConfigError, match="turn them on, or add --masks video"):
        predict(segmenter, find_sources([make_video()]), out=tmp_path / "out", options=PredictOptions(overlays=False))
