import pytest
import torch
from torchvision import models

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models.backbones import downloads
from maskpencil.models.build import describe, rebuild
from maskpencil.models.importers.torchvision_fcn import (
    TorchvisionFCNConfig,
    is_torchvision_fcn,
    load_torchvision_fcn,
    torchvision_fcn,
)


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    net = models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=4, aux_loss=True).eval()
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return net


@torch.inference_mode()
def test_the_logits_are_torchvisions(theirs):
    tensors = theirs.state_dict()
    assert is_torchvision_fcn(tensors)
    ours = load_torchvision_fcn(tensors, source="net.pth").eval()
    images = torch.randn(1, 3, 61, 83)
    torch.testing.assert_close(ours(images), theirs(images)["out"], rtol=1e-4, atol=1e-4)


def test_the_depth_is_recognized():
    assert load_torchvision_fcn(deep(23), source="net").config == TorchvisionFCNConfig(2, "fcn_resnet101")


def test_it_is_rebuilt_from_its_description(theirs):
    net = load_torchvision_fcn(theirs.state_dict(), source="net.pth")
    again = rebuild(describe(net))
    assert again.config == net.config
    assert again.state_dict().keys() == net.state_dict().keys()


def test_tensors_that_do_not_fit_are_listed(theirs):
    tensors = {name: tensor for name, tensor in theirs.state_dict().items() if name != "classifier.0.weight"}
    with pytest.raises(ModelError, match=r"net\.pth: does not fit, missing classifier\.0\.weight.*fcn_resnet50"):
        load_torchvision_fcn(tensors, source="net.pth")


def test_unpublished_networks_are_refused():
    with pytest.raises(ConfigError, match="fcn_resnet50, fcn_resnet101, but got 'fcn_resnet18'"):
        torchvision_fcn("fcn_resnet18")
    with pytest.raises(ConfigError, match="expected FCN or torchvision; update maskpencil"):
        rebuild({"name": "U-Net"})


def test_without_the_internet_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(downloads, "refuse_unreachable", offline)
    message = r"fcn_resnet50 cannot be loaded \(no network\); save https.*maskpencil import"
    with pytest.raises(ModelError, match=message):
        torchvision_fcn("fcn_resnet50")


def deep(blocks: int) -> dict[str, torch.Tensor]:
    """A state dict of as many blocks in the third layer, each number stored once: it takes no memory."""
    with torch.device("meta"):
        net = models.segmentation.fcn_resnet101(weights=None, weights_backbone=None, num_classes=2, aux_loss=None)
    assert f"backbone.layer3.{blocks - 1}.conv1.weight" in net.state_dict()
    return {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in net.state_dict().items()}
