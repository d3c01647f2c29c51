"""Segmenters are copied, pickled and sent to other processes."""

import copy
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.helpers import ONNX

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, ModelError
from maskpencil.inference import wrappers
from maskpencil.inference.wrappers import Abstain, SingleClass
from maskpencil.model_folder import ModelParts
from maskpencil.segmenter import Segmenter

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

WAYS: dict[str, Callable[[Segmenter], Segmenter]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda segmenter: pickle.loads(pickle.dumps(segmenter)),
}


@pytest.fixture
def folder(make_segmenter, shared_cache, tmp_path: Path) -> Path:
    make_segmenter().save(tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, runtime: str, **settings) -> Segmenter:
    return Segmenter.from_pretrained(folder, runtime=runtime, device="cpu", precision="fp32", **settings)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torch", "openvino", ONNX])
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_predictions_and_settings_of_its_original(way: str, runtime: str, folder: Path) -> None:
    segmenter = load(folder, runtime, memory=2**20, tile=32, image_size=(32, 48))
    segmenter.has_blended = True
    expected = segmenter.predict(IMAGE)
    copied = WAYS[way](segmenter)
    assert copied is not segmenter
    assert (copied.memory, copied.tile, copied.has_blended) == (2**20, 32, True)
    assert (copied.preprocessing, copied.classes) == (segmenter.preprocessing, segmenter.classes)
    assert copied.preprocessing.image_size == (32, 48)
    assert copied.runtime.title == segmenter.runtime.title
    assert copied.training == segmenter.training
    np.testing.assert_array_equal(copied.predict(IMAGE).label_map, expected.label_map)


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_live_network_is_copied_with_its_weights_and_then_independent(way: str, make_segmenter) -> None:
    segmenter = make_segmenter()
    with torch.no_grad():
        segmenter.network.score_fr.bias += torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0])
    expected = segmenter.predict(IMAGE).label_map
    copied = WAYS[way](segmenter)
    np.testing.assert_array_equal(copied.predict(IMAGE).label_map, expected)
    with torch.no_grad():
        copied.network.score_fr.bias[0] += 1000
    assert (copied.predict(IMAGE).label_map != expected).any()
    np.testing.assert_array_equal(segmenter.predict(IMAGE).label_map, expected)


@pytest.mark.slow
def test_a_compiled_network_is_compiled_anew_in_a_copy(make_segmenter) -> None:
    segmenter = make_segmenter()
    compiled = Segmenter.of_network(
        ModelParts(segmenter.network, segmenter.classes, segmenter.preprocessing),
        device="cpu",
        precision="fp32",
        compiled=True,
    )
    copied = copy.deepcopy(compiled)
    np.testing.assert_array_equal(copied.predict(IMAGE).label_map, segmenter.predict(IMAGE).label_map)


def test_a_relative_model_folder_is_found_from_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    segmenter = load(Path("model"), "openvino")
    content = pickle.dumps(segmenter)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(pickle.loads(content).predict(IMAGE).label_map, segmenter.predict(IMAGE).label_map)


def test_a_changed_model_folder_is_noticed_when_unpickling(folder: Path, make_segmenter) -> None:
    content = pickle.dumps(load(folder, "openvino"))
    make_segmenter(classes=ClassSet(("a", "b"))).save(folder)
    with pytest.raises(ModelError, match="model: the model changed since this segmenter was pickled"):
        pickle.loads(content)
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="there is no such model folder"):
        pickle.loads(content)


def test_a_converted_network_without_a_folder_cannot_be_copied(folder: Path) -> None:
    segmenter = load(folder, "openvino")
    segmenter.folder = None
    with pytest.raises(ConfigError, match="without a model folder cannot be copied; load it with runtime='torch'"):
        copy.copy(segmenter)


@pytest.mark.parametrize(
    "wrap",
    [
        partial(SingleClass, name="road", threshold=0.3),
        partial(wrappers.TestTimeAugmentation, flip=True),
        partial(Abstain, below=0.5),
    ],
)
def test_wrappers_of_a_segmenter_are_pickled_with_it(wrap, make_segmenter) -> None:
    wrapped = wrap(make_segmenter())
    copied = pickle.loads(pickle.dumps(wrapped))
    (one,), (other,) = copied.predict_batch([IMAGE]), wrapped.predict_batch([IMAGE])
    np.testing.assert_array_equal(one.label_map, other.label_map)


def test_a_prediction_is_pickled(make_segmenter) -> None:
    prediction = make_segmenter().predict(IMAGE)
    copied = pickle.loads(pickle.dumps(prediction))
    np.testing.assert_array_equal(copied.overlay(), prediction.overlay())


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.slow
def test_a_segmenter_works_in_a_spawned_process(runtime: str, folder: Path) -> None:
    segmenter = load(folder, runtime)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map_async(segmenter.predict, [IMAGE]).get(timeout=120)
    np.testing.assert_array_equal(found[0].label_map, segmenter.predict(IMAGE).label_map)
