"""L-BFGS on the cached features of a frozen backbone, where the loss of the head is convex."""

from collections.abc import Iterable, Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from maskpencil.training.dataset import EpochBatches
from maskpencil.training.frozen.feature_cache import CachedBatches, FeatureCache
from maskpencil.training.frozen.whitening import Whitening
from maskpencil.training.trainer import Trainer, Update

ITERATIONS = 10
HISTORY = 20


class _StopError(Exception):
    """Leave a round in the middle."""


class WholeSet:
    """Load all batches of a training set as one item an epoch, in the order of the first epoch."""

    def __init__(self, cache: FeatureCache, batches: EpochBatches) -> None:
        self.batches, self.everything = batches, CachedBatches(cache, [*batches])

    def __iter__(self) -> Iterator[tuple[CachedBatches, Tensor]]:
        if self.batches.start == 0:  # else the epoch's round was made before the run was stopped
            yield self.everything, self.everything.cache.targets


class LBFGS:
    """Make one round of L-BFGS on all batches, in whitened coordinates of the score layers."""

    has_learning_rate = False

    def __init__(self, whitening: Whitening) -> None:
        self.whitening = whitening

    def step(self, trainer: Trainer, inputs: CachedBatches, targets: Tensor) -> Update | None:
        """Make one round; None where a stop was requested in it, with weights and optimizer as they were."""
        whitening, device, optimizer = self.whitening, trainer.device, trainer.optimizer
        whitening.read()
        weight = torch.stack([trainer.loss.weigh(labels.to(device)) for _, labels in inputs]).sum().clamp_min(1.0)
        losses: list[float] = []

        def evaluate() -> float:
            whitening.write()
            trainer.network.zero_grad()
            total = 0.0
            for number, (features, labels) in enumerate(inputs):
                if trainer.stop.received:
                    raise _StopError
                loss = trainer.batch_loss(features, labels.to(device), weight=weight, penalty=number == 0)
                trainer.accelerator.backward(loss)
                total += float(loss.detach())
            whitening.take_gradients()
            losses.append(total)
            return total

        learned = [parameter for parameter in trainer.network.parameters() if parameter.requires_grad]
        weights, state = [parameter.detach().clone() for parameter in learned], deepcopy(optimizer.state_dict())
        try:
            optimizer.step(evaluate)
            whitening.write()  # the last point that was evaluated need not be the best
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
    """Build the optimizer: at most `ITERATIONS` steps a round, each with a line search.

    Source: Liu and Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", 1989.
    """
    optimizer = torch.optim.LBFGS(
        coordinates, lr=1.0, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    optimizer.param_groups[0]["peak"] = 1.0
    return optimizer
