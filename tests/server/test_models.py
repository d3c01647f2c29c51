from pathlib import Path

import numpy as np
import pytest
from tests.server.clients import Brightness, png

from maskpencil.errors import ConfigError
from maskpencil.prediction import Prediction
from maskpencil.server import ServeOptions, serve
from maskpencil.server.models import Models, default_name, loaded_models, named_models


class AllBright(Brightness):
    title = "always bright"

    def predict_batch(self, images, **_) -> list[Prediction]:
        return [Prediction(each, np.ones(each.shape[:2], np.uint8), None, self.classes) for each in images]


def test_requests_choose_a_model_by_name_and_get_the_first_without(start):
    server = start({"halves": Brightness(), "all": AllBright()})
    assert [each["name"] for each in server.ask("/v1/models").json["models"]] == ["halves", "all"]
    assert [each["runs"] for each in server.ask("/v1/models").json["models"]] == ["by eye", "always bright"]
    bright = {
        model: server.ask(f"/v1/mask?out=json{model}", png((4, 12))).json["classes"][1]["pixels"]
        for model in ("", "&model=halves", "&model=all")
    }
    assert bright == {"": 24, "&model=halves": 24, "&model=all": 48}


@pytest.mark.parametrize("name", ["", "ALL", "all%00", "../all", "ä"])
def test_a_model_that_does_not_exist_is_refused_before_the_body(name, start):
    reply = start({"all": AllBright()}).ask(f"/v1/mask?model={name.replace('ä', '%C3%A4')}", png())
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.json["error"].startswith("model must be one of all, but got ")


def test_as_many_images_run_at_once_as_every_model_allows():
    with loaded_models({"three": Brightness(3), "two": Brightness(2)}) as models:
        assert models.at_once == 2


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/train/street/model", "street"),
        ("runs/train/street", "street"),
        ("torchvision/fcn_resnet50", "fcn_resnet50"),
        ("exported/street/model.onnx", "street"),
        ("exported/street.fp16.onnx", "street.fp16"),
        ("my street/model", "my-street"),
        ("straße", "stra-e"),
        (".hidden", "hidden"),
        ("ßß", "model"),
        ("x" * 200, "x" * 100),
    ],
)
def test_a_model_is_named_after_its_run(path, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if path.endswith(".onnx"):
        Path(path).parent.mkdir(parents=True)
        Path(path).touch()
    assert default_name(path) == default_name(Path(path)) == name
    assert default_name(Brightness()) == "model"


def test_the_folder_in_which_a_path_is_given_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "street" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "street" / "model")
    assert default_name(".") == "street"


def test_words_name_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    words = ["runs/train/street/model", "roads=runs/train/street/model", "a=b", "runs/x=y/model"]
    assert named_models(words) == {
        "street": Path("runs/train/street/model"),
        "roads": Path("runs/train/street/model"),
        "a-b": Path("a=b"),
        "x-y": Path("runs/x=y/model"),
    }


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "models is empty"),
        ({"a b": Brightness()}, "a model's name must be 1 to 100 letters"),
        ({3: Brightness()}, "a model's name must be"),
        ({"street": 3}, "must be a Segmenter or a model folder"),
    ],
)
def test_models_that_cannot_be_served_are_refused(models, message):
    with pytest.raises(ConfigError, match=message), serve(models, options=ServeOptions(port=0)):
        pass


def test_the_first_model_is_the_one_without_a_name():
    one, other = Brightness(), AllBright()
    models = Models({"one": one, "other": other})
    assert models.find(None) == ("one", one)
    assert models.find("other") == ("other", other)
