"""The loop: batches, steps, validation, checkpoints."""

import math
import signal
import time

import torch
from accelerate.utils import broadcast

from maskpencil.errors import OutputError, TrainingError
from maskpencil.evaluation import count_pixels
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.training.checkpoints import save_checkpoint
from maskpencil.training.course import Progress, Watch
from maskpencil.training.job import Job
from maskpencil.training.logbook import Logbook, write_preview
from maskpencil.training.processes import agree
from maskpencil.training.run_folder import RunFolder, write_json
from maskpencil.training.schedule import rate_factor
from maskpencil.training.solve import solve_round
from maskpencil.training.steps import train_step
from maskpencil.training.stopping import StopRequest

STEPS_BETWEEN_LOOKS = 10
"""On a GPU, where to look at the loss means to wait for it."""


def fit(job: Job, progress: Progress, log: Logbook, *, since: float) -> bool:
    """Train from where `progress` stands to the end; model and checkpoints are written on the way.

    `since` is the time.monotonic() from which on time counts. Gives whether it came to the end: on SIGTERM a checkpoint
    of the last whole step is written, and it did not.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint of the last whole step was written.
        OutputError: the model cannot be written at the end, or the checkpoint when a stop is asked for; what cannot be
            written before is told of, and the run goes on.
        TrainingError: the loss is not a finite number, a picture is too much for the memory, or the time was over
            before the first step.
    """
    watch = Watch(since)
    if job.config.time_budget and not progress.validation_seconds:
        progress.validation_seconds = expected_validation(job)
    progress.other_seconds += watch.lap()
    with StopRequest() as stop:
        agree(job.accelerator, progress, stop)
        if job.course.ended(progress) and not progress.step:
            raise TrainingError(f"--time-budget: {job.course} were over before the first step; give more")
        while not progress.ended:
            if job.config.optimizer == "lbfgs":
                solve_round(job, progress, log, stop, watch)
            else:
                train_epoch(job, progress, log, stop, watch)
            agree(job.accelerator, progress, stop)
            if stop.number:
                save(job, progress, log, needed=True)
                if stop.number == signal.SIGTERM:
                    return False
                raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")
            finish_epoch(job, progress, log)
            progress.other_seconds += watch.lap()
            agree(job.accelerator, progress, stop)
    return True


def train_epoch(job: Job, progress: Progress, log: Logbook, stop: StopRequest, watch: Watch) -> None:
    """Make the steps of an epoch, from `progress.batch` on, until a stop is asked for or the course has ended."""
    job.start_learning()
    job.batches.epoch, job.batches.start = progress.epoch, progress.batch
    job.batches.resolution = job.course.resolution(progress)
    losses: list[torch.Tensor] = []
    pictures, before, every = 0, progress.seconds, steps_between_looks(job)
    for inputs, targets in job.loader:
        factor = rate_factor(job.config.schedule, job.course.work(progress))
        for group in job.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        losses.append(train_step(job, progress, inputs, targets))
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        progress.seconds += watch.lap()
        pictures += len(targets) * job.accelerator.num_processes
        job.batches.resolution = job.course.resolution(progress)
        if len(losses) < every:
            continue
        look(job, progress, losses)
        agree(job.accelerator, progress, stop)
        speed = pictures / (progress.seconds - before)
        log.step(progress, loss=progress.loss_sum / progress.batch, rate=job.rate.value * factor, speed=speed)
        if stop.number or job.course.ended(progress):
            break
        if progress.seconds - progress.saved >= 60 * job.config.checkpoint_minutes:
            save(job, progress, log)
            progress.other_seconds += watch.lap()
    look(job, progress, losses)


def steps_between_looks(job: Job) -> int:
    """After how many steps the loss is looked at, and whether to stop: all, but where to look means to wait.

    Processes that go by one clock have to agree on it at every step, for the learning rate follows from it.
    """
    by_one_clock = job.config.time_budget and job.accelerator.num_processes > 1
    return STEPS_BETWEEN_LOOKS if job.segmenter.runtime.device == "cuda" and not by_one_clock else 1


