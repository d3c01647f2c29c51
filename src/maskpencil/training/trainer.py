"""Run the training loop, from the first batch to the last checkpoint."""

import math
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from maskpencil.data.folder import DataFolder
from maskpencil.errors import OutputError, TrainingError
from maskpencil.models import FCN
from maskpencil.runtimes.export import add_graph
from maskpencil.segmenter import Segmenter
from maskpencil.signals import ENDING, STOPPING, StopRequest
from maskpencil.training.checkpoints import first_not_finite, save_checkpoint
from maskpencil.training.dataset import EpochBatches, Images
from maskpencil.training.folding import Folds
from maskpencil.training.frozen.feature_cache import Features
from maskpencil.training.logbook import Logbook, write_preview
from maskpencil.training.losses import Loss, l2_penalty
from maskpencil.training.mixed_precision import training_autocast
from maskpencil.training.optimizers import ExponentialMovingAverage
from maskpencil.training.resolve import TrainPlan
from maskpencil.training.run_folder import write_json
from maskpencil.training.schedule import CLOCK, Progress, Schedule, TimeBudgetSchedule, rate_factor
from maskpencil.training.validation import Validation, expected_validation, validate

GPU_LOG_STEPS = 10
"""The number of steps between two readings of the loss on a GPU, where reading waits for all pending work."""

SECOND_GRAPH_SHARE = 0.5
"""The time to write a graph, as a share of the time for the first graph, which includes loading the libraries."""

CHECKPOINT_SHARE = 3.0
"""The time to write a checkpoint, which includes the optimizer's state, as a multiple of the time to write a model."""

Inputs = Images | Features


@dataclass(frozen=True)
class Update:
    """The result of an update.

    Args:
        loss: the sum of the losses of `batches` batches, a scalar.
        batches: the number of batches.
        images: the number of images processed.
    """

    loss: Tensor
    batches: int
    images: int


class Solver(Protocol):
    """A rule that updates the weights: gradient descent, or a solver of a convex problem."""

    has_learning_rate: bool

    def step(self, trainer: "Trainer", inputs: Any, targets: Tensor) -> Update | None:
        """Update the weights once; return None, with unchanged weights, if a stop was requested."""


