"""`maskpencil verify`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.data import labeled_data
from maskpencil.cli.options import INPUT, OUTPUT, DataImages, DataMasks, SplitFile, found_model, option
from maskpencil.errors import ConfigError
from maskpencil.extras import needed_for
from maskpencil.terminal import show


def command(
    file: Annotated[Path, Parameter(help="An exported file: model.onnx or model.xml.")],
    model: Annotated[Path, Parameter(help="The model folder that the file was exported from.")],
    /,
    *,
    data: Annotated[
        Path | None,
        option(
            "A folder of images and masks with the model's classes to compare on; by default images that are drawn.",
            INPUT,
            "DATA",
        ),
    ] = None,
    split: Annotated[Literal["train", "val", "test"], option("The split of --data to compare on.", INPUT)] = "val",
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    out: Annotated[
        Path,
        option("The new folder for an image of the difference, if there is one.", OUTPUT, "FOLDER"),
    ] = Path("runs/verify/difference"),
) -> None:
    """Check that an exported file gives the same masks as the model, on this machine."""
    with needed_for("verify"):
        import torch  # noqa: F401

    from maskpencil.data.layout import Places
    from maskpencil.export import verify_export
    from maskpencil.model_folder import read_model_config

    if file.is_dir() and model.is_file():
        raise ConfigError(f"give the exported file first: maskpencil verify {model} {file}")
    model = found_model(model, "verify")
    folder = None
    if data is not None:
        folder = labeled_data(data, "verify", read_model_config(model).classes, Places(images, masks, split_file))
    parity = verify_export(file, model, data=folder, split=split, out=out)
    show(f"{file}: {parity.summary}")
