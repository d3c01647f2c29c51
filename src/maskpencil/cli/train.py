"""`maskpencil train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.errors import ConfigError
from maskpencil.training.config import TrainConfig


def command(
    data: Annotated[Path | None, Parameter(help="The folder of pictures and masks.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The new run folder; by default runs/train/DATA.")] = None,
    resume: Annotated[Path | None, Parameter(help="A run folder to continue where it was cut short.")] = None,
    config: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),  # noqa: B008 - frozen
) -> None:
    """Train a network on a folder of pictures and masks.

    Settings that are not given are the recipe's. The best model so far is in RUN/model.
    """
    from maskpencil.training.train import train

    if resume:
        if data or out or config != TrainConfig():
            raise ConfigError("a resumed run keeps its folder and its settings; give nothing but --resume RUN")
        run = train(resume=resume)
    elif data is None:
        raise ConfigError("train needs a folder: maskpencil train DATA, or --resume RUN")
    else:
        run = train(data, out=out, config=config)
    print(f"mean IoU {run.mean_iou:.4f} on the validation pictures")
    print(f"model: {run.model}")
    print(f"next:  maskpencil predict {run.model} PICTURES_OR_FILM")
