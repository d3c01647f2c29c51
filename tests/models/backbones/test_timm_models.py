import pytest
import timm
import torch
from safetensors.torch import save_file

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models import create_backbone
from maskpencil.models.backbones.timm_models import FAMILY


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "cspnext_s", "legacy_xception"])
def test_the_trunk_is_loaded_from_a_file_of_the_whole_classifier(name, tmp_path):
    torch.manual_seed(0)
    classifier = timm.create_model(name).eval()
    save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, tmp_path / "weights.safetensors")
    backbone = create_backbone(f"timm/{name}", weights=tmp_path / "weights.safetensors").eval()
    images = torch.randn(1, 3, 64, 96)
    _, expected = classifier.forward_intermediates(images)
    by_size = {tuple(tensor.shape): tensor for tensor in expected}
    for tensor in backbone(images).values():
        torch.testing.assert_close(tensor, by_size[tuple(tensor.shape)])


def test_layers_that_are_not_used_may_be_missing_or_of_other_classes(tmp_path):
    tensors = timm.create_model("test_efficientnet", num_classes=7).state_dict()
    save_file(tensors, tmp_path / "seven.safetensors")
    create_backbone("test_efficientnet", weights=tmp_path / "seven.safetensors")
    trunk = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    save_file(trunk, tmp_path / "trunk.safetensors")
    create_backbone("test_efficientnet", weights=tmp_path / "trunk.safetensors")


@pytest.mark.slow
def test_constants_that_older_versions_of_timm_saved_are_ignored(tmp_path):
    with torch.device("meta"):
        classifier = timm.create_model("swin_tiny_patch4_window7_224")
    constants = {name: tensor for name, tensor in classifier.named_buffers() if name not in classifier.state_dict()}
    assert any(name.endswith("relative_position_index") for name in constants)
    tensors = {name: torch.zeros(tensor.shape) for name, tensor in (classifier.state_dict() | constants).items()}
    save_file(tensors, tmp_path / "swin.safetensors")
    backbone = create_backbone("swin_tiny_patch4_window7_224", weights=tmp_path / "swin.safetensors")
    assert all(not parameter.any() for parameter in backbone.parameters())


def test_weights_of_another_model_are_refused_in_one_line(tmp_path):
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError) as caught:
        create_backbone("test_efficientnet", weights=tmp_path / "other.pth")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'other.pth'}: does not fit, missing conv_stem.weight, ")
    assert message.endswith("expected the state dict of timm's test_efficientnet")
    assert "\n" not in message


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("in_channels", [1, 4])
@pytest.mark.parametrize("name", ["test_convnext", "cspnext_s"])
def test_other_channels_start_from_the_mean_of_the_trained_filters(name, in_channels, tmp_path):
    classifier = timm.create_model(name)
    torch.save(classifier.state_dict(), tmp_path / "weights.pth")
    backbone = create_backbone(f"timm/{name}", weights=tmp_path / "weights.pth", in_channels=in_channels).eval()
    rgb = classifier.get_submodule(classifier.pretrained_cfg["first_conv"]).weight
    (first,) = (backbone.get_submodule(conv) for conv in backbone.first_convolutions)
    torch.testing.assert_close(first.weight[:, -1], rgb.mean(dim=1))
    assert backbone(torch.randn(1, in_channels, 32, 32))[32].shape[-2:] == (1, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224", "must have features at strides 8, 16 and 32, but its strides are 16; choose another"),
        ("shvit_s1", "but its strides are 16, 32, 64; choose another"),
        ("visformer_tiny", "for images of any size (Input height"),
        ("mobilevitv2_050", "(at stride 32 their shape is (1, 256, 2, 4) instead of (1, 256, 1, 3))"),
    ],
)
def test_a_model_without_the_strides_is_refused(name, message):
    with pytest.raises(ConfigError) as caught:
        create_backbone(name, weights="none")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_normalization_is_that_of_the_chosen_weights():
    half = create_backbone("mobilenetv3_large_100.miil_in21k_ft_in1k", weights="none")
    assert (half.mean, half.std) == ((0.0,) * 3, (1.0,) * 3)
    imagenet = create_backbone("mobilenetv3_large_100", weights="none")
    assert imagenet.mean == (0.485, 0.456, 0.406)


def test_a_model_without_weights_in_timm_is_refused():
    with pytest.raises(ModelError, match="timm has no weights for 'hieradet_small'; pass --weights FILE"):
        create_backbone("hieradet_small")


def test_the_listed_models_exist_and_have_weights():
    assert set(FAMILY.names) <= set(timm.list_models(pretrained=True, include_tags=False))
