"""`maskpencil train`."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.arguments import found_model, refuse_model_as_data
from maskpencil.cli.options import DataImages, DataMasks, SplitFile
from maskpencil.signals import exit_code
from maskpencil.terminal import show
from maskpencil.training.config import TrainConfig

UNSEEN_SHARE = 0.1
"""The time of starting and ending the interpreter, as a share of that of loading the libraries."""


def command(
    data: Annotated[
        Path | None, Parameter(help="A folder of images and masks, or a file in which it is packed.")
    ] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The new run folder; by default runs/train/DATA.")] = None,
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    resume: Annotated[Path | None, Parameter(help="A run folder to continue where it was cut short.")] = None,
    config: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),  # noqa: B008 - frozen
) -> int:
    """Train a network on a folder of images and masks.

    Settings that are not given are the recipe's. The best model so far is in RUN/model.
    """
    started = time.monotonic()  # before torch is loaded, for a time budget is that of the clock on the wall
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
    show(f"next:  maskpencil predict {run.model} IMAGES_OR_VIDEO")
    return 0
