import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ModelError
from maskpencil.model_folder import ModelParts, read_model_folder, write_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter

CLASSES = ClassSet(("ground", "box", "ball"))
PREPROCESSING = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), (64, 96))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = build_fcn(FCNConfig(3, "test_resnet"), weights="none")
    for name, parameter in model.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(parameter)
    path = tmp_path_factory.mktemp("model") / "model"
    write_model_folder(path, ModelParts(model, CLASSES, PREPROCESSING, {"data": "tiny", "epochs": 3}))
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "model")


def test_a_model_folder_reads_back_as_it_was_written(folder, tmp_path):
    parts = read_model_folder(folder)
    assert (parts.classes, parts.preprocessing, parts.training) == (
        CLASSES,
        PREPROCESSING,
        {"data": "tiny", "epochs": 3},
    )
    write_model_folder(tmp_path / "again", parts)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "config.json").read_text() == (folder / "config.json").read_text()


def test_the_card_names_network_classes_and_training(folder):
    card = (folder / "README.md").read_text()
    assert all(text in card for text in ("FCN-8s on test_resnet", "ground, box, ball", "- epochs: 3"))


def test_a_segmenter_gives_label_maps_of_the_pictures_size_whatever_the_working_size(folder):
    segmenter = Segmenter.from_pretrained(folder, device="cpu", precision="fp32")
    for height, width in ((1, 1), (37, 53), (128, 64)):
        picture = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).numpy()
        prediction = segmenter.predict(picture)
        assert prediction.label_map.shape == prediction.confidence.shape == (height, width)
        assert prediction.label_map.max() < 3
        assert 1 / 3 - 1e-5 <= prediction.confidence.min() <= prediction.confidence.max() <= 1 + 1e-5


def test_confidence_is_the_softmax_of_the_class_chosen(folder):
    segmenter = Segmenter.from_pretrained(folder, device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    probabilities = torch.from_numpy(segmenter.logits([image])).softmax(1)
    (prediction,) = segmenter.predict_batch([image], confidence=True)
    torch.testing.assert_close(torch.from_numpy(prediction.confidence), probabilities[0].max(0).values)


def test_parts_that_do_not_fit_make_no_segmenter(folder):
    parts = read_model_folder(folder)
    with pytest.raises(ConfigError, match="3 classes"):
        Segmenter.of_network(parts.model, ClassSet(("one", "two")), PREPROCESSING, device="cpu")
    grey = build_fcn(FCNConfig(3, "test_resnet", in_channels=1), weights="none")
    with pytest.raises(ConfigError, match="3 channels"):
        Segmenter.of_network(grey, CLASSES, PREPROCESSING, device="cpu")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(ModelError, match=name):
        read_model_folder(copied)


def test_a_run_folder_is_recognized(copied, tmp_path):
    with pytest.raises(ModelError, match="did you mean its 'model' folder"):
        read_model_folder(tmp_path)
    with pytest.raises(ModelError, match="no such model folder"):
        read_model_folder(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"config.json: is a file, and models are folders; the model comes first"):
        read_model_folder(copied / "config.json")


def test_truncated_weights_are_a_clear_error(copied):
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        read_model_folder(copied)


def test_tensors_that_do_not_fit_are_listed(copied):
    state = load_file(copied / "model.safetensors")
    state["score_fr.bias"] = torch.zeros(4)
    state["extra"] = state.pop("score_pool3.bias")
    save_file(state, copied / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing score_pool3\.bias; unexpected extra; misshaped score_fr\.bias"):
        read_model_folder(copied)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format_version": 2}, "update maskpencil"),
        ({"format_version": None}, "format_version"),
        ({"architecture": {"name": "U-Net"}}, "knows FCN"),
        ({"architecture": {"name": "FCN", "num_classes": 3, "depth": 2}}, "depth"),
        ({"classes": {"names": []}}, "1 to 255"),
        ({"preprocessing": {"mean": [0.5, 0.5, 0.5]}}, "std"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(copied, change, told):
    path = copied / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=told) as error:
        read_model_folder(copied)
    assert "config.json" in str(error.value)


def test_a_configuration_that_is_not_json_is_named(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read as JSON"):
        read_model_folder(copied)
