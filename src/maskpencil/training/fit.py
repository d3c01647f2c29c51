"""The loop: batches, steps, validation, checkpoints."""

import math
import signal
import time

import torch

from maskpencil.errors import OutputError, TrainingError
from maskpencil.evaluation import count_pixels
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.training.checkpoints import save_checkpoint
from maskpencil.training.course import Progress
from maskpencil.training.job import Job
from maskpencil.training.logbook import Logbook, write_preview
from maskpencil.training.run_folder import RunFolder, write_json
from maskpencil.training.schedule import rate_factor
from maskpencil.training.solve import solve_round
from maskpencil.training.steps import train_step
from maskpencil.training.stopping import STOPPING, StopRequest

STEPS_BETWEEN_LOOKS = 10
"""How often the loss is looked at on a GPU, where to look means to wait for it."""


def fit(job: Job, progress: Progress, log: Logbook) -> bool:
    """Train from where `progress` stands to the end; model and checkpoints are written on the way.

    Gives whether it came to the end: on SIGTERM a checkpoint of the last whole step is written, and it did not.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint of the last whole step was written.
        OutputError: the model cannot be written at the end, or the checkpoint when a stop is asked for; what cannot be
            written before is told of, and the run goes on.
        TrainingError: the loss is not a finite number, or a picture is too much for the memory.
    """
    with StopRequest() as stop:
        while not job.course.ended(progress):
            if job.config.optimizer == "lbfgs":
                solve_round(job, progress, log, stop)
            else:
                train_epoch(job, progress, log, stop)
            if stop.number:
                save(job, progress, log, needed=True)
                if stop.number == signal.SIGTERM:
                    return False
                raise KeyboardInterrupt(f"nothing is lost: continue with maskpencil train --resume {log.run.path}")
            finish_epoch(job, progress, log)
            agree(job, progress, stop)
    return True


def train_epoch(job: Job, progress: Progress, log: Logbook, stop: StopRequest) -> None:
    """Make the steps of an epoch, from `progress.batch` on, until a stop is asked for or the course has ended."""
    job.model.train()
    if job.config.freeze == "backbone":
        job.network.backbone.eval()  # a frozen backbone keeps its statistics and drops nothing
    job.batches.epoch, job.batches.start = progress.epoch, progress.batch
    job.batches.resolution = job.course.resolution(progress)
    losses: list[torch.Tensor] = []
    started = now = time.monotonic()
    pictures = 0
    for inputs, targets in job.loader:
        factor = rate_factor(job.config.schedule, job.course.work(progress))
        for group in job.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        losses.append(train_step(job, progress, inputs, targets))
        progress.batch, progress.step = progress.batch + 1, progress.step + 1
        before, now = now, time.monotonic()
        progress.seconds += now - before
        agree(job, progress, stop)
        pictures += len(targets) * job.accelerator.num_processes
        ends = bool(stop.number) or job.course.ended(progress)
        due = progress.seconds - progress.saved >= 60 * job.config.checkpoint_minutes
        if job.segmenter.device.type != "cuda" or len(losses) >= STEPS_BETWEEN_LOOKS or ends or due:
            look(job, progress, losses)
            speed, rate = pictures / (now - started), job.rate.value * factor
            log.step(progress, loss=progress.loss_sum / progress.batch, rate=rate, speed=speed)
        if ends:
            break
        if due:
            save(job, progress, log)
        job.batches.resolution = job.course.resolution(progress)
    look(job, progress, losses)


def agree(job: Job, progress: Progress, stop: StopRequest) -> None:
    """Let all processes go by the main one's clock and by the signals of all, so that they end after the same step."""
    if job.accelerator.num_processes == 1:
        return
    clock = ("seconds", "other_seconds", "validation_seconds", "validated")
    times = [getattr(progress, name) if job.accelerator.is_main_process else 0.0 for name in clock]
    heard = [float(stop.number == number) for number in STOPPING]
    facts = torch.tensor([*times, *heard], dtype=torch.float64, device=job.segmenter.device)
    *times, interrupted, terminated = job.accelerator.reduce(facts, reduction="sum").tolist()
    for name, value in zip(clock, times, strict=True):
        setattr(progress, name, value)
    stop.number = STOPPING[1] if terminated else STOPPING[0] if interrupted else 0


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
    """Validate and show if it is time, keep the best model, write the checkpoint, tell."""
    run, started = log.run, time.monotonic()
    loss = progress.loss_sum / progress.batch
    rate = job.rate.value * rate_factor(job.config.schedule, job.course.work(progress))
    progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
    scores = validate(job) if job.course.validates(progress) else None
    if scores:
        progress.validation_seconds = time.monotonic() - started
    if job.accelerator.is_main_process:
        try:
            if scores:
                keep(job, progress, run, scores)
            speed = progress.step * job.batches.batch_size * job.accelerator.num_processes / progress.seconds
            log.epoch(progress, loss=loss, rate=rate, speed=speed, scores=scores)
        except OutputError as error:
            if job.course.ended(progress):
                raise
            log.say(f"warning: epoch {progress.epoch} is not kept: {error}")
    progress.other_seconds += time.monotonic() - started
    if scores:
        progress.validated = job.course.behind(progress)
    save(job, progress, log)


def keep(job: Job, progress: Progress, run: RunFolder, scores: Scores) -> None:
    """Write a preview, and the model with its scores if it is the best so far.

    Raises:
        OutputError: one of them cannot be written; what was there before stays.
    """
    score = 0.0 if math.isnan(scores.mean_iou) else scores.mean_iou
    if score > progress.best_score:
        job.segmenter.training |= {"epoch": progress.epoch, "mean_iou": round(score, 4)}
        job.segmenter.save(run.model)
        write_json(run.scores, scores.to_dict())
        progress.best_score = score
    write_preview(run.preview / f"epoch_{progress.epoch:03}.png", job.segmenter, job.data, job.data.pairs("val"))


def validate(job: Job) -> Scores:
    """Score the model on the validation pictures, shared out among the processes and summed exactly."""
    accelerator, data = job.accelerator, job.data
    mine = data.pairs("val")[accelerator.process_index :: accelerator.num_processes]
    counted = count_pixels(job.segmenter, data, mine)
    matrix = ConfusionMatrix(len(data.classes))
    together = accelerator.reduce(torch.from_numpy(counted.counts).to(accelerator.device), reduction="sum")
    matrix.add(together.cpu().numpy(), images=len(data.pairs("val")))
    return matrix.scores(data.classes.names)


def save(job: Job, progress: Progress, log: Logbook, *, needed: bool = False) -> None:
    """Write a checkpoint. Where it fails and is not `needed` now, tell so: the last good one stays.

    Raises:
        OutputError: it was needed and could not be written.
    """
    progress.saved = progress.seconds
    if not job.accelerator.is_main_process:
        return
    try:
        save_checkpoint(
            log.run.checkpoint, progress=progress, model=job.network, optimizer=job.optimizer, average=job.average
        )
    except OutputError as error:
        if needed:
            raise
        log.say(f"warning: no checkpoint of step {progress.step}, the one before stays: {error}")
