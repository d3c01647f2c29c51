import pytest
import torch
from torchvision import models

from maskpencil.models import create_backbone


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_the_features_are_those_of_the_classifier(name, tmp_path):
    torch.manual_seed(0)
    classifier = models.get_model(name).eval()
    torch.save(classifier.state_dict(), tmp_path / "weights.pt")
    backbone = create_backbone(name, weights=tmp_path / "weights.pt").eval()
    images = torch.randn(2, 3, 64, 96)
    logits = classifier.fc(backbone(images)[32].mean(dim=(2, 3)))
    torch.testing.assert_close(logits, classifier(images))


def test_the_tensors_keep_torchvisions_names():
    theirs = {name for name in models.resnet18().state_dict() if not name.startswith("fc.")}
    assert set(create_backbone("resnet18", weights="none").state_dict()) == theirs
