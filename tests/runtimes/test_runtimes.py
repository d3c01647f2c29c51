import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.helpers import ONNX, noise, predicted_without_torch

from maskpencil.errors import ConfigError, ModelError
from maskpencil.runtimes.base import Wanted
from maskpencil.segmenter import Segmenter

SIZES = ((1, 1), (37, 53), (64, 96), (70, 33))


@pytest.fixture
def both(make_segmenter, shared_cache, tmp_path):
    """The same network, run by torch and by another runtime, both in fp32."""

    def make(*arguments, runtime: str = "openvino", image_size=None, **settings) -> tuple[Segmenter, Segmenter]:
        make_segmenter(*arguments, **settings).save(tmp_path / "model")
        loaded = {"runtime": runtime, "device": "cpu", "precision": "fp32", "image_size": image_size}
        other = Segmenter.from_pretrained(tmp_path / "model", **loaded)
        return make_segmenter(*arguments, image_size=image_size, **settings), other

    return make


@pytest.mark.slow
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("learned", ["none", "all"])
@pytest.mark.parametrize("runtime", ["openvino", ONNX])
def test_another_runtime_and_torch_give_the_same(both, smallest_backbone, runtime, stride, learned):
    # converting to ONNX takes seconds, so a backbone with all kinds of layers only in the network that others convert
    is_small = runtime == "onnx" and (stride, learned) != (8, "all")
    backbone = smallest_backbone if is_small else "test_resnet"
    for image_size in (None, (60, 84)):  # the network is converted for the first one only
        pair = both(backbone, runtime=runtime, stride=stride, learned_upsampling=learned, image_size=image_size)
        assert_the_same(*pair)


def assert_the_same(by_torch: Segmenter, other: Segmenter) -> None:
    for size in SIZES:
        images = [noise(*size, seed) for seed in range(2)]
        np.testing.assert_allclose(other.logits_batch(images), by_torch.logits_batch(images), rtol=1e-4, atol=1e-4)
        wanted = Wanted(confidence=True, entropy=True, class_index=1)
        ours, theirs = by_torch.maps(images, wanted), other.maps(images, wanted)
        assert (ours.labels == theirs.labels).mean() > 0.999
        for name in ("confidence", "entropy", "probability"):
            np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [Wanted(), Wanted(confidence=True), Wanted(entropy=True), Wanted(class_index=2)])
@pytest.mark.parametrize("runtime", ["openvino", ONNX])
def test_requesting_more_maps_does_not_change_the_label_map(both, runtime, wanted):
    image = noise(50, 70)
    for segmenter in both(runtime=runtime):
        expected = segmenter.logits_batch([image]).argmax(axis=1)
        np.testing.assert_array_equal(segmenter.maps([image], wanted).labels, expected)


def test_entropy_is_0_for_a_certain_class_and_1_for_equal_probabilities(make_segmenter):
    segmenter = make_segmenter(learned_upsampling="none")
    for name, parameter in segmenter.network.named_parameters():
        if name.startswith("score"):
            parameter.data.zero_()
    maps = segmenter.maps([noise(40, 40)], Wanted(entropy=True, confidence=True))
    np.testing.assert_allclose(maps.entropy, 1, atol=1e-6)
    np.testing.assert_allclose(maps.confidence, 0.2, atol=1e-6)
    segmenter.network.score_fr.bias.data[3] = 1000
    maps = segmenter.maps([noise(40, 40)], Wanted(entropy=True))
    assert maps.entropy.max() < 1e-6
    assert (maps.labels == 3).all()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", ONNX])
