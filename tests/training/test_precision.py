import pytest
import torch

from maskpencil.errors import ConfigError
from maskpencil.training.checkpoints import load_checkpoint, save_checkpoint
from maskpencil.training.schedule import Progress
from maskpencil.training.train import train

SMALL = {"weights": "none", "backbone": "test_resnet", "crop_size": "64x64", "batch_size": 3, "quiet": True}


def test_fp16_is_refused_where_there_is_no_gpu_for_it(tiny_folder, tmp_path):
    with pytest.raises(ConfigError, match="precision fp16 needs a CUDA device, but the device is cpu; use bf16"):
        train(tiny_folder, out=tmp_path / "run", precision="fp16", device="cpu", **SMALL)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_brings_the_scale_of_the_loss_back(tmp_path):
    model = torch.nn.Linear(1, 1)
    optimizer, scaler = torch.optim.SGD(model.parameters()), torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))  # it is lazy
    save_checkpoint(tmp_path / "last", progress=Progress(), model=model, optimizer=optimizer, scaler=scaler)
    other = torch.amp.GradScaler("cpu")
    assert load_checkpoint(tmp_path / "last", model=model, optimizer=optimizer, scaler=other) == Progress()
    assert other.state_dict() == scaler.state_dict()
    assert other.get_scale() == 8.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp16_learns_and_keeps_its_scale(tiny_folder, tmp_path):
    run = train(tiny_folder, out=tmp_path / "run", precision="fp16", device="cuda", epochs=3, **SMALL)
    state = torch.load(run.folder / "checkpoints" / "last" / "state.pt", weights_only=True)
    assert state["scaler"]["scale"] > 0
    assert run.mean_iou > 0.3
