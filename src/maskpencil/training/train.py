"""`train`: puts the parts of a run together and lets them go."""

import json
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
from maskpencil.hardware import choose_device
from maskpencil.progress import ProgressBar, say
from maskpencil.training.build import build_job
from maskpencil.training.checkpoints import Progress, has_checkpoint, load_checkpoint
from maskpencil.training.config import TrainConfig, read_config, write_config
from maskpencil.training.fit import Job, fit
from maskpencil.training.logbook import Logbook
from maskpencil.training.recipes import resolve
from maskpencil.training.run_folder import RunFolder, existing_run, new_run, write_json


@dataclass(frozen=True)
class Run:
    """A training run that has ended: its folder, its best model and that model's validation mean IoU."""

    folder: Path
    model: Path
    mean_iou: float


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
    **settings: Any,
) -> Run:
    """Train a network on a folder of pictures and masks.

    `settings` are those of `TrainConfig`, or give a whole `config`. The run goes to the new folder `out` (by default
    runs/train/NAME after the data). `resume` continues a run that was cut short, exactly, with its own settings.
    `images`, `masks` and `split_file` say where things lie where that is not found, see `data.layout.Places`.

    Raises:
        ConfigError: a setting cannot work, or there is nothing to resume.
        DataError: the folder is at fault, or nothing can be learned from it.
        ModelError: the backbone's weights cannot be had.
        OutputError: the run folder cannot be written.
        TrainingError: the loss is not a finite number.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after writing a checkpoint to resume from.
    """
    if resume is not None:
        if data is not None or out is not None or config is not None or settings:
            raise ConfigError("a resumed run keeps its folder and its settings; give nothing but --resume RUN")
        run = existing_run(Path(resume))
        config, source = read_config(run.config), json.loads(run.data.read_text(encoding="utf-8"))
        folder = _open(source, quiet=quiet)
        job = _build(config, folder, start=not has_checkpoint(run.checkpoint))
        remove_leftovers(run.path)
        recover_folder(run.model)
        progress = load_checkpoint(run.checkpoint, model=job.network, optimizer=job.optimizer) or Progress()
    else:
        if data is None:
            raise ConfigError("train needs a folder: maskpencil train DATA, or --resume RUN")
        given = {"data": data, "images": images, "masks": masks, "split_file": split_file}
        source = {name: _lasting(Path(path)) for name, path in given.items() if path is not None}
        folder = _open(source, quiet=quiet)
        config = resolve(config or TrainConfig(**settings), _check(folder, quiet=quiet))
        job, progress = _build(config, folder, start=True), Progress()
        run = _start(Path(out or Path("runs/train") / short_name(data)), config, folder, source)
    silent = quiet or not job.accelerator.is_main_process
    with Logbook(run, epochs=config.epochs, steps=job.steps, done=progress, quiet=silent) as log:
        for line in _introduction(job, run, progress):
            log.say(line)
        fit(job, progress, log)
    return Run(run.path, run.model, progress.best_score)


def _build(config: TrainConfig, data: DataFolder, *, start: bool) -> Job:
    return build_job(config, data, Accelerator(cpu=choose_device(config.device).type == "cpu"), start=start)


def _start(out: Path, config: TrainConfig, data: DataFolder, source: Mapping[str, str]) -> RunFolder:
    run = new_run(out)
    write_json(run.data, source)
    write_splits(run.splits, {split: [pair.name for pair in pairs] for split, pairs in data.splits.items()})
    write_config(run.config, config)
    return run


def _lasting(path: Path) -> str:
    """A path that a resumed run finds from anywhere; what is not here may be a name below the data folder."""
    return str(path.resolve() if path.exists() else path)


def _open(source: Mapping[str, str], *, quiet: bool) -> DataFolder:
    """Open the folder `data` of a source, which may also say where pictures, masks and splits are."""
    places = Places(**{name: Path(path) for name, path in source.items() if name != "data"})
    with ProgressBar("reading masks", 1) as bar:
        folder = open_folder(source["data"], places=places, report=None if quiet else bar.update_of)
    lines = [*folder.notes, *(fault.line for fault in refuse_nonsense(folder) if fault.severity == "warning")]
    for line in lines if not quiet else ():
        say(f"{source['data']}: {line}")
    return folder


def _check(folder: DataFolder, *, quiet: bool) -> dict[str, list[tuple[int, int]]]:
    if quiet:
        return folder.check_pictures()
    with ProgressBar("reading pictures", 1) as bar:
        return folder.check_pictures(bar.update_of)


def _introduction(job: Job, run: RunFolder, progress: Progress) -> list[str]:
    config, data = job.config, job.data
    start = f"started from {config.init}" if config.init else f"weights {config.weights}"
    network = f"{job.network.config.title}, {start}"
    pictures = f"{len(data.pairs('train'))} pictures to train, {len(data.pairs('val'))} to validate"
    work = (
        f"{config.epochs} epochs in batches of {config.batch_size} at {config.crop_size.replace('none', 'full size')}"
    )
    place = f"{job.segmenter.device.type} in {job.segmenter.precision}"
    lines = [f"{network}; {len(data.classes)} classes, {pictures}", f"{work} on {place}; run folder {run.path}"]
    lines += job.notes
    if progress.step:
        lines.append(f"resumed after {progress.step} of {job.steps} steps")
    return lines
