import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where converted networks are kept: each test has a cache of its own."""
    return tmp_path / "cache" / "maskpencil" / "openvino"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its graph, made once: making one takes seconds."""
    import torch

    from maskpencil.model_folder import ModelParts, write_model_folder
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing
    from maskpencil.runtimes.export import add_graph

    torch.manual_seed(0)
    classes = ClassSet(("sky", "road", "car", "tree", "wall"))
    network = build_fcn(FCNConfig(len(classes), "test_resnet"), weights="none")
    for name, parameter in network.named_parameters():
        if name.startswith(("score", "upscore")):
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("made") / "model"
    write_model_folder(folder, ModelParts(network, classes, Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2))))
    add_graph(folder, warn=pytest.fail)
    return folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, to be damaged."""
    return shutil.copytree(made, tmp_path / "model")


def noise(height: int, width: int, seed: int = 0) -> RGBImage:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def predicted_without_torch(folder: Path, tmp_path: Path) -> LabelMap:
    """The label map of `noise(40, 50)` by a model folder, made in a process of its own that must not import torch."""
    script = (
        "import sys, numpy as np; from maskpencil.segmenter import Segmenter;"
        f"s = Segmenter.from_pretrained({str(folder)!r}, device='cpu', precision='fp32');"
        "image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8);"
        f"np.save({str(tmp_path / 'labels.npy')!r}, s.predict(image).label_map); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    return np.load(tmp_path / "labels.npy")
