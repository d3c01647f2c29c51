import json
import os
import shutil
import sys

import numpy as np
import openvino
import pytest
from openvino import opset13 as op
from safetensors.numpy import load_file, save_file
from tests.helpers import ONNX, noise, predicted_without_torch

from maskpencil.errors import ModelError
from maskpencil.runtimes.export import add_graph
from maskpencil.runtimes.graph_cache import prepared_network
from maskpencil.runtimes.graph_files import carried_graph, checked_xml, refuse_too_large, seal
from maskpencil.segmenter import Segmenter
from maskpencil.training.train import train


@pytest.fixture
def carrying(make_segmenter, cache, tmp_path):
    """A function that writes the model folder NAME, with its graph, and gives the folder and its segmenter."""

    def write(name="model", **options):
        segmenter, folder = make_segmenter(**options), tmp_path / name
        segmenter.save(folder)
        add_graph(folder, warn=pytest.fail)
        return folder, segmenter

    return write


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def by_openvino(folder):
    return Segmenter.from_pretrained(folder, runtime="openvino", device="cpu", precision="fp32")


def same(ours, theirs):
    image = noise(50, 70)
    np.testing.assert_allclose(ours.logits_batch([image]), theirs.logits_batch([image]), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
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
    same(by_openvino(run.model), Segmenter.from_pretrained(run.model, runtime="torch", device="cpu", precision="fp32"))


@pytest.mark.slow
def test_a_folder_with_a_graph_never_needs_torch(carrying, tmp_path):
    folder, segmenter = carrying()
    assert (predicted_without_torch(folder, tmp_path) == segmenter.predict(noise(40, 50)).label_map).mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("learned_upsampling", ["all", "none"])
def test_the_graph_holds_no_weights(carrying, learned_upsampling):
    folder, _ = carrying(learned_upsampling=learned_upsampling)
    assert (folder / "graph" / "cells.bin").stat().st_size < 1000
    assert sorted(path.name for path in (folder / "graph").iterdir()) == ["cells.bin", "cells.xml", "network.json"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["openvino", ONNX])
def test_a_graph_names_no_files_of_the_machine_that_made_it(make_segmenter, shared_cache, tmp_path, form):
    make_segmenter().save(tmp_path / "model")
    content = prepared_network(tmp_path / "model", form).graph
    assert b"score_fr" in content
    assert b".py" not in content
    assert b"site-packages" not in content


@pytest.mark.slow
def test_the_graph_takes_the_weights_that_are_beside_it(carrying):
    folder, segmenter = carrying()
    segmenter.network.score_fr.weight.data.neg_()
    segmenter.save(folder.with_name("other"))
    shutil.copy(folder.with_name("other") / "model.safetensors", folder)
    assert carried_graph(folder)
    same(by_openvino(folder), segmenter)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["another network's", "another version's"])
def test_a_graph_of_another_folder_is_not_used(carrying, change):
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


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def with_other_layers(path):
    path.write_text(path.read_text().replace('type="ReLU"', 'type="Sigmoid"'))


def with_another_stride(path):
    path.write_text(path.read_text().replace('"stride": 8', '"stride": 16'))


def as_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_a_circle_of_links(path):
    path.unlink()
    path.symlink_to(path)


def nested(path):
    path.write_bytes(b"[" * 100_000 + b"]" * 100_000)


