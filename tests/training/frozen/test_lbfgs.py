from types import SimpleNamespace

import pytest
import torch

from maskpencil.models import FCNConfig, build_fcn
from maskpencil.training.frozen.lbfgs import Whitening


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build_fcn(FCNConfig(3, "test_resnet", learned_upsampling="none", at_once_scales=True), weights="none")
    for layer in (network.score_fr, network.score_pool4, network.score_pool3):
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return network


@pytest.fixture
def cache(network):
    """Features of very unequal size that go together, one of them always 0."""
    tensors = []
    for stride in (32, 16, 8):
        channels = network.backbone.channels[stride]
        together = torch.eye(channels) + 0.3 * torch.randn(channels, channels) / channels**0.5
        mixed = torch.randn(20, 256 // stride, 256 // stride, channels) @ together
        features = (mixed + 3) * torch.logspace(-2, 2, channels)
        features[..., 0] = 0
        tensors.append(features)
    return SimpleNamespace(tensors=tuple(tensors))


def layers(network):
    return (network.score_fr, 1.0), (network.score_pool4, 0.01), (network.score_pool3, 0.0001)


def test_reading_and_writing_the_coordinates_does_not_change_the_network(network, cache):
    whitening = Whitening(network, cache)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    whitening.read()
    whitening.write()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-3, atol=1e-3)


def test_a_coordinate_scores_features_that_are_uncorrelated_and_of_one_size(network, cache):
    whitening = Whitening(network, cache)
    for (layer, scale), whitened, features in zip(layers(network), whitening.layers, cache.tensors, strict=True):
        cells = features.flatten(0, 2).double() * scale
        new = torch.linalg.solve_triangular(whitened.factor, (cells - whitened.mean).T, upper=False).T
        covariance = torch.cov(new[:, 1:].T)
        torch.testing.assert_close(covariance, torch.eye(len(covariance)).double(), rtol=0, atol=0.01)
        whitening.read()
        scores = cells @ layer.weight[:, :, 0, 0].T.double() + layer.bias
        torch.testing.assert_close(new @ whitened.kernel.T.double() + whitened.bias, scores, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_gradients_of_coordinates_are_those_of_the_loss_in_them(l2, network, cache):
    whitening = Whitening(network, cache)
    whitening.read()
    names = ("kernel", "bias")

    def loss() -> torch.Tensor:
        whitening.write()
        network.zero_grad()
        total = sum(
            ((features[:2].flatten(0, 2) * scale) @ layer.weight[:, :, 0, 0].T + layer.bias).sin().mean()
            for (layer, scale), features in zip(layers(network), cache.tensors, strict=True)
        )
        total.backward()
        return float(total.detach()) + whitening.take_gradients(l2)

    loss()
    for layer in whitening.layers:
        layer.kernel.data, layer.bias.data = layer.kernel.data / 100, layer.bias.data / 100  # where it is smooth
    loss()
    for layer in whitening.layers:
        for name in names:
            coordinate = getattr(layer, name)
            direction = coordinate.grad / coordinate.grad.norm()
            expected, step = float(coordinate.grad.norm()), 1e-3
            kept = coordinate.data.clone()
            coordinate.data = kept + step * direction
            above = loss()
            coordinate.data = kept - step * direction
            below = loss()
            coordinate.data = kept
            assert (above - below) / (2 * step) == pytest.approx(expected, rel=0.05, abs=1e-4)
