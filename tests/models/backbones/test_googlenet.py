import torch
from torchvision import models

from maskpencil.models import create_backbone
from maskpencil.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD


def normalized(pixels, mean, std):
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@torch.inference_mode()
def test_its_normalization_gives_the_features_of_torchvision_with_imagenets(tmp_path):
    torch.manual_seed(0)
    classifier = models.googlenet(aux_logits=True, transform_input=True, init_weights=False).eval()
    torch.save(classifier.state_dict(), tmp_path / "googlenet.pth")
    backbone = create_backbone("googlenet", weights=tmp_path / "googlenet.pth").eval()
    pixels = torch.rand(2, 3, 64, 96)
    features = backbone(normalized(pixels, backbone.mean, backbone.std))
    logits = classifier.fc(features[32].mean(dim=(2, 3)))
    torch.testing.assert_close(logits, classifier(normalized(pixels, IMAGENET_MEAN, IMAGENET_STD)))


def test_weights_without_side_branches_are_taken_too(tmp_path):
    classifier = models.googlenet(aux_logits=False, init_weights=False)
    torch.save(classifier.state_dict(), tmp_path / "googlenet.pth")
    backbone = create_backbone("googlenet", weights=tmp_path / "googlenet.pth")
    assert torch.equal(backbone.conv1.conv.weight, classifier.conv1.conv.weight)
    assert not any(name.startswith(("aux", "fc")) for name in backbone.state_dict())
