"""The loop: batches, steps, validation, checkpoints."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from torch import nn

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.dataset import EpochBatches
from maskpencil.data.folder import DataFolder
from maskpencil.errors import TrainingError
from maskpencil.evaluation import count_pixels
from maskpencil.hardware import autocast
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.models import FCN
from maskpencil.segmenter import Segmenter
from maskpencil.training.checkpoints import Progress, save_checkpoint
from maskpencil.training.config import LearningRate, TrainConfig, parse_learning_rate
from maskpencil.training.feature_cache import Features
from maskpencil.training.logbook import Logbook, write_preview
from maskpencil.training.losses import cross_entropy, l2_penalty
from maskpencil.training.recipes import COARSE_WORK, coarse_epochs
from maskpencil.training.run_folder import RunFolder, write_json
from maskpencil.training.schedule import rate_factor
from maskpencil.training.stopping import StopRequest

Batches = Iterable[tuple[torch.Tensor | Features, torch.Tensor]]
"""Pictures (N, 3, H, W) uint8, or their features, with targets (N, H, W)."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The parts of a run, put together by `train`; `network` is the segmenter's, `model` is it prepared for training.

    `notes` tell in words how the network was started.
    """

    config: TrainConfig
    data: DataFolder
    segmenter: Segmenter
    network: FCN
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: EpochBatches
    loader: Batches
    class_weights: torch.Tensor | None
    accelerator: Accelerator
    notes: tuple[str, ...]

    @property
    def head_kernels(self) -> list[nn.Parameter]:
        """The learned kernels of the head: scores and upsampling."""
        named = self.network.named_parameters()
        return [p for name, p in named if p.ndim > 1 and p.requires_grad and not name.startswith("backbone.")]

    @property
    def rate(self) -> LearningRate:
        """The greatest learning rate of the head."""
        return parse_learning_rate(self.config.learning_rate)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * len(self.batches)

    def rate_factor(self, step: int) -> float:
        """The share, 0..1, of the greatest learning rates at which `step` is made."""
        return rate_factor(self.config.schedule, self._work_done(step))

    def _work_done(self, step: int) -> float:
        """The share of the run's work, 0..1, that is behind in the middle of `step`; a coarse step is less work."""
        coarse = coarse_epochs(self.config) * len(self.batches)
        total = coarse * COARSE_WORK + self.steps - coarse
        done = min(step + 0.5, coarse) * COARSE_WORK + max(0.0, step + 0.5 - coarse)
        return done / total


def fit(job: Job, progress: Progress, log: Logbook) -> None:
    """Train from where `progress` stands to the last epoch; model and checkpoints are written on the way.

    Raises:
        KeyboardInterrupt: a stop was asked for; a checkpoint of the last whole step was written.
        TrainingError: the loss is not a finite number.
    """
    with StopRequest() as stop:
        while progress.epoch < job.config.epochs:
            train_once = solve_round if job.config.optimizer == "lbfgs" else train_epoch
            train_once(job, progress, log, stop)
            finish_epoch(job, progress, log)


def train_epoch(job: Job, progress: Progress, log: Logbook, stop: StopRequest) -> None:
    """Make the steps of one epoch, from `progress.batch` on."""
    job.model.train()
    if job.config.freeze == "backbone":
        job.network.backbone.eval()  # a frozen backbone keeps its statistics and drops nothing
    job.batches.epoch, job.batches.start = progress.epoch, progress.batch
    started, pictures = time.monotonic(), 0
    for inputs, targets in job.loader:
        factor = job.rate_factor(progress.step)
        for group in job.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        loss = train_step(job, inputs, targets)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {progress.step + 1} (epoch {progress.epoch + 1}); try a smaller "
                f"--learning-rate (it is {job.config.learning_rate}), --precision fp32, or look at the masks"
            )
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        progress.loss_sum += loss
        pictures += len(targets) * job.accelerator.num_processes
        log.step(
            progress,
            loss=progress.loss_sum / progress.batch,
            rate=job.rate.value * factor,
            speed=pictures / (time.monotonic() - started),
        )
        if stop.requested:
            progress.seconds += time.monotonic() - started
            _save(job, log.run, progress)
            raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")
    progress.seconds += time.monotonic() - started


