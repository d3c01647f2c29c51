"""Find the learning rate at which the loss falls fastest, by a range test before the run."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import torch

from maskpencil.errors import TrainingError
from maskpencil.training.trainer import Inputs, Trainer

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.9
FIRST_EVALUATED = 10
"""The first step that is evaluated; at earlier steps the smoothed loss covers only a few batches and may fall by
chance."""

STOP_FACTOR = 3.0
"""The test ends early when the loss reaches this multiple of its minimum."""


@dataclass(frozen=True)
class Trial:
    """The result of a range test: the learning rate, and the smoothed loss at each tested rate."""

    rate: float
    losses: dict[float, float]

    def __str__(self) -> str:
        return f"learning rate {self.rate:.1e}: the loss fell fastest at this rate, of {len(self.losses)} rates tested"


def find_learning_rate(trainer: Trainer) -> Trial:
    """Train up to `STEPS` steps at rates rising from `LOWEST` to `HIGHEST`; the trainer cannot be used afterwards.

    Return a `Trial` with the rate at which the loss falls most steeply per logarithm of the rate, before its minimum.

    Raises:
        TrainingError: the loss is not a finite number even at the lowest rate, or does not fall at any rate.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
    """
    trainer.train_mode()
    progress, smooth, losses = trainer.progress, 0.0, dict[float, float]()
    for progress.step, (inputs, targets) in zip(range(STEPS), _endless(trainer), strict=False):
        rate = LOWEST * (HIGHEST / LOWEST) ** (progress.step / (STEPS - 1))
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["peak"] * rate  # the peaks are those for a rate of 1
        update = trainer.solver.step(trainer, inputs, targets)
        if update is None:
            break
        loss = float(trainer.accelerator.reduce(update.loss, reduction="mean"))
        if not math.isfinite(loss):
            if not losses:
                raise TrainingError(
                    f"--learning-rate find: the loss is {loss} even at the rate {rate:g}; try --precision fp32 or "
                    "other --weights, or check the masks"
                )
            break
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
        losses[rate] = smooth / (1 - SMOOTHING ** (progress.step + 1))
        if losses[rate] > STOP_FACTOR * min(losses.values()):
            del losses[rate]
            break
    return Trial(steepest(losses), losses)


def steepest(losses: Mapping[float, float]) -> float:
    """Return the rate at which the loss falls fastest before its minimum.

    Args:
        losses: the smoothed loss at each rate, in rising order.

    Raises:
        TrainingError: the loss never falls.
    """
    rates, values = list(losses), list(losses.values())
    least = values.index(min(values)) if values else 0
    falls = {
        rates[i]: (values[i + 1] - values[i - 1]) / math.log(rates[i + 1] / rates[i - 1])
        for i in range(FIRST_EVALUATED, min(len(values) - 1, least))
    }
    rate = min(falls, key=lambda rate: falls[rate], default=None)
    if rate is None or falls[rate] >= 0:
        raise TrainingError("--learning-rate find: the loss does not fall at any rate; check the masks, or give a rate")
    return float(f"{rate:.1e}")


def _endless(trainer: Trainer) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Yield the batches of one epoch after another, without end."""
    for trainer.batches.epoch in count():
        yield from trainer.loader
