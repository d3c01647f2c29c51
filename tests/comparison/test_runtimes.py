import numpy as np
import pytest
import torch

from maskpencil.cli import main
from maskpencil.comparison import runtimes
from maskpencil.comparison.runtimes import (
    BAR,
    CHOSEN,
    RuntimeResult,
    Way,
    cells,
    chart,
    compare_runtimes,
    memory_of,
    operations,
    ways_of,
)
from maskpencil.images import read_image
from maskpencil.model_folder import fingerprint, read_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.runtimes.export import add_graph, facts_of
from maskpencil.runtimes.graph_cache import of_weights
from maskpencil.runtimes.graph_files import seal
from maskpencil.segmenter import Segmenter

WAYS = ["torch fp32, eager", "torch fp32", "torch bf16", "openvino fp32", "openvino bf16", "onnx fp32"]


@pytest.fixture
def model(make_segmenter, shared_cache, tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes._MATRIX, "cpu", 64)
    make_segmenter().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def without_processes(monkeypatch):
    """Measure memory without starting a process, which takes seconds."""
    monkeypatch.setattr(runtimes, "memory_of", lambda *_: 300 * 2**20)


@pytest.mark.slow
def test_every_way_is_timed_and_agrees_with_the_eager_network(model, without_processes):
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))
    results = compare_runtimes(model, images, repeats=1, default=("openvino", "fp32"))
    assert [result.name for result in results] == WAYS
    assert [result.name for result in results if result.is_default] == ["openvino fp32"]
    for result in results:
        assert result.seconds > 0
        assert result.rate > 0
        assert result.peak
        assert result.agreement == (1 if "eager" in result.name else pytest.approx(1, abs=0.1))


@pytest.mark.slow
def test_memory_is_measured_in_a_separate_process(model):
    Segmenter.from_pretrained(model, runtime="openvino")  # converts the network, so that the processes need no torch
    way = Way("openvino", "fp32")
    small = memory_of(way, model, np.zeros((64, 96, 3), np.uint8))
    large = memory_of(way, model, np.zeros((1024, 1024, 3), np.uint8))
    assert 2**26 < small < large - 4 * 5 * 1024 * 1024  # its five maps of logits at least


def test_a_gpu_has_fp16_and_a_quantized_model_int8(model):
    names = ["torch fp32", "torch bf16", "torch fp16", "torch bf16, compiled"]
    assert [way.name for way in ways_of(model, "cuda")][1:] == names
    (model / "int8").mkdir()
    assert "openvino int8" not in [way.name for way in ways_of(model, "cpu")]
    for name in ("cells.xml", "cells.bin"):
        (model / "int8" / name).touch()
    facts = facts_of(read_model_folder(model).model, of=model)
    seal(model / "int8", facts | {"of": of_weights(fingerprint(model))}, "openvino")
    assert "openvino int8" in [way.name for way in ways_of(model, "cpu")]


def test_bars_are_as_long_as_an_image_takes():
    results = [
        RuntimeResult("one", False, 0.4, 2**28, 1.0, 1e9, 2e9),
        RuntimeResult("two", True, 0.1, 2**28, 0.99, 4e9, None),
    ]
    image = chart(results, "a model")
    lengths = [(image == color).all(axis=2).any(axis=0).sum() for color in (BAR, CHOSEN)]
    assert lengths[0] - 1 == pytest.approx(4 * (lengths[1] - 1), abs=3)  # an end is drawn, too


@pytest.mark.slow
def test_without_torch_only_other_runtimes_are_compared(model, without_processes, monkeypatch):
    add_graph(model, warn=pytest.fail)
    for module in ("runtimes",):
        monkeypatch.setattr(f"maskpencil.comparison.{module}.is_installed", lambda name: name != "torch")
    images = list(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8))
    results = compare_runtimes(model, images, repeats=1, default=("openvino", "fp32"))
    assert [result.name for result in results] == ["openvino fp32", "openvino bf16"]
    assert [(result.rate, result.peak) for result in results] == [(None, None)] * 2
    assert [cells(result, results[0].seconds)[-1] for result in results] == ["-", "-"]


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


@pytest.mark.slow
def test_the_command_prints_a_table_and_draws_it(model, without_processes, tmp_path, capsys):
    out = tmp_path / "table.png"
    assert main(["benchmark", str(model), "--size", "64x64", "--repeats", "1", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 images one at a time" in lines[0]
    assert lines[1].split()[:2] == ["ms", "images/s"]
    assert lines[2].split()[:3] == ["torch", "fp32,", "eager"]
    assert sum(line.startswith("* openvino") for line in lines) == 1
    assert lines[-1].endswith(f"chart: {out}")
    assert len(np.unique(read_image(out).reshape(-1, 3), axis=0)) > 10


def test_a_drawing_that_could_not_be_written_is_refused_before_anything_is_timed(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("maskpencil.comparison.runtimes.compare_runtimes", pytest.fail)
    assert main(["benchmark", str(model), "--out", str(tmp_path / "drawing")]) == 1
    assert "drawing: the name must end in one of" in capsys.readouterr().err
