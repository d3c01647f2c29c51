"""Batch normalization with fixed statistics, folded into the convolutions before it."""

import pytest
import torch
from safetensors.torch import load_file
from tests.helpers import SMALL
from torch import Tensor, nn
from torch.nn import functional

from maskpencil.models.backbones import create_backbone
from maskpencil.models.backbones.base import Backbone
from maskpencil.training.folding import Folded, find_folds
from maskpencil.training.train import train


def created(name: str) -> Backbone:
    torch.manual_seed(0)
    backbone = create_backbone(name, weights="none")
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics, scales and shifts as after some training
            for tensor, low, high in (
                (layer.running_mean, -1, 1),
                (layer.running_var, 0.5, 2),
                (layer.weight.data, 0.5, 1.5),
                (layer.bias.data, -1, 1),
            ):
                tensor.uniform_(low, high)
    return backbone


@pytest.mark.parametrize(
    "name", ["test_resnet", "resnet18", pytest.param("tf_efficientnet_lite0", marks=pytest.mark.slow)]
)
def test_features_and_gradients_are_those_without_folds(name: str) -> None:
    backbone = created(name)
    folds = find_folds(backbone)
    layers = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert set(folds.values()) == set(layers)
    images = torch.rand(2, 3, 64, 64)
    results: list[list[Tensor]] = []
    for active in (folds, {}):
        backbone.zero_grad()
        with Folded(active):
            features = backbone(images)
        torch.stack([each.square().mean() for each in features.values()]).sum().backward()
        gradients = [each.grad.clone() for each in backbone.parameters() if each.grad is not None]
        assert len(gradients) == len(list(backbone.parameters()))
        results.append([*features.values(), *gradients])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


class Branches(Backbone):
    """A convolution whose result is normalized, and also used as it is."""

    def __init__(self) -> None:
        super().__init__("branches", channels={8: 4, 16: 4, 32: 4})
        self.convolution, self.layer = nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4)
        nn.init.uniform_(self.layer.weight, 0.5, 2)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        plain = self.convolution(images)
        return {8: self.layer(plain) + plain}


def test_nothing_is_folded_that_changes_the_features() -> None:
    assert find_folds(Branches()) == {}


class AfterPooling(Backbone):
    def __init__(self) -> None:
        super().__init__("pooled", channels={8: 4, 16: 4, 32: 4})
        self.convolution, self.layer = nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layer(functional.max_pool2d(self.convolution(images), 2))}


def test_only_what_follows_a_convolution_is_folded() -> None:
    assert find_folds(AfterPooling()) == {}


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_statistics_stay_in_training(tiny_folder, tmp_path, fixed: bool) -> None:
    first = train(tiny_folder, out=tmp_path / "first", epochs=1, **SMALL)
    settings = {**SMALL, "init": first.model, "epochs": 1, "precision": "fp32"}
    run = train(tiny_folder, out=tmp_path / "run", **settings, fixed_statistics=None if fixed else False)
    before, after = (load_file(each.model / "model.safetensors") for each in (first, run))
    statistics = [name for name in before if "running_" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) is fixed for name in statistics)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.endswith("bn1.weight"))
    assert f"fixed_statistics: {str(fixed).lower()}" in (run.folder / "config.yaml").read_text()


@pytest.mark.slow
def test_a_network_trains_alike_with_and_without_folds(tiny_folder, tmp_path, monkeypatch) -> None:
    first = train(tiny_folder, out=tmp_path / "first", epochs=1, **SMALL)
    settings = {**SMALL, "init": first.model, "epochs": 2, "precision": "fp32"}
    folded = train(tiny_folder, out=tmp_path / "folded", **settings)
    monkeypatch.setattr("maskpencil.training.build.find_folds", lambda _: {})
    plain = train(tiny_folder, out=tmp_path / "plain", **settings)
    one, other = (load_file(each.model / "model.safetensors") for each in (folded, plain))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor.float(), other[name].float(), rtol=0.05, atol=2e-3)


class Unusual(Backbone):
    """A normalization without scale and shift after a convolution, and one that can be folded."""

    def __init__(self) -> None:
        super().__init__("unusual", channels={8: 4, 16: 4, 32: 4})
        self.first, self.plain = nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4, affine=False)
        self.second, self.layer = nn.Conv2d(4, 4, 2, stride=2), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        return {8: self.layer(self.second(self.plain(self.first(images))))}


def test_other_normalizations_are_left_as_they_are() -> None:
    backbone = Unusual()
    assert list(find_folds(backbone).values()) == [backbone.layer]