def solve_round(job: Job, progress: Progress, log: Logbook, stop: StopRequest) -> None:
    """Make one round of an optimizer that looks at all batches before a step; see `recipes`."""
    started = time.monotonic()
    job.model.train()
    job.network.backbone.eval()
    weight = sum(_weight(job, targets) for _, targets in job.loader) or 1.0
    losses: list[float] = []

    def evaluate() -> float:
        if stop.requested:
            raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")
        job.optimizer.zero_grad()
        total = 0.0
        for inputs, targets in job.loader:
            share = _loss(job, inputs, targets, reduction="sum") / weight
            job.accelerator.backward(share)
            total += float(share.detach())
        if job.config.head_l2:
            penalty = l2_penalty(job.head_kernels, job.config.head_l2)
            job.accelerator.backward(penalty)
            total += float(penalty.detach())
        losses.append(total)
        return total

    job.optimizer.step(evaluate)
    if not math.isfinite(losses[-1]):
        raise TrainingError(f"the loss became {losses[-1]} in round {progress.epoch + 1}; look at the masks")
    progress.batch, progress.step = len(job.batches), progress.step + len(job.batches)
    progress.loss_sum = losses[-1] * progress.batch
    progress.seconds += time.monotonic() - started
    speed = len(losses) * len(job.data.pairs("train")) / (time.monotonic() - started)
    log.step(progress, loss=losses[-1], rate=1.0, speed=speed)


def train_step(job: Job, inputs: torch.Tensor | Features, targets: torch.Tensor) -> float:
    """Make one step on a batch, see `Batches`; gives the loss before it."""
    loss = _loss(job, inputs, targets, reduction=job.rate.reduction)
    if job.config.head_l2:
        loss = loss + l2_penalty(job.head_kernels, job.config.head_l2)
    value = float(loss.detach())
    if math.isfinite(value):
        job.accelerator.backward(loss)
        if job.config.clip_norm:
            job.accelerator.clip_grad_norm_(job.model.parameters(), job.config.clip_norm)
        job.optimizer.step()
        job.optimizer.zero_grad()
    return value


def _loss(
    job: Job, inputs: torch.Tensor | Features, targets: torch.Tensor, *, reduction: Literal["mean", "sum"]
) -> torch.Tensor:
    device = job.segmenter.device
    with autocast(device, job.segmenter.precision):
        logits = job.model(_on_device(job, inputs))
    return cross_entropy(
        logits.float(),
        targets.to(device, non_blocking=True),
        class_weights=job.class_weights,
        reduction=reduction,
    )


def _weight(job: Job, targets: torch.Tensor) -> float:
    """The valid pixels of a batch, each as heavy as its class."""
    valid = targets[targets != IGNORE_INDEX]
    return float(len(valid) if job.class_weights is None else job.class_weights.cpu()[valid].sum())


def _on_device(job: Job, inputs: torch.Tensor | Features) -> torch.Tensor | Features:
    """Pictures as the network takes them, or features as the head does."""
    device = job.segmenter.device
    if isinstance(inputs, torch.Tensor):
        return job.segmenter.preprocessing.normalize(inputs.to(device, non_blocking=True))
    return tuple(tensor.to(device, torch.float32, non_blocking=True) for tensor in inputs)


def finish_epoch(job: Job, progress: Progress, log: Logbook) -> None:
    """Validate and show if it is time, keep the best model, write the checkpoint, tell."""
    config, run = job.config, log.run
    loss, speed = progress.loss_sum / progress.batch, progress.step * job.batches.batch_size / progress.seconds
    rate = job.rate.value * job.rate_factor(progress.step - 1)
    progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
    scores = None
    if progress.epoch % config.validate_every == 0 or progress.epoch == job.config.epochs:
        scores = validate(job)
    if job.accelerator.is_main_process:
        if scores and (score := 0.0 if math.isnan(scores.mean_iou) else scores.mean_iou) > progress.best_score:
            progress.best_score = score
            job.segmenter.training |= {"epoch": progress.epoch, "mean_iou": round(score, 4)}
            job.segmenter.save(run.model)
            write_json(run.scores, scores.to_dict())
        if scores:
            preview = run.preview / f"epoch_{progress.epoch:03}.png"
            write_preview(preview, job.segmenter, job.data, job.data.pairs("val"))
        log.epoch(progress, loss=loss, rate=rate, speed=speed, scores=scores)
    _save(job, run, progress)


def validate(job: Job) -> Scores:
    """Score the model on the validation pictures, shared out among the processes and summed exactly."""
    accelerator, data = job.accelerator, job.data
    mine = data.pairs("val")[accelerator.process_index :: accelerator.num_processes]
    counted = count_pixels(job.segmenter, data, mine)
    matrix = ConfusionMatrix(len(data.classes))
    together = accelerator.reduce(torch.from_numpy(counted.counts).to(accelerator.device), reduction="sum")
    matrix.add(together.cpu().numpy(), images=len(data.pairs("val")))
    return matrix.scores(data.classes.names)


def _save(job: Job, run: RunFolder, progress: Progress) -> None:
    if job.accelerator.is_main_process:
        save_checkpoint(run.checkpoint, progress=progress, model=job.network, optimizer=job.optimizer)
    job.accelerator.wait_for_everyone()
