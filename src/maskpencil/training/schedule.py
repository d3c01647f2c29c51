"""Schedule a run by epochs or by a time budget: learning rate, resolution, validation and end."""

import math
from dataclasses import dataclass, field

from maskpencil.plain_text import counted

COARSE = 1 / 2
"""The resolution of the first part of a run, as a share of the full resolution."""

COARSE_WORK = COARSE**2
"""The work for an image at the resolution `COARSE`, as a share of the work for an image at full resolution."""

WARM_UP = 0.1
"""The share of the work during which the learning rate of the one-cycle schedule rises."""

LOWEST = 0.01
"""The lowest learning rate of the one-cycle schedule, as a share of its highest learning rate."""

VALIDATION_SHARE = 0.1
"""The approximate share of a time budget that is spent on validation."""

LAST_VALIDATION_SHARE = 0.2
"""The largest share of a time budget that is reserved for the last validation."""

MIN_BUDGET_WITH_GRAPH = 20.0
"""The smallest time budget, in seconds, with which the OpenVINO graph of the model is written."""

QUICK_START_SHARE = 0.25
"""If starting takes this share of a time budget or more, no graph is written."""

CLOCK = ("seconds", "other_seconds", "validation_seconds", "validated", "saving_seconds", "graph_seconds")
"""The fields of `Progress` that depend on the clock."""


