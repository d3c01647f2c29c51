"""Train the head by L-BFGS on whitened cached features of a frozen backbone, where the loss is convex."""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from maskpencil.errors import TrainingError
from maskpencil.models import FCN
from maskpencil.training.dataset import EpochBatches
from maskpencil.training.frozen.feature_cache import CachedBatches, FeatureCache, strides_of
from maskpencil.training.trainer import Trainer, Update

RIDGE = 1e-4
"""The share by which the variance of every feature is increased, since some features are collinear or constant."""

IMAGES_AT_ONCE = 16
"""The number of images whose features are summed together."""


class Whitening:
    """The weights of a network's score layers, converted to weights for whitened features.

    Whitened features have mean 0, and their covariance is the identity, so that L-BFGS converges faster. An optimizer
    updates the converted weights, the `coordinates`; `read` computes them from the weights of the network, and `write`
    converts them back.

    Args:
        network: the network whose score layers are trained.
        cache: the features of the training images, whose mean and covariance are used.
    """

    def __init__(self, network: FCN, cache: FeatureCache) -> None:
        scored = {32: (network.score_fr, 1.0)}
        if network.config.stride <= 16:
            scored[16] = network.score_pool4, network.scale_pool4
        if network.config.stride <= 8:
            scored[8] = network.score_pool3, network.scale_pool3
        if network.config.stride <= 4:
            scored[4] = network.score_pool2, 1.0
        if network.config.stride <= 2:
            scored[2] = network.score_pool1, 1.0
        self.layers = [
            _WhitenedLayer(*scored[stride], features)
            for stride, features in zip(strides_of(network), cache.tensors, strict=True)
        ]

    @property
    def coordinates(self) -> list[nn.Parameter]:
        """The converted weights: the kernel and the bias, for whitened features, of each score layer."""
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
    def take_gradients(self, l2: float) -> float:
        """Compute the gradients of the coordinates from the gradients of the network's weights.

        The results include the gradients of an L2 penalty: `l2` / 2 times the sum of the squared kernels for whitened
        features. Return this penalty.
        """
        return sum(layer.take_gradients(l2) for layer in self.layers)


class _WhitenedLayer:
    """A 1x1 convolution w f + b of features f, written as v u + c for whitened features u = L^-1 (f - m).

    m is the mean of the features, and L L^T is their covariance; so w = v L^-1 and b = c - w m, computed in double
    precision.
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

    def take_gradients(self, l2: float) -> float:
        kernel, bias = self.layer.weight.grad, self._own_bias.grad
        if kernel is None or bias is None:
            return 0.0
        centered = _double(kernel[:, :, 0, 0]) - torch.outer(_double(bias), self.mean)
        whitened = torch.linalg.solve_triangular(self.factor.T, centered, upper=True, left=False)
        self.kernel.grad = whitened.to(kernel).contiguous() + l2 * self.kernel  # contiguous, as the optimizer requires
        self.bias.grad = bias.clone()
        return l2 / 2 * float(self.kernel.square().sum())

    @property
    def _own_bias(self) -> nn.Parameter:
        return cast(nn.Parameter, self.layer.bias)


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()  # not every device supports double precision


def _moments(parts: Iterable[Tensor], scale: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute the mean (C,) of `scale` * features, and the Cholesky factor (C, C) of their covariance.

    `parts` are the features (N, h, w, C) of some images each. The variance is increased by `RIDGE`.

    Raises:
        TrainingError: the covariance is not finite.
    """
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
            "the covariance of the frozen backbone's features is not finite, as --optimizer lbfgs requires; give other "
            "--weights, or --optimizer adamw"
        )
    return mean, deviation[:, None] * torch.linalg.cholesky(correlation)


ITERATIONS = 10
HISTORY = 20


class _StopError(Exception):
    """Raised if a stop of the run is requested during a round of L-BFGS."""


class WholeSet:
    """A loader with a single item per epoch: all batches of the training set, in the order of the first epoch."""

    def __init__(self, cache: FeatureCache, batches: EpochBatches) -> None:
        self.batches, self.everything = batches, CachedBatches(cache, [*batches])

    def __iter__(self) -> Iterator[tuple[CachedBatches, Tensor]]:
        if self.batches.start == 0:  # if not, the round of this epoch was done before the run was stopped
            yield self.everything, self.everything.cache.targets


class LBFGS:
    """A solver that trains the score layers by L-BFGS on all batches at once, with whitened features."""

    has_learning_rate = False

    def __init__(self, whitening: Whitening) -> None:
        self.whitening = whitening

    def step(self, trainer: Trainer, inputs: CachedBatches, targets: Tensor) -> Update | None:
        """Make one round of L-BFGS, of at most `ITERATIONS` iterations.

        Return None, with unchanged weights and optimizer, if a stop was requested during the round.
        """
        whitening, device, optimizer = self.whitening, trainer.device, trainer.optimizer
        whitening.read()
        weight = torch.stack([trainer.loss.weigh(labels.to(device)) for _, labels in inputs]).sum().clamp_min(1.0)
        losses: list[float] = []

        def evaluate() -> float:
            whitening.write()
            trainer.network.zero_grad()
            total = 0.0
            for features, labels in inputs:
                if trainer.stop.received:
                    raise _StopError
                loss = trainer.batch_loss(features, labels.to(device), weight=weight, penalty=False)
                trainer.accelerator.backward(loss)
                total += float(loss.detach())
            total += whitening.take_gradients(trainer.config.head_l2)
            losses.append(total)
            return total

        learned = [parameter for parameter in trainer.network.parameters() if parameter.requires_grad]
        weights, state = [parameter.detach().clone() for parameter in learned], deepcopy(optimizer.state_dict())
        try:
            optimizer.step(evaluate)
            whitening.write()  # the last evaluated point may not be the best one
        except _StopError:
            with torch.no_grad():
                for parameter, before in zip(learned, weights, strict=True):
                    parameter.copy_(before)
            optimizer.load_state_dict(state)
            return None
        batches = len(trainer.batches)
        summed = torch.tensor(losses[-1] * batches, dtype=torch.float64)
        return Update(summed, batches=batches, images=len(losses) * len(targets))


def build_lbfgs(coordinates: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Build the optimizer: L-BFGS with at most `ITERATIONS` iterations per round, each with a line search.

    Source: Liu and Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", 1989.
    """
    optimizer = torch.optim.LBFGS(
        coordinates, lr=1.0, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    optimizer.param_groups[0]["peak"] = 1.0
    return optimizer
