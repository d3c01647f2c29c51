"""Train a network on a folder: start a run, or resume a run."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from maskpencil.data.check.masks import refuse_nonsense
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Places
from maskpencil.data.layout.splits import write_splits
from maskpencil.errors import ConfigError
from maskpencil.files import recover_folder, remove_leftovers, short_name
from maskpencil.hardware import choose_device, choose_precision
from maskpencil.parsing import parse_time, read_flag, read_optional_path, read_path, shown
from maskpencil.plain_text import counted, visible
from maskpencil.progress import ProgressBar
from maskpencil.runtimes.export import add_graph
from maskpencil.runtimes.graph_files import carried_graph
from maskpencil.terminal import say
from maskpencil.training.build import build_trainer
from maskpencil.training.checkpoints import has_checkpoint, load_checkpoint
from maskpencil.training.config import TrainConfig, read_config, write_config
from maskpencil.training.cpu import freed_memory_kept
from maskpencil.training.dataset import TrainingImages, evenly_spaced
from maskpencil.training.distributed import build_accelerator, shared
from maskpencil.training.logbook import Logbook, Silent
from maskpencil.training.lr_finder import find_learning_rate
from maskpencil.training.resolve import TrainPlan, filled, make_plan, resolve
from maskpencil.training.run_folder import (
    Fingerprint,
    RunFolder,
    changes,
    existing_run,
    new_run,
    read_fingerprint,
    refuse_other_classes,
    write_json,
)
from maskpencil.training.schedule import TimeBudgetSchedule, duration_text
from maskpencil.training.strides import MAX_MASKS
from maskpencil.training.trainer import Trainer

FROZEN_SUFFIX = "-frozen"
"""The end of the name of a run with a frozen backbone that a second run fine-tunes."""


@dataclass(frozen=True)
class Run:
    """The result of a training run.

    Args:
        folder: the run folder.
        model: the folder of the best model.
        mean_iou: the validation score of that model; NaN if no validation pixel is labeled.
        data: the folder of images and masks, as it was read for training.
        scored_on: the number of scored validation images, such as "4 of 8", if a time budget left out some of
            them; else "".
        stopped_by: the number of the signal, SIGTERM or SIGHUP, that stopped the run; 0 for a completed run. A stopped
            run can be resumed.

    Example:
        >>> run = mp.train("street", out="runs/train/short", epochs=1, quiet=True)
        >>> run.finished, (run.folder / "metrics.csv").is_file()
        (True, True)
        >>> segmenter = mp.Segmenter.from_pretrained(run.model)
    """

    folder: Path
    model: Path
    mean_iou: float
    data: DataFolder = field(repr=False, compare=False)
    scored_on: str = ""
    stopped_by: int = 0

    @property
    def finished(self) -> bool:
        """Whether the run was completed."""
        return not self.stopped_by


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    config: TrainConfig | None = None,
    quiet: bool = False,
    since: float | None = None,
    **settings: Any,
) -> Run:
    """Train a network on a folder of images and masks.

    Args:
        data: the folder, or an archive of it.
        out: the new run folder; by default runs/train/NAME, named after the data.
        resume: the folder of a run to continue exactly, with the same settings.
        config: all settings in one object, instead of `settings`.
        quiet: print nothing.
        since: the value of `time.monotonic()` at which a time budget starts; by default now.
        settings: fields of `TrainConfig`; the recipe decides fields that are not given. Also `images`, `masks` and
            `split_file`, if they cannot be found automatically, see `data.layout.Places`.

    Example:
        >>> run = mp.train("street", backbone="resnet18", epochs=20, quiet=True)
        >>> 0 <= run.mean_iou <= 1
        True

    Raises:
        ConfigError: a setting is invalid, or neither `data` nor `resume` is given.
        DataError: the data have errors, or nothing can be learned from them, or `resume` is not a run.
        ModelError: the backbone's weights cannot be read.
        OutputError: the run folder cannot be written.
        TrainingError: the loss, weights or scores are not finite numbers, or there is no time for a first step.
        KeyboardInterrupt: stopped by Ctrl-C, after writing a checkpoint to resume from.
    """
    started = time.monotonic() if since is None else since
    quiet = read_flag("quiet", quiet)
    places = {place.name: settings.pop(place.name, None) for place in fields(Places)}
    if resume is None:
        if data is None:
            raise ConfigError("train needs a folder: maskpencil train DATA, or --resume RUN")
        given = {"data": data, **places}
        source = {name: _absolute(read_path(name, path)) for name, path in given.items() if path is not None}
        place = read_optional_path("out", out) or Path("runs/train") / visible(short_name(source["data"]))
        trainer, run = _begin(place, _settings(config, settings), source, quiet=quiet)
    elif settings or any(each is not None for each in (data, out, config, *places.values())):
        raise ConfigError("a resumed run keeps its folder, its data and its settings; give only --resume RUN")
    else:
        trainer, run = _resume(existing_run(read_path("resume", resume)), quiet=quiet)
    result = _fit(trainer, run, since=started, quiet=quiet)
    return _finetune(trainer, run, result, quiet=quiet) if result.finished and run.finetuning.is_file() else result


def _fit(trainer: Trainer, run: RunFolder, *, since: float, quiet: bool) -> Run:
    """Train to the end, or to a signal; `since` is the `time.monotonic()` from which a time budget counts."""
    with _logbook(trainer, run, quiet=quiet) as log:
        for line in _introduction(trainer, run):
            log.say(line)
        with freed_memory_kept():
            stopped_by = trainer.fit(log, since=since)
        if not stopped_by and trainer.accelerator.is_main_process:
            _finish_model(trainer, run, log)
    for tracker in trainer.accelerator.trackers:
        tracker.finish()
    progress = trainer.progress
    score, scored = shared(trainer.accelerator, (progress.best_score, max(progress.best_scores, default=0)))
    count = len(trainer.data.pairs("val"))
    return Run(
        run.path, run.model, score, trainer.data, f"{scored} of {count}" if 0 < scored < count else "", stopped_by
    )


def _settings(config: TrainConfig | None, settings: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of a new run: `config`, or an object built from single settings."""
    if config is None:
        return TrainConfig.from_dict(settings)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"config must be a TrainConfig, but got {shown(config)}; TrainConfig.from_dict makes one")
    if settings:
        raise ConfigError(f"both config and single settings ({', '.join(settings)}) are given; put all into config")
    return config


