import numpy as np
import pytest
from tests.helpers import noise

from maskpencil.cli import main
from maskpencil.errors import ModelError
from maskpencil.images import write_image
from maskpencil.runtimes.base import CoarseScores, Wanted
from maskpencil.segmenter import Segmenter


@pytest.fixture
def overflowing(make_segmenter):
    """A segmenter whose weights are numbers and whose scores are not."""
    segmenter = make_segmenter()
    segmenter.network.score_fr.weight.data.fill_(3e38)
    return segmenter


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_scores_that_are_not_finite_are_an_error_and_never_a_class(overflowing, tmp_path, runtime):
    overflowing.save(tmp_path / "model")
    segmenter = Segmenter.from_pretrained(tmp_path / "model", runtime=runtime, device="cpu", precision="fp32")
    for call in (
        lambda: segmenter.maps([noise(40, 50)], Wanted()),
        lambda: segmenter.maps([noise(40, 50)], Wanted(entropy=True)),
        lambda: segmenter.logits_batch([noise(40, 50)]),
        lambda: segmenter.predict(noise(40, 50)),
    ):
        with pytest.raises(ModelError, match=r"image of 50 x 40 pixels are not finite .* in fp32; train again"):
            call()


def test_a_single_cell_that_is_not_finite_is_an_error(make_segmenter):
    segmenter = make_segmenter()
    scores = segmenter.runtime.coarse_scores([noise(64, 96)])
    for value in (np.nan, np.inf, -np.inf):
        values = scores.values.numpy().copy()
        values[0, -1, -1, -1] = value
        with pytest.raises(ModelError, match="are not finite"):
            segmenter.runtime.maps(CoarseScores(values, scores.working), (64, 96), Wanted())


def test_in_a_lower_precision_the_remedy_is_fp32(overflowing):
    overflowing.runtime.precision = "fp16"
    with pytest.raises(ModelError, match=r"in fp16; use --precision fp32"):
        overflowing.predict(noise(40, 50))


def test_tiles_are_checked_as_well(overflowing):
    tiled = Segmenter(overflowing.runtime, overflowing.classes, overflowing.preprocessing, tile=64)
    with pytest.raises(ModelError, match="are not finite"):
        tiled.maps([noise(200, 150)], Wanted())


@pytest.mark.slow
def test_predict_ends_with_one_line_and_writes_no_mask(overflowing, tmp_path, capsys):
    overflowing.save(tmp_path / "model")
    write_image(tmp_path / "a.png", noise(40, 50))
    assert main(["predict", str(tmp_path / "model"), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 1
    assert [line[:30] for line in capsys.readouterr().err.splitlines()] == ["error: the network's scores of"]
    assert not list(tmp_path.rglob("out/masks/*"))