DAMAGES = [
    *(("cells.xml", damage) for damage in (cut, with_other_layers, as_a_pipe, as_a_circle_of_links)),
    *(("cells.bin", damage) for damage in (cut, as_a_pipe)),
    *(("network.json", damage) for damage in (cut, with_another_stride, as_a_pipe, nested)),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_graph_that_is_not_what_was_written_is_not_used(model, without_torch, name, damage):
    damage(model / "graph" / name)
    assert carried_graph(model) is None
    with pytest.raises(ModelError, match=r"has no complete graph of its network, and making one needs torch"):
        prepared_network(model, "openvino")


@pytest.mark.slow
def test_a_damaged_graph_is_made_anew_where_torch_is(made, model):
    with_other_layers(model / "graph" / "cells.xml")
    same(by_openvino(model), by_openvino(made))


def forged(folder, change):
    """Change the XML of a folder's graph as somebody does who writes the digest that belongs to it."""
    place = folder / "graph"
    facts = json.loads((place / "network.json").read_text())
    (place / "cells.xml").write_text(change((place / "cells.xml").read_text()))
    del facts["digest"]
    seal(place, facts, "openvino")


@pytest.mark.slow
def test_a_strangers_copy_with_another_graph_does_not_change_what_the_genuine_model_predicts(made, model):
    before = by_openvino(shutil.copytree(made, model.with_name("before")))
    forged(model, lambda text: text.replace('type="ReLU"', 'type="Sigmoid"'))
    image = noise(50, 70)
    changed = by_openvino(model).logits_batch([image])
    assert np.abs(changed - before.logits_batch([image])).max() > 0.01  # it is another network
    same(by_openvino(made), before)


@pytest.mark.slow
def test_a_strangers_constants_do_not_change_what_the_genuine_model_predicts(made, model):
    genuine = by_openvino(made).logits_batch([noise(50, 70)])
    constants = bytearray((model / "graph" / "cells.bin").read_bytes())
    place = constants.index(np.float32(-0.5 * 255).tobytes())  # the mean of the red channel
    constants[place : place + 4] = np.float32(200).tobytes()
    (model / "graph" / "cells.bin").write_bytes(constants)
    forged(model, lambda text: text)
    assert np.abs(by_openvino(model).logits_batch([noise(50, 70)]) - genuine).max() > 0.01
    np.testing.assert_array_equal(by_openvino(made).logits_batch([noise(50, 70)]), genuine)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fact", "measured", "value"), [("reach", "receptive_radius", 32), ("bytes_per_pixel", "bytes_per_pixel", 7)]
)
def test_a_strangers_facts_do_not_change_those_of_the_genuine_model(made, model, fact, measured, value):
    genuine = by_openvino(made).runtime.profile
    facts = json.loads((model / "graph" / "network.json").read_text())
    facts["footprint"][fact] = value
    del facts["digest"]
    seal(model / "graph", facts, "openvino")
    assert getattr(by_openvino(model).runtime.profile, measured) == value
    assert by_openvino(made).runtime.profile == genuine


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("upscoring", 5),
        ("upscoring", {"classes": 5, "stride": 10**9, "kernel_size": 16, "origin": 4}),
        ("upscoring", {"classes": 5, "stride": 0, "kernel_size": 16, "origin": 4}),
        ("upscoring", {"classes": 10**7, "stride": 8, "kernel_size": 16, "origin": 4}),
        ("upscoring", {"classes": 5, "stride": "a", "kernel_size": 16, "origin": 4}),
        ("upscoring", {"classes": 5, "stride": 8, "kernel_size": 16, "origin": 4, "zz": 1}),
        ("footprint", {}),
        ("footprint", {"reach": 7, "bytes_per_pixel": 100}),
        ("footprint", {"reach": 32, "bytes_per_pixel": 0}),
        ("kernel", 7),
        ("of", "x"),
    ],
)
def test_facts_that_cannot_be_are_not_used_whatever_their_digest(model, fact, value):
    facts = json.loads((model / "graph" / "network.json").read_text())
    del facts["digest"]
    seal(model / "graph", facts | {fact: value}, "openvino")
    assert carried_graph(model) is None


def test_a_forged_graph_of_layers_that_no_network_here_has_is_not_used(model, without_torch):
    forged(model, lambda text: text.replace('type="ReLU" version="opset1"', 'type="ReLU" version="extension"'))
    with pytest.raises(ModelError, match="has no complete graph of its network"):
        prepared_network(model, "openvino")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace('names="score_fr.bias"', 'names="pixels"'), "pixels_1 is missing"),
        (lambda text: text.replace('names="pixels"', 'names="other"'), "other is missing"),
    ],
)
def test_a_forged_graph_that_takes_something_else_is_refused_in_one_line(model, change, expected):
    forged(model, change)
    with pytest.raises(ModelError, match=expected):
        by_openvino(model)


@pytest.mark.slow
def test_weights_that_do_not_fit_the_graph_are_reported(carrying, cache):
    folder, _ = carrying()
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    for changed, expected in (
        ({k: v for k, v in tensors.items() if k != "score_fr.bias"}, "score_fr.bias is missing"),
        (tensors | {"score_fr.bias": np.zeros(3, np.float32)}, r"score_fr.bias is \(3,\) instead of \(5,\)"),
    ):
        save_file(changed, weights)
        with pytest.raises(ModelError, match=rf"model.safetensors: does not fit config.json: {expected}; copy"):
            by_openvino(folder)
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read as weights"):
        by_openvino(folder)
    assert not list(cache.glob("*"))


