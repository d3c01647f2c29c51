"""The course of a run: how much of its work is behind, at which resolution it goes on, when it validates and ends."""

import time
from dataclasses import dataclass, field

COARSE = 1 / 2
"""The resolution of the first part of a run, as a share of the images' own."""

COARSE_WORK = COARSE**2
"""The work of a coarse image."""

VALIDATION_SHARE = 0.1
"""The share of its time that a run against the clock spends on validation, about."""

LAST_VALIDATION_SHARE = 0.2
"""The greatest share of its time that a run against the clock keeps for its last validation."""

LEAST_BUDGET_WITH_GRAPH = 20.0
"""The seconds from which on a run against the clock makes its model's graph, which takes some of them."""

QUICK_START_SHARE = 0.25
"""The share of its time after which a run against the clock that has only just started makes no graph."""


@dataclass
class Progress:
    """Where a run stands: `epoch` and `batch` come next (both from 0), `step` steps are done.

    `loss_sum` is the sum of this epoch's losses so far, `best_score` the best validation mean IoU, -1 before the first
    and NaN where no pixel is labeled, `best_scores` the same by number of images, see `Validation.by_part`. `seconds`
    were spent on steps, `other_seconds` on all else. A validation of all images takes `validation_seconds`; the last
    one ended when `validated` seconds were spent in all, and the last checkpoint came at `saved` of those on steps.
    Writing model and checkpoint takes `saving_seconds`, and making the model's graph after it `leaving_seconds`, 0
    where a run against the clock has no time for it. A batch is computed in `parts`, and shared among `processes`. When
    the last epoch has begun to finish it is `ended`.
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
    leaving_seconds: float = 0.0
    parts: int = 1
    processes: int = 1
    ended: bool = False

    def share_among(self, processes: int, *, batches: int) -> None:
        """Count on in the batches of another number of processes, of which an epoch has so many."""
        if processes != self.processes:
            whole = self.batch
            self.batch = min(batches, self.batch * self.processes // processes)
            self.loss_sum *= self.batch / max(1, whole)
            self.step, self.processes = self.epoch * batches + self.batch, processes


class Watch:
    """Tells the seconds since it was last asked."""

    def __init__(self, since: float) -> None:
        self.last = since

    def lap(self) -> float:
        """The seconds since the last lap."""
        before, self.last = self.last, time.monotonic()
        return self.last - before


@dataclass(frozen=True)
class CountedCourse:
    """So many `epochs` of so many `batches`, the first `coarse_epochs` of them at `COARSE` resolution."""

    epochs: int
    batches: int
    coarse_epochs: int
    validate_every: int

    @property
    def total(self) -> float:
        """The steps of the whole run."""
        return self.epochs * self.batches

    def behind(self, progress: Progress) -> float:
        """The steps that are done, of an epoch never more than it has now."""
        return progress.epoch * self.batches + min(progress.batch, self.batches)

    def work(self, progress: Progress) -> float:
        """The share of the work, 0..1, that is behind in the middle of the next step; a coarse step is less work."""
        coarse, step = self.coarse_epochs * self.batches, self.behind(progress) + 0.5
        total = coarse * COARSE_WORK + self.total - coarse
        return (min(step, coarse) * COARSE_WORK + max(0.0, step - coarse)) / total

    def resolution(self, progress: Progress) -> float:
        """The resolution of the next step."""
        return COARSE if progress.epoch < self.coarse_epochs else 1.0

    def ended(self, progress: Progress) -> bool:
        """Whether no step is left."""
        return progress.epoch >= self.epochs

    def validates(self, progress: Progress) -> bool:
        """Whether it is time to validate, after an epoch."""
        return progress.epoch % self.validate_every == 0 or progress.ended

    def place(self, epoch: int) -> str:
        """The number of an epoch, from 1, and of how many."""
        return f"{epoch}/{self.epochs}"

    def __str__(self) -> str:
        return counted(self.epochs, "epoch")


@dataclass(frozen=True)
class TimedCourse:
    """The seconds of a `budget`, the share `coarse` of the training at `COARSE` resolution.

    Time is kept for the last validation, or as much of it as fits, and for writing what is kept.
    """

    budget: float
    coarse: float

    @property
    def total(self) -> float:
        """The seconds of the whole run."""
        return self.budget

    def behind(self, progress: Progress) -> float:
        """The seconds that are spent."""
        return progress.seconds + progress.other_seconds

    def validation_end(self, progress: Progress) -> float:
        """The seconds after which the last validation has to be over, so that what it found can be kept in time."""
        return self.budget - progress.saving_seconds - progress.leaving_seconds

    def training_end(self, progress: Progress) -> float:
        """The seconds after which the last validation begins."""
        return self.validation_end(progress) - min(progress.validation_seconds, LAST_VALIDATION_SHARE * self.budget)

    def work(self, progress: Progress) -> float:
        """The share of the time for training, 0..1, that is spent."""
        end = self.training_end(progress)
        return min(1.0, self.behind(progress) / end) if end > 0 else 1.0

    def resolution(self, progress: Progress) -> float:
        """The resolution of the next step."""
        return COARSE if self.work(progress) < self.coarse else 1.0

    def ended(self, progress: Progress) -> bool:
        """Whether the time is up, or would be in the middle of a further step, by the mean of those before."""
        step = progress.seconds / progress.step if progress.step else 0.0
        return self.behind(progress) + step >= self.training_end(progress)

    def validates(self, progress: Progress) -> bool:
        """Whether it is time to validate, after an epoch: at the end, and before where it does not cost too much."""
        spent, takes = self.behind(progress), progress.validation_seconds
        often_enough = max(VALIDATION_SHARE * self.budget, takes / VALIDATION_SHARE)
        fits = spent + takes + progress.saving_seconds < self.training_end(progress)
        return progress.ended or (fits and spent - progress.validated >= often_enough)

    def affords_graph(self, progress: Progress) -> bool:
        """Whether there is time for the graph with which a model starts without torch: not after a slow start."""
        return self.budget >= LEAST_BUDGET_WITH_GRAPH and self.behind(progress) < QUICK_START_SHARE * self.budget

    def place(self, epoch: int) -> str:
        """The number of an epoch, from 1; of how many is not known."""
        return str(epoch)

    def __str__(self) -> str:
        return in_words(self.budget)


Course = CountedCourse | TimedCourse


def coarse_time(coarse_share: float) -> float:
    """The share of the work that is done in the share of the epochs that are coarse."""
    return coarse_share * COARSE_WORK / work_of_epochs(coarse_share)


def work_of_epochs(coarse_share: float) -> float:
    """The work of an epoch, on average, as a share of one at full resolution."""
    return 1 - coarse_share * (1 - COARSE_WORK)


def counted(number: int, noun: str) -> str:
    """A number and what it counts: 1 epoch, 2 epochs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_words(seconds: float) -> str:
    """A time in hours, minutes and seconds, those that are 0 left out: 1 hour 30 minutes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [
        counted(number, noun) for number, noun in ((hours, "hour"), (minutes, "minute"), (rest, "second")) if number
    ]
    return " ".join(parts) or f"{seconds:g} seconds"
