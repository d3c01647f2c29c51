"""`train`: puts the parts of a run together and lets them go."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from maskpencil.data.check.classes import refuse_nonsense
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Places
from maskpencil.data.splits import write_splits
from maskpencil.errors import ConfigError
from maskpencil.files import recover_folder, remove_leftovers, short_name
from maskpencil.hardware import choose_device, choose_precision
from maskpencil.parsing import read_flag, read_optional_path, read_path, shown
from maskpencil.plain_text import visible
from maskpencil.progress import ProgressBar
from maskpencil.runtimes.export import add_graph
from maskpencil.runtimes.graph_files import carried_graph
from maskpencil.terminal import say
from maskpencil.training.build import build_job
from maskpencil.training.checkpoints import has_checkpoint, load_checkpoint
from maskpencil.training.config import TrainConfig, read_config, write_config
from maskpencil.training.course import Progress, TimedCourse, counted
from maskpencil.training.distributed import build_accelerator, shared
from maskpencil.training.fingerprint import Fingerprint, changes, read_fingerprint, refuse_other_classes
from maskpencil.training.fit import fit
from maskpencil.training.job import Job
from maskpencil.training.logbook import Logbook, Silent
from maskpencil.training.lr_finder import find_learning_rate
from maskpencil.training.resolve import filled, make_plan, resolve
from maskpencil.training.run_folder import RunFolder, existing_run, new_run, write_json


@dataclass(frozen=True)
class Run:
    """A training run that has ended: its folder, its best model and that model's validation mean IoU.

    The score is NaN where no validation pixel is labeled. `scored_on` says how many validation images it was measured
    on, such as "4 of 8", where time sufficed for no more; else it is empty. `stopped_by` is the number of the signal
    that ended it before its end, SIGTERM or SIGHUP, else 0: it can be resumed.
    """

    folder: Path
    model: Path
    mean_iou: float
    scored_on: str = ""
    stopped_by: int = 0

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return not self.stopped_by


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    config: TrainConfig | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    split_file: str | Path | None = None,
    quiet: bool = False,
    since: float | None = None,
    **settings: Any,
) -> Run:
    """Train a network on a folder of images and masks.

    `settings` are those of `TrainConfig`, or give a whole `config`. The run goes to the new folder `out` (by default
    runs/train/NAME after the data). `resume` continues a run that was cut short, exactly, with its own settings.
    `images`, `masks` and `split_file` say where things lie where that is not found, see `data.layout.Places`. A time
    budget counts from `since`, a time of `time.monotonic`, by default from now.

    Raises:
        ConfigError: a setting cannot work, or there is nothing to resume.
        DataError: the folder is at fault, or nothing can be learned from it.
        ModelError: the backbone's weights cannot be had.
        OutputError: the run folder cannot be written.
        TrainingError: the loss, weights or scores are not finite numbers, or there is no time for a first step.
        KeyboardInterrupt: stopped by Ctrl-C, after writing a checkpoint to resume from.
    """
    started = time.monotonic() if since is None else since
    quiet = read_flag("quiet", quiet)
    if resume is None:
        if data is None:
            raise ConfigError("train needs a folder: maskpencil train DATA, or --resume RUN")
        given = {"data": data, "images": images, "masks": masks, "split_file": split_file}
        source = {name: _lasting(read_path(name, path)) for name, path in given.items() if path is not None}
        place = read_optional_path("out", out) or Path("runs/train") / visible(short_name(source["data"]))
        job, run, progress = _begin(place, _settings(config, settings), source, quiet=quiet)
    elif data is not None or out is not None or config is not None or settings:
        raise ConfigError("a resumed run keeps its folder and its settings; give nothing but --resume RUN")
    else:
        job, run, progress = _resume(existing_run(read_path("resume", resume)), quiet=quiet)
    with _logbook(job, run, progress, quiet=quiet) as log:
        for line in _introduction(job, run, progress):
            log.say(line)
        stopped_by = fit(job, progress, log, since=started)
        if not stopped_by and job.accelerator.is_main_process:
            _finish_model(job, run, progress, log)
    for tracker in job.accelerator.trackers:
        tracker.finish()
    score, scored = shared(job.accelerator, (progress.best_score, max(progress.best_scores, default=0)))
    count = len(job.data.pairs("val"))
    return Run(run.path, run.model, score, f"{scored} of {count}" if 0 < scored < count else "", stopped_by)


def _settings(config: TrainConfig | None, settings: Mapping[str, Any]) -> TrainConfig:
    """The settings of a new run, given as a whole or one by one."""
    if config is None:
        return TrainConfig.from_dict(settings)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"config must be a TrainConfig, but got {shown(config)}; TrainConfig.from_dict makes one")
    if settings:
        raise ConfigError(f"a whole config is given, and {', '.join(settings)} besides; put all into one of them")
    return config


def _begin(
    out: Path, config: TrainConfig, source: Mapping[str, str], *, quiet: bool
) -> tuple[Job, RunFolder, Progress]:
    """Open the data, settle the settings, build the job, make the run folder."""
    accelerator = _accelerator(config)
    quiet = quiet or not accelerator.is_main_process
    with accelerator.main_process_first():
        folder = _open(source, quiet=quiet)
    plan = resolve(config, _check(folder, quiet=quiet))
    notes: tuple[str, ...] = ()
    if plan.finds_learning_rate:
        trial = find_learning_rate(build_job(plan, folder, accelerator))
        plan, notes = plan.with_learning_rate(trial.rate), (str(trial),)
        accelerator = _accelerator(config)
    job = build_job(plan, folder, accelerator, start=True, notes=notes)
    run = _start(out, plan.config, folder, source) if accelerator.is_main_process else RunFolder(out)
    run = shared(accelerator, run)
    return job, run, Progress(parts=plan.config.accumulate, processes=accelerator.num_processes)


def _resume(run: RunFolder, *, quiet: bool) -> tuple[Job, RunFolder, Progress]:
    """Open the data, build the job and bring everything back as it was."""
    # settings that are newer than the run are the recipe's
    config, source = filled(read_config(run.config)), run.read_source()
    accelerator = _accelerator(config)
    quiet = quiet or not accelerator.is_main_process
    with accelerator.main_process_first():
        folder = _open(source, quiet=quiet)
        if accelerator.is_main_process:
            has_checkpoint(run.checkpoint)
            remove_leftovers(run.path)
            recover_folder(run.model)
    job = build_job(
        make_plan(config), folder, accelerator, start=not has_checkpoint(run.checkpoint), notes=_changes(run, folder)
    )
    average = job.average.network if job.average else None
    progress = load_checkpoint(
        run.checkpoint, model=job.network, optimizer=job.optimizer, average=average, scaler=accelerator.scaler
    )
    progress = progress or Progress(parts=config.accumulate, processes=accelerator.num_processes)
    if progress.processes != accelerator.num_processes and not quiet:
        say(
            f"warning: {accelerator.num_processes} processes go on where {progress.processes} began: a step has other "
            "images, so this is not the run it would have been"
        )
    progress.share_among(accelerator.num_processes, batches=len(job.batches))
    return job, run, progress


def _changes(run: RunFolder, folder: DataFolder) -> tuple[str, ...]:
    """What has changed in the data since the run began, to be told; nothing of runs that did not keep it.

    Raises:
        DataError: the classes are others, or what the run kept of them is damaged.
    """
    before, now = read_fingerprint(run.fingerprint), Fingerprint.of(folder)
    if before is None:
        return ()
    refuse_other_classes(before, now, run=run.path, data=folder.root)
    return changes(before, now)


def _accelerator(config: TrainConfig) -> Accelerator:
    device = choose_device(config.device)
    choose_precision(config.precision, device)
    return build_accelerator(on_cpu=device.type == "cpu", precision=config.precision, tracker=config.tracker)


def _logbook(job: Job, run: RunFolder, progress: Progress, *, quiet: bool) -> Logbook:
    if not job.accelerator.is_main_process:
        return Silent(run)
    if job.config.tracker:
        job.accelerator.init_trackers("maskpencil", config=job.config.to_dict())
    track = job.accelerator.log if job.config.tracker else None
    return Logbook(run, course=job.course, done=progress, track=track, quiet=quiet)


def _start(out: Path, config: TrainConfig, data: DataFolder, source: Mapping[str, str]) -> RunFolder:
    run = new_run(out)
    write_json(run.data, source)
    Fingerprint.of(data).write(run.fingerprint)
    write_splits(run.splits, {split: [pair.name for pair in pairs] for split, pairs in data.splits.items()})
    write_config(run.config, config)
    return run


def _lasting(path: Path) -> str:
    """A path that a resumed run finds from anywhere; what is not here may be a name below the data folder."""
    return str(path.resolve() if path.exists() else path)


def _open(source: Mapping[str, str], *, quiet: bool) -> DataFolder:
    """Open the folder `data` of a source, which may also say where images, masks and splits are."""
    places = Places(**{name: Path(path) for name, path in source.items() if name != "data"})
    with ProgressBar("reading masks", 1) as bar:
        folder = open_folder(source["data"], places=places, report=None if quiet else bar.update_of)
    lines = [*folder.notes, *(fault.line for fault in refuse_nonsense(folder) if fault.severity == "warning")]
    for line in lines if not quiet else ():
        say(f"{source['data']}: {line}")
    return folder


def _check(folder: DataFolder, *, quiet: bool) -> dict[str, list[tuple[int, int]]]:
    if quiet:
        return folder.check_images()
    with ProgressBar("reading images", 1) as bar:
        return folder.check_images(bar.update_of, tell=bar.say)


def _finish_model(job: Job, run: RunFolder, progress: Progress, log: Logbook) -> None:
    """Let the best model carry its graph, unless the time is too short for it."""
    if isinstance(job.course, TimedCourse) and not progress.leaving_seconds:
        if carried_graph(run.model) is None:
            log.say("the time is too short to make the model's graph: its first prediction on a CPU will take longer")
    else:
        add_graph(run.model, warn=log.say)


def _introduction(job: Job, run: RunFolder, progress: Progress) -> list[str]:
    config, data = job.config, job.data
    start = f"started from {config.init}" if config.init else f"weights {config.weights}"
    network = f"{job.network.config.title}, {start}"
    images = f"{counted(len(data.pairs('train')), 'image')} to train, {len(data.pairs('val'))} to validate"
    work = f"{job.course} in batches of {config.batch_size} at {config.crop_size.replace('none', 'full size')}"
    place = f"{job.device.type} in {job.segmenter.runtime.precision}"
    lines = [f"{network}; {len(data.classes)} classes, {images}", f"{work} on {place}; run folder {run.path}"]
    lines += job.notes
    if progress.step:
        lines.append(f"resumed after {counted(progress.step, 'step')}")
    if not data.class_counts("val").any():
        lines.append(
            "warning: no pixel of the validation images is labeled, so there will be no score: the last model is "
            "kept, not the best"
        )
    return lines