def look(job: Job, progress: Progress, losses: list[torch.Tensor]) -> None:
    """Add the losses of some steps, averaged over the processes, to the epoch's, and empty the list.

    Raises:
        TrainingError: one is not a finite number.
    """
    if losses:
        total = float(job.accelerator.reduce(torch.stack(losses).sum(), reduction="mean"))
        if not math.isfinite(total):
            raise TrainingError(
                f"the loss became {total} at step {progress.step} (epoch {progress.epoch + 1}); try a smaller "
                f"--learning-rate (it is {job.config.learning_rate}), --precision fp32, or look at the masks"
            )
        progress.loss_sum += total
        losses.clear()


def finish_epoch(job: Job, progress: Progress, log: Logbook) -> None:
    """Validate and show if it is time, keep the best model, tell, write the checkpoint."""
    loss, scores = progress.loss_sum / progress.batch, None
    rate = job.rate.value * rate_factor(job.config.schedule, job.course.work(progress))
    speed = progress.step * job.batches.batch_size * job.accelerator.num_processes / progress.seconds
    progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
    progress.ended = job.course.ended(progress)
    if job.course.validates(progress):
        started = time.monotonic()
        scores = validate(job)
        if job.accelerator.is_main_process:
            keep(job, progress, log, scores)
        progress.validation_seconds = time.monotonic() - started
        progress.validated = job.course.behind(progress) + progress.validation_seconds
    log.epoch(progress, loss=loss, rate=rate, speed=speed, scores=scores)
    save(job, progress, log)


def validate(job: Job) -> Scores:
    """Score the model on the validation pictures, shared out among the processes and summed exactly."""
    accelerator, data = job.accelerator, job.data
    # what normalization layers measure is each process's own between two steps; the main one's is kept
    broadcast(list(job.segmenter.network.buffers()))
    mine = data.pairs("val")[accelerator.process_index :: accelerator.num_processes]
    counted = count_pixels(job.segmenter, data, mine)
    matrix = ConfusionMatrix(len(data.classes))
    together = accelerator.reduce(torch.from_numpy(counted.counts).to(accelerator.device), reduction="sum")
    matrix.add(together.cpu().numpy(), images=len(data.pairs("val")))
    return matrix.scores(data.classes.names)


def expected_validation(job: Job) -> float:
    """The seconds that a validation will take, from those of one picture."""
    pictures = job.data.pairs("val")
    count_pixels(job.segmenter, job.data, pictures[:1])  # the first is slower
    started = time.monotonic()
    count_pixels(job.segmenter, job.data, pictures[:1])
    return (time.monotonic() - started) * len(pictures) / int(job.accelerator.num_processes)


def keep(job: Job, progress: Progress, log: Logbook, scores: Scores) -> None:
    """Write a preview, and the model with its scores if it is the best so far; tell where it cannot be written.

    Raises:
        OutputError: a model cannot be written at the end of the run; what was there before stays.
    """
    run: RunFolder = log.run
    score = 0.0 if math.isnan(scores.mean_iou) else scores.mean_iou
    try:
        if score > progress.best_score:
            job.segmenter.training |= {"epoch": progress.epoch, "mean_iou": round(score, 4)}
            job.segmenter.save(run.model)
            write_json(run.scores, scores.to_dict())
            progress.best_score = score
        write_preview(run.preview / f"epoch_{progress.epoch:03}.png", job.segmenter, job.data, job.data.pairs("val"))
    except OutputError as error:
        if progress.ended and score > progress.best_score:
            raise
        log.say(f"warning: what epoch {progress.epoch} has learned is not kept: {error}")


def save(job: Job, progress: Progress, log: Logbook, *, needed: bool = False) -> None:
    """Write a checkpoint. Where it fails and is not `needed` now, tell so: the last good one stays.

    Raises:
        OutputError: it was needed and could not be written.
    """
    progress.saved = progress.seconds
    if not job.accelerator.is_main_process:
        return
    average = job.average.network if job.average else None
    try:
        save_checkpoint(
            log.run.checkpoint,
            progress=progress,
            model=job.network,
            optimizer=job.optimizer,
            average=average,
            scaler=job.accelerator.scaler,
        )
    except OutputError as error:
        if needed:
            raise
        log.say(f"warning: no checkpoint of step {progress.step}, the one before stays: {error}")