@dataclass
class Progress:
    """The progress of a run, as stored in checkpoints.

    Args:
        epoch: the index of the current epoch, from 0.
        batch: the index of the next batch of the epoch, from 0.
        step: the number of completed steps.
        loss_sum: the sum of this epoch's losses so far.
        best_score: the best validation mean IoU; -1 before the first validation, NaN if no pixel is labeled.
        best_scores: the best model's mean IoU by number of scored images, see `Validation.by_part`.
        seconds: the time spent on steps.
        other_seconds: the time spent on everything else, in seconds.
        validation_seconds: the duration of a validation on all images.
        validated: the seconds from the start of the run to the end of the last validation.
        saved: the value of `seconds` at the last checkpoint.
        saving_seconds: the duration of writing model, preview and checkpoint.
        graph_seconds: the duration of writing the model's OpenVINO graph; 0 if a time budget leaves no time for it.
        accumulate: the number of micro-batches per batch.
        processes: the number of processes that share a batch.
        ended: whether all steps are done, and only the validation and the checkpoint of the last epoch are left.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_score: float = -1.0
    best_scores: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    other_seconds: float = 0.0
    validation_seconds: float = 0.0
    validated: float = 0.0
    saved: float = 0.0
    saving_seconds: float = 0.0
    graph_seconds: float = 0.0
    accumulate: int = 1
    processes: int = 1
    ended: bool = False

    def share_among(self, processes: int, *, batches: int) -> None:
        """Convert `batch`, `step` and `loss_sum` to another number of `processes`.

        `batches` is the number of batches of an epoch with the new number of processes.
        """
        if processes != self.processes:
            whole = self.batch
            self.batch = min(batches, self.batch * self.processes // processes)
            self.loss_sum *= self.batch / max(1, whole)
            self.step, self.processes = self.epoch * batches + self.batch, processes


def rate_factor(schedule: str, work: float) -> float:
    """Return the factor, 0..1, by which the highest learning rate is multiplied.

    `work`, 0..1, is the part of the whole run that is done.

    With `one-cycle` the factor rises linearly from `LOWEST` to 1 until `WARM_UP` of the work is done, then falls to
    `LOWEST` along half a cosine wave; with `constant` it is 1.

    Source: Smith and Topin, "Super-Convergence", 2018.
    """
    if schedule == "constant":
        return 1.0
    if work < WARM_UP:
        return LOWEST + (1 - LOWEST) * work / WARM_UP
    falling = (work - WARM_UP) / (1 - WARM_UP)
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * falling)) / 2


@dataclass(frozen=True)
class EpochSchedule:
    """A schedule for a given number of epochs.

    Args:
        epochs: the number of passes over the training images.
        batches: the number of batches of an epoch.
        coarse_epochs: the number of epochs, from the first epoch on, at `COARSE`, half the resolution.
        validate_every: the number of epochs from one validation to the next.
    """

    epochs: int
    batches: int
    coarse_epochs: int
    validate_every: int

    @property
    def total(self) -> float:
        """The number of steps of the whole run."""
        return self.epochs * self.batches

    def done(self, progress: Progress) -> float:
        """Return the number of completed steps: `batches` per completed epoch, up to `batches` in the current epoch."""
        return progress.epoch * self.batches + min(progress.batch, self.batches)

    def work(self, progress: Progress) -> float:
        """Return the share of the work, 0..1, done by the middle of the next step; low-resolution steps count less."""
        coarse, step = self.coarse_epochs * self.batches, self.done(progress) + 0.5
        total = coarse * COARSE_WORK + self.total - coarse
        return (min(step, coarse) * COARSE_WORK + max(0.0, step - coarse)) / total

    def resolution(self, progress: Progress) -> float:
        """Return the resolution of the next step, as a share of the full resolution: `COARSE` or 1."""
        return COARSE if progress.epoch < self.coarse_epochs else 1.0

    def has_ended(self, progress: Progress) -> bool:
        """Return whether no step is left."""
        return progress.epoch >= self.epochs

    def should_validate(self, progress: Progress) -> bool:
        """Return whether to validate after the epoch that has just ended."""
        return progress.epoch % self.validate_every == 0 or progress.ended

    def epoch_text(self, epoch: int) -> str:
        """Format an epoch number, counted from 1, with the total, such as 3/10."""
        return f"{epoch}/{self.epochs}"

    def __str__(self) -> str:
        return counted(self.epochs, "epoch")


@dataclass(frozen=True)
class TimeBudgetSchedule:
    """A schedule for a time budget, which includes the last validation (or a part of it) and writing the model.

    Args:
        budget: the time budget in seconds.
        coarse: the share of the training time, 0..1, at `COARSE`, half the resolution.
    """

    budget: float
    coarse: float

    @property
    def total(self) -> float:
        """The duration of the whole run in seconds."""
        return self.budget

    def done(self, progress: Progress) -> float:
        """Return the number of seconds spent so far."""
        return progress.seconds + progress.other_seconds

    def validation_end(self, progress: Progress) -> float:
        """Compute when the last validation must end to leave time for writing the model, in seconds from the start."""
        return self.budget - progress.saving_seconds - progress.graph_seconds

    def training_end(self, progress: Progress) -> float:
        """Compute when training ends and the last validation begins, in seconds from the start."""
        return self.validation_end(progress) - min(progress.validation_seconds, LAST_VALIDATION_SHARE * self.budget)

    def work(self, progress: Progress) -> float:
        """Compute the share of the training time, 0..1, spent so far."""
        end = self.training_end(progress)
        return min(1.0, self.done(progress) / end) if end > 0 else 1.0

    def resolution(self, progress: Progress) -> float:
        """Return the resolution of the next step, as a share of the full resolution: `COARSE` or 1."""
        return COARSE if self.work(progress) < self.coarse else 1.0

    def has_ended(self, progress: Progress) -> bool:
        """Return whether the time is up, or would be up during another step of average duration."""
        step = progress.seconds / progress.step if progress.step else 0.0
        return self.done(progress) + step >= self.training_end(progress)

    def should_validate(self, progress: Progress) -> bool:
        """Return whether to validate after the epoch that has just ended: at the run's end, or if time allows."""
        spent, takes = self.done(progress), progress.validation_seconds
        interval = max(VALIDATION_SHARE * self.budget, takes / VALIDATION_SHARE)
        fits = spent + takes + progress.saving_seconds < self.training_end(progress)
        return progress.ended or (fits and spent - progress.validated >= interval)

    def affords_graph(self, progress: Progress) -> bool:
        """Return whether there is time to write the model's OpenVINO graph, for a faster first prediction on a CPU.

        There is time if the budget is at least `MIN_BUDGET_WITH_GRAPH`, and less than the share `QUICK_START_SHARE` of
        the budget has been spent.
        """
        return self.budget >= MIN_BUDGET_WITH_GRAPH and self.done(progress) < QUICK_START_SHARE * self.budget

    def epoch_text(self, epoch: int) -> str:
        """Format an epoch number, counted from 1; the total is left out because it is unknown."""
        return str(epoch)

    def __str__(self) -> str:
        return duration_text(self.budget)


Schedule = EpochSchedule | TimeBudgetSchedule


def coarse_time(coarse_share: float) -> float:
    """Convert the share of epochs at `COARSE`, half the resolution, to their share of the training time."""
    return coarse_share * COARSE_WORK / work_of_epochs(coarse_share)


def work_of_epochs(coarse_share: float) -> float:
    """Compute the mean work of an epoch, in units of the work of an epoch at full resolution.

    `coarse_share` is the share of the epochs at `COARSE`, half the resolution.
    """
    return 1 - coarse_share * (1 - COARSE_WORK)


def duration_text(seconds: float) -> str:
    """Format a duration in hours, minutes and seconds, without units that are 0, such as "1 hour 30 minutes"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [
        counted(number, noun) for number, noun in ((hours, "hour"), (minutes, "minute"), (rest, "second")) if number
    ]
    return " ".join(parts) or f"{seconds:g} seconds"
