import pytest
import torch
from torch import nn
from torchvision import models

from maskpencil.models import FCN, FCNConfig, create_backbone
from maskpencil.models.backbones.torchvision_models import blank_classifier
from maskpencil.models.backbones.vgg import VGG

VGG16_CONVOLUTIONS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7"),
)


def blank_vgg(name: str, *, fully_connected: bool = True) -> VGG:
    with torch.device("meta"):
        return VGG(name, blank_classifier(name), fully_connected=fully_connected, dropout=0.5, finest=8)


def test_the_tensors_of_fcn_8s_have_the_published_names():
    with torch.device("meta"):
        fcn = FCN(FCNConfig(num_classes=21), backbone=blank_vgg("vgg16"))
    expected = [f"backbone.{name}.{kind}" for name in VGG16_CONVOLUTIONS for kind in ("weight", "bias")]
    expected += [f"{n}.{kind}" for n in ("score_fr", "score_pool4", "score_pool3") for kind in ("weight", "bias")]
    expected += [f"{name}.weight" for name in ("upscore2", "upscore_pool4", "upscore8")]
    assert sorted(fcn.state_dict()) == sorted(expected)


def test_the_tensors_of_fcn_8s_have_the_published_shapes():
    shapes = {name: tuple(tensor.shape) for name, tensor in blank_vgg("vgg16").state_dict().items()}
    assert shapes["conv1_1.weight"] == (64, 3, 3, 3)
    assert shapes["conv5_3.weight"] == (512, 512, 3, 3)
    assert shapes["fc6.weight"] == (4096, 512, 7, 7)
    assert shapes["fc7.weight"] == (4096, 4096, 1, 1)


def test_normalizations_are_numbered_as_their_convolutions():
    layers = [name for name, _ in blank_vgg("vgg11_bn", fully_connected=False).named_children()]
    assert layers[:4] == ["conv1_1", "bn1_1", "relu1_1", "pool1"]
    assert layers[-7:] == ["conv5_1", "bn5_1", "relu5_1", "conv5_2", "bn5_2", "relu5_2", "pool5"]


def test_the_dropout_is_between_fc6_and_fc7():
    layers = [name for name, _ in blank_vgg("vgg16").named_children()]
    assert layers[-6:] == ["pool5", "fc6", "relu6", "drop6", "fc7", "relu7"]


def test_an_untrained_network_keeps_the_magnitude_of_its_activations():
    torch.manual_seed(0)
    backbone = create_backbone("vgg16", weights="none", fully_connected=False)
    features = backbone(torch.randn(1, 3, 64, 64))
    assert all(0.1 < tensor.std() < 10 for tensor in features.values())


@pytest.mark.slow
@torch.inference_mode()
def test_features_are_those_of_the_classifier(tmp_path):
    torch.manual_seed(0)
    features = models.vgg11_bn(init_weights=False).features.eval()
    torch.save({f"features.{name}": tensor for name, tensor in features.state_dict().items()}, tmp_path / "vgg.pth")
    backbone = create_backbone("vgg11_bn", weights=tmp_path / "vgg.pth", fully_connected=False).eval()
    images = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(backbone(images)[32], features(images))
    torch.testing.assert_close(backbone(images)[8], features[:15](images))


@pytest.mark.slow
@torch.inference_mode()
def test_the_center_of_fc7_is_what_the_classifier_computes(tmp_path, monkeypatch):
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda _: None)  # torchvision draws its own weights afterwards
    torch.manual_seed(0)
    classifier = models.vgg16().eval()
    for linear in classifier.classifier[:-1]:
        if isinstance(linear, nn.Linear):
            nn.init.normal_(linear.bias, std=0.1)
    torch.save(classifier.state_dict(), tmp_path / "vgg16.pth")
    image = torch.randn(1, 3, 224, 224)
    pool5 = classifier.avgpool(classifier.features(image)).flatten(1)
    fc7 = classifier.classifier[:5](pool5)[0]  # Linear, ReLU, Dropout, Linear, ReLU
    backbone = create_backbone("vgg16", weights=tmp_path / "vgg16.pth").eval()
    features = backbone(image)[32]
    assert features.shape == (1, 4096, 7, 7)
    assert (features[0, :, 3, 3] - fc7).abs().max() < 1e-4 * fc7.abs().max()
    assert (fc7 > 0).any()