def test_the_released_networks_run_in_other_runtimes_too(both, narrow_alexnet, runtime):
    by_torch, other = both("alexnet", runtime=runtime, stride=32, as_released=True)
    image = noise(45, 61)
    np.testing.assert_allclose(other.logits_batch([image]), by_torch.logits_batch([image]), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_network_is_converted_once_and_then_found_without_torch(make_segmenter, cache, tmp_path):
    segmenter = make_segmenter()
    segmenter.save(tmp_path / "model")
    Segmenter.from_pretrained(tmp_path / "model", runtime="openvino", device="cpu", precision="fp32")
    label_map = segmenter.predict(noise(40, 50)).label_map
    assert len(list(cache.iterdir())) == 1
    assert (predicted_without_torch(tmp_path / "model", tmp_path) == label_map).mean() > 0.999


@pytest.mark.slow
def test_other_weights_are_another_network_in_the_cache(make_segmenter, cache, tmp_path):
    image, segmenter = noise(40, 50), make_segmenter(learned_upsampling="none")
    for bias in (-50, 50):
        segmenter.network.score_fr.bias.data[4] = bias
        segmenter.save(tmp_path / "model")
        other = Segmenter.from_pretrained(tmp_path / "model", device="cpu", precision="fp32")
        assert (other.predict(image).label_map == 4).all() == (bias > 0)
    assert len(list(cache.iterdir())) == 2


def test_the_network_runs_even_if_the_cache_cannot_be_written(make_segmenter, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    segmenter = make_segmenter()
    segmenter.save(tmp_path / "model")
    other = Segmenter.from_pretrained(tmp_path / "model", device="cpu", precision="fp32")
    image = noise(40, 50)
    np.testing.assert_allclose(other.logits_batch([image]), segmenter.logits_batch([image]), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_simultaneous_threads_get_their_own_results(both):
    images = [noise(30 + 7 * number, 60, number) for number in range(12)]
    for segmenter in both():
        expected = [segmenter.predict(image).label_map for image in images]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda image, s=segmenter: s.predict(image).label_map, images * 3))
        for ours, theirs in zip(expected * 3, found, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("runtime", ["openvino", ONNX])
def test_simultaneous_predictions_equal_single_ones(both, runtime):
    for segmenter in both(runtime=runtime, image_size=(60, 84)):
        images = [noise(40, 60, number) for number in range(8)]
        alone = [segmenter.logits_batch([image]) for image in images]
        with segmenter.side_by_side() as workers, ThreadPoolExecutor(workers) as pool:
            assert segmenter.budget == segmenter.memory // segmenter.runtime.at_once
            assert workers == segmenter.runtime.at_once + (segmenter.runtime.name == "openvino")  # one gets ready
            with segmenter.side_by_side() as others:  # of another thread, say
                assert others == workers
            assert segmenter.budget == segmenter.memory // segmenter.runtime.at_once
            together = list(pool.map(lambda image, s=segmenter: s.logits_batch([image]), images))
        assert segmenter.budget == segmenter.memory
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(segmenter.logits_batch(images[:1]), alone[0])


def test_a_segmenter_without_torch_is_saved_as_it_was_read(both, tmp_path):
    _, by_openvino = both()
    by_openvino.save(tmp_path / "copy")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_damaged_weights_are_a_clear_error(make_segmenter, cache, tmp_path):
    make_segmenter().save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        Segmenter.from_pretrained(tmp_path / "model", device="cpu")
    assert not list(cache.glob("*"))


@pytest.mark.slow
def test_a_network_that_openvino_cannot_run_is_reported_with_the_remedy(make_segmenter, cache, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise RuntimeError("\nNo conversion rule found for operations: aten::odd\nmore")

    make_segmenter().save(tmp_path / "model")
    monkeypatch.setattr("openvino.convert_model", lambda *_, **__: refuse())
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: refuse())
    for runtime in ("openvino", "onnx"):
        with pytest.raises(
            ModelError, match=rf"cannot be run by {runtime} \(No conversion rule .*odd\); use --runtime torch"
        ):
            Segmenter.from_pretrained(tmp_path / "model", runtime=runtime, device="cpu")


def test_precisions_that_a_runtime_lacks_are_refused(make_segmenter, cache, tmp_path):
    make_segmenter().save(tmp_path / "model")
    for precision, expected in (("fp16", "fp16 needs a CUDA device"), ("int8", "maskpencil quantize")):
        with pytest.raises(ConfigError, match=expected):
            Segmenter.from_pretrained(tmp_path / "model", device="cpu", precision=precision)
    with pytest.raises(ConfigError, match="runtime onnx computes in fp32, but got precision 'bf16'"):
        Segmenter.from_pretrained(tmp_path / "model", runtime="onnx", device="cpu", precision="bf16")


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["onnxruntime", "onnx"])
def test_missing_packages_of_the_onnx_runtime_are_reported_with_the_remedy(
    make_segmenter, smallest_backbone, cache, tmp_path, monkeypatch, missing
):
    make_segmenter(smallest_backbone).save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"needs {missing}; install it with pip install 'maskpencil\[export\]'"):
        Segmenter.from_pretrained(tmp_path / "model", runtime="onnx", device="cpu")
