"""The loop: batches, steps, validation, checkpoints; and the plan of a run against the clock."""

import math
import signal
import time

import torch

from maskpencil.errors import TrainingError
from maskpencil.training.course import Progress, TimedCourse, Watch
from maskpencil.training.distributed import agree
from maskpencil.training.finite import diverged, refuse_broken
from maskpencil.training.frozen.lbfgs import solve_round
from maskpencil.training.job import Job
from maskpencil.training.keeping import keep, measure_saving, rehearse, save
from maskpencil.training.logbook import Logbook
from maskpencil.training.schedule import rate_factor
from maskpencil.training.steps import train_step
from maskpencil.training.stopping import StopRequest
from maskpencil.training.validation import Validation, expected_validation, validate

STEPS_BETWEEN_LOOKS = 10
"""On a GPU, where to look at the loss means to wait for it."""


def fit(job: Job, progress: Progress, log: Logbook, *, since: float) -> int:
    """Train from where `progress` stands to the end; model and checkpoints are written on the way.

    `since` is the time.monotonic() from which on time counts. Gives 0 where it came to the end, else the number of the
    signal that ended it, after a checkpoint of the last whole step was written.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint of the last whole step was written.
        OutputError: the model cannot be written at the end, or the checkpoint when a stop is asked for; what cannot be
            written before is told of, and the run goes on.
        TrainingError: the loss, the weights or the scores are not finite numbers, an image is too much for the memory,
            or the time was over before the first step.
    """
    watch = Watch(since)
    with StopRequest() as stop:
        if isinstance(job.course, TimedCourse) and not progress.ended:
            plan(job, job.course, progress, log, stop, watch)
        progress.other_seconds += watch.lap()
        agree(job.accelerator, progress, stop)
        while not progress.ended:
            if job.config.optimizer == "lbfgs":
                solve_round(job, progress, log, stop, watch)
            else:
                train_epoch(job, progress, log, stop, watch)
            agree(job.accelerator, progress, stop)
            if stop.number:
                save(job, progress, log, needed=True)
                if stop.number != signal.SIGINT:
                    return stop.number
                raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")
            finish_epoch(job, progress, log, watch)
            progress.other_seconds += watch.lap()
            agree(job.accelerator, progress, stop)
    return 0


def plan(job: Job, course: TimedCourse, progress: Progress, log: Logbook, stop: StopRequest, watch: Watch) -> None:
    """Measure how long validating and writing take, so that time is kept for them at the end.

    Raises:
        TrainingError: there is no time for a first step.
    """
    progress.validation_seconds = progress.validation_seconds or expected_validation(job)
    progress.other_seconds += watch.lap()
    rehearse(job, progress, log, with_graph=course.affords_graph(progress))
    progress.other_seconds += watch.lap()
    agree(job.accelerator, progress, stop)
    if course.ended(progress) and not progress.step:
        start, end = course.behind(progress), course.budget - course.training_end(progress)
        raise TrainingError(
            f"--time-budget {job.config.time_budget}: was over before the first step: starting took {start:.0f} s, and "
            f"validating and writing take {end:.0f} s; give more, {math.ceil(2 * (start + end))}s at least"
        )


def train_epoch(job: Job, progress: Progress, log: Logbook, stop: StopRequest, watch: Watch) -> None:
    """Make the steps of an epoch, from `progress.batch` on, until a stop is asked for or the course has ended."""
    job.start_learning()
    job.batches.epoch, job.batches.start = progress.epoch, progress.batch
    job.batches.resolution = job.course.resolution(progress)
    losses: list[torch.Tensor] = []
    images, before, every = 0, progress.seconds, steps_between_looks(job)
    for inputs, targets in job.loader:
        factor = rate_factor(job.config.schedule, job.course.work(progress))
        for group in job.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        losses.append(train_step(job, progress, inputs, targets))
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        progress.seconds += watch.lap()
        images += len(targets) * job.accelerator.num_processes
        job.batches.resolution = job.course.resolution(progress)
        if len(losses) < every:
            continue
        look(job, progress, log, losses)
        agree(job.accelerator, progress, stop)
        speed = images / (progress.seconds - before)
        log.step(
            progress, loss=progress.loss_sum / progress.batch, rate=job.plan.learning_rate.value * factor, speed=speed
        )
        if stop.number or job.course.ended(progress):
            break
        if progress.seconds - progress.saved >= 60 * job.config.checkpoint_minutes:
            save(job, progress, log)
            progress.other_seconds += watch.lap()
    look(job, progress, log, losses)


def steps_between_looks(job: Job) -> int:
    """After how many steps the loss is looked at, and whether to stop: all, but where to look means to wait.

    Processes that go by one clock have to agree on it at every step, for the learning rate follows from it.
    """
    by_one_clock = job.config.time_budget and job.accelerator.num_processes > 1
    return STEPS_BETWEEN_LOOKS if job.segmenter.runtime.device == "cuda" and not by_one_clock else 1


def look(job: Job, progress: Progress, log: Logbook, losses: list[torch.Tensor]) -> None:
    """Add the losses of some steps, averaged over the processes, to the epoch's, and empty the list.

    Raises:
        TrainingError: one is not a finite number.
    """
    if losses:
        total = float(job.accelerator.reduce(torch.stack(losses).sum(), reduction="mean"))
        if not math.isfinite(total):
            raise diverged(job, progress, log.run, f"the loss became {total}")
        progress.loss_sum += total
        losses.clear()


def finish_epoch(job: Job, progress: Progress, log: Logbook, watch: Watch) -> None:
    """Validate and show if it is time, keep the best model, tell, write the checkpoint.

    Raises:
        TrainingError: the network gives no numbers any more.
    """
    loss, validation = progress.loss_sum / progress.batch, None
    rate = job.plan.learning_rate.value * rate_factor(job.config.schedule, job.course.work(progress))
    speed = progress.step * job.batches.batch_size * job.accelerator.num_processes / progress.seconds
    progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
    progress.other_seconds += watch.lap()
    progress.ended = job.course.ended(progress)
    refuse_broken(job, progress, log.run)
    if job.course.validates(progress):
        validation = validated(job, progress, log, watch)
    started = time.monotonic()
    if validation and job.accelerator.is_main_process:
        keep(job, progress, log, validation)
    log.epoch(progress, loss=loss, rate=rate, speed=speed, validation=validation)
    save(job, progress, log)
    if validation:
        measure_saving(progress, time.monotonic() - started)


def validated(job: Job, progress: Progress, log: Logbook, watch: Watch) -> Validation:
    """Validate; against the clock as many images as there is time for.

    Raises:
        TrainingError: the network gives no numbers any more.
    """
    until = None
    if isinstance(job.course, TimedCourse):
        course = job.course
        end = course.validation_end(progress) if progress.ended else course.training_end(progress)
        until = watch.last + end - course.behind(progress)
    started = time.monotonic()
    validation = validate(job, until=until)
    if validation is None:
        raise diverged(job, progress, log.run, "the scores of the network are not finite numbers")
    seconds = time.monotonic() - started
    progress.validation_seconds = seconds / validation.scores.images * validation.images
    progress.validated = job.course.behind(progress) + seconds
    return validation
