import numpy as np
import pytest
import torch
from tests.helpers import noise
from torch._dynamo.exc import TorchDynamoException

from maskpencil.errors import ConfigError
from maskpencil.runtimes import torch_runtime
from maskpencil.runtimes.torch_runtime import CompiledNetwork
from maskpencil.segmenter import Segmenter

NEEDS_CUDA = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))


@pytest.fixture
def make_network(monkeypatch):
    """A stand-in for a network: plain it gives the double of its images, compiled the triple."""
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda images: 3 * images)
    return lambda: CompiledNetwork(lambda images: 2 * images)


def factor(network: CompiledNetwork, *shape: int) -> float:
    return float(network(torch.ones(1, 3, *shape)).mean())


def test_a_shape_is_compiled_when_it_comes_again(make_network):
    network = make_network()
    assert [factor(network, 4, 6) for _ in range(3)] == [2, 3, 3]
    assert factor(network, 4, 7) == 2
    assert float(network(torch.ones(2, 3, 4, 6)).mean()) == 2  # two images are another shape


def test_only_the_first_shapes_are_compiled(make_network, monkeypatch):
    monkeypatch.setattr(torch_runtime, "MAX_COMPILED_SHAPES", 2)
    network = make_network()
    for _ in range(3):
        last = [factor(network, side, 4) for side in (4, 5, 6)]
    assert last == [3, 3, 2]
    assert len(network.shapes) == 2


def test_a_network_that_cannot_be_compiled_is_reported_with_a_remedy(monkeypatch):
    def fails(images):
        raise TorchDynamoException("\nno compiler of C++ was found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    network = CompiledNetwork(lambda images: images)
    network(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ConfigError, match=r"here \(no compiler of C\+\+ was found\); leave --compile out") as caught:
        network(torch.zeros(1, 3, 2, 2))
    assert "\n" not in str(caught.value)


def test_compiled_is_refused_for_a_runtime_that_always_compiles(make_segmenter, tmp_path):
    make_segmenter().save(tmp_path / "model")
    with pytest.raises(
        ConfigError, match="runtime torch, but the runtime is openvino, which always compiles; leave --compile out"
    ):
        Segmenter.from_pretrained(tmp_path / "model", device="cpu", compiled=True)


@pytest.mark.slow
@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def test_a_compiled_network_gives_the_same(make_segmenter, smallest_backbone, tmp_path, device):
    make_segmenter(smallest_backbone).save(tmp_path / "model")
    settings = {"runtime": "torch", "device": device, "precision": "fp32"}
    plain, fast = (Segmenter.from_pretrained(tmp_path / "model", **settings, compiled=each) for each in (False, True))
    images = [noise(64, 96, seed) for seed in range(4)]
    expected = [plain.logits_batch([image]) for image in images]
    made = [fast.logits_batch([image]) for image in images]  # the graph's memory is not what was given before
    assert len(fast.runtime._forward.shapes) == 1
    for one, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