def test_without_openvino_a_model_is_complete_except_for_its_graph(make_segmenter, tmp_path, monkeypatch):
    make_segmenter().save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "openvino", None)
    warnings = []
    add_graph(tmp_path / "model", warn=warnings.append)
    (expected,) = warnings
    assert expected.startswith(
        "warning: the model folder has no graph for CPUs, so its first prediction on a CPU takes longer: openvino is "
        "not installed;"
    )
    assert not (tmp_path / "model" / "graph").exists()
    Segmenter.from_pretrained(tmp_path / "model", runtime="torch", device="cpu").predict(noise(40, 50))


LAYER = '<layer id="0" name="x" type="{}" version="{}">{}</layer>'
CONSTANT = '<data element_type="{}" shape="{}" offset="{}" size="{}" />'


def net(layers, head='<?xml version="1.0"?>', version="11"):
    return f'{head}<net name="n" version="{version}"><layers>{layers}</layers><edges /></net>'.encode()


def layer(kind="ReLU", opset="opset1", inner=""):
    return LAYER.format(kind, opset, inner)


def constant(number="f32", shape="2,3", offset="0", size="24"):
    return layer("Const", "opset1", CONSTANT.format(number, shape, offset, size))


BOMB = '<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        net(layer(), head=BOMB),
        net(layer(), head=OUTSIDE),
        net(layer() + "<!-- -->"),
        net(layer() + "<?open file?>"),
        net(layer()) + b"\0",
        net(layer()).decode().encode("utf-16"),
        net(layer())[:-10],
        net(layer(), version="10"),
        net(""),
        b"<other />",
        b"<a>" * 100_000,
        *(
            net(layer(kind))
            for kind in ("ReadValue", "Assign", "If", "Loop", "TensorIterator", "RandomUniform", "X", "")
        ),
        *(net(layer("ReLU", opset)) for opset in ("extension", "opset99", "", "custom")),
        net(layer("ReLU", "opset1", f"<body><layers>{layer('ReLU')}</layers></body>")),
        net(constant(offset="1000")),
        net(constant(offset="1")),
        net(constant(size="25")),
        net(constant(offset="-8")),
        net(constant(offset=str(2**64 - 8))),
        net(constant(size="9" * 5000)),
        net(constant(shape="1000000,1000000")),
        net(constant(shape="-2,-3")),
        net(constant(number="string")),
        net(layer("Const")),
    ],
)
def test_elements_that_the_converter_never_writes_are_refused(content):
    with pytest.raises(ValueError, match=r"it |its |is not a valid offset"):
        checked_xml(content, 24)


def test_checking_does_not_change_the_graph(made):
    content = (made / "graph" / "cells.xml").read_bytes()
    size = (made / "graph" / "cells.bin").stat().st_size
    anew = checked_xml(content, size)
    assert anew.split() == content.replace(b'<?xml version="1.0"?>', b"<?xml version='1.0' encoding='utf-8'?>").split()
    assert checked_xml(anew, size) == anew


def model(*blowing_up):
    pixels = op.parameter([-1, -1, -1, 3], openvino.Type.u8, name="pixels")
    pixels.output(0).get_tensor().set_names({"pixels"})
    node = op.convert(pixels, "f32")
    for change in blowing_up:
        node = change(node)
    return openvino.Model([node], [pixels], "model")


def test_a_small_image_that_would_take_much_memory_is_refused():
    def tiled(node):
        return op.tile(node, [1, 1, 1, 10**6])

    def broadcast(node):
        return op.add(op.reduce_sum(op.broadcast(op.constant(np.float32(1)), [10**6, 10**6]), [0, 1]), node)

    for change in (tiled, broadcast):
        with pytest.raises(ValueError, match="elements for a small image; expected at most"):
            refuse_too_large(model(change))


def test_a_graph_that_is_not_too_large_takes_images_of_any_size_afterwards():
    sound = model()
    refuse_too_large(sound)
    assert sound.inputs[0].get_partial_shape() == openvino.PartialShape([-1, -1, -1, 3])
