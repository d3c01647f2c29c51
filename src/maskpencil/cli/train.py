"""`maskpencil train`."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from maskpencil.cli.data import refuse_model_as_data
from maskpencil.cli.options import (
    AUGMENTATION,
    INPUT,
    LENGTH,
    MODEL,
    NETWORK,
    OPTIMIZATION,
    OUTPUT,
    DataImages,
    DataMasks,
    SplitFile,
    found_model,
    option,
    options_of,
)
from maskpencil.progress import ProgressBar
from maskpencil.signals import exit_code
from maskpencil.terminal import say, show
from maskpencil.training.config import TrainConfig

UNSEEN_SHARE = 0.1
"""The time to start and end the interpreter, as a share of the time to load the libraries."""

GROUPS: Mapping[Group, str] = {
    MODEL: "recipe backbone weights init stride fully_connected learned_upsampling at_once_scales as_released dropout",
    LENGTH: "epochs time_budget validate_every checkpoint_minutes",
    OPTIMIZATION: "batch_size learning_rate backbone_rate freeze fixed_statistics then_finetune optimizer loss "
    "class_weights schedule average weight_decay momentum bias_rate clip_norm head_l2 accumulate cache_views",
    AUGMENTATION: "image_size crop_size scale flip color_jitter coarse_share",
    NETWORK: "device precision workers compile sync_batch_norm tracker seed",
}
"""The settings of `TrainConfig` in the order in which the help shows them."""

METAVARS = {
    "backbone": "NAME",
    "weights": "WEIGHTS",
    "init": "MODEL",
    "dropout": "PROBABILITY",
    "time_budget": "TIME",
    "checkpoint_minutes": "MINUTES",
    "learning_rate": "RATE",
    "backbone_rate": "FACTOR",
    "loss": "LOSS",
    "class_weights": "WEIGHTS",
    "average": "DECAY",
    "bias_rate": "FACTOR",
    "head_l2": "FACTOR",
    "image_size": "SIZE",
    "crop_size": "SIZE",
    "scale": "MIN MAX",
    "flip": "PROBABILITY",
    "color_jitter": "SHARE",
    "coarse_share": "SHARE",
    "tracker": "NAME",
}

REPORT_SHARE, REPORT_SECONDS = 0.1, 120.0
"""The report takes at most this share of the time of the training, and at most this many seconds."""


if TYPE_CHECKING:
    from maskpencil.training.train import Run

    Options = TrainConfig
else:
    Options = options_of(TrainConfig, GROUPS, METAVARS)


def command(
    data: Annotated[
        Path | None, Parameter(help="A folder of images and masks, or an archive of it; not needed with --resume.")
    ] = None,
    /,
    *,
    out: Annotated[
        Path | None, option("The run folder to write; by default a new folder in runs/train.", OUTPUT, "FOLDER")
    ] = None,
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    resume: Annotated[Path | None, option("Continue the interrupted run in this run folder.", INPUT, "RUN")] = None,
    no_report: Annotated[bool, option("Write no report.html at the end.", OUTPUT)] = False,
    options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008 - frozen
) -> int:
    """Train a network on a folder of images and masks.

    Settings that are not given take the values of the recipe. The best model so far is kept in RUN/model, where RUN is
    the run folder. At the end, RUN/report.html shows how good the model is, where it fails, and which labels are
    suspect.
    """
    started = time.monotonic()  # before torch is loaded, since a time budget includes the time for loading
    config = TrainConfig(**asdict(options))
    if data:
        refuse_model_as_data(data, "train")
    if config.init:
        config = replace(config, init=str(found_model(Path(config.init), "train DATA --init")))
    from accelerate import PartialState

    from maskpencil.training.train import train

    since = started - UNSEEN_SHARE * (time.monotonic() - started)
    run = train(
        data,
        out=out,
        images=images,
        masks=masks,
        split_file=split_file,
        resume=resume,
        config=None if config == TrainConfig() else config,
        since=since,
    )
    processes = PartialState()
    processes.destroy_process_group()
    if not run.finished:
        if processes.is_main_process:
            show(f"stopped, nothing is lost; continue with maskpencil train --resume {run.folder}")
        return exit_code(run.stopped_by)
    if not processes.is_main_process:
        return 0
    if math.isnan(run.mean_iou):
        show("no score: no pixel of the validation images is labeled; the last model was kept")
    else:
        show(f"mean IoU {run.mean_iou:.4f} on {run.scored_on or 'the'} validation images")
    show(f"model: {run.model}")
    if not no_report and not math.isnan(run.mean_iou):
        _write_report(run, device=config.device, took=time.monotonic() - started)
    show(f"next:  maskpencil predict {run.model} IMAGES_OR_VIDEO")
    return 0


def _write_report(run: "Run", *, device: str, took: float) -> None:
    """Write the report of a run that took `took` seconds; if this fails, print a warning, since the model is safe."""
    from maskpencil.report import ReportOptions, write_report
    from maskpencil.segmenter import Segmenter

    file = run.folder / "report.html"
    options = ReportOptions(seconds=min(REPORT_SHARE * took, REPORT_SECONDS))
    try:
        with ProgressBar("writing the report", 1) as bar:
            segmenter = Segmenter.from_pretrained(run.model, device=device)
            write_report(segmenter, run.data, file, options=options, progress=bar.update_of)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(
            f"the training is done; to write its report, type maskpencil report {run.model} {run.data.root}"
        ) from interrupt
    except Exception as error:  # whatever it is, the training is done and the model safe
        say(f"warning: no report was written: {error or type(error).__name__}")
    else:
        show(f"report: {file}")
