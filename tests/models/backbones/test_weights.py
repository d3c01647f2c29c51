import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from maskpencil.errors import ModelError
from maskpencil.models import create_backbone
from maskpencil.models.backbones.weights import load_strictly, read_tensors


def error_of(path):
    with pytest.raises(ModelError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def load(net, tensors, unused=()):
    load_strictly(net, tensors, unused=unused, source="w.pth", expected="a small net")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_tensors_are_read_from_every_kind_of_file(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    tensors = {"a.weight": torch.randn(2, 3), "a.bias": torch.zeros(2)}
    (save_file if suffix == ".safetensors" else torch.save)(tensors, path)
    read = read_tensors(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_reported_in_one_line(zipped, tmp_path):
    torch.save({"a": torch.randn(8, 8)}, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "whole.pth").read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        assert "cannot be read as weights" in error_of(tmp_path / "cut.pth")


def test_a_truncated_safetensors_file_is_reported_in_one_line(tmp_path):
    save_file({"a": torch.randn(8, 8)}, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    for length in (0, 4, 20, len(whole) - 1):
        (tmp_path / "w.safetensors").write_bytes(whole[:length])
        assert "cannot be read as weights" in error_of(tmp_path / "w.safetensors")


def test_a_web_page_saved_as_weights_is_reported(tmp_path):
    (tmp_path / "w.pth").write_text("<html>404 not found</html>")
    assert "(not a file of tensors only); expected a state dict" in error_of(tmp_path / "w.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (sys.exit, (3,))

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    assert "not a file of tensors only" in error_of(tmp_path / "w.pth")


def test_a_missing_file_is_reported_with_the_words_that_are_not_files(tmp_path):
    assert "there is no such weights file; expected a file, or 'auto' or 'none'" in error_of(tmp_path / "no.pth")
    assert "there is no such weights file" in error_of(tmp_path)


def test_training_checkpoints_and_lists_are_not_taken_for_state_dicts(tmp_path):
    torch.save({"epoch": 3, "model": {"a": torch.zeros(1)}}, tmp_path / "checkpoint.pth")
    assert "holds 'epoch', 'model', which are not tensors; expected a state dict" in error_of(
        tmp_path / "checkpoint.pth"
    )
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    assert "holds list; expected a state dict" in error_of(tmp_path / "list.pth")
    torch.save({0: torch.zeros(1)}, tmp_path / "numbers.pth")
    assert "holds 0, which are not tensors" in error_of(tmp_path / "numbers.pth")


def test_all_tensors_are_loaded():
    source, net = small_net(), small_net()
    nn.init.normal_(source[1].running_mean)
    load(net, source.state_dict())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_blank_network_is_filled_and_half_precision_becomes_single():
    with torch.device("meta"):
        net = small_net()
    load(net, {name: tensor.half() for name, tensor in small_net().state_dict().items()})
    assert {(t.device.type, t.dtype) for t in net.parameters()} == {("cpu", torch.float32)}
    assert net(torch.randn(1, 3, 5, 5)).isfinite().all()


def test_batch_counts_may_be_missing():
    tensors = small_net().state_dict()
    del tensors["1.num_batches_tracked"]
    net = small_net()
    load(net, tensors)
    assert net[1].num_batches_tracked == 0


def test_what_does_not_fit_is_listed_by_kind_in_one_line():
    tensors = small_net().state_dict()
    del tensors["0.bias"]
    tensors["2.weight"] = torch.zeros(2, 5, 1, 1)
    tensors |= {f"extra.{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(ModelError) as caught:
        load(small_net(), tensors)
    assert str(caught.value) == (
        "w.pth: does not fit, missing 0.bias; unexpected extra.0, extra.1, extra.2 and 2 more; "
        "misshaped 2.weight (2, 5, 1, 1) instead of (2, 4, 1, 1); expected the state dict of a small net"
    )


@pytest.mark.parametrize("last", [{}, {"2.weight": torch.zeros(9, 4, 1, 1), "2.bias": torch.zeros(9)}])
def test_layers_that_are_not_used_may_be_missing_or_of_other_shapes(last):
    tensors = {name: tensor for name, tensor in small_net().state_dict().items() if not name.startswith("2.")}
    net = small_net()
    before = net[2].weight.clone()
    load(net, tensors | last, unused=["2."])
    assert torch.equal(net[2].weight, before)


def test_the_classifier_of_another_family_is_refused(tmp_path):
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(
        ModelError, match=r"missing features\.0\.weight.*expected the state dict of torchvision's vgg11"
    ):
        create_backbone("vgg11", weights=tmp_path / "resnet18.pth", fully_connected=False)


def test_a_classifier_of_other_classes_is_accepted(tmp_path):
    torch.save(models.resnet18(num_classes=7).state_dict(), tmp_path / "seven.pth")
    create_backbone("resnet18", weights=str(tmp_path / "seven.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("in_channels", [1, 4])
def test_trained_filters_are_adapted_to_other_channels(in_channels, tmp_path):
    classifier = models.resnet18()
    torch.save(classifier.state_dict(), tmp_path / "w.pth")
    backbone = create_backbone("resnet18", weights=tmp_path / "w.pth", in_channels=in_channels)
    torch.testing.assert_close(backbone.conv1.weight[:, -1], classifier.conv1.weight.mean(dim=1))
    assert backbone.in_channels == in_channels
