"""Every naming of the same tensors gives the same features."""

from argparse import Namespace
from collections.abc import Mapping

import h5py
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from maskpencil.errors import ModelError
from maskpencil.models import FCNConfig, build_fcn, create_backbone
from maskpencil.models.backbones.naming import efficientnet_pytorch_names
from maskpencil.models.backbones.packages import package_of

IMAGES = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def randomized(net: nn.Module) -> dict[str, Tensor]:
    """Tensors of a network's shapes, of which no two are the same; statistics of normalizations are positive."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            scale = (2 / max(1, tensor[0].numel() if tensor.ndim > 1 else 1)) ** 0.5
            drawn = torch.randn(tensor.shape, generator=generator) * (scale if tensor.ndim > 1 else 0.1)
            tensors[name] = drawn.abs() + 0.5 if name.endswith(("running_var", "bn1.weight", "bn2.weight")) else drawn
        else:
            tensors[name] = tensor
    return tensors


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@torch.inference_mode()
def trunk(name: str, file) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """The tensors of a backbone with the weights of a file, and its features of `IMAGES`."""
    backbone = create_backbone(name, weights=file).eval()
    assert backbone.loaded is not None
    return backbone.state_dict(), backbone(IMAGES)


def assert_same(found, expected) -> None:
    """Compare two results of `trunk`: their tensors exactly.

    The last bits of features depend on where the tensors lie in memory, which a safetensors file decides.
    """
    assert found[0].keys() == expected[0].keys()
    for name, tensor in found[0].items():
        assert torch.equal(tensor, expected[0][name]), name
    assert found[1].keys() == expected[1].keys()
    for stride, tensor in found[1].items():
        torch.testing.assert_close(tensor, expected[1][stride], rtol=1e-5, atol=1e-6)


def refusal(name: str, file) -> str:
    with pytest.raises(ModelError) as caught:
        create_backbone(name, weights=file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """The tensors of a ResNet18, and what becomes of a plain file of them."""
    tensors = randomized(models.resnet18())
    file = tmp_path_factory.mktemp("resnet") / "plain.pth"
    torch.save(tensors, file)
    return tensors, trunk("resnet18", file)


def without_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}


HEAD = {"fc.0.weight": torch.zeros(128, 512), "fc.2.weight": torch.zeros(64, 128)}


def other(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor + 1 for name, tensor in tensors.items()}


FORMS = {
    "a trunk without its head": lambda t: without_head(t),
    "DataParallel": lambda t: under("module.", t),
    "nested prefixes": lambda t: under("module.model.backbone.", t),
    "an encoder with a decoder": lambda t: (
        under("encoder.", without_head(t)) | {"decoder.blocks.0.conv1.weight": torch.zeros(3)}
    ),
    "timm's training checkpoint": lambda t: {"epoch": 3, "arch": "resnet18", "state_dict": t, "version": 2},
    "its moving average": lambda t: {"state_dict": other(t), "state_dict_ema": t, "optimizer": {"state": {}}},
    "model_state": lambda t: {"model_state": t, "step": 3},
    "a nested checkpoint": lambda t: {"state": 1, "model": {"state_dict": under("module.", t), "epoch": 2}},
    "MoCo": lambda t: {
        "epoch": 200,
        "arch": "resnet18",
        "state_dict": under("module.encoder_q.", without_head(t) | HEAD)
        | under("module.encoder_k.", other(without_head(t) | HEAD))
        | {"module.queue": torch.zeros(128, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)},
    },
    "MoCo v3": lambda t: {
        "state_dict": under("module.base_encoder.", without_head(t))
        | under("module.momentum_encoder.", other(without_head(t)))
        | {"module.predictor.0.weight": torch.zeros(4, 4)}
    },
    "DINO": lambda t: {
        "student": under("module.backbone.", other(without_head(t))) | {"module.head.mlp.0.weight": torch.zeros(4, 4)},
        "teacher": under("backbone.", without_head(t)) | {"head.mlp.0.weight": torch.zeros(4, 4)},
        "epoch": 100,
        "args": Namespace(arch="resnet18"),
        "dino_loss": {"center": torch.zeros(1, 4)},
    },
    "student and teacher side by side": lambda t: {
        "state_dict": under("student.backbone.", other(without_head(t))) | under("teacher.backbone.", without_head(t))
    },
    "a sequence of the layers": lambda t: {
        ".".join([str(("conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4").index(layer)), rest]): tensor
        for name, tensor in without_head(t).items()
        for layer, _, rest in [name.partition(".")]
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_resnet_in_other_forms_gives_the_same_features(form, resnet, tmp_path):
    tensors, expected = resnet
    torch.save(FORMS[form](tensors), tmp_path / "form.pth")
    assert_same(trunk("resnet18", tmp_path / "form.pth"), expected)


def test_what_was_matched_is_said_and_listed(resnet, tmp_path):
    tensors, _ = resnet
    torch.save(FORMS["DINO"](tensors), tmp_path / "dino.pth")
    loaded = create_backbone("resnet18", weights=tmp_path / "dino.pth").loaded
    expected = (
        "by name under the prefix 'backbone.', from its entry 'teacher' (not student); not used: head.mlp.0.weight"
    )
    assert loaded.notes == [f"120 tensors matched {expected}"]
    assert any(
        line.split() == ["layer1.0.conv1.weight", "backbone.layer1.0.conv1.weight", "(64,", "64,", "3,", "3)"]
        for line in loaded.match.table
    )


def test_files_that_fit_in_part_are_refused_with_the_first_differences(resnet, tmp_path):
    tensors, _ = resnet
    partial = {name: tensor for name, tensor in tensors.items() if not name.startswith("layer4.1.")}
    torch.save(under("module.", partial), tmp_path / "partial.pth")
    assert "does not fit, missing layer4.1.conv1.weight, layer4.1.bn1.weight, " in refusal(
        "resnet18", tmp_path / "partial.pth"
    )
    torch.save(models.resnet34().state_dict(), tmp_path / "deeper.pth")
    assert "unexpected layer1.2.conv1.weight, layer1.2.bn1.weight" in refusal("resnet18", tmp_path / "deeper.pth")
    torch.save(models.resnet50().state_dict(), tmp_path / "other.pth")
    message = refusal("resnet18", tmp_path / "other.pth")
    assert "layer1.0.conv3.weight" in message or "conv1.weight (64, 64, 1, 1) instead of (64, 64, 3, 3)" in message


def test_two_networks_of_equal_standing_are_refused(resnet, tmp_path):
    tensors, _ = resnet
    torch.save(under("first.", tensors) | under("second.", other(tensors)), tmp_path / "two.pth")
    assert "holds several networks that fit (under first., second.)" in refusal("resnet18", tmp_path / "two.pth")


def test_shortcuts_in_another_order_are_not_matched_by_shape(tmp_path):
    """The shortcut of a bottleneck has the shape of its last convolution."""
    tensors = {n: t for n, t in randomized(models.resnet50()).items() if not n.startswith("fc.")}
    moved: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("layer1.0.conv3."):
            moved |= {f"net.{n.replace('layer1', 'first')}": t for n, t in tensors.items() if "layer1.0.down" in n}
        if "layer1.0.downsample" not in name:
            moved[f"net.{name.replace('layer1', 'first')}"] = tensor
    assert len(moved) == len(tensors)
    torch.save(moved, tmp_path / "moved.pth")
    assert "does not fit" in refusal("resnet50", tmp_path / "moved.pth")


def test_a_safetensors_file_which_keeps_no_order_is_matched_by_name_alone(resnet, tmp_path):
    tensors, expected = resnet
    save_file(under("module.", tensors), tmp_path / "named.safetensors")
    assert_same(trunk("resnet18", tmp_path / "named.safetensors"), expected)
    sequence = FORMS["a sequence of the layers"](tensors)
    save_file(sequence, tmp_path / "sequence.safetensors")
    assert "does not fit" in refusal("resnet18", tmp_path / "sequence.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_b0"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_efficientnet_pytorchs_names_give_timms_features(name, prefix, tmp_path):
    classifier = timm.create_model(name)
    tensors = randomized(classifier)
    torch.save(tensors, tmp_path / "timm.pth")
    names = efficientnet_pytorch_names(tensors)
    assert len(names) == len(tensors)
    save_file({prefix + names[ours]: tensor for ours, tensor in tensors.items()}, tmp_path / "other.safetensors")
    assert_same(trunk(name, tmp_path / "other.safetensors"), trunk(name, tmp_path / "timm.pth"))


@pytest.mark.slow
def test_efficientnets_that_pad_as_tensorflow_are_refused_for_those_that_do_not(tmp_path):
    tensors = timm.create_model("efficientnet_b0").state_dict()
    names = efficientnet_pytorch_names(tensors)
    torch.save({names[ours]: tensor for ours, tensor in tensors.items()}, tmp_path / "b0.pth")
    assert refusal("efficientnet_b0", tmp_path / "b0.pth").endswith("pass --backbone tf_efficientnet_b0")
    create_backbone("tf_efficientnet_b0", weights=tmp_path / "b0.pth")


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize(("name", "timms"), [("mobilenet_v2", "mobilenetv2_100"), ("efficientnet_b0",) * 2])
def test_torchvisions_order_gives_timms_features_where_the_layers_are_the_same(name, timms, tmp_path):
    classifier = models.get_model(name, weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "theirs.pth")
    computed = []
    for layer in classifier.features:
        layer.register_forward_hook(lambda _, __, output: computed.append(output))
    classifier(IMAGES)
    _, found = trunk(timms, tmp_path / "theirs.pth")
    alike = [torch.allclose(found[8], one, rtol=1e-5, atol=1e-6) for one in computed if one.shape == found[8].shape]
    assert any(alike)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("mobilenet_v3_small", "mobilenetv3_small_100"),  # another eps
        ("efficientnet_b0", "tf_efficientnet_b0"),  # another padding
    ],
)
def test_the_same_tensors_in_layers_that_compute_something_else_are_refused(name, timms, tmp_path):
    torch.save(models.get_model(name, weights=None).state_dict(), tmp_path / "theirs.pth")
    assert f"holds torchvision's {name}, and some of its layers, such as" in refusal(timms, tmp_path / "theirs.pth")


VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
KERAS_NAMES = [f"block{b}_conv{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """The tensors of VGG16's convolutions, and what becomes of a plain file of them."""
    tensors = randomized(models.vgg16(init_weights=False).features)
    file = tmp_path_factory.mktemp("vgg") / "plain.pth"
    torch.save(under("features.", tensors), file)
    return tensors, trunk("vgg16", file)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["", "features.", "module.features.", "encoder.features."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vggs_convolutions_alone_are_loaded_whatever_their_prefix(form, suffix, vgg, tmp_path):
    tensors, expected = vgg
    file = tmp_path / f"vgg{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(under(form, tensors), file)
    assert_same(trunk("vgg16", file), expected)
    assert expected[1][32].shape[1] == 512


@pytest.mark.slow
def test_a_net_on_weights_without_fc6_and_fc7_has_none(vgg, tmp_path):
    tensors, _ = vgg
    torch.save(tensors, tmp_path / "vgg.pth")
    fcn = build_fcn(FCNConfig(2, "vgg16"), weights=tmp_path / "vgg.pth")
    assert not fcn.config.fully_connected
    assert "the weights have no fully connected layers" in fcn.backbone.loaded.notes[1]
    tensors = tensors | {"classifier.0.weight": torch.zeros(10, 512), "classifier.0.bias": torch.zeros(10)}
    torch.save(under("features.", vgg[0]) | {"classifier.0.weight": torch.zeros(9, 512)}, tmp_path / "own.pth")
    assert refusal("vgg16", tmp_path / "own.pth").endswith("to use them alone, pass --fully-connected false")
    create_backbone("vgg16", weights=tmp_path / "own.pth", fully_connected=False)


def keras_arrays(tensors: Mapping[str, Tensor]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The convolutions as Keras stores those of a network that takes BGR in 0..255 minus the mean."""
    arrays = []
    for name, index in zip(KERAS_NAMES, VGG_CONVOLUTIONS, strict=True):
        kernel = tensors[f"{index}.weight"].permute(2, 3, 1, 0).numpy()
        arrays.append((name, kernel[:, :, ::-1] if index == 0 else kernel, tensors[f"{index}.bias"].numpy()))
    return arrays


def keras_2(file, arrays):
    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [name.encode() for name, *_ in arrays]
        for name, kernel, bias in arrays:
            h5[f"{name}/{name}/kernel:0"], h5[f"{name}/{name}/bias:0"] = kernel, bias


def keras_2_oldest(file, arrays):
    with h5py.File(file, "w") as h5:
        for name, kernel, bias in arrays:
            h5[f"{name}/{name}_W_1:0"], h5[f"{name}/{name}_b_1:0"] = kernel, bias


def keras_2_model(file, arrays):
    with h5py.File(file, "w") as h5:
        for name, kernel, bias in arrays:
            h5[f"model_weights/vgg16/{name}/kernel:0"], h5[f"model_weights/vgg16/{name}/bias:0"] = kernel, bias
            h5[f"optimizer_weights/Adam/{name}/kernel/m:0"] = kernel + 1
        h5["model_weights/dense/dense/kernel:0"] = np.zeros((512, 3), np.float32)


def keras_3(file, arrays, *, named=True):
    with h5py.File(file, "w") as h5:
        for index, (name, kernel, bias) in enumerate(arrays):
            group = h5.create_group(f"layers/conv2d{f'_{index}' if index else ''}/vars")
            group["0"], group["1"] = kernel, bias
            if named:
                group.attrs["name"] = name
        h5["optimizer/vars/0"] = np.zeros(3, np.float32)


def keras_3_numbered(file, arrays):
    keras_3(file, arrays, named=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".h5", keras_2),
        (".h5", keras_2_oldest),
        (".h5", keras_2_model),
        (".weights.h5", keras_3),
        (".weights.h5", keras_3_numbered),
    ],
)
@torch.inference_mode()
def test_keras_files_give_the_same_features_of_the_same_images(suffix, write, vgg, tmp_path):
    tensors, _ = vgg
    file = tmp_path / f"vgg16{suffix}"
    write(file, keras_arrays(tensors))
    backbone = create_backbone("vgg16", weights=file).eval()
    pixels = torch.rand(1, 3, 32, 64)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
    bgr_minus_mean = (255 * pixels).flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    layers = models.vgg16(init_weights=False).features.eval()
    layers.load_state_dict(tensors)
    first = layers[0].weight.flip(1)
    layers[0].weight.copy_(first)  # the network that takes BGR, from whose kernels the file was written
    torch.testing.assert_close(backbone((pixels - mean) / std)[32], layers(bgr_minus_mean), rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@torch.inference_mode()
def test_keras_flattens_by_rows_and_torch_by_channels(vgg, tmp_path):
    tensors, _ = vgg
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((7 * 7 * 512, 4096), dtype=np.float32)
    dense /= 200
    second = generator.standard_normal((4096, 4096), dtype=np.float32) / 100
    zeros = np.zeros(4096, np.float32)
    keras_2(tmp_path / "top.h5", [*keras_arrays(tensors), ("fc1", dense, zeros), ("fc2", second, zeros)])
    backbone = create_backbone("vgg16", weights=tmp_path / "top.h5").eval()
    pool5 = torch.rand(1, 512, 7, 7)
    backbone.fc6.padding = (0, 0)
    expected = pool5.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(dense)
    torch.testing.assert_close(backbone.fc6(pool5).flatten(1), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(backbone.fc7.weight.flatten(1), torch.from_numpy(second).T)


@pytest.mark.slow
def test_keras_files_of_other_networks_and_damaged_ones_are_refused(vgg, tmp_path):
    tensors, _ = vgg
    keras_3(tmp_path / "vgg.h5", keras_arrays(tensors))
    assert "is a Keras file, from which only VGG16 and VGG19 are read" in refusal("resnet18", tmp_path / "vgg.h5")
    assert "is a Keras file" in refusal("test_resnet", tmp_path / "vgg.h5")
    keras_3(tmp_path / "five.h5", keras_arrays(tensors)[:5])
    assert "missing features.12.weight" in refusal("vgg16", tmp_path / "five.h5")
    keras_3_numbered(tmp_path / "conv.h5", keras_arrays(tensors)[:5])
    assert "holds no VGG16 or VGG19" in refusal("vgg16", tmp_path / "conv.h5")
    with h5py.File(tmp_path / "dense.h5", "w") as file:
        file["dense/kernel:0"] = np.zeros((3, 3), np.float32)
    assert "holds no VGG16 or VGG19" in refusal("vgg16", tmp_path / "dense.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", (10**6, 10**6), np.float32, chunks=(10, 10), compression="gzip")
    assert "is not stored in the file" in refusal("vgg16", tmp_path / "bomb.h5")
    whole = (tmp_path / "five.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as Keras weights" in refusal("vgg16", tmp_path / "cut.h5")


@torch.inference_mode()
def test_the_edge_detectors_package_gives_its_own_features(monkeypatch):
    package = package_of("vgg16", imagenet=False)
    if not package.installed_file():
        pytest.skip(f"needs {package.name}")
    assert package_of("vgg16", imagenet=True) is None
    backbone = create_backbone("vgg16").eval()
    assert backbone.origin.license == "MIT"
    x = torch.rand(1, 3, 32, 32) * 255 - 120  # BGR minus the mean
    with h5py.File(package.installed_file()) as file:
        kernel, bias = (torch.from_numpy(file[f"block1/layers/conv2d/vars/{i}"][()]) for i in (0, 1))
    expected = nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1)
    torch.testing.assert_close(backbone.conv1_1(x.flip(1)), expected, rtol=1e-4, atol=1e-3)
