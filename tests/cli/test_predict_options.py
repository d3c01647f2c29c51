"""`maskpencil predict` with its options for images."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.cli.predict import _Reporter
from maskpencil.inference.report import Progress
from maskpencil.inference.sources import Source, results_name
from maskpencil.label_maps import read_label_map
from maskpencil.segmenter import Segmenter


@pytest.fixture
def model(make_segmenter, shared_cache, tmp_path):
    make_segmenter(image_size=(40, 60)).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def predicted(model, tmp_path):
    """Return the mask that the command writes with some options."""
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")

    def run(*options: str) -> np.ndarray:
        out = tmp_path / "-".join(("out", *options))
        assert main(["predict", str(model), str(tmp_path / "photo.png"), "--out", str(out), *options]) == 0
        return read_label_map(out / "masks" / "photo.png")

    run.image = image
    return run


@pytest.mark.slow
def test_the_runtime_makes_no_difference_in_fp32(predicted):
    by_torch, by_openvino = (predicted("--runtime", name, "--precision", "fp32") for name in ("torch", "openvino"))
    assert (by_torch == by_openvino).mean() > 0.999


@pytest.mark.slow
def test_abstaining_takes_nothing_but_unsure_pixels(predicted, model):
    sure = Segmenter.from_pretrained(model, device="cpu", precision="fp32").predict(predicted.image).confidence
    below = round(float(np.median(sure)), 3)
    plain, abstained = predicted("--precision", "fp32"), predicted("--precision", "fp32", "--abstain", str(below))
    assert 0.2 < (sure < below).mean() < 0.8
    np.testing.assert_array_equal(abstained, np.where(sure < below, 255, plain))


@pytest.mark.slow
def test_size_tiles_and_views_are_taken(predicted, model):
    segmenter = Segmenter.from_pretrained(model, device="cpu", precision="fp32")
    native = predicted("--precision", "fp32", "--image-size", "native")
    tiled = predicted("--precision", "fp32", "--image-size", "native", "--tile", "32")
    assert (native == tiled).mean() > 0.999
    assert (native != predicted("--precision", "fp32")).any()
    augmented = predicted("--precision", "fp32", "--augment", "flip")
    mirrored = np.ascontiguousarray(predicted.image[:, ::-1])
    both = segmenter.probabilities_batch([predicted.image])[0] + segmenter.probabilities_batch([mirrored])[0, ..., ::-1]
    assert (augmented == both.argmax(axis=0)).mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--abstain", "1.5"], "--abstain must be a probability above 0 and below 1"),
        (["--abstain", "0.5", "--class", "road"], "leave out --abstain, or --class and --threshold"),
        (["--tile", "50"], "tile must be a multiple of 32 pixels above 0, but got 50"),
        (["--memory", "lots"], "--memory must be an amount such as 2GiB"),
        (["--image-size", "auto"], "--image-size must be native, a number of pixels or HEIGHTxWIDTH, but got 'auto'"),
        (["--image-size", "4000x4000"], "images scaled to 4000x4000 need about "),
        (["--image-size", "9000x9000"], "image_size must be at most 65536 pixels a side and 16 million in all"),
        (["--threshold", "0.5"], "--threshold is for one class; name it with --class"),
        (
            ["--smooth", "0.6"],
            "photo.png: is not a video, and no video is given; leave out the options for videos: --every",
        ),
        (
            ["--masks", "video"],
            "photo.png: is not a video, and no video is given; leave out the options for videos: --every",
        ),
        (["--precision", "int8"], "maskpencil quantize"),
        (["--runtime", "openvino", "--precision", "fp16"], "fp16 needs a CUDA device"),
    ],
)
def test_options_that_cannot_be_are_one_line_and_exit_code_2(model, tmp_path, capsys, options, reported):
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    assert main(["predict", str(model), str(tmp_path / "photo.png"), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert reported in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/photo.one.jpg", "photo.one"),
        ("a", "a"),
        (".", "home"),
        ("..", "above"),
        ("a/", "a"),
        ("a/*.jpg", "a"),
        ("*.jpg", "home"),
        ("a/*/img*.jpg", "img"),
        ("a/*/*", "a"),
        ("/", "images"),
    ],
)
def test_results_are_named_after_the_sources(source, name, tmp_path, monkeypatch):
    (tmp_path / "above" / "home" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "home")
    assert results_name(Source("image", "photo.jpg", "photo", source)) == name


def test_the_bar_shows_the_rows_of_a_raster_and_counts_it_once():
    shown = []
    report = _Reporter(SimpleNamespace(update=lambda done, text: shown.append((done, text.split(" · ")[0]))))
    source = Source("image", "in/field.tif", "field")
    report(Progress(source, 2, 3, 97, 388, is_part=True))
    report(Progress(source, 2, 3, 388, 388, is_part=True))
    assert report._frames == 0
    report(Progress(source, 2, 3, 1, 1))
    assert shown == [(1.25, "field.tif row 97 of 388"), (2, "field.tif row 388 of 388"), (2, "field.tif")]
    assert report._frames == 1
