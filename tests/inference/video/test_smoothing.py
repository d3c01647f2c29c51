from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from tests.helpers import BrightnessSegmenter, MakeVideo, draw_image

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.inference import wrappers
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.sources import find_sources
from maskpencil.inference.video.predict import predict_video
from maskpencil.inference.video.smoothing import CutFinder, Smoother
from maskpencil.inference.wrappers import Abstain, SingleClass, most_probable
from maskpencil.predictor import Predictor, supports
from maskpencil.runtimes.base import Wanted
from maskpencil.runtimes.tiling import ArrayWindows


class UnsureSegmenter(BrightnessSegmenter):
    """The probability of class 1 is the pixel's brightness."""

    classes = ClassSet(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))

    def probabilities_batch(self, images: Sequence[RGBImage]) -> np.ndarray:
        self.seen.extend(images)
        bright = np.stack([image.mean(axis=2, dtype=np.float32) / 255 for image in images])
        return np.stack([1 - bright, bright], axis=1)  # (N, 2, H, W)


def flickering(count: int, level: int, *, seed: int = 0) -> list[RGBImage]:
    noise = np.random.default_rng(seed)
    return [
        np.repeat(noise.normal(level, 12, (48, 64, 1)).clip(0, 255), 3, axis=2).astype(np.uint8) for _ in range(count)
    ]


def changes(label_maps: Sequence[np.ndarray]) -> float:
    return float(np.mean([np.mean(a != b) for a, b in pairwise(label_maps)]))


def test_flicker_becomes_less_and_is_measured() -> None:
    frames = flickering(30, 118)
    segmenter = UnsureSegmenter()
    alone = [segmenter.probabilities_batch([frame])[0].argmax(axis=0) for frame in frames]
    smoother = Smoother(segmenter, share=0.8)
    smoothed = [smoother.predict(frame).label_map for frame in frames]
    assert smoother.flicker is not None
    assert smoother.flicker.before == pytest.approx(changes(alone))
    assert smoother.flicker.after == pytest.approx(changes(smoothed))
    assert changes(smoothed) < changes(alone) / 4


def test_the_average_is_exponential() -> None:
    levels = [100, 140, 140, 140]
    smoother = Smoother(UnsureSegmenter(), share=0.6)
    average = 100.0
    for level in levels:
        average = 0.6 * average + 0.4 * level
        frame = np.full((8, 8, 3), level, dtype=np.uint8)
        assert (smoother.predict(frame).label_map == (average > 127.5)).all()


def test_a_cut_is_kept_and_counts_as_no_flicker() -> None:
    frames = [*flickering(10, 30), *flickering(10, 220, seed=1)]
    smoother = Smoother(UnsureSegmenter(), share=0.9)
    smoothed = [smoother.predict(frame).label_map for frame in frames]
    assert (smoothed[9] == 0).all()
    assert (smoothed[10] == 1).all()
    assert smoother.flicker is not None
    assert smoother.flicker.before == smoother.flicker.after == 0


def test_the_smoothed_prediction_is_of_its_own_frame() -> None:
    smoother = Smoother(UnsureSegmenter(), share=0.5)
    frame = draw_image((48, 64))
    prediction = smoother.predict(frame)
    assert prediction.image is frame
    assert prediction.label_map.dtype == np.uint8
    assert smoother.flicker is None


def test_a_change_of_size_begins_anew() -> None:
    smoother = Smoother(UnsureSegmenter(), share=0.9)
    smoother.predict(draw_image((48, 64)))
    assert smoother.predict(draw_image((24, 32))).label_map.shape == (24, 32)


def test_pans_and_fades_do_not_count_as_cuts() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (6, 60, 3), dtype=np.uint8).repeat(8, axis=0).repeat(16, axis=1)
    finder = CutFinder()
    assert not any(finder.is_cut(wide[:, 4 * i : 4 * i + 64]) for i in range(60))
    finder = CutFinder()
    assert not any(finder.is_cut(np.full((48, 64, 3), 6 * i, dtype=np.uint8)) for i in range(40))


def test_a_sudden_light_does_not_count_as_a_cut_but_another_image_does() -> None:
    squares = np.random.default_rng(0).integers(0, 150, (6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    finder = CutFinder()
    still = [squares] * 10
    assert [finder.is_cut(image) for image in (*still, squares + 40, *still, squares[::-1])] == [*[False] * 21, True]


def test_the_most_probable_class_is_argmax() -> None:
    probabilities = np.random.default_rng(0).random((7, 9, 11), dtype=np.float32)
    probabilities[:, 0, 0] = 0.5  # the first of equals
    np.testing.assert_array_equal(most_probable(probabilities), probabilities.argmax(axis=0))


def test_a_video_is_smoothed_and_its_flicker_reported(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "video.mkv"), "w") as video:
        stream = video.add_stream("ffv1", rate=12)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        for frame in flickering(20, 125):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode(None))
    report = predict_video(
        UnsureSegmenter(),
        tmp_path / "video.mkv",
        tmp_path / "out.mp4",
        options=PredictOptions(video=VideoOptions(smooth=0.8)),
    )
    (note,) = report.notes
    before, after = (float(part.split("%")[0]) for part in note.split("flicker ")[1].split(" before smoothing, "))
    assert after < before / 2


def test_smoothing_without_probabilities_is_refused_before_any_work(
    tmp_path: Path, segmenter: BrightnessSegmenter, make_video: MakeVideo
) -> None:
    assert not supports(segmenter, "probabilities_batch")
    with pytest.raises(ConfigError, match="leave out --smooth or --class"):
        predict(
            segmenter,
            find_sources([make_video()]),
            out=tmp_path / "out",
            options=PredictOptions(video=VideoOptions(smooth=0.5)),
        )
    assert not (tmp_path / "out").exists()


OPTIONAL = ("predict_class", "probabilities_batch", "bands")


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda segmenter: segmenter, OPTIONAL),
        (wrappers.TestTimeAugmentation, ("predict_class", "probabilities_batch")),
        (partial(Abstain, below=0.5), ()),
        (partial(SingleClass, name="road", threshold=0.5), ()),
    ],
)
def test_every_predictor_shows_which_methods_it_supports(make_segmenter, wrap, expected) -> None:
    predictor: Predictor = wrap(make_segmenter())
    assert tuple(method for method in OPTIONAL if supports(predictor, method)) == expected


def test_a_method_that_a_wrapper_lacks_is_refused_in_a_line(segmenter: BrightnessSegmenter) -> None:
    wrapper = Abstain(segmenter, below=0.5)
    calls = (
        lambda: wrapper.predict_class([draw_image((8, 8))], 0),
        lambda: wrapper.probabilities_batch([draw_image((8, 8))]),
        lambda: wrapper.bands(ArrayWindows(draw_image((8, 8))), Wanted()),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=r"Abstain does not compute .*; use a Segmenter"):
            call()
