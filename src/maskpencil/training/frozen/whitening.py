"""Whiten the features of a frozen backbone: coordinates of the head in which L-BFGS converges fast."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from maskpencil.errors import TrainingError
from maskpencil.models import FCN
from maskpencil.training.frozen.feature_cache import FeatureCache, strides_of

RIDGE = 1e-4
"""Added to the variance of every feature, as a share of it: some are collinear, some do not vary at all."""

IMAGES_AT_ONCE = 16
"""Images whose features are summed together."""


class Whitening:
    """Represent the score layers of a network in coordinates for whitened features.

    An optimizer moves `coordinates`; `read` converts the weights of the network to them, and `write` converts back.

    Args:
        network: the network whose score layers are trained.
        cache: the features.
    """

    def __init__(self, network: FCN, cache: FeatureCache) -> None:
        scored = {32: (network.score_fr, 1.0)}
        if network.config.stride <= 16:
            scored[16] = network.score_pool4, network.scale_pool4
        if network.config.stride <= 8:
            scored[8] = network.score_pool3, network.scale_pool3
        self.layers = [
            _WhitenedLayer(*scored[stride], features)
            for stride, features in zip(strides_of(network), cache.tensors, strict=True)
        ]

    @property
    def coordinates(self) -> list[nn.Parameter]:
        """Kernels and biases for whitened features."""
        return [parameter for layer in self.layers for parameter in (layer.kernel, layer.bias)]

    @torch.no_grad()
    def read(self) -> None:
        """Compute the coordinates from the weights of the network."""
        for layer in self.layers:
            layer.read()

    @torch.no_grad()
    def write(self) -> None:
        """Compute the weights of the network from the coordinates."""
        for layer in self.layers:
            layer.write()

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Compute the gradients of the coordinates from those of the network."""
        for layer in self.layers:
            layer.take_gradients()


class _WhitenedLayer:
    """Represent a 1x1 convolution w f + b of features f as v u + c of whitened features u = L^-1 (f - m).

    m is the features' mean, L L' their covariance; so w = v L^-1 and b = c - w m, computed in double precision.
    """

    def __init__(self, layer: nn.Conv2d, scale: float, features: Tensor) -> None:
        self.layer = layer
        parts = torch.split(features, IMAGES_AT_ONCE)
        self.mean, self.factor = _moments(parts, scale, layer.weight.device)
        self.kernel = nn.Parameter(layer.weight.detach()[:, :, 0, 0].clone(memory_format=torch.contiguous_format))
        self.bias = nn.Parameter(self._own_bias.detach().clone())

    def read(self) -> None:
        kernel = _double(self.layer.weight[:, :, 0, 0])
        self.kernel.copy_(kernel @ self.factor)
        self.bias.copy_(_double(self._own_bias) + kernel @ self.mean)

    def write(self) -> None:
        kernel = torch.linalg.solve_triangular(self.factor, _double(self.kernel), upper=False, left=False)
        self.layer.weight.copy_(kernel[:, :, None, None])
        self._own_bias.copy_(_double(self.bias) - kernel @ self.mean)

    def take_gradients(self) -> None:
        kernel, bias = self.layer.weight.grad, self._own_bias.grad
        if kernel is None or bias is None:
            return
        centered = _double(kernel[:, :, 0, 0]) - torch.outer(_double(bias), self.mean)
        whitened = torch.linalg.solve_triangular(self.factor.T, centered, upper=True, left=False)
        self.kernel.grad = whitened.to(kernel).contiguous()  # as the optimizer requires
        self.bias.grad = bias.clone()

    @property
    def _own_bias(self) -> nn.Parameter:
        return cast(nn.Parameter, self.layer.bias)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()  # not every device has doubles


def _moments(parts: Iterable[Tensor], scale: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute mean (C,) and Cholesky factor (C, C) of the covariance of features (N, h, w, C) times `scale`."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        cells = part.to(device).float().flatten(0, 2) * scale
        count, total = count + len(cells), total + _double(cells.sum(dim=0))
        squares = squares + _double(cells.T @ cells)
    mean = total / count
    covariance = squares / count - torch.outer(mean, mean)
    deviation = covariance.diagonal().clamp_min(0).sqrt()
    deviation = torch.where(deviation > 0, deviation, 1.0)  # some features are always 0
    correlation = covariance / torch.outer(deviation, deviation)
    correlation.diagonal().add_(RIDGE)
    if not bool(correlation.isfinite().all()):
        raise TrainingError(
            "the features of the frozen backbone are too large for --optimizer lbfgs; check its weights, or give "
            "--optimizer adamw"
        )
    return mean, deviation[:, None] * torch.linalg.cholesky(correlation)
