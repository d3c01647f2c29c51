"""The table the method rests on: what skips, pretraining, fine-tuning, the classifier and learned upsampling are worth.

    python benchmarks/ablations.py DATA [--out runs/ablations] [--quick] [--weights none | --weights-dir FOLDER]

Every row is a training run; rows that are done are not run again, so that an interrupted run continues. The table
is written to OUT/table.md after every row; an image of each group, OUT/GROUP.png, shows where its nets see boundaries.
ImageNet weights come from torchvision's cache, or from FOLDER/BACKBONE.pth; rows without available weights are listed
as such, and `--weights none` trains every row from scratch.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import maskpencil as mp
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.errors import ModelError
from maskpencil.images import write_image
from maskpencil.visualize import boundaries, contact_sheet

QUICK: dict[str, Any] = {"image_size": "96x128", "crop_size": "none", "epochs": 5, "batch_size": 8}
QUICK_CLASSIFIERS: dict[str, dict[str, Any]] = {
    "vgg16": {"fully_connected": False},  # fc6 and fc7 are nine tenths of the weights and half of the time
    "alexnet": {"fully_connected": False},
    "googlenet": {},
    "resnet18": {},
}


@dataclass(frozen=True)
class Row:
    """One training run of the table, and what it differs in."""

    group: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)
    """What `--quick` changes beside."""

    @property
    def folder(self) -> str:
        return f"{self.group} {self.name}".replace(" ", "-").replace(",", "")


ROWS = (
    *(Row("skips", f"FCN-{stride}s", {"stride": stride}) for stride in (32, 16, 8)),
    Row("trunk", "frozen", {"freeze": "backbone", "cache_views": 0}),
    Row("trunk", "fine-tuned"),
    Row("weights", "pretrained"),
    Row("weights", "from scratch", {"weights": "none"}),
    *(Row("classifier", name, {"backbone": name}, quick) for name, quick in QUICK_CLASSIFIERS.items()),
    Row("upsampling", "learned", {"learned_upsampling": "all"}),
    Row("upsampling", "fixed", {"learned_upsampling": "none"}),
)


def settings_of(row: Row, arguments: argparse.Namespace) -> dict[str, Any]:
    quick = {**QUICK, **row.quick} if arguments.quick else {}
    settings = {"backbone": arguments.backbone, "stride": 8, **quick, **row.settings}
    if "weights" not in settings and arguments.weights_dir:
        settings["weights"] = str(arguments.weights_dir / f"{settings['backbone']}.pth")
    if arguments.weights == "none":
        settings["weights"] = "none"
    return settings


def run(row: Row, arguments: argparse.Namespace, data: DataFolder) -> dict[str, Any]:
    """Train and score a row, or read what an earlier call measured; rows of equal settings share one run."""
    settings = settings_of(row, arguments)
    key = json.dumps(settings, sort_keys=True)
    for done in sorted(arguments.out.glob("*/result.json")):
        result: dict[str, Any] = json.loads(done.read_text())
        if result["key"] == key:
            return result
    started = time.monotonic()
    try:
        trained = mp.train(arguments.data, out=arguments.out / row.folder, **settings)
    except ModelError as error:
        return {"key": key, "error": str(error)}
    segmenter = mp.Segmenter.from_pretrained(trained.model)
    scores = mp.evaluate(segmenter, data, split="val")
    result = {
        "key": key,
        "seconds": time.monotonic() - started,
        "scores": scores.to_dict(),
        "model": str(trained.model.resolve()),
    }
    (trained.folder / "result.json").write_text(json.dumps(result))
    return result


def draw_group(path: Path, results: list[tuple[Row, dict[str, Any]]], data: DataFolder) -> None:
    """Draw two images of val, the target's boundaries in white, and a column a row with its net's in orange."""
    pairs = data.pairs("val")
    examples = [data.read_pair(pairs[len(pairs) * place // 4]) for place in (1, 3)]
    shown = [(row, mp.Segmenter.from_pretrained(result["model"])) for row, result in results if "model" in result]
    sheet = [
        [image, *(boundaries(image, target, net.predict_batch([image])[0].label_map) for _, net in shown)]
        for image, target in examples
    ]
    write_image(path, contact_sheet(sheet, captions=("image", *(row.name for row, _ in shown)), cell_width=480))


def table(results: list[tuple[Row, dict[str, Any]]], arguments: argparse.Namespace) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    start = "all from scratch" if arguments.weights == "none" else "pretrained where not told"
    base = f"base: FCN-8s on {arguments.backbone}, {start}"
    lines = [
        f"# Ablations on {arguments.data.resolve().name}{', quick' if arguments.quick else ''}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {device}, torch {torch.__version__}; {base}; scores on val in percent",
        "",
        "| group | row | mean IoU | pixel accuracy | mean accuracy | f.w. IoU | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    for row, result in results:
        if "error" in result:
            lines.append(f"| {row.group} | {row.name} | {result['error'].split(';')[0]} | | | | |")
            continue
        shown = " | ".join(f"{100 * result['scores'][name]:.1f}" for name in names)
        lines.append(f"| {row.group} | {row.name} | {shown} | {result['seconds'] / 60:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--backbone", help="of the rows not about the classifier: vgg16, with --quick resnet18")
    parser.add_argument("--quick", action="store_true", help="small images, five epochs: half an hour on two cores")
    parser.add_argument("--weights-dir", type=Path, help="folder of classifier weights, BACKBONE.pth each")
    parser.add_argument("--weights", choices=["imagenet", "none"], default="imagenet")
    arguments = parser.parse_args()
    arguments.backbone = arguments.backbone or ("resnet18" if arguments.quick else "vgg16")
    data = open_folder(arguments.data)
    rows = [row for row in ROWS if row.group != "weights" or arguments.weights != "none"]  # both would be from scratch
    results = []
    for row in rows:
        results.append((row, run(row, arguments, data)))
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "table.md").write_text(table(results, arguments))
    text = table(results, arguments) + "\nBoundaries: the target's white, the net's orange.\n"
    for group in dict.fromkeys(row.group for row in rows):
        draw_group(arguments.out / f"{group}.png", [done for done in results if done[0].group == group], data)
        text += f"\n![{group}]({group}.png)\n"
    (arguments.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
