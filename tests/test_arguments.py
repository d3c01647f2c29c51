"""Every argument of every public name, in the forms that programs use, is accepted or refused in one line."""

import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import maskpencil as mp
from maskpencil.errors import ConfigError, MaskPencilError
from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.model_folder import ModelParts
from maskpencil.segmenter import Segmenter
from maskpencil.training.config import read_config, write_config

ODD = [None, "", "3", 3.5, True, np.nan, np.inf, -1, 0, [1], (1, 2), {}, np.zeros(3), object(), Path("a"), 10**30]
"""Values that most arguments are not."""

WRONG: dict[str, list[Any]] = {
    "recipe": ["moderm", None, 3],
    "backbone": ["", 3, Path("resnet18"), ["resnet18"]],
    "weights": ["", None, 3],
    "init": ["", 3, b"model"],
    "stride": [3, 8.0, "8", True, (8,)],
    "fully_connected": [1, "yes", 0.0],
    "learned_upsampling": ["two-fold", True],
    "at_once_scales": [1],
    "as_released": ["no"],
    "dropout": ["0.5", True, np.nan, -0.1, 1.0],
    "epochs": ["3", 3.0, True, np.nan, np.inf, -1, 0, np.float64(3), [3]],
    "time_budget": [90, "90", "", np.nan, -1, True],
    "batch_size": [0, -1, 2.0, "2", False],
    "accumulate": [0, None, 1.5],
    "optimizer": ["adamm", 3, None.__class__],
    "momentum": ["0.9", np.inf, 1.0],
    "learning_rate": [0, -1.0, np.nan, np.inf, "fast", True, [0.1], ""],
    "backbone_rate": [0, "1", np.nan],
    "freeze": ["head", None, True],
    "fixed_statistics": [1, "yes"],
    "then_finetune": [1, "yes", None],
    "cache_views": [-1, 1.0, "1"],
    "bias_rate": [-1, np.nan, "2"],
    "weight_decay": [-0.1, np.inf, "1e-4", True],
    "clip_norm": [-1, np.nan],
    "head_l2": [-1, "0"],
    "schedule": ["one_cycle!", 1],
    "loss": ["entropy", "", 3, None.__class__],
    "class_weights": ["", 3, True],
    "average": [1.0, -0.1, "0.9"],
    "image_size": ["big", 0, -3, (0, 3), (1, 2, 3), 512.0, True, "", {1, 2}, "²", "9" * 5000],
    "crop_size": ["0x10", 0, (64,), 64.0, False, "", "10x", "x"],
    "scale": [1.0, (2.0, 1.0), (1.0,), "12", (0, 1), (np.nan, 1), ("a", "b"), 0],
    "flip": [1.5, "0.5", True],
    "color_jitter": [-0.1, np.nan, None.__class__],
    "coarse_share": [1.1, "0"],
    "validate_every": [0, 1.5, "1"],
    "checkpoint_minutes": [0, np.nan, np.inf, None, "10"],
    "sync_batch_norm": [1, None],
    "compile": ["yes", None],
    "tracker": ["", 3],
    "seed": [-1, 0.5, True, "0", None, 2**63],
    "device": ["gpu", None, 0, torch.device("cuda:1"), torch.device("meta")],
    "precision": ["half", None, torch.float16],
    "workers": [-1, 1.5, "2", True],
}
"""Of each setting of a training what it cannot be."""

RIGHT: dict[str, list[tuple[Any, Any]]] = {
    "backbone": [(np.str_("vgg16"), "vgg16")],
    "weights": [(Path("w.pth"), "w.pth"), ("~/w.pth", "/home/me/w.pth")],
    "init": [(Path("~/model"), "/home/me/model")],
    "class_weights": [(Path("weights.yaml"), "weights.yaml")],
    "stride": [(np.int64(16), 16), ("auto", "auto")],
    "dropout": [(np.float32(0.5), 0.5), (0, 0.0)],
    "epochs": [(np.int32(3), 3), (torch.tensor(3), 3)],
    "batch_size": [(np.uint8(4), 4)],
    "learning_rate": [(np.float64(0.5), 0.5), ("sum:1e-10", "sum:1e-10"), (1, 1.0), (np.str_("find"), "find")],
    "image_size": [((160, 576), "160x576"), (512, "512"), ([np.int64(8), 9], "8x9"), (np.array([8, 9]), "8x9")],
    "crop_size": [((64, 96), "64x96"), (64, "64"), (torch.Size((64, 96)), "64x96")],
    "scale": [([0.5, 2], (0.5, 2.0)), (np.array([0.5, 2.0]), (0.5, 2.0))],
    "fully_connected": [(np.True_, True)],
    "device": [(torch.device("cpu"), "cpu"), (torch.device("cuda:0"), "cuda")],
    "seed": [(np.int64(7), 7)],
    "workers": [(np.int64(0), 0)],
}
"""Of each setting forms that work, and what it is then."""


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


