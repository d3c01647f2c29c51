from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter

MakeSegmenter = Callable[..., Segmenter]

CLASSES = ClassSet(("sky", "road", "car", "tree", "wall"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maskpencil" / "openvino"


@pytest.fixture
def make_segmenter() -> MakeSegmenter:
    """A network of random scores, run by torch in fp32."""

    def make(backbone: str = "test_resnet", *, image_size: tuple[int, int] | None = None, **settings) -> Segmenter:
        torch.manual_seed(0)
        network = build_fcn(FCNConfig(len(CLASSES), backbone, **settings), weights="none")
        for name, parameter in network.named_parameters():
            if name.startswith("score") or (name.startswith("upscore") and parameter.requires_grad):
                torch.nn.init.normal_(parameter, std=0.1)
        preprocessing = Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2), image_size)
        return Segmenter.of_network(network, CLASSES, preprocessing, device="cpu", precision="fp32")

    return make


def noise(height: int, width: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
