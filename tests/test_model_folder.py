import json
import os
import shutil
import struct
from dataclasses import fields

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ModelError
from maskpencil.model_folder import (
    ARCHITECTURES,
    ModelConfig,
    ModelParts,
    fingerprint,
    read_model_folder,
    write_model_folder,
)
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.models.importers.torchvision_fcn import TorchvisionFCNConfig
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


@pytest.mark.slow
def test_a_segmenter_gives_label_maps_of_the_images_size_whatever_the_working_size(folder):
    segmenter = Segmenter.from_pretrained(folder, device="cpu", precision="fp32")
    for height, width in ((1, 1), (37, 53), (128, 64)):
        image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).numpy()
        prediction = segmenter.predict(image)
        assert prediction.label_map.shape == prediction.confidence.shape == (height, width)
        assert prediction.label_map.max() < 3
        assert 1 / 3 - 1e-5 <= prediction.confidence.min() <= prediction.confidence.max() <= 1 + 1e-5


@pytest.mark.slow
def test_confidence_is_the_softmax_of_the_class_chosen(folder):
    segmenter = Segmenter.from_pretrained(folder, device="cpu", precision="fp32")
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    probabilities = torch.from_numpy(segmenter.logits_batch([image])).softmax(1)
    (prediction,) = segmenter.predict_batch([image], confidence=True)
    torch.testing.assert_close(torch.from_numpy(prediction.confidence), probabilities[0].max(0).values)


def test_parts_that_do_not_fit_are_refused(folder):
    parts = read_model_folder(folder)
    with pytest.raises(ConfigError, match="3 classes"):
        Segmenter.of_network(ModelParts(parts.model, ClassSet(("one", "two")), PREPROCESSING), device="cpu")
    gray = build_fcn(FCNConfig(3, "test_resnet", in_channels=1), weights="none")
    with pytest.raises(ConfigError, match="3 channels"):
        Segmenter.of_network(ModelParts(gray, CLASSES, PREPROCESSING), device="cpu")


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
    with pytest.raises(ModelError, match=r"config.json: is a file; expected a model folder; name the model first"):
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
    ("change", "expected"),
    [
        ({"format_version": 2}, "update maskpencil"),
        ({"format_version": None}, "format_version"),
        ({"architecture": {"name": "U-Net"}}, "expected FCN or torchvision"),
        ({"architecture": {"name": "FCN", "num_classes": 3, "depth": 2}}, "depth"),
        ({"classes": {"names": []}}, "1 to 255"),
        ({"preprocessing": {"mean": [0.5, 0.5, 0.5]}}, "std"),
    ],
)
def test_an_invalid_configuration_is_refused_with_its_entry(copied, change, expected):
    path = copied / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=expected) as error:
        read_model_folder(copied)
    assert "config.json" in str(error.value)


def test_a_configuration_that_is_not_json_is_named(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read as JSON"):
        read_model_folder(copied)


def edited(folder, change):
    """Change config.json as a stranger might."""
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def having(**changes):
    """A change of config.json; a__b is the entry b in a."""

    def change(config):
        for place, value in changes.items():
            *parents, key = place.split("__")
            entries = config
            for parent in parents:
                entries = entries[parent]
            entries[key] = value
        return config

    return change


CONFIGURATIONS = [
    having(classes=[]),
    having(classes="x"),
    having(classes=None),
    having(classes__names={"a": 1}),
    having(classes__names=["a", ["b"], "c"]),
    having(classes__names=["a", "", "c"]),
    having(classes__names=[f"n{number}" for number in range(100_000)]),
    having(classes__names=["one", "two"]),
    having(classes__palette=[[1, 2]] * 3),
    having(classes__palette=[[1, 2, 10**20]] * 3),
    having(classes__palette="red"),
    having(classes__ignore_index=10**20),
    having(classes__ignore_index="none"),
    having(architecture=[]),
    having(architecture="FCN"),
    having(architecture__name=["FCN"]),
    having(architecture__num_classes=10**7),
    having(architecture__num_classes="3"),
    having(architecture__num_classes=True),
    having(architecture__stride=0),
    having(architecture__stride=10**9),
    having(architecture__stride=8.0),
    having(architecture__in_channels=10**9),
    having(architecture__in_channels=4),
    having(architecture__backbone="timm/hf-hub:stranger/net"),
    having(architecture__backbone={"name": "vgg16"}),
    having(architecture__backbone="a" * 10**6),
    having(architecture__dropout="half"),
    having(architecture__learned_upsampling=["all"]),
    having(architecture__as_released=1),
    having(architecture={"name": "torchvision", "num_classes": 3, "network": "other"}),
    having(preprocessing=[1]),
    having(preprocessing__mean="abc"),
    having(preprocessing__mean=[1, 2]),
    having(preprocessing__mean=[1e300, 0, 0]),
    having(preprocessing__std=[0.2, 0.2, 0]),
    having(preprocessing__std=[0.2, 0.2, 1e-300]),
    having(preprocessing__std=[0.2, 0.2, True]),
    having(preprocessing__image_size=10**6),
    having(preprocessing__image_size=[10**6, 10**6]),
    having(preprocessing__image_size=[10_000, 10_000]),
    having(preprocessing__image_size=[1, 2, 3]),
    having(preprocessing__image_size="64"),
    having(preprocessing__image_size=2.5),
    having(preprocessing__channel_order=["rgb"]),
    having(training="x"),
    having(training=[1, 2]),
    having(format_version=0),
    having(format_version=[1]),
    lambda config: [config],
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CONFIGURATIONS)
def test_a_configuration_of_wrong_types_or_sizes_is_one_line_before_anything_is_made(copied, monkeypatch, change):
    edited(copied, change)
    monkeypatch.setattr("maskpencil.models.build.rebuild", lambda *_: pytest.fail("a network is made"))
    with pytest.raises(ModelError) as error:
        read_model_folder(copied)
    assert "config.json: " in str(error.value)
    assert len(str(error.value)) < 1000


def test_every_setting_of_an_architecture_is_checked():
    of_fcn, of_torchvision = ({entry.name for entry in fields(kind)} for kind in (FCNConfig, TorchvisionFCNConfig))
    assert {name: set(entries) for name, entries in ARCHITECTURES.items()} == {
        "FCN": of_fcn,
        "torchvision": of_torchvision,
    }


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a circle of links"])
def test_special_files_are_refused_without_waiting_for_them(copied, name, kind):
    path = copied / name
    path.unlink()
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "a device" else path)
    for call in (read_model_folder, fingerprint):
        with pytest.raises(ModelError, match=name):
            call(copied)


