import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.helpers import BrightnessSegmenter, MakeVideo

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, OutputError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video import writers
from maskpencil.inference.video.frames import Frame
from maskpencil.inference.video.reader import VideoReader
from maskpencil.inference.video.writers import MaskVideo, RegionLines
from maskpencil.label_maps import read_label_map
from maskpencil.prediction import Prediction


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


def test_regions_become_one_line_a_frame(tmp_path: Path) -> None:
    label_map = np.zeros((4, 6), np.uint8)
    label_map[1:3, 1:3] = 1
    prediction = Prediction(np.zeros((4, 6, 3), np.uint8), label_map, None, ClassSet(("ground", "box")))
    with RegionLines(tmp_path / "regions", time_base=Fraction(1, 12), min_area=5) as writer:
        writer.write(prediction, pts=0)
        writer.write(prediction, pts=6)
    first, second = map(json.loads, (tmp_path / "regions").read_text().splitlines())
    assert (first["frame"], first["time"], second["frame"], second["time"]) == (1, 0.0, 2, 0.5)
    assert first["regions"] == second["regions"]
    (ground,) = first["regions"]
    assert (ground["class"], ground["area"], first["min_area"]) == ("ground", 20, 5)
    assert len(ground["polygons"][0]) == 2  # the outer ring and a hole


def test_of_too_many_regions_the_largest_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "MAX_FRAME_REGIONS", 3)
    label_map = np.zeros((12, 20), np.uint8)
    for number in range(5):
        label_map[1 : 2 + number, 4 * number + 1] = 1  # areas 1 to 5
    prediction = Prediction(np.zeros((12, 20, 3), np.uint8), label_map, None, ClassSet(("ground", "box")))
    with RegionLines(tmp_path / "regions", time_base=Fraction(1, 12), min_area=1) as writer:
        writer.write(prediction, pts=0)
    line = json.loads((tmp_path / "regions").read_text())
    assert line["min_area"] == 4
    assert [each["area"] for each in line["regions"]] == [240 - 15, 5, 4]
