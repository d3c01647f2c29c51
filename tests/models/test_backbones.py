"""The contract that every backbone must fulfill."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from maskpencil.errors import ConfigError
from maskpencil.models import FCN, Backbone, FCNConfig, create_backbone, list_backbones
from maskpencil.models.backbones import FAMILIES

NAMES = [
    *("vgg11", "vgg13_bn", "vgg16", "alexnet", "googlenet", "resnet18", "resnext50_32x4d"),
    *("convnext_atto", "mobilenetv3_small_050", "efficientnet_b0", "regnetx_002", "timm/resnet18.a1_in1k"),
    "swin_tiny_patch4_window7_224",  # (N, H, W, C) features, and made for one image size unless configured otherwise
    "mobilevit_xxs",  # attention within convolutions
    "cspnext_s",  # features by timm's own getter
    "legacy_xception",  # features by hooks
]


def create(name: str, in_channels: int = 3) -> Backbone:
    torch.manual_seed(0)
    return create_backbone(name, weights="none", in_channels=in_channels, fully_connected=False).eval()


def grown(backbone: Backbone) -> FCN:
    """An FCN-8s whose scores are not 0."""
    fcn = FCN(FCNConfig(num_classes=3, backbone=backbone.name, in_channels=backbone.in_channels), backbone=backbone)
    for layer in (fcn.score_fr, fcn.score_pool4, fcn.score_pool3):
        nn.init.normal_(layer.weight, std=0.1)
    return fcn.eval()


QUICK = ("alexnet", "resnet18", "regnetx_002")
"""One of each source; the others are tried with the slow tests."""


@pytest.fixture(
    scope="module",
    params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def backbone(request):
    return create(request.param)


@torch.inference_mode()
def test_features_have_exact_strides_and_the_declared_channels(backbone):
    assert tuple(backbone.channels) == (8, 16, 32)
    for height, width in ((32, 32), (64, 96)):
        features = backbone(torch.randn(2, 3, height, width))
        expected = {s: (2, c, height // s, width // s) for s, c in backbone.channels.items()}
        assert {stride: tuple(tensor.shape) for stride, tensor in features.items()} == expected


@torch.inference_mode()
@pytest.mark.parametrize("name", ["vgg11", "googlenet", "resnet18", "mobilenetv3_small_050", "regnetx_002"])
def test_finer_features_leave_the_others_as_they_are(name):
    finest = create_backbone(name, weights="none", fully_connected=False, stride=2).eval()
    usual = create_backbone(name, weights="none", fully_connected=False).eval()
    usual.load_state_dict(finest.state_dict())
    images = torch.randn(1, 3, 64, 96)
    features, expected = finest(images), usual(images)
    shapes = {s: (1, c, 64 // s, 96 // s) for s, c in finest.channels.items()}
    assert tuple(shapes) == (2, 4, 8, 16, 32)
    assert {stride: tuple(tensor.shape) for stride, tensor in features.items()} == shapes
    assert all(torch.equal(features[stride], tensor) for stride, tensor in expected.items())


@pytest.mark.parametrize(
    ("name", "stride", "found"), [("alexnet", 4, "8, 16, 32"), ("convnext_atto", 2, "4, 8, 16, 32")]
)
def test_a_stride_that_a_backbone_lacks_is_refused_with_those_it_has(name, stride, found):
    with pytest.raises(ConfigError, match=rf"{stride}.* {found}"):
        create_backbone(name, weights="none", fully_connected=False, stride=stride)


def test_the_normalization_has_values_for_each_channel(backbone):
    assert len(backbone.mean) == len(backbone.std) == 3
    assert all(0 <= value < 1 for value in backbone.mean)
    assert all(0 < value <= 1 for value in backbone.std)


@torch.inference_mode()
@pytest.mark.parametrize("size", [(1, 1), (1, 257), (33, 64), (257, 131)])
def test_logits_have_the_size_of_the_images(backbone, size):
    assert grown(backbone)(torch.randn(1, 3, *size)).shape == (1, 3, *size)


def test_gradients_reach_the_first_layer_and_are_finite(backbone):
    fcn = grown(backbone).train()
    logits = fcn(torch.randn(2, 3, 64, 96))
    nn.functional.cross_entropy(logits, torch.randint(3, (2, 64, 96))).backward()
    gradients = {name: p.grad for name, p in fcn.backbone.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    first = next(name for name, p in fcn.backbone.named_parameters() if p.ndim == 4)
    assert gradients[first].abs().sum() > 0
    fcn.zero_grad()


@torch.inference_mode()
def test_saved_tensors_bring_back_the_same_logits(backbone, tmp_path):
    fcn = grown(backbone)
    save_file({name: tensor.contiguous() for name, tensor in fcn.state_dict().items()}, tmp_path / "m.safetensors")
    torch.manual_seed(1)
    again = grown(create_backbone(backbone.name, weights="none", fully_connected=False))
    again.load_state_dict(load_file(tmp_path / "m.safetensors"))
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(fcn(images), again(images))


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("in_channels", [1, 4])
@pytest.mark.parametrize("name", ["vgg11", "alexnet", "googlenet", "resnet18", "timm/test_convnext"])
def test_other_channels_than_rgb_are_accepted(name, in_channels):
    backbone = create(name, in_channels)
    assert backbone.in_channels == len(backbone.mean) == len(backbone.std) == in_channels
    assert grown(backbone)(torch.randn(1, in_channels, 40, 50)).shape == (1, 3, 40, 50)


def test_channels_other_than_rgb_are_normalized_by_the_mean_of_rgb():
    backbone = create("resnet18", 4)
    assert backbone.mean == pytest.approx((0.485, 0.456, 0.406, 0.449))
    assert backbone.std == pytest.approx((0.229, 0.224, 0.225, 0.226))
    assert create("resnet18", 1).mean == pytest.approx((0.449,))


def test_a_backbone_without_a_first_convolution_cannot_take_other_channels_than_rgb():
    with pytest.raises(ConfigError, match="'resnet18' has no first convolution that could be adapted to 4 channels"):
        create("resnet18").take_channels(4)


def test_all_names_are_listed_once_and_those_of_torchvision_have_published_weights():
    from torchvision.models import get_model_weights

    names = list_backbones()
    assert len(names) == len(set(names))
    assert {"vgg16", "alexnet", "googlenet", "resnet50", "wide_resnet101_2", "convnext_tiny"} <= set(names)
    for family in FAMILIES:
        if family.source == "torchvision":
            assert all(get_model_weights(name).DEFAULT.url.startswith("https://") for name in family.names)


def test_a_shared_name_is_torchvisions_without_and_timms_with_the_prefix():
    assert type(create("resnet18")).__name__ == "ResNet"
    assert type(create("timm/resnet18")).__name__ == "TimmModel"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("vgg61", "vgg16"), ("resnet_50", "resnet50"), ("timm/convnext_atomo", "convnext_atto")],
)
def test_a_wrong_name_is_answered_with_close_ones(name, hint):
    with pytest.raises(ConfigError) as caught:
        create_backbone(name)
    assert f"there is no backbone {name!r}; " in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["", "¿?", "timm/", "hf-hub:timm/resnet18", "resnet18.no_such_tag"])
def test_values_that_are_not_names_are_refused(name):
    with pytest.raises(ConfigError, match="there is no backbone"):
        create_backbone(name)


def test_zero_channels_are_refused():
    with pytest.raises(ConfigError, match="in_channels must be 1 or more, but got 0"):
        create_backbone("resnet18", weights="none", in_channels=0)
