"""What a run writes while it goes on: the best model, previews, checkpoints; and how long that takes."""

import math
import shutil
import time

from maskpencil.errors import OutputError
from maskpencil.runtimes.export import add_graph
from maskpencil.training.checkpoints import save_checkpoint
from maskpencil.training.course import Progress
from maskpencil.training.finite import refuse_broken
from maskpencil.training.job import Job
from maskpencil.training.logbook import Logbook, write_preview
from maskpencil.training.run_folder import write_json
from maskpencil.training.validation import Validation

SECOND_GRAPH_SHARE = 0.5
"""The time of making a graph, as a share of the time of the first one, which also loads the libraries for it."""

CHECKPOINT_SHARE = 3.0
"""The time of writing a checkpoint, as a multiple of a model's: it holds the optimizer's state as well."""


def keep(job: Job, progress: Progress, log: Logbook, validation: Validation) -> None:
    """Write a preview, and the model with its scores if it is the best so far; tell where it cannot be written.

    Where no pixel is labeled, so that there is no score, the last model is kept.

    Raises:
        OutputError: a model cannot be written at the end of the run; what was there before stays.
    """
    run, scores = log.run, validation.scores
    better = is_better(validation, progress)
    try:
        if better:
            score = None if math.isnan(scores.mean_iou) else round(scores.mean_iou, 4)
            job.segmenter.training |= {"epoch": progress.epoch, "mean_iou": score}
            job.segmenter.training.pop("validation_images", None)
            if validation.part:
                job.segmenter.training["validation_images"] = validation.part
            job.segmenter.save(run.model)
            write_json(run.scores, scores.to_dict())
            progress.best_score, progress.best_scores = scores.mean_iou, validation.by_part
            better = False
        write_preview(run.preview / f"epoch_{progress.epoch:03}.png", job.segmenter, job.data, job.data.pairs("val"))
    except OutputError as error:
        if progress.ended and better:
            raise
        log.say(f"warning: what epoch {progress.epoch} has learned is not kept: {error}")


def is_better(validation: Validation, progress: Progress) -> bool:
    """Whether a model is better than the best so far, on the images that both were scored on; without scores it is."""
    both = validation.by_part.keys() & progress.best_scores.keys()
    if not both:  # the first one, or a run that was begun before scores were kept by part
        return not validation.scores.mean_iou <= progress.best_score
    return not validation.by_part[max(both)] <= progress.best_scores[max(both)]


def save(job: Job, progress: Progress, log: Logbook, *, needed: bool = False) -> None:
    """Write a checkpoint. Where it fails and is not `needed` now, tell so: the last good one stays.

    Raises:
        OutputError: it was needed and could not be written.
        TrainingError: it would hold values that are not finite numbers.
    """
    progress.saved = progress.seconds
    refuse_broken(job, progress, log.run)
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


def rehearse(job: Job, progress: Progress, log: Logbook, *, with_graph: bool) -> None:
    """Measure what a run against the clock has to keep time for at its end, by doing it once with the first weights."""
    if not job.accelerator.is_main_process:
        return
    place, progress.leaving_seconds = log.run.rehearsal, 0.0
    shutil.rmtree(place, ignore_errors=True)  # a process that was killed may have left it
    try:
        started = time.monotonic()
        job.segmenter.save(place / "model")
        model = time.monotonic() - started
        write_preview(place / "preview.png", job.segmenter, job.data, job.data.pairs("val"))
        preview = time.monotonic() - started - model
        progress.saving_seconds = max(progress.saving_seconds, model * (1 + CHECKPOINT_SHARE) + preview)
        if with_graph:
            add_graph(place / "model", warn=lambda _: None)  # which is told at the end
            graph = time.monotonic() - started - model - preview
            progress.leaving_seconds = graph * SECOND_GRAPH_SHARE
    except OutputError as error:
        log.say(f"warning: no time is kept for writing at the end, which could not be tried: {error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure_saving(progress: Progress, seconds: float) -> None:
    """Learn from the time that writing has just taken; an estimate that was too high goes down step by step."""
    progress.saving_seconds = max(seconds, progress.saving_seconds / 2)
