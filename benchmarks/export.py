"""Export untrained networks of several families and strides, and print how they compare with the model.

    python benchmarks/export.py [--to onnx openvino torch] [--backbones resnet18 vgg16 ...] [--out TABLE.md]

The scores and upsamplings are random, so that every class occurs and near ties are rare. A row is one network in one
form: the share of pixels with the same class over the gate's images (1x1, 33x47, 352x480, 640x1024, a batch, noise),
the largest difference of the confidences, the size of the file, and the seconds of the export.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from maskpencil.classes import ClassSet
from maskpencil.errors import ModelError
from maskpencil.export import ExportOptions, export_model
from maskpencil.export.network import FILES
from maskpencil.model_folder import ModelParts, write_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.preprocessing import Preprocessing

BACKBONES = (
    "resnet18",
    "resnet50",
    "vgg16",
    "alexnet",
    "googlenet",
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "convnext_atto",
    "regnety_002",
)
STRIDES = (32, 16, 8)
CLASSES = ClassSet(("sky", "road", "car", "tree", "wall"))


def model_of(backbone: str, stride: int, folder: Path) -> None:
    """Write a model folder with random scores."""
    torch.manual_seed(0)
    settings = {"fully_connected": False} if backbone in ("vgg16", "alexnet") else {}
    network = build_fcn(FCNConfig(len(CLASSES), backbone, stride=stride, **settings), weights="none")
    for name, parameter in network.named_parameters():
        if name.startswith("score") or (name.startswith("upscore") and parameter.requires_grad):
            torch.nn.init.normal_(parameter, std=0.1)
    preprocessing = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    write_model_folder(folder, ModelParts(network, CLASSES, preprocessing))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", nargs="+", default=["onnx", "openvino", "torch"])
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--strides", nargs="+", type=int, default=list(STRIDES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = ["| backbone | stride | file | same class | largest difference | MB | seconds |", "|" + "---|" * 7]
    print("\n".join(lines))
    for backbone in options.backbones:
        for stride in options.strides:
            with tempfile.TemporaryDirectory() as place:
                model_of(backbone, stride, Path(place) / "model")
                for form in options.to:
                    started = time.perf_counter()
                    name, row = FILES[form][0], ""
                    try:
                        result = export_model(
                            Path(place) / "model", Path(place) / form, options=ExportOptions(to=(form,))
                        )
                    except ModelError as error:
                        row = f"| refused: {error} | | | "
                    else:
                        parity = result.parities[form]
                        row = (
                            f"| {parity.equal:,} of {parity.pixels:,} | {parity.largest_difference:.1e} | "
                            f"{result.sizes[form] / 1e6:.1f} "
                        )
                    lines.append(f"| {backbone} | {stride} | {name} {row}| {time.perf_counter() - started:.1f} |")
                    print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