def _begin(out: Path, config: TrainConfig, source: Mapping[str, str], *, quiet: bool) -> tuple[Trainer, RunFolder]:
    """Open the data, resolve the settings, build the trainer, and create the run folder."""
    given = config
    if config.then_finetune:
        config, out = _changed(config, epochs=None), out.with_name(out.name + FROZEN_SUFFIX)
    accelerator = _accelerator(config)
    quiet = quiet or not accelerator.is_main_process
    with accelerator.main_process_first():
        folder = _open(source, quiet=quiet)
    masks = (folder.read_label_map(pair) for pair in evenly_spaced(folder.pairs("train"), MAX_MASKS))
    plan = resolve(config, folder.sizes, masks)
    images = _load(folder, plan, accelerator, quiet=quiet)
    notes = plan.notes
    if plan.finds_learning_rate:
        trial = find_learning_rate(build_trainer(plan, images, accelerator))
        plan, notes = plan.with_learning_rate(trial.rate), (*notes, str(trial))
        accelerator = _accelerator(config)
    trainer = build_trainer(plan, images, accelerator, notes=notes)
    run = RunFolder(out)
    if accelerator.is_main_process:
        run = _start(out, trainer, folder, source)
        if config.then_finetune:
            optimizer = None if given.optimizer == "lbfgs" else given.optimizer
            rest = {"then_finetune": False, "freeze": "none", "cache_views": None, "optimizer": optimizer}
            write_config(run.finetuning, _changed(given, **rest))
    return trainer, shared(accelerator, run)


def _changed(config: TrainConfig, **settings: Any) -> TrainConfig:
    """Replace settings; None leaves a setting to the recipe."""
    return TrainConfig.from_dict(config.to_dict() | settings)


def _finetune(frozen: Trainer, run: RunFolder, first: Run, *, quiet: bool) -> Run:
    """Train the whole network in a second run, from the model of the first run, whose backbone was frozen."""
    config, progress = read_config(run.finetuning), frozen.progress
    spent = progress.seconds + progress.other_seconds
    if config.time_budget:
        left = parse_time("--time-budget", config.time_budget) - spent
        config = replace(config, time_budget=f"{max(1, round(left))}s")
    config = replace(config, init=str(first.model))
    if frozen.accelerator.is_main_process and not quiet:
        score = "no score" if math.isnan(first.mean_iou) else f"mean IoU {first.mean_iou:.4f}"
        say(f"with a frozen backbone: {score} after {duration_text(round(spent))}; now the whole network is trained")
    started = time.monotonic()
    name = run.path.name.rpartition(FROZEN_SUFFIX)[0]
    trainer, second = _begin(run.path.with_name(name), config, run.read_source(), quiet=quiet)
    if frozen.accelerator.is_main_process:
        run.finetuning.unlink()  # the second run is resumed by itself from now on
    return _fit(trainer, second, since=started, quiet=quiet)


