"""Rounds of an optimizer that looks at all batches before a step: L-BFGS on cached features."""

import math
from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import nn

from maskpencil.training.course import Progress, Watch
from maskpencil.training.finite import diverged
from maskpencil.training.job import Job
from maskpencil.training.logbook import Logbook
from maskpencil.training.steps import batch_loss
from maskpencil.training.stopping import StopRequest

ITERATIONS = 10
HISTORY = 20


class _StopError(Exception):
    """Leaves a round in its middle."""


def solve_round(job: Job, progress: Progress, log: Logbook, stop: StopRequest, watch: Watch) -> None:
    """Make one round in place of an epoch; where a stop is asked for it leaves everything as it was before.

    Raises:
        TrainingError: the loss is not a finite number.
    """
    if progress.batch or job.whitening is None:
        return  # it was made before the run was stopped
    job.start_learning()
    whitening = job.whitening
    whitening.read()
    device, batches = job.device, job.loader
    weight = torch.stack([job.loss.weigh(targets.to(device)) for _, targets in batches]).sum().clamp_min(1.0)
    losses: list[float] = []

    def evaluate() -> float:
        whitening.write()
        job.network.zero_grad()
        total = 0.0
        for number, (inputs, targets) in enumerate(batches):
            if stop.heard:
                raise _StopError
            loss = batch_loss(job, inputs, targets.to(device), weight=weight, penalty=number == 0)
            job.accelerator.backward(loss)
            total += float(loss.detach())
        whitening.take_gradients()
        losses.append(total)
        return total

    learned = [parameter for parameter in job.network.parameters() if parameter.requires_grad]
    weights, state = [parameter.detach().clone() for parameter in learned], deepcopy(job.optimizer.state_dict())
    try:
        job.optimizer.step(evaluate)
        whitening.write()  # the last that was evaluated need not be the best
    except _StopError:
        with torch.no_grad():
            for parameter, before in zip(learned, weights, strict=True):
                parameter.copy_(before)
        job.optimizer.load_state_dict(state)
        return
    if not math.isfinite(losses[-1]):
        raise diverged(job, progress, log.run, f"the loss became {losses[-1]}")
    progress.batch, progress.step = len(job.batches), progress.step + len(job.batches)
    progress.loss_sum = losses[-1] * progress.batch
    seconds = watch.lap()
    progress.seconds += seconds
    log.step(progress, loss=losses[-1], rate=1.0, speed=len(losses) * len(job.data.pairs("train")) / seconds)


def lbfgs(coordinates: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Rounds of at most `ITERATIONS` steps, each to where the loss along its direction is least.

    Source: Liu and Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", 1989.
    """
    optimizer = torch.optim.LBFGS(
        coordinates, lr=1.0, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
    )
    optimizer.param_groups[0]["peak"] = 1.0
    return optimizer
