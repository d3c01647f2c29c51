import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tests.helpers import noise

from maskpencil.errors import ModelError
from maskpencil.model_folder import fingerprint
from maskpencil.runtimes.graph_cache import (
    VERSION,
    keep_bytes,
    keep_folder,
    kept_size,
    of_weights,
    own_cache,
    prepared_network,
    read_kept,
)
from maskpencil.runtimes.graph_files import read_graph, seal
from maskpencil.segmenter import Segmenter


def logits(folder):
    image = noise(50, 70)
    return Segmenter.from_pretrained(folder, runtime="openvino", device="cpu", precision="fp32").logits_batch([image])


def flipped(path):
    content = np.fromfile(path, np.uint8)
    places = np.random.default_rng(0).choice(len(content), 200, replace=False)
    content[places] ^= 255
    content.tofile(path)


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def as_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flipped, one_bit, cut, empty, longer, as_a_pipe])
def test_damaged_cache_entries_are_made_again_and_change_no_mask(model, cache, damage, capsys):
    expected = logits(model)
    blobs = list(cache.rglob("*.blob"))
    assert blobs
    for path in blobs:
        damage(path)
    np.testing.assert_array_equal(logits(model), expected)
    for path in blobs:
        assert read_kept(path, np.empty(kept_size(path), np.uint8))
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells.xml", "cells.bin", "network.json"])
def test_a_damaged_graph_in_the_cache_is_not_used(model, cache, name):
    expected = logits(model)
    (place,) = cache.iterdir()
    cut(place / name)
    np.testing.assert_array_equal(logits(model), expected)


@pytest.mark.slow
def test_a_damaged_graph_that_only_the_cache_has_is_made_anew(model, cache):
    shutil.rmtree(model / "graph")
    expected = logits(model)
    (place,) = cache.iterdir()
    cut(place / "cells.xml")
    np.testing.assert_allclose(logits(model), expected, atol=1e-5)
    assert read_graph(place, "openvino").facts["kernel"] == "upscore8.weight"


@pytest.mark.slow
def test_the_cache_of_an_earlier_version_is_not_used(model, cache):
    expected = logits(model)
    (place,) = cache.iterdir()
    old = place.with_name(place.name.removesuffix(f"-{VERSION}") + f"-{VERSION - 1}")
    place.rename(old)
    for path in old.rglob("*.*"):
        cut(path)
    np.testing.assert_array_equal(logits(model), expected)
    assert sorted(cache.iterdir()) == sorted([place, old])


@pytest.mark.slow
def test_a_cache_that_is_a_link_or_open_to_everybody_is_not_used(model, cache, tmp_path, monkeypatch):
    expected = logits(model)
    for number, spoil in enumerate((lambda path: path.chmod(0o777), as_a_link)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))
        folder = tmp_path / f"cache{number}" / "maskpencil"
        (folder / "openvino").mkdir(parents=True)
        spoil(folder)
        assert own_cache("openvino") is None
        np.testing.assert_allclose(logits(model), expected, atol=1e-5)
        assert not list((folder / "openvino").iterdir())


def as_a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def test_a_cache_of_somebody_else_is_not_used(cache, monkeypatch):
    assert own_cache("openvino") == cache
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert own_cache("openvino") is None


def test_a_full_disk_leaves_the_cache_empty_without_a_message(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    keep_bytes(tmp_path / "compiled" / "one.blob", b"content")
    monkeypatch.setattr("tempfile.mkdtemp", full)
    keep_folder(tmp_path / "place", lambda _: None)
    assert not list(tmp_path.rglob("*.*"))


def test_cache_entries_of_simultaneous_processes_are_complete(tmp_path):
    content = [bytes([number]) * 100_000 for number in range(8)]
    path = tmp_path / "compiled" / "one.blob"

    def keep_and_read(one):
        keep_bytes(path, one)
        keep_folder(tmp_path / "place", lambda place: (place / "file").write_bytes(one))
        array = np.empty(kept_size(path), np.uint8)
        return read_kept(path, array) and array.tobytes() in content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(keep_and_read, content * 5))
    assert (tmp_path / "place" / "file").read_bytes() in content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["compiled", "file", "one.blob", "place"]


@pytest.mark.slow
def test_weights_that_change_while_they_are_read_are_not_kept(model, cache):
    prepared = prepared_network(model, "openvino")
    other_weights(model)
    with pytest.raises(ModelError, match="was changed while it was read; start again"):
        prepared.keep()
    assert not list(cache.iterdir())


def other_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["score_fr.bias"] += 1
    save_file(tensors, folder / "model.safetensors")


@pytest.fixture
def quantized(model):
    """A model folder with another file in place of its int8 network."""
    shutil.copytree(model / "graph", model / "int8")
    facts = dict(read_graph(model / "int8", "openvino").facts)
    del facts["digest"]
    seal(model / "int8", facts | {"of": of_weights(fingerprint(model))}, "openvino")
    return model


def test_a_network_in_int8_is_used_with_the_weights_it_was_made_of(quantized):
    assert Segmenter.from_pretrained(quantized, device="cpu").runtime.precision == "int8"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells.xml", "cells.bin", "network.json"])
@pytest.mark.parametrize("damage", [cut, empty, as_a_pipe])
def test_a_damaged_network_in_int8_is_one_line_with_a_remedy_that_works(quantized, monkeypatch, name, damage):
    damage(quantized / "int8" / name)
    with pytest.raises(ModelError, match=r"int8: is damaged .*quantize the model again .*or use --precision fp32"):
        Segmenter.from_pretrained(quantized, device="cpu")
    Segmenter.from_pretrained(quantized, device="cpu", precision="fp32")


def test_a_network_in_int8_of_other_weights_is_not_used(quantized):
    other_weights(quantized)
    with pytest.raises(ModelError, match=r"int8: was not made from the weights in .*quantize the model again"):
        Segmenter.from_pretrained(quantized, device="cpu")
