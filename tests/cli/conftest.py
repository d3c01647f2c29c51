from pathlib import Path

import pytest

from maskpencil.classes import ClassSet


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of an untrained network with the classes of `tiny_folder`."""
    import torch

    from maskpencil.model_folder import ModelParts, write_model_folder
    from maskpencil.models import FCNConfig, build_fcn
    from maskpencil.preprocessing import Preprocessing

    torch.manual_seed(0)
    network = build_fcn(FCNConfig(3, "test_resnet"), weights="none")
    preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), None)
    path = tmp_path_factory.mktemp("run") / "model"
    write_model_folder(path, ModelParts(network, ClassSet(("ground", "box", "ball")), preprocessing, {}))
    return path