def _resume(run: RunFolder, *, quiet: bool) -> tuple[Trainer, RunFolder]:
    """Open the data of a run, build the trainer, and restore the last checkpoint if there is one."""
    # settings that did not exist when the run was started come from the recipe
    config, source = filled(read_config(run.config)), run.read_source()
    accelerator = _accelerator(config)
    quiet = quiet or not accelerator.is_main_process
    with accelerator.main_process_first():
        folder = _open(source, quiet=quiet)
        if accelerator.is_main_process:
            recover_folder(run.checkpoint)
            remove_leftovers(run.path)
            recover_folder(run.model)
    start, notes, origin = not has_checkpoint(run.checkpoint), _changes(run, folder), run.read_origin()
    plan = make_plan(config)
    images = _load(folder, plan, accelerator, quiet=quiet)
    trainer = build_trainer(plan, images, accelerator, start=start, origin=origin, notes=notes)
    progress = load_checkpoint(
        run.checkpoint,
        model=trainer.network,
        optimizer=trainer.optimizer,
        average=trainer.ema.network if trainer.ema else None,
        scaler=accelerator.scaler,
    )
    trainer.progress = progress = progress or trainer.progress
    if progress.processes != accelerator.num_processes and not quiet:
        say(
            f"warning: the run was started with {progress.processes} processes and continues with "
            f"{accelerator.num_processes}: batches consist of other images, so this is not an exact continuation"
        )
    progress.share_among(accelerator.num_processes, batches=len(trainer.batches))
    return trainer, run


def _changes(run: RunFolder, folder: DataFolder) -> tuple[str, ...]:
    """List the changes in the data since the start of the run; () for runs without a fingerprint.

    Raises:
        DataError: the classes have changed, or the fingerprint is damaged.
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


def _logbook(trainer: Trainer, run: RunFolder, *, quiet: bool) -> Logbook:
    accelerator, config = trainer.accelerator, trainer.config
    if not accelerator.is_main_process:
        return Silent(run)
    if config.tracker:
        accelerator.init_trackers("maskpencil", config=config.to_dict())
    track = accelerator.log if config.tracker else None
    return Logbook(run, schedule=trainer.schedule, done=trainer.progress, track=track, quiet=quiet)


def _start(out: Path, trainer: Trainer, data: DataFolder, source: Mapping[str, str]) -> RunFolder:
    run = new_run(out)
    write_json(run.data, source)
    Fingerprint.of(data).write(run.fingerprint)
    write_splits(run.splits, {split: [pair.name for pair in pairs] for split, pairs in data.splits.items()})
    if origin := trainer.network.backbone.origin:
        write_json(run.origin, origin.to_dict())
    write_config(run.config, trainer.config)
    return run


def _absolute(path: Path) -> str:
    """Make an existing path absolute, so that a resumed run finds it.

    Any other path may be the name of a folder in the data folder and is not changed.
    """
    return str(path.resolve() if path.exists() else path)


def _open(source: Mapping[str, str], *, quiet: bool) -> DataFolder:
    """Open the data of a run; `source` has the path `data`, and optionally paths of images, masks and splits."""
    places = Places(**{name: Path(path) for name, path in source.items() if name != "data"})
    with ProgressBar("reading masks", 1) as bar:
        folder = open_folder(source["data"], places=places, report=None if quiet else bar.update_of)
    lines = [*folder.notes, *(fault.line for fault in refuse_nonsense(folder) if fault.severity == "warning")]
    for line in lines if not quiet else ():
        say(f"{source['data']}: {line}")
    return folder


def _load(folder: DataFolder, plan: TrainPlan, accelerator: Accelerator, *, quiet: bool) -> TrainingImages:
    """Decode and check every image, and keep the training images."""
    images = TrainingImages(folder, plan.image_size, processes=accelerator.num_processes)
    if quiet:
        images.load()
    else:
        with ProgressBar("reading images", 1) as bar:
            images.load(bar.update_of, tell=bar.say)
    return images


def _finish_model(trainer: Trainer, run: RunFolder, log: Logbook) -> None:
    """Add the network's OpenVINO graph to the best model, unless a time budget leaves no time for it.

    With the graph, the first prediction on a CPU is faster.
    """
    if isinstance(trainer.schedule, TimeBudgetSchedule) and not trainer.progress.graph_seconds:
        if carried_graph(run.model) is None:
            log.say(
                "no time is left to write the model's graph for CPUs; the first prediction on a CPU will take longer"
            )
    else:
        add_graph(run.model, warn=log.say)


def _introduction(trainer: Trainer, run: RunFolder) -> list[str]:
    config, data = trainer.config, trainer.data
    start = f"started from {config.init}" if config.init else f"weights {config.weights}"
    network = f"{trainer.network.config.title}, {start}"
    images = f"{counted(len(data.pairs('train')), 'image')} to train, {len(data.pairs('val'))} to validate"
    size = config.crop_size.replace("none", "full size")
    work = f"{trainer.schedule} in batches of {config.batch_size} at {size}"
    device = f"{trainer.device.type} in {trainer.segmenter.runtime.precision}"
    lines = [f"{network}; {len(data.classes)} classes, {images}", f"{work} on {device}; run folder {run.path}"]
    if origin := trainer.network.backbone.origin:
        lines.append(f"pretrained weights: {origin}")
    lines += trainer.network.backbone.loaded.notes if trainer.network.backbone.loaded else []
    lines += trainer.notes
    if trainer.progress.step:
        lines.append(f"resumed after {counted(trainer.progress.step, 'step')}")
    if not data.class_counts("val").any():
        lines.append(
            "warning: no pixel of the validation images is labeled, so there will be no score: the last model is "
            "kept, not the best"
        )
    return lines