@dataclass(kw_only=True, eq=False, repr=False)
class Trainer:
    """The training loop of a network: batches, updates, validation, the best model, checkpoints.

    Args:
        plan: the settings.
        data: the folder with the training and validation images.
        segmenter: the model that is validated and saved; its network is the average in `ema`, or `network` if there is
            no average.
        network: the network that is trained.
        model: `network`, or its head, wrapped for this machine and these processes.
        ema: the moving average of the weights, if any.
        optimizer: updates the weights of `network`; each parameter group has its highest learning rate as `peak`.
        solver: makes one update from one item of `loader`.
        batches: the indices of the images of each batch; the trainer sets epoch, start and resolution.
        loader: yields (inputs, targets (N, H, W)) for the rest of an epoch, in the form that `solver` takes.
        loss: the loss function of logits and targets.
        schedule: the times of validations and of the end, and the resolution of training.
        accelerator: the processes that train together.
        folds: the batch normalization layers that are folded into convolutions in training.
        notes: lines for the log on the initial weights, on settings that were chosen, and on changes of the data.
    """

    plan: TrainPlan
    data: DataFolder
    segmenter: Segmenter
    network: FCN
    model: nn.Module
    ema: ExponentialMovingAverage | None
    optimizer: torch.optim.Optimizer
    solver: Solver
    batches: EpochBatches
    loader: Iterable[tuple[Any, Tensor]]
    loss: Loss
    schedule: Schedule
    accelerator: Accelerator
    folds: Folds = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.config = self.plan.config
        self.device: torch.device = self.accelerator.device
        self.progress = Progress(accumulate=self.config.accumulate, processes=self.accelerator.num_processes)
        self.stop = StopRequest()
        self._since = time.monotonic()

    def fit(self, log: Logbook, *, since: float) -> int:
        """Train from `progress` to the end, and write checkpoints and the best model.

        Args:
            log: the log of the run folder.
            since: the value of `time.monotonic()` at which a time budget starts.

        Returns 0 at the end, or the number of the signal that stopped the run after a last checkpoint.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; a checkpoint of the last whole step was written.
            OutputError: the model cannot be written at the end, or the checkpoint at a stop. Earlier failures to write
                are logged, and the run continues.
            TrainingError: the loss, the weights or the scores are not finite, an image needs too much memory, or the
                time budget was spent before the first step.
        """
        progress, schedule, peak = self.progress, self.schedule, self.plan.learning_rate.value
        self._since = since
        with self.stop:
            # Time budget: measure how long validating and writing will take at the end.
            if isinstance(schedule, TimeBudgetSchedule) and not progress.ended:
                self._reserve_time(schedule, log)
            progress.other_seconds += self._lap()
            self._synchronize()

            while not progress.ended:
                # Epoch: the batches that are left of it.
                self.train_mode()
                self.batches.epoch, self.batches.start = progress.epoch, progress.batch
                self.batches.resolution = schedule.resolution(progress)
                losses: list[Tensor] = []
                images, seconds_before = 0, progress.seconds
                for inputs, targets in self.loader:
                    # Learning rate.
                    factor = rate_factor(self.config.schedule, schedule.work(progress))
                    for group in self.optimizer.param_groups:
                        group["lr"] = group["peak"] * factor

                    # Forward, backward, update.
                    update = self.solver.step(self, inputs, targets)
                    if update is None:
                        break
                    losses.append(update.loss)

                    # Progress, and the resolution of the following batches.
                    progress.batch, progress.step = progress.batch + update.batches, progress.step + update.batches
                    progress.seconds += self._lap()
                    images += update.images * self.accelerator.num_processes
                    self.batches.resolution = schedule.resolution(progress)

                    # Log; on a GPU only now and then and at the end of the epoch, since reading a loss waits for it.
                    if len(losses) < self._log_steps and progress.batch < len(self.batches):
                        continue
                    self._add_losses(losses, log)
                    self._synchronize()
                    speed = images / (progress.seconds - seconds_before)
                    log.step(progress, loss=progress.loss_sum / progress.batch, rate=peak * factor, speed=speed)

                    # End inside the epoch, or a checkpoint by the clock.
                    if self.stop.agreed or schedule.has_ended(progress):
                        break
                    if progress.seconds - progress.saved >= 60 * self.config.checkpoint_minutes:
                        self._save(log)
                        progress.other_seconds += self._lap()
                self._add_losses(losses, log)
                self._synchronize()

                # Stop: a signal came, to this process or to another.
                if self.stop.agreed:
                    self._save(log, needed=True)
                    if self.stop.agreed != signal.SIGINT:
                        return self.stop.agreed
                    raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")

                # End of the epoch: validate, keep the best model, log, write the checkpoint.
                self._finish_epoch(log)
                progress.other_seconds += self._lap()
                self._synchronize()
        return 0

    def train_mode(self) -> None:
        """Put the network into training mode; a frozen backbone and fixed statistics stay in evaluation mode."""
        self.model.train()
        if self.config.freeze == "backbone":
            self.network.backbone.eval()
        elif self.config.fixed_statistics:
            for layer in self.network.backbone.modules():
                if isinstance(layer, _BatchNorm):  # synchronized layers too
                    layer.eval()

    def batch_loss(self, inputs: Inputs, targets: Tensor, *, weight: Tensor, penalty: bool = True) -> Tensor:
        """Compute the loss of a micro-batch, a scalar.

        Args:
            inputs: images, or features of the backbone.
            targets: (N, H, W) int64 on the device.
            weight: the sum of the class weights of the pixels of the whole batch, see `Loss.weigh`.
            penalty: whether to add the L2 penalty on the head's kernels.
        """
        precision, compiled = self.segmenter.runtime.precision, self.config.compile
        with training_autocast(self.device, precision, compiled=compiled, folds=self.folds):
            logits = self.model(self._network_input(inputs))
        loss = self.loss(logits.float(), targets, weight=weight)
        if self.loss.reduction == "sum":
            loss = loss * self.accelerator.num_processes  # processes average their gradients
        if not (penalty and self.config.head_l2):
            return loss
        named = self.network.named_parameters()
        kernels = [p for name, p in named if p.ndim > 1 and p.requires_grad and not name.startswith("backbone.")]
        return loss + l2_penalty(kernels, self.config.head_l2)

    def _network_input(self, inputs: Inputs) -> Tensor | Features:
        if isinstance(inputs, Images):
            return self.segmenter.preprocessing.normalize(inputs.on(self.device))
        return tuple(tensor.to(self.device, torch.float32, non_blocking=True) for tensor in inputs)

    @property
    def _log_steps(self) -> int:
        """The number of steps after which the loss is read and logged: `GPU_LOG_STEPS` on a CUDA device, else 1.

        With a time budget and several processes, the number is always 1, since the learning rate depends on the time,
        and processes synchronize their clocks whenever they log.
        """
        one_clock = self.config.time_budget and self.accelerator.num_processes > 1
        return GPU_LOG_STEPS if self.segmenter.runtime.device == "cuda" and not one_clock else 1

    def _add_losses(self, losses: list[Tensor], log: Logbook) -> None:
        """Add the losses of some steps, averaged over the processes, to the sum of the epoch, and empty the list.

        Raises:
            TrainingError: the losses are not finite.
        """
        if losses:
            total = float(self.accelerator.reduce(torch.stack(losses).sum(), reduction="mean"))
            if not math.isfinite(total):
                raise self._diverged(f"the loss became {total}", log)
            self.progress.loss_sum += total
            losses.clear()

    def _lap(self) -> float:
        """Return the number of seconds since the last call of this function."""
        before, self._since = self._since, time.monotonic()
        return self._since - before

    def _synchronize(self) -> None:
        """Share the main process's clock and all received signals, so that all processes end after the same step."""
        if self.accelerator.num_processes == 1:
            self.stop.agreed = self.stop.received
            return
        progress = self.progress
        times = [getattr(progress, name) if self.accelerator.is_main_process else 0.0 for name in CLOCK]
        received = [float(self.stop.received == number) for number in STOPPING]
        facts = torch.tensor([*times, *received], dtype=torch.float64, device=self.device)
        summed = self.accelerator.reduce(facts, reduction="sum").tolist()
        for name, value in zip(CLOCK, summed, strict=False):
            setattr(progress, name, value)
        asked = [number for number, count in zip(STOPPING, summed[len(CLOCK) :], strict=True) if count]
        self.stop.agreed = next((number for number in asked if number in ENDING), asked[0] if asked else 0)

    def _finish_epoch(self, log: Logbook) -> None:
        """Validate if it is due, keep the best model, log the epoch, and write the checkpoint."""
        progress = self.progress
        loss, validation = progress.loss_sum / progress.batch, None
        rate = self.plan.learning_rate.value * rate_factor(self.config.schedule, self.schedule.work(progress))
        speed = progress.step * self.batches.batch_size * self.accelerator.num_processes / progress.seconds
        progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        progress.other_seconds += self._lap()
        progress.ended = self.schedule.has_ended(progress)
        self._refuse_not_finite(log)
        if self.schedule.should_validate(progress):
            validation = self._validate(log)
        started = time.monotonic()
        if validation and self.accelerator.is_main_process:
            self._keep_if_best(validation, log)
        log.epoch(progress, loss=loss, rate=rate, speed=speed, validation=validation)
        self._save(log)
        if validation:  # an estimate that was too high goes down step by step
            progress.saving_seconds = max(time.monotonic() - started, progress.saving_seconds / 2)

    def _validate(self, log: Logbook) -> Validation:
        """Score the model on the validation images; with a time budget, on as many of them as time allows.

        Raises:
            TrainingError: the scores are not finite.
        """
        progress, schedule, until = self.progress, self.schedule, None
        if isinstance(schedule, TimeBudgetSchedule):
            end = schedule.validation_end(progress) if progress.ended else schedule.training_end(progress)
            until = self._since + end - schedule.done(progress)
        started = time.monotonic()
        validation = validate(self.segmenter, self.data, self.accelerator, until=until)
        if validation is None:
            raise self._diverged("the scores of the network are not finite numbers", log)
        seconds = time.monotonic() - started
        progress.validation_seconds = seconds / validation.scores.images * validation.images
        progress.validated = schedule.done(progress) + seconds
        return validation

    def _keep_if_best(self, validation: Validation, log: Logbook) -> None:
        """If the model is the best so far, write the model, its scores and a preview.

        If there are no scores, because no pixel is labeled, the last model is kept.
        """
        progress, scores = self.progress, validation.scores
        better = validation.is_better(progress.best_score, progress.best_scores)
        try:
            if better:
                score = None if math.isnan(scores.mean_iou) else round(scores.mean_iou, 4)
                self.segmenter.training |= {"epoch": progress.epoch, "mean_iou": score}
                self.segmenter.training.pop("validation_images", None)
                if validation.part:
                    self.segmenter.training["validation_images"] = validation.part
                self.segmenter.save(log.run.model)
                write_json(log.run.scores, scores.to_dict())
                progress.best_score, progress.best_scores = scores.mean_iou, validation.by_part
        except OutputError as error:
            if progress.ended:
                raise
            log.say(f"warning: the model of epoch {progress.epoch} is not saved: {error}")
        try:
            preview = log.run.preview / f"epoch_{progress.epoch:03}.png"
            write_preview(preview, self.segmenter, self.data, self.data.pairs("val"))
        except OutputError as error:
            log.say(f"warning: the preview of epoch {progress.epoch} is not saved: {error}")

    def _save(self, log: Logbook, *, needed: bool = False) -> None:
        """Write a checkpoint; a failure is logged, or raised if the checkpoint is `needed`."""
        self.progress.saved = self.progress.seconds
        self._refuse_not_finite(log)
        if not self.accelerator.is_main_process:
            return
        try:
            save_checkpoint(
                log.run.checkpoint,
                progress=self.progress,
                model=self.network,
                optimizer=self.optimizer,
                average=self.ema.network if self.ema else None,
                scaler=self.accelerator.scaler,
            )
        except OutputError as error:
            if needed:
                raise
            log.say(
                f"warning: the checkpoint of step {self.progress.step} is not saved, and the previous checkpoint is "
                f"kept: {error}"
            )

    def _reserve_time(self, schedule: TimeBudgetSchedule, log: Logbook) -> None:
        """Measure how long validating and writing take, so that time is left for them at the end.

        Raises:
            TrainingError: there is no time for a first step.
        """
        progress = self.progress
        if not progress.validation_seconds:
            progress.validation_seconds = expected_validation(self.segmenter, self.data, self.accelerator)
        progress.other_seconds += self._lap()
        if self.accelerator.is_main_process:
            self._rehearse_writing(log, with_graph=schedule.affords_graph(progress))
        progress.other_seconds += self._lap()
        self._synchronize()
        if schedule.has_ended(progress) and not progress.step:
            start, end = schedule.done(progress), schedule.budget - schedule.training_end(progress)
            raise TrainingError(
                f"--time-budget {self.config.time_budget} is too short for a first step: starting took {start:.0f} "
                f"s, and validating and writing take {end:.0f} s; give at least {math.ceil(2 * (start + end))}s"
            )

    def _rehearse_writing(self, log: Logbook, *, with_graph: bool) -> None:
        """Write model and preview once, and the graph if `with_graph`, to measure how long this takes."""
        progress, folder = self.progress, log.run.rehearsal
        progress.graph_seconds = 0.0
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
        try:
            started = time.monotonic()
            self.segmenter.save(folder / "model")
            model = time.monotonic() - started
            write_preview(folder / "preview.png", self.segmenter, self.data, self.data.pairs("val"))
            preview = time.monotonic() - started - model
            progress.saving_seconds = max(progress.saving_seconds, model * (1 + CHECKPOINT_SHARE) + preview)
            if with_graph:
                add_graph(folder / "model", warn=lambda _: None)  # warnings come at the end of the run
                graph = time.monotonic() - started - model - preview
                progress.graph_seconds = graph * SECOND_GRAPH_SHARE
        except OutputError as error:
            log.say(f"warning: no time is reserved for writing at the end, since a test write failed: {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _refuse_not_finite(self, log: Logbook) -> None:
        """Raise a TrainingError if weights, averages, statistics or optimizer state of any process are not finite."""
        state: dict[str, object] = {
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
        }
        if self.ema:
            state["average"] = self.ema.network.state_dict()
        broken = first_not_finite(state)
        flag = torch.tensor(float(broken is not None), device=self.device)
        if float(self.accelerator.reduce(flag, reduction="sum")):
            where = broken or "in another process"
            raise self._diverged(f"the weights or their statistics are not finite numbers ({where})", log)

    def _diverged(self, found: str, log: Logbook) -> TrainingError:
        """Return the error for a diverged run: what was `found`, what to do, and which model was kept."""
        progress, run = self.progress, log.run
        remedies = ["check the masks"]
        if self.segmenter.runtime.precision != "fp32":
            remedies.insert(0, "--precision fp32")
        if self.solver.has_learning_rate:
            if not self.config.clip_norm:
                remedies.insert(0, "--clip-norm 1")
            remedies.insert(0, f"a smaller --learning-rate (it is {self.config.learning_rate})")
        in_epoch = progress.batch or not progress.epoch
        where = f"at step {progress.step} (epoch {progress.epoch + 1})" if in_epoch else f"after epoch {progress.epoch}"
        score = "" if math.isnan(progress.best_score) else f", mean IoU {progress.best_score:.4f},"
        kept = f"the best model until then{score} stays in {run.model}" if run.model.is_dir() else "no model was kept"
        return TrainingError(f"{found} {where}; start again and try {', or '.join(remedies)}; {kept}")


class GradientDescent:
    """A solver that updates the weights by the gradient of one batch."""

    has_learning_rate = True

    def step(self, trainer: Trainer, inputs: Inputs, targets: Tensor) -> Update:
        """Compute the gradients, by gradient accumulation if memory requires it, and update the weights.

        If the device runs out of memory, this batch and all later batches are split into twice as many micro-batches;
        with several processes an error is raised instead. Dropout depends only on seed, step and process.

        Raises:
            TrainingError: a single image or, with several processes, the batch needs too much memory.
        """
        accelerator, config, progress = trainer.accelerator, trainer.config, trainer.progress
        targets = targets.to(trainer.device, non_blocking=True)
        seeds = np.random.SeedSequence([config.seed, progress.step, accelerator.process_index])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        while True:
            try:
                loss = self._backward(trainer, inputs, targets)
                break
            except torch.OutOfMemoryError as error:
                trainer.optimizer.zero_grad()
                images = -(-len(targets) // progress.accumulate)
                if images == 1 or accelerator.num_processes > 1:
                    raise TrainingError(
                        f"the device has too little memory for images of {targets.shape[-2]}x{targets.shape[-1]}, "
                        f"{images} at once; give a smaller --crop-size or --image-size, or if several images are "
                        "computed at once, a larger --accumulate or a smaller --batch-size"
                    ) from error
                progress.accumulate = min(2 * progress.accumulate, len(targets))
        if config.clip_norm:
            accelerator.clip_grad_norm_(trainer.model.parameters(), config.clip_norm)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        if trainer.ema:
            trainer.ema.update(trainer.network, progress.step + 1)
        return Update(loss, batches=1, images=len(targets))

    def _backward(self, trainer: Trainer, inputs: Inputs, targets: Tensor) -> Tensor:
        """Add up the gradients of the micro-batches of a batch, and return its loss."""
        accelerator = trainer.accelerator
        # processes average their gradients: each divides by its share of the pixels of all
        weight = accelerator.reduce(trainer.loss.weigh(targets), reduction="mean")
        total = torch.zeros((), device=targets.device)
        count = min(trainer.progress.accumulate, len(targets))
        micro_batches = list(zip(_split(inputs, count), targets.tensor_split(count), strict=True))
        for number, (micro_inputs, micro_targets) in enumerate(micro_batches, start=1):
            with nullcontext() if number == count else accelerator.no_sync(trainer.model):
                loss = trainer.batch_loss(micro_inputs, micro_targets, weight=weight, penalty=number == 1)
                accelerator.backward(loss)
            total += loss.detach()
        return total


def _split(inputs: Inputs, count: int) -> list[Inputs]:
    pieces = zip(*(tensor.tensor_split(count) for tensor in inputs), strict=True)
    return [Images(*piece) if isinstance(inputs, Images) else piece for piece in pieces]
