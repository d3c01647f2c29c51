"""`maskpencil import`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.options import INPUT, OUTPUT, option
from maskpencil.files import new_folder
from maskpencil.terminal import say, show


def command(
    file: Annotated[Path, Parameter(help="A .caffemodel, or a state dict: .safetensors, .pth or .pt.")],
    /,
    *,
    out: Annotated[
        Path | None, option("The model folder to write; by default runs/import/FILE.", OUTPUT, "FOLDER")
    ] = None,
    classes: Annotated[
        Path | None, option("A classes.yaml with the names of the classes in their order.", INPUT, "FILE")
    ] = None,
    at_once_scales: Annotated[
        bool | None,
        option(
            "Whether it is the FCN-8s trained at once, if the file does not say.", INPUT, negative="--no-at-once-scales"
        ),
    ] = None,
) -> None:
    """Make a model of another project's weights.

    Known are the FCNs that the paper's authors released, in Caffe's file or in a PyTorch port's, and torchvision's
    fcn_resnet50 and fcn_resnet101.
    """
    from maskpencil.classes import read_classes
    from maskpencil.imported import import_model
    from maskpencil.model_folder import write_model_folder
    from maskpencil.runtimes.export import add_graph

    parts = import_model(file, classes=read_classes(classes) if classes else None, at_once_scales=at_once_scales)
    with new_folder(out or Path("runs/import") / file.stem) as folder:
        write_model_folder(folder, parts)
        add_graph(folder, warn=say)
    show(f"{parts.model.config.title}, {len(parts.classes)} classes")
    show(f"model: {folder}")
    show(f"next:  maskpencil predict {folder} IMAGES_OR_VIDEO")
