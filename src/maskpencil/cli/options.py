"""Options that several commands share, and the groups that the help shows them in."""

from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

INPUT = Group("Input", sort_key=1)
OUTPUT = Group("Output", sort_key=2)
CLASSES = Group("Classes", sort_key=3)
REGIONS = Group("Regions", sort_key=4)
VIDEO = Group("Video", sort_key=5)
MODEL = Group("Model", sort_key=3)
LENGTH = Group("Length", sort_key=4)
OPTIMIZATION = Group("Optimization", sort_key=5)
AUGMENTATION = Group("Augmentation", sort_key=6)
NETWORK = Group("Network", sort_key=8)
OTHER = Group("Other", sort_key=9)


def option(help: str, group: Group, metavar: str | None = None, **settings: object) -> Parameter:  # noqa: A002
    """Describe an option for the help.

    Args:
        help: what it does; the terminal's width breaks the lines.
        group: the group that it is shown in.
        metavar: the name of its value, where the type says too little.
        settings: more arguments of `cyclopts.Parameter`.
    """
    return Parameter(help=help, group=group, metavar=metavar, show_default=_default, **settings)  # type: ignore[arg-type]


def _default(value: object) -> str | None:
    """Return a default as the help shows it, but for flags, which are off unless their text says otherwise."""
    return None if value is None or isinstance(value, bool) else str(value)


def flowed(text: str | None) -> str:
    """Join the lines of each paragraph of a docstring, so that the terminal's width alone breaks them."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text or "").split("\n\n"))


ModelFolder = Annotated[
    Path, Parameter(help="A model folder, such as runs/train/NAME/model, or torchvision/fcn_resnet50.")
]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], option("The device to compute on.", NETWORK)]
ImageSize = Annotated[
    str | None,
    option(
        "Another size for the network to see: native, HEIGHTxWIDTH, or the longer side, to which larger images are "
        "scaled down.",
        NETWORK,
        "SIZE",
    ),
]
RuntimeName = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    option("The library that computes: auto is openvino on CPUs, else torch.", NETWORK, name="--runtime"),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    option("The precision of the convolutions; int8 for a quantized model.", NETWORK),
]
DataImages = Annotated[
    Path | None, option("The folder of the images, here or in DATA, if it is not found.", INPUT, "FOLDER")
]
DataMasks = Annotated[
    Path | None, option("The folder of the masks, here or in DATA, if it is not found.", INPUT, "FOLDER")
]
SplitFile = Annotated[
    Path | None, option("A file with a line NAME SPLIT for each image: train, val or test.", INPUT, "FILE")
]
AnnotationFormat = Literal["folder", "voc", "coco", "labelme", "cvat", "yolo"]
