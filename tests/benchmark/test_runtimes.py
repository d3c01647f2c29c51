import numpy as np
import pytest
import torch

from maskpencil.benchmark import runtimes
from maskpencil.benchmark.runtimes import EAGER, compare_runtimes, operations
from maskpencil.cli import main
from maskpencil.models import FCNConfig, build_fcn


@pytest.fixture
def model(make_segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "_MATRIX", 64)
    make_segmenter().save(tmp_path / "model")
    return tmp_path / "model"


def test_every_runtime_is_timed_beside_the_eager_network_and_agrees_with_it(model):
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))
    results = compare_runtimes(model, images, repeats=1)
    names = [result.name for result in results]
    assert names[:5] == [EAGER, "torch fp32", "torch bf16", "openvino fp32", "openvino bf16"]
    assert names[5].startswith("auto: openvino ")
    for result in results:
        assert result.seconds > 0
        assert result.rate > 0
        assert result.peak
        assert result.agreement == (1 if result.name == EAGER else pytest.approx(1, abs=0.1))


def test_operations_are_counted_by_hand():
    network = build_fcn(FCNConfig(2, "test_resnet", stride=32, learned_upsampling="none"), weights="none")
    head = 2 * 2 * network.backbone.channels[32] * (2 * 2)  # 2 classes at 2 x 2 cells
    upsampling = 2 * (2 * 2 * 2) * 64 * 64  # each of 2 x 2 x 2 scores is spread over 64 x 64 pixels
    network.backbone = Pooled(network.backbone.channels[32])
    assert operations(network, (64, 64)) == head + upsampling


class Pooled(torch.nn.Module):
    """Gives features without a convolution."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, images):
        return {32: torch.zeros(1, self.channels, images.shape[2] // 32, images.shape[3] // 32)}


def test_the_command_prints_a_table(model, capsys):
    assert main(["benchmark", str(model), "--size", "64x64", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 pictures one by one" in lines[0]
    assert lines[1].split()[:2] == ["ms", "images/s"]
    assert lines[2].startswith(EAGER)
    assert lines[-1].startswith("auto: openvino")
