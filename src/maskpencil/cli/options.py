"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

ModelFolder = Annotated[
    Path, Parameter(help="A model folder, such as runs/train/NAME/model, or torchvision/fcn_resnet50.")
]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where to compute.")]
ImageSize = Annotated[
    str | None,
    Parameter(
        help="Another size for the network to see: native, HEIGHTxWIDTH, or the longer side, to which larger images "
        "are brought down."
    ),
]
RuntimeName = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    Parameter(name="--runtime", help="What computes: openvino on CPUs, else torch."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    Parameter(help="The precision of the convolutions; int8 for a quantized model."),
]
DataImages = Annotated[Path | None, Parameter(help="The folder of the images, here or in DATA, if it is not found.")]
DataMasks = Annotated[Path | None, Parameter(help="The folder of the masks, here or in DATA, if it is not found.")]
SplitFile = Annotated[Path | None, Parameter(help="A file of lines NAME SPLIT: which images train, val and test.")]
AnnotationFormat = Literal["folder", "voc", "coco", "labelme", "cvat", "yolo"]
