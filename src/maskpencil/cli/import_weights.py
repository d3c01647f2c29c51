"""`maskpencil import`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.options import INPUT, OUTPUT, option
from maskpencil.files import new_folder
from maskpencil.terminal import say, show


def command(
    file: Annotated[
        Path, Parameter(help="A file of weights: a .caffemodel, or a PyTorch state dict (.safetensors, .pth or .pt).")
    ],
    /,
    *,
    out: Annotated[
        Path | None, option("The model folder to write; by default runs/import/NAME for NAME.pth.", OUTPUT, "FOLDER")
    ] = None,
    classes: Annotated[
        Path | None,
        option("A classes.yaml with the names of the classes in the order of the network's outputs.", INPUT, "FILE"),
    ] = None,
    at_once_scales: Annotated[
        bool | None,
        option(
            "Read the weights as those of the FCN-8s trained in one stage (at once), which scales the skip features; "
            "needed only if the file does not store these scales.",
            INPUT,
            negative="--no-at-once-scales",
        ),
    ] = None,
) -> None:
    """Make a model folder from the weights of another project.

    Supported are the FCNs released by the paper's authors, as Caffe files or as files of their PyTorch port, and
    torchvision's fcn_resnet50 and fcn_resnet101.
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