def refused(call: Callable[[], Any]) -> str:
    """Return the line with which a call is refused."""
    with pytest.raises(MaskPencilError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def taken(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or None if it is refused in one line."""
    try:
        return call()
    except MaskPencilError as error:
        line = str(error)
    assert "\n" not in line
    return None


def test_every_setting_is_tested() -> None:
    assert set(WRONG) == set(mp.TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_refused_by_its_name_and_value(name: str) -> None:
    for value in WRONG[name]:
        line = refused(lambda value=value: mp.TrainConfig(**{name: value}))
        assert line.startswith((f"--{name.replace('_', '-')}", name))
        assert ", but got " in line


@pytest.mark.parametrize("name", WRONG)
def test_any_value_of_a_setting_is_taken_or_refused_in_a_line(name: str) -> None:
    for value in ODD:
        config = taken(lambda value=value: mp.TrainConfig(**{name: value}))
        assert config is None or yaml.safe_dump(config.to_dict())


@pytest.mark.parametrize("name", RIGHT)
def test_a_setting_in_another_form_becomes_plain_and_is_written_and_read(name: str, tmp_path: Path) -> None:
    for given, plain in RIGHT[name]:
        config = mp.TrainConfig(**{name: given})
        assert getattr(config, name) == plain
        assert type(getattr(config, name)) is type(plain)
        write_config(tmp_path / "config.yaml", config)
        assert read_config(tmp_path / "config.yaml") == config


def test_a_run_is_trained_with_settings_of_numpy_and_torch(tiny_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("maskpencil.training.train.add_graph", lambda *_, **__: None)
    run = mp.train(
        tiny_folder,
        out=str(tmp_path / "run"),
        epochs=np.int64(1),
        batch_size=np.int32(3),
        crop_size=(np.int64(32), 32),
        image_size=64,
        scale=[1, np.float32(1)],
        device=torch.device("cpu"),
        precision="fp32",
        weights="none",
        backbone=np.str_("test_resnet"),
        quiet=True,
    )
    config = read_config(run.folder / "config.yaml")
    assert (config.epochs, config.crop_size, config.image_size, config.scale) == (1, "32x32", "64", (1.0, 1.0))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"epoch": 3}, "unknown training settings: epoch; did you mean epochs?"),
        ({"batchsize": 3, "foo": 1}, "unknown training settings: batchsize, foo"),
        ({"epochs": "3"}, "--epochs must be a whole number, but got '3'"),
        ({"backbone": "resnet81"}, "there is no backbone 'resnet81'; did you mean"),
        ({"init": "nowhere"}, "nowhere: there is no such model folder"),
        ({"class_weights": Path("nowhere.yaml")}, "--class-weights must be"),
        ({"tracker": "wandbb"}, "--tracker must be"),
        ({"config": {"epochs": 3}}, "config must be a TrainConfig, but got {'epochs': 3}"),
        ({"config": mp.TrainConfig(), "epochs": 3}, "both config and single settings (epochs) are given"),
        ({"quiet": "yes"}, "quiet must be True or False, but got 'yes'"),
        ({"images": 3}, "images must be a path, but got 3"),
        ({"masks": ""}, "masks must be a path, but got ''"),
        ({"split_file": ["a"]}, "split_file must be a path, but got ['a']"),
        ({"out": ""}, "out must be a path, but got ''"),
        ({"data": 3}, "data must be a path, but got 3"),
        ({"data": "~/none"}, "/home/me/none: there is no such folder"),
        ({"data": None}, "train needs a folder"),
        ({"data": None, "resume": 3}, "resume must be a path, but got 3"),
        ({"data": None, "resume": "~/none"}, "/home/me/none: is not a training run"),
    ],
)
def test_a_training_that_cannot_begin_leaves_no_folder(
    arguments: dict[str, Any], line: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {} if "config" in arguments or "resume" in arguments else {"weights": "none", "backbone": "test_resnet"}
    out = {} if "resume" in arguments else {"out": "run"}
    found = refused(lambda: mp.train(**{"data": tiny_folder, "quiet": True, **out, **small, **arguments}))
    assert found.startswith(line)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    from maskpencil.data.folder import open_folder
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing

    torch.manual_seed(0)
    classes = open_folder(tiny_folder).classes
    network = build_fcn(FCNConfig(len(classes), "test_resnet"), weights="none")
    preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2), None)
    folder = tmp_path_factory.mktemp("home") / "model"
    Segmenter.of_network(ModelParts(network, classes, preprocessing), device="cpu", precision="fp32").save(folder)
    return folder


LOADED = {"runtime": "torch", "device": "cpu", "precision": "fp32"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"memory": "1GiB"}, "memory must be a whole number, but got '1GiB'"),
        ({"memory": 0}, "memory must be 1 byte or more, but got 0"),
        ({"tile": 64.0}, "tile must be a whole number, but got 64.0"),
        ({"tile": True}, "tile must be a whole number, but got True"),
        ({"tile": 48}, "tile must be a multiple of 32 pixels above 0, but got 48"),
        ({"tile": 0}, "tile must be a multiple of 32 pixels above 0, but got 0"),
        ({"image_size": "64"}, "image_size must be one or two whole numbers above 0, but got '64'"),
        ({"image_size": (0, 4)}, "image_size must be one or two whole numbers above 0"),
    ],
)
def test_limits_out_of_range_are_refused_when_a_segmenter_is_made(
    setting: dict[str, Any], line: str, model: Path
) -> None:
    loaded = Segmenter.from_pretrained(model, **LOADED)
    for make in (
        lambda: Segmenter(loaded.runtime, loaded.classes, loaded.preprocessing, **setting),
        lambda: Segmenter.of_network(
            ModelParts(loaded.network, loaded.classes, loaded.preprocessing), device="cpu", **setting
        ),
        lambda: Segmenter.from_pretrained(model, **LOADED, **setting),
    ):
        with pytest.raises(ConfigError, match=re.escape(line)):
            make()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["path", "runtime", "device", "precision", "compiled"])
def test_any_argument_of_loading_is_taken_or_refused_in_a_line(name: str, model: Path) -> None:
    for value in [*ODD, "torhc", "cuda:7", torch.device("cpu"), b"model"]:
        found = taken(lambda value=value: Segmenter.from_pretrained(**{"path": model, **LOADED, name: value}))
        assert (found is None) == ((name, str(value)) not in (("compiled", "True"), ("device", "cpu")))


def test_a_home_folder_is_found_everywhere(
    model: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").symlink_to(tiny_folder)
    (tmp_path / "model").symlink_to(model)
    segmenter = Segmenter.from_pretrained("~/model", **LOADED)
    segmenter.save("~/copy")
    assert (tmp_path / "copy" / "config.json").is_file()
    segmenter.predict("~/data/images/val/0.png").save("~/mask.png")
    assert (tmp_path / "mask.png").is_file()
    assert mp.check("~/data").usable
    assert mp.evaluate(segmenter, "~/data").images == 3
    report = mp.predict(segmenter, "~/data/images/val", out="~/out")
    assert (report.images, len(list((tmp_path / "out" / "masks").iterdir()))) == (3, 3)
    assert not Path("~").exists()


def test_prediction_takes_paths_and_a_model_folder(
    model: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_folder / "images" / "val"
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda path, load=Segmenter.from_pretrained: load(path, **LOADED))
    for sources, count in ((images, 3), ([images / "0.png", str(images / "1.png")], 2), (f"{images}/*.png", 3)):
        assert mp.predict(os.fspath(model), sources, out=tmp_path / "out").images == count
    assert mp.evaluate(model, tiny_folder).images == 3


@pytest.mark.parametrize("name", ["segmenter", "sources", "out", "options"])
def test_any_argument_of_prediction_is_taken_or_refused_in_a_line(
    name: str, model: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    segmenter = Segmenter.from_pretrained(model, **LOADED)
    source = tiny_folder / "images" / "val" / "0.png"
    right = {"segmenter": segmenter, "sources": [source], "out": "out", "options": PredictOptions(regions="json")}
    for value in [*ODD, "jsn", ["bal"], "ball"]:
        report = taken(lambda value=value: mp.predict(**{**right, name: value}))
        assert report is None or not any("\n" in failure.message for failure in report.failures)


@pytest.mark.slow
@pytest.mark.parametrize("name", [field.name for field in fields(PredictOptions)])
def test_any_option_of_prediction_is_taken_or_refused_in_a_line(
    name: str, model: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    segmenter = Segmenter.from_pretrained(model, **LOADED)
    source = tiny_folder / "images" / "val" / "0.png"
    for value in [*ODD, "jsn", ["bal"], "ball"]:
        options = taken(lambda value=value: PredictOptions(**{"regions": "json", name: value}))
        if options is not None:
            taken(lambda options=options: mp.predict(segmenter, source, out=tmp_path / "out", options=options))


@pytest.mark.parametrize("name", ["every", "start", "end", "smooth", "masks", "reconnect"])
def test_any_option_of_videos_is_taken_or_refused_in_a_line(name: str) -> None:
    for value in [*ODD, "vidoe"]:
        taken(lambda value=value: VideoOptions(**{name: value}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segmenter", "data", "split"])
def test_any_argument_of_evaluation_is_taken_or_refused_in_a_line(name: str, model: Path, tiny_folder: Path) -> None:
    segmenter = Segmenter.from_pretrained(model, **LOADED)
    for value in [*ODD, "vall"]:
        refused(lambda value=value: mp.evaluate(**{"segmenter": segmenter, "data": tiny_folder, name: value}))


@pytest.mark.parametrize("name", ["root", "places", "processes"])
def test_any_argument_of_a_check_is_refused_in_a_line(name: str, tiny_folder: Path) -> None:
    for value in ODD:
        refused(lambda value=value: mp.check(**{"root": tiny_folder, name: value}))


def test_a_check_takes_numpys_numbers(tiny_folder: Path) -> None:
    assert mp.check(str(tiny_folder), processes=np.int64(1)).usable


@pytest.mark.parametrize("name", ["names", "palette", "ignore_index"])
def test_any_argument_of_classes_is_taken_or_refused_in_a_line(name: str) -> None:
    for value in [*ODD, "road", ["road", 3], [(1, 2)], [(0, 0, 256)], ["abc"]]:
        classes = taken(lambda value=value: mp.ClassSet(**{"names": ("road", "car"), name: value}))
        assert classes is None or (yaml.safe_dump(classes.to_dict()) and hash(classes))


def test_classes_from_lists_and_arrays_are_those_from_tuples() -> None:
    palette = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    classes = mp.ClassSet(["road", np.str_("car")], palette, np.int64(7))
    assert classes == mp.ClassSet(("road", "car"), ((1, 2, 3), (4, 5, 6)), 7)
    assert yaml.safe_dump(classes.to_dict())


def test_a_confusion_matrix_takes_any_whole_numbers_and_nothing_else() -> None:
    for value in ODD:
        refused(lambda value=value: mp.ConfusionMatrix(value))
    matrix = mp.ConfusionMatrix(np.int64(2))
    matrix.update([[0, 1]], np.array([[0, 0]], dtype=np.int64))
    assert matrix.counts.tolist() == [[1, 0], [1, 0]]
    refused(lambda: matrix.update(np.zeros((1, 2)), np.zeros((1, 2))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda s, p: list(s.predict_stream([p.image], batch_size=0)),
            "batch_size must be a whole number of 1 or more",
        ),
        (lambda s, p: list(s.predict_stream([p.image], batch_size="2")), "batch_size must be a whole number, but got"),
        (lambda s, _: s.predict_batch([]), "a batch must be one or more arrays"),
        (lambda s, p: s.predict_batch([p.image / 255]), "a batch must be .* but got float64"),
        (lambda s, p: s.predict_batch([p.image, p.image[1:]]), "a batch must be .* one size"),
        (lambda s, p: s.predict_class([p.image], 3), "index must be a whole number from 0 to 2, but got 3"),
        (lambda s, _: s.save(None), "path must be a path, but got None"),
        (lambda _, p: p.save(""), "path must be a path, but got ''"),
        (lambda _, p: p.overlay(opacity=np.nan), "opacity must be a finite number, but got nan"),
        (lambda _, p: p.overlay(opacity=2), "opacity must be a number from 0 to 1, but got 2"),
        (lambda _, p: p.regions(min_area="1"), "min_area must be a whole number, but got '1'"),
        (lambda _, p: p.regions(wanted="ball"), "wanted must be a list of class names, but got 'ball'"),
        (lambda _, p: p.regions(wanted=["bal"]), "there is no class 'bal'; .* did you mean ball?"),
    ],
)
def test_the_methods_refuse_wrong_arguments_in_a_line(
    call: Callable[[Segmenter, mp.Prediction], Any], line: str, model: Path
) -> None:
    segmenter = Segmenter.from_pretrained(model, **LOADED)
    prediction = segmenter.predict(np.zeros((32, 48, 3), dtype=np.uint8))
    with pytest.raises(MaskPencilError, match=f"^{line}") as caught:
        call(segmenter, prediction)
    assert "\n" not in str(caught.value)
