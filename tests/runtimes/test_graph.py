import json
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maskpencil.errors import ModelError
from maskpencil.runtimes.graph import add_graph, carried_graph
from maskpencil.segmenter import Segmenter
from maskpencil.training.train import train

from .conftest import noise, predicted_without_torch


@pytest.fixture
def carrying(make_segmenter, cache, tmp_path):
    """A function that writes the model folder NAME, with its graph, and gives the folder and its segmenter."""

    def write(name="model", **options):
        segmenter, folder = make_segmenter(**options), tmp_path / name
        segmenter.save(folder)
        add_graph(folder, warn=pytest.fail)
        return folder, segmenter

    return write


def by_openvino(folder):
    return Segmenter.from_pretrained(folder, runtime="openvino", device="cpu", precision="fp32")


def same(ours, theirs):
    image = noise(50, 70)
    np.testing.assert_allclose(ours.logits([image]), theirs.logits([image]), rtol=1e-4, atol=1e-4)


def test_a_trained_model_carries_its_graph(cache, tiny_folder, tmp_path):
    run = train(
        tiny_folder,
        out=tmp_path / "run",
        backbone="test_resnet",
        weights="none",
        crop_size="none",
        epochs=1,
        device="cpu",
        quiet=True,
    )
    assert carried_graph(run.model)
    assert not cache.exists()
    same(by_openvino(run.model), Segmenter.from_pretrained(run.model, runtime="torch", device="cpu"))


def test_a_folder_with_a_graph_never_needs_torch(carrying, tmp_path):
    folder, segmenter = carrying()
    assert (predicted_without_torch(folder, tmp_path) == segmenter.predict(noise(40, 50)).label_map).mean() > 0.999


@pytest.mark.parametrize("learned_upsampling", ["all", "none"])
def test_the_graph_holds_no_weights(carrying, learned_upsampling):
    folder, _ = carrying(learned_upsampling=learned_upsampling)
    assert (folder / "graph" / "cells.bin").stat().st_size < 1000
    assert sorted(path.name for path in (folder / "graph").iterdir()) == ["cells.bin", "cells.xml", "network.json"]


def test_the_graph_takes_the_weights_that_are_beside_it(carrying):
    folder, segmenter = carrying()
    segmenter.network.score_fr.weight.data.neg_()
    segmenter.save(folder.with_name("other"))
    shutil.copy(folder.with_name("other") / "model.safetensors", folder)
    assert carried_graph(folder)
    same(by_openvino(folder), segmenter)


@pytest.mark.parametrize("change", ["another network's", "another version's"])
def test_a_graph_that_is_not_the_folders_is_left_alone(carrying, change):
    folder, segmenter = carrying()
    if change == "another network's":
        shutil.rmtree(folder / "graph")
        shutil.copytree(carrying("other", stride=32)[0] / "graph", folder / "graph")
    else:
        facts = folder / "graph" / "network.json"
        found = json.loads(facts.read_text())
        facts.write_text(json.dumps(found | {"of": [0, *found["of"][1:]]}))
        (folder / "graph" / "cells.xml").write_text("of another time")
    assert carried_graph(folder) is None
    same(by_openvino(folder), segmenter)


@pytest.mark.parametrize("name", ["cells.xml", "network.json"])
def test_a_damaged_graph_is_told_of_with_the_remedy(carrying, name):
    folder, segmenter = carrying()
    (folder / "graph" / name).write_bytes((folder / "graph" / name).read_bytes()[:-30])
    with pytest.raises(ModelError, match=rf"{name}: is damaged; remove the folder .*graph, it is made anew"):
        by_openvino(folder)
    shutil.rmtree(folder / "graph")
    same(by_openvino(folder), segmenter)


def test_weights_that_do_not_fit_the_graph_are_told_of(carrying, cache):
    folder, _ = carrying()
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    for changed, told in (
        ({k: v for k, v in tensors.items() if k != "score_fr.bias"}, "score_fr.bias is missing"),
        (tensors | {"score_fr.bias": np.zeros(3, np.float32)}, r"score_fr.bias is \(3,\) instead of \(5,\)"),
    ):
        save_file(changed, weights)
        with pytest.raises(ModelError, match=rf"model.safetensors: does not fit, {told}; expected its config.json"):
            by_openvino(folder)
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read as weights"):
        by_openvino(folder)
    assert not list(cache.glob("*"))


def test_without_openvino_a_model_is_whole_but_carries_no_graph(make_segmenter, tmp_path, monkeypatch):
    make_segmenter().save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "openvino", None)
    warnings = []
    add_graph(tmp_path / "model", warn=warnings.append)
    (told,) = warnings
    assert told.startswith("warning: its first prediction on a CPU will take longer: openvino is not installed;")
    assert not (tmp_path / "model" / "graph").exists()
    Segmenter.from_pretrained(tmp_path / "model", runtime="torch", device="cpu").predict(noise(40, 50))