def headed(path, change, length=None):
    """Write weights whose header is changed."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(text)) + text + raw[8 + size :])


def of_whole_numbers(header):
    for entry in header.values():
        if entry.get("dtype") == "F32":
            entry["dtype"] = "I32"


def all_at_the_start(header):
    for entry in header.values():
        if "data_offsets" in entry:
            start, end = entry["data_offsets"]
            entry["data_offsets"] = [0, end - start]


def of_an_enormous_shape(header):
    header["score_fr.weight"]["shape"] = [2**40, 2**40]


def of_no_kind(header):
    header["score_fr.weight"]["dtype"] = "F33"


def unchanged(header):
    pass


@pytest.mark.parametrize("change", [of_whole_numbers, all_at_the_start, of_an_enormous_shape, of_no_kind])
def test_a_wrong_header_of_weights_is_refused_before_numbers_are_read(copied, monkeypatch, change):
    headed(copied / "model.safetensors", change)
    monkeypatch.setattr("maskpencil.models.backbones.weights.load_file", lambda *_: pytest.fail("numbers are read"))
    with pytest.raises(ModelError, match=r"model\.safetensors: (cannot be read as weights|does not fit)"):
        read_model_folder(copied)


@pytest.mark.parametrize("length", [2**62, 2**63, 10**8])
def test_a_header_that_claims_to_be_longer_than_the_file_is_refused(copied, length):
    headed(copied / "model.safetensors", unchanged, length)
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read as weights"):
        read_model_folder(copied)


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["score_fr.weight", "backbone.net.bn1.running_var"])
def test_weights_and_statistics_that_are_not_finite_are_refused_by_name_with_the_remedy(copied, name, value):
    state = load_file(copied / "model.safetensors")
    assert name in state
    state[name].view(-1)[-1] = value
    save_file(state, copied / "model.safetensors")
    for runtime in ("torch", "openvino"):
        with pytest.raises(ModelError, match=rf"{name} holds values that are not finite .*lower learning rate"):
            Segmenter.from_pretrained(copied, runtime=runtime, device="cpu", precision="fp32")


@pytest.mark.parametrize(
    "config",
    [
        FCNConfig(3),
        FCNConfig(3, "test_resnet", 16, at_once_scales=True),
        TorchvisionFCNConfig(3),
        TorchvisionFCNConfig(3, "fcn_resnet101"),
    ],
)
def test_the_title_without_torch_is_that_of_the_network(config):
    kind = "FCN" if isinstance(config, FCNConfig) else "torchvision"
    assert ModelConfig({"name": kind, **config.to_dict()}, CLASSES, PREPROCESSING, {}).title == config.title
    defaults = type(config)(3)
    assert ModelConfig({"name": kind, "num_classes": 3}, CLASSES, PREPROCESSING, {}).title == defaults.title
