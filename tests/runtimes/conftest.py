import shutil
from pathlib import Path

import pytest

from maskpencil.classes import ClassSet


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
