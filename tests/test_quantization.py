import json

import numpy as np
import pytest

from maskpencil.cli import main
from maskpencil.data.folder import open_folder
from maskpencil.errors import ConfigError, ModelError
from maskpencil.evaluation import evaluate
from maskpencil.quantization import quantize
from maskpencil.segmenter import Segmenter


@pytest.fixture
def model(make_segmenter, tiny_folder, tmp_path):
    """A model folder of an untrained network with fixed weights."""
    make_segmenter(classes=open_folder(tiny_folder).classes).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
def test_a_quantized_model_is_a_model_folder_with_the_reported_scores(model, tiny_folder, tmp_path):
    data = open_folder(tiny_folder)
    result = quantize(model, data, out=tmp_path / "small", max_drop=100)
    segmenter = Segmenter.from_pretrained(tmp_path / "small", device="cpu")
    assert segmenter.runtime.precision == "int8"
    assert evaluate(segmenter, data).mean_iou == pytest.approx(result.after)
    assert evaluate(Segmenter.from_pretrained(model, device="cpu"), data).mean_iou == pytest.approx(result.before)
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert config["int8"]["mean_iou"] == round(result.after, 4)
    assert "in int8: mean IoU" in (tmp_path / "small" / "README.md").read_text()
    exact = Segmenter.from_pretrained(tmp_path / "small", device="cpu", precision="fp32")
    image = data.read_pair(data.pairs("val")[0])[0]
    assert (exact.predict(image).label_map == segmenter.predict(image).label_map).mean() > 0.8
    np.testing.assert_allclose(
        exact.logits_batch([image]), Segmenter.from_pretrained(model, precision="fp32").logits_batch([image]), atol=1e-6
    )


@pytest.mark.slow
def test_a_model_that_loses_too_much_is_not_written(model, tiny_folder, tmp_path, monkeypatch):
    scores = iter([0.9, 0.5])
    monkeypatch.setattr(
        "maskpencil.quantization.evaluate",
        lambda *_, **__: type("Scores", (), {"mean_iou": next(scores)}),
    )
    with pytest.raises(ModelError, match=r"loses 40\.00 points of mean IoU .* more than the 0\.5 that --max-drop"):
        quantize(model, open_folder(tiny_folder), out=tmp_path / "small")
    assert not (tmp_path / "small").exists()


@pytest.mark.slow
def test_the_command_leaves_no_empty_folder_where_nothing_was_written(
    model, tiny_folder, tmp_path, monkeypatch, capsys
):
    scores = iter([0.9, 0.5])
    monkeypatch.setattr(
        "maskpencil.quantization.evaluate",
        lambda *_, **__: type("Scores", (), {"mean_iou": next(scores)}),
    )
    assert main(["quantize", str(model), str(tiny_folder)]) == 1
    assert "loses 40.00 points" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("model")] == ["model"]


def test_invalid_settings_are_refused(model, tiny_folder, tmp_path):
    message = "max_drop must be 0 or more and calibration_images 1 or more, but got -1 and 100"
    with pytest.raises(ConfigError, match=message):
        quantize(model, open_folder(tiny_folder), out=tmp_path / "small", max_drop=-1)
