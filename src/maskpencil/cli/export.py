"""`maskpencil export`."""

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
from maskpencil.extras import needed_for
from maskpencil.files import new_folder, run_name
from maskpencil.terminal import say, show

RUNS = Path("runs/export")


def command(
    model: Annotated[Path, Parameter(help="A model folder, such as runs/train/NAME/model.")],
    /,
    *,
    to: Annotated[
        tuple[Literal["onnx", "openvino", "torch"], ...],
        option(
            "The forms to write: onnx (for ONNX Runtime and many others), openvino (XML and bin) and torch (a program "
            "of torch.export). Separate several forms by spaces.",
            OUTPUT,
            "FORM...",
            consume_multiple=True,
        ),
    ] = ("onnx",),
    weights: Annotated[
        Literal["fp32", "fp16", "int8"],
        option(
            "The number format of the weights: fp32; fp16, half the size; or int8, a quarter of the size and faster on "
            "CPUs, which needs --data.",
            MODEL,
        ),
    ] = "fp32",
    output: Annotated[
        Literal["labels", "logits"],
        option("What the files compute: labels (class numbers and the confidence) or logits (all scores).", MODEL),
    ] = "labels",
    data: Annotated[
        Path | None,
        option(
            "A folder of images and masks with the model's classes, on which the files are compared with the model and "
            "int8 is calibrated; without it, they are compared on images that maskpencil draws.",
            INPUT,
            "DATA",
        ),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], option("The split of --data to compare on.", INPUT)] = "val",
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    image_size: Annotated[
        Literal["native"] | None,
        option("For a model that scales images: export it without the scaling.", INPUT, "native"),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            f"The folder to write; if it exists, a number is appended. By default {RUNS}/NAME, where NAME is the name "
            "of the run.",
            OUTPUT,
            "FOLDER",
        ),
    ] = None,
) -> None:
    """Write a model to files for other programs, and check first that they give the same masks.

    Normalization and upsampling are part of the files: they take RGB images of any size and return class numbers and
    the confidence. If a file does not give the model's masks, nothing is written, and an image shows the difference.
    The README beside the files holds short programs that run them.
    """
    with needed_for("export"):
        import torch  # noqa: F401

        if {*to} != {"torch"}:
            import onnx  # noqa: F401

    from maskpencil.data.layout import Places
    from maskpencil.export import ExportOptions, export_model
    from maskpencil.export.network import FILES
    from maskpencil.model_folder import read_model_config

    model = found_model(model, "export", [] if data is None else [data])
    options = ExportOptions(to=tuple(dict.fromkeys(to)), weights=weights, output=output, split=split)
    folder = None
    if data is not None:
        folder = labeled_data(data, "export", read_model_config(model).classes, Places(images, masks, split_file))
    wanted = out or RUNS / run_name(model)
    with new_folder(wanted) as place:
        if place.name != wanted.resolve().name:
            say(f"{wanted}: exists; the files are written to {place}")
        result = export_model(model, place, options=options, data=folder, image_size=image_size, report=say)
    for form, parity in result.parities.items():
        show(f"{FILES[form][0]:<10}  {result.sizes[form] / 1e6:7.1f} MB  {parity.summary}")
    show(str(place))
