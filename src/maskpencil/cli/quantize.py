"""`maskpencil quantize`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.data import labeled_data
from maskpencil.cli.options import (
    INPUT,
    MODEL,
    OUTPUT,
    DataImages,
    DataMasks,
    SplitFile,
    found_model,
    option,
)
from maskpencil.files import new_folder
from maskpencil.progress import ProgressBar
from maskpencil.terminal import show


def command(
    model: Annotated[Path, Parameter(help="A model folder, such as runs/train/NAME/model.")],
    data: Annotated[Path, Parameter(help="A folder of images and masks with the model's classes.")],
    /,
    *,
    out: Annotated[Path | None, option("The model folder to write; by default MODEL-int8.", OUTPUT, "FOLDER")] = None,
    max_drop: Annotated[
        float,
        option(
            "The largest accepted drop of mean IoU, in percentage points; if mean IoU drops more, nothing is written.",
            MODEL,
            "POINTS",
        ),
    ] = 0.5,
    calibration_images: Annotated[
        int, option("The number of training images on which the ranges of activations are measured.", MODEL, "N")
    ] = 100,
    split: Annotated[
        Literal["train", "val", "test"],
        option("The split on which the model is scored before and after the conversion.", INPUT),
    ] = "val",
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
) -> None:
    """Convert a model to int8, which is faster on CPUs, and measure how much mean IoU is lost.

    The result is a model folder, which predict and evaluate accept like any other.
    """
    from maskpencil.data.layout import Places
    from maskpencil.model_folder import read_model_config
    from maskpencil.quantization import quantize

    model = found_model(model, "quantize", [data])
    classes = read_model_config(model).classes
    folder = labeled_data(data, "quantize", classes, Places(images, masks, split_file))
    wanted = out or model.with_name(f"{model.name}-int8")
    with new_folder(wanted) as place, ProgressBar("quantizing and scoring", 1) as bar:
        result = quantize(
            model,
            folder,
            out=place,
            max_drop=max_drop,
            split=split,
            calibration_images=calibration_images,
            report=bar.update_of,
        )
    show(f"mean IoU {result.before:.4f} before, {result.after:.4f} in int8: {place}")
