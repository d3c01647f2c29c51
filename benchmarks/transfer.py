"""Measure what transfer is worth: scores by minutes and by training images, with and without pretrained weights.

    python benchmarks/transfer.py DATA [--minutes 5 10] [--images 10 all] [--seeds 0 1 2] [--groups transfer peers]
                                       [--rows fine-tuned "from scratch"]

Every row is a training with `maskpencil train DATA --time-budget MINUTES` and the settings shown, or a peer with the
same encoder, weights and minutes; all are scored on the validation images. Rows that are done are not run again, so a
call that was cut short is resumed. After every row OUT/table.md and OUT/curves.svg are written anew, with all that was
measured into OUT.

The groups are transfer (from scratch, frozen, decoder only, fine-tuned), skips (FCN-32s to FCN-2s), backbone
(ResNet18 and VGG16), peers (segmentation_models.pytorch's FPN and Unet at three learning rates each) and ultralytics
(its smallest semantic model, from scratch), the last two where they are installed: pip install --no-deps
segmentation-models-pytorch ultralytics ultralytics-thop. One measurement at a time: nothing else should run.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import maskpencil as mp
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.errors import ModelError

BACKBONE = "tf_efficientnet_lite0"
"""The backbone whose weights come as a package with the extra `train`."""

PEER_RATES = (3e-4, 1e-3, 3e-3)


@dataclass(frozen=True, eq=False)
class Row:
    """A way to train a network: its group, its name, and its settings, or the name of a peer's network."""

    group: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    peer: str = ""


PACKAGES = {"FPN": "segmentation_models_pytorch", "Unet": "segmentation_models_pytorch", "ultralytics": "ultralytics"}
"""The package that each peer needs."""

ROWS = (
    Row("transfer", "from scratch", {"backbone": BACKBONE, "weights": "none"}),
    Row("transfer", "frozen, convex head", {"backbone": BACKBONE, "freeze": "backbone", "optimizer": "lbfgs"}),
    Row("transfer", "decoder only", {"backbone": BACKBONE, "freeze": "backbone"}),
    Row("transfer", "fine-tuned", {"backbone": BACKBONE}),
    *(Row("skips", f"FCN-{stride}s", {"backbone": BACKBONE, "stride": stride}) for stride in (32, 16, 8, 4, 2)),
    Row("backbone", "ResNet18 from scratch", {"backbone": "resnet18", "weights": "none"}),
    Row("backbone", "VGG16 from scratch", {"backbone": "vgg16", "weights": "none", "fully_connected": False}),
    Row("backbone", "VGG16 fine-tuned", {"backbone": "vgg16", "fully_connected": False}),
    *(
        Row("peers", f"{network} at {rate:g}", {"backbone": BACKBONE, "learning_rate": rate}, peer=network)
        for network in ("FPN", "Unet")
        for rate in PEER_RATES
    ),
    Row("ultralytics", "YOLO26n-sem from scratch", peer="ultralytics"),
)


@dataclass(frozen=True)
class Trial:
    """One training: a row, its minutes, the number of training images (0 for all), and the seed."""

    row: Row
    minutes: float
    images: int
    seed: int

    @property
    def folder(self) -> str:
        """The name of its folder in OUT."""
        count = self.images or "all"
        words = f"{self.row.group} {self.row.name} {self.minutes:g}m {count} images seed {self.seed}"
        return "-".join(words.replace(",", "").split())


def run(trial: Trial, data: DataFolder, out: Path) -> None:
    """Train and score in a new process, unless an earlier call did."""
    folder = out / trial.folder
    if not (folder / "result.json").is_file():
        told = json.dumps(
            {
                "row": ROWS.index(trial.row),
                "name": f"{trial.row.group}: {trial.row.name}",
                "minutes": trial.minutes,
                "images": trial.images,
                "seed": trial.seed,
            }
        )
        command = [sys.executable, __file__, str(data.root), "--out", str(folder), "--work", told]
        if trial.images:
            lists = out / f"{trial.images}-images.txt"
            lists.write_text(few_images(data, trial.images), encoding="utf-8")
            command += ["--split-file", str(lists)]
        subprocess.run(command, check=True)


def read_results(out: Path) -> "Results":
    """Read what this call and earlier ones measured, in the order of the rows, minutes and images."""
    rows = {f"{row.group}: {row.name}": row for row in ROWS}
    results: dict[tuple[Row, float, int], list[Mapping[str, Any]]] = {}
    for file in sorted(out.glob("*/result.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        if result.get("name") in rows:
            results.setdefault((rows[result["name"]], result["minutes"], result["images"]), []).append(result)
    order = sorted(results, key=lambda key: (ROWS.index(key[0]), key[1], key[2]))
    return {key: results[key] for key in order}


def few_images(data: DataFolder, count: int) -> str:
    """List evenly chosen training images, and all validation images, as a split file."""
    train = data.pairs("train")
    chosen = [train[len(train) * (2 * number + 1) // (2 * count)] for number in range(min(count, len(train)))]
    lines = [f"{pair.name} train" for pair in chosen] + [f"{pair.name} val" for pair in data.pairs("val")]
    return "\n".join(lines) + "\n"


def work(arguments: argparse.Namespace) -> None:
    """Be the process of one trial: train, score, and write result.json."""
    told = json.loads(arguments.work)
    row, seconds = ROWS[told["row"]], 60 * told["minutes"]
    started = time.monotonic()
    if row.peer:
        torch.manual_seed(told["seed"])
        data = open_folder(arguments.data, places=mp.Places(split_file=arguments.split_file))
        result: dict[str, Any] = {**told, "mean_iou": train_peer(row, data, seconds, seed=told["seed"])}
    else:
        settings = {**row.settings, "time_budget": f"{round(seconds)}s", "seed": told["seed"]}
        try:
            trained = mp.train(
                arguments.data, out=arguments.out, split_file=arguments.split_file, quiet=True, **settings
            )
            result = {**told, "mean_iou": trained.mean_iou}
        except ModelError as error:
            result = {**told, "error": str(error)}
    result["seconds"] = time.monotonic() - started
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def train_peer(row: Row, data: DataFolder, seconds: float, *, seed: int) -> float:
    """Train the network of a peer, and return its mean IoU."""
    from training import MEAN, STD, score

    if row.peer == "ultralytics":
        from peers import ultralytics_semantic

        return score(ultralytics_semantic.train(data, seconds, seed=seed, mean=MEAN, std=STD), data)
    return score(train_smp(row, data, seconds), data)


def train_smp(row: Row, data: DataFolder, seconds: float) -> "torch.nn.Module":
    """Train a network of segmentation_models.pytorch with the same pretrained encoder.

    Its recipe is AdamW with one cycle over the time, random scale, window, mirror and color, in batches of 8, in bf16
    where the machine computes it natively.
    """
    import segmentation_models_pytorch as smp
    from torch import nn

    from maskpencil.hardware import autocast, choose_precision
    from maskpencil.models import create_backbone

    started = time.monotonic()
    model = getattr(smp, row.peer)(f"timm-{BACKBONE}", encoder_weights=None, classes=len(data.classes))
    pretrained = create_backbone(BACKBONE).get_submodule("net").state_dict()
    missing = nn.Module.load_state_dict(model.encoder, pretrained, strict=False)  # its own returns nothing
    assert not missing.unexpected_keys
    assert all(name.startswith(("conv_head", "bn2")) for name in missing.missing_keys)
    device = torch.device("cpu")
    precision = choose_precision("auto", device)
    rate = row.settings["learning_rate"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    model.train()
    for images, targets in peer_batches(data, (256, 320)):
        done = (time.monotonic() - started) / seconds
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * (done / 0.1 if done < 0.1 else 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9)))
        with autocast(device, precision):
            logits = model(images)
        loss = criterion(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def peer_batches(data: DataFolder, size: tuple[int, int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of randomly augmented images, (8, 3, H, W) normalized and (8, H, W), without end."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    from training import MEAN, STD

    fill = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
    change = v2.Compose(
        [
            v2.RandomAffine(0, scale=(0.8, 1.3), fill=fill),
            v2.RandomCrop(size, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.15, 0.15, 0.15),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    pairs = [data.read_pair(pair) for pair in data.pairs("train")]
    views = [
        (tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(target)))
        for image, target in pairs
    ]
    while True:
        order = torch.randperm(len(views)).tolist() * (1 + 8 // len(views))
        for start in range(0, len(order) - 7, 8):
            batch = [change(*views[index]) for index in order[start : start + 8]]
            yield torch.stack([image for image, _ in batch]), torch.stack([target for _, target in batch])


Results = Mapping[tuple[Row, float, int], Sequence[Mapping[str, Any]]]


def table(results: Results, data: DataFolder) -> str:
    """Write the table: a line for each row, with the mean and the range of the seeds for each budget."""
    columns = sorted({(minutes, images) for _, minutes, images in results})
    title = f"# Transfer on {data.root.resolve().name}"
    facts = f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {torch.get_num_threads()} threads, "
    facts += f"torch {torch.__version__}; mean IoU on val in percent: mean (lowest to highest of the seeds)"
    heads = [f"{minutes:g} min, {images or 'all'} images" for minutes, images in columns]
    lines = [title, "", facts, "", "| " + " | ".join(["group", "row", *heads]) + " |", "|---" * (len(heads) + 2) + "|"]
    for row in dict.fromkeys(row for row, _, _ in results):
        cells = [_cell(results.get((row, *column), ())) for column in columns]
        lines.append("| " + " | ".join([row.group, row.name, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(results: Sequence[Mapping[str, Any]]) -> str:
    if errors := [result["error"] for result in results if "error" in result]:
        return str(errors[0]).partition(";")[0]
    scores = [100 * result["mean_iou"] for result in results]
    if len(scores) < 2:
        return f"{scores[0]:.1f}" if scores else ""
    return f"{statistics.mean(scores):.1f} ({min(scores):.1f} to {max(scores):.1f})"


COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""The palette of Okabe and Ito, which color-blind people tell apart."""


def curves(results: Results) -> str:
    """Draw the mean IoU of each row over the minutes, with all images, as SVG."""
    rows = list(dict.fromkeys(row for row, _, images in results if not images))
    points = {row: sorted((m, _mean(r)) for (at, m, n), r in results.items() if at == row and not n) for row in rows}
    points = {row: [(m, score) for m, score in line if score is not None] for row, line in points.items()}
    minutes = sorted({m for line in points.values() for m, _ in line}) or [1.0]
    top = max((score for line in points.values() for _, score in line), default=1.0)
    low, high = np.log(minutes[0]), np.log(max(minutes[-1], minutes[0] * 1.01))

    def place(minute: float, score: float) -> tuple[float, float]:
        return 60 + 480 * (np.log(minute) - low) / (high - low), 340 - 300 * score / top

    height = max(400, 60 + 20 * len(rows))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="300" y="385" text-anchor="middle">minutes of training, two cores (logarithmic)</text>',
        '<text x="60" y="24">mean IoU on val</text>',
    ]
    for score in np.arange(0, top + 1e-9, 0.1):
        y = place(minutes[0], float(score))[1]
        parts.append(f'<path d="M60 {y:.0f}H540" stroke="#ddd"/><text x="52" y="{y + 4:.0f}" text-anchor="end">')
        parts.append(f"{100 * score:.0f} %</text>")
    parts += [f'<text x="{place(m, 0)[0]:.0f}" y="360" text-anchor="middle">{m:g}</text>' for m in minutes]
    for number, (row, line) in enumerate(points.items()):
        color, dash = COLORS[number % len(COLORS)], "" if number < len(COLORS) else ' stroke-dasharray="5 3"'
        places = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(f'<text x="560" y="{50 + 20 * number}" fill="{color}">{row.name}</text>')
    return "".join(parts) + "</svg>\n"


def _mean(results: Sequence[Mapping[str, Any]]) -> float | None:
    scores = [result["mean_iou"] for result in results if "mean_iou" in result]
    return statistics.mean(scores) if scores else None


def main() -> None:
    groups = list(dict.fromkeys(row.group for row in ROWS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0])
    parser.add_argument("--images", nargs="+", default=["all"], help="numbers of training images, or all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--groups", nargs="+", choices=groups, default=groups)
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], help="only these rows")
    parser.add_argument("--split-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    rows = [row for row in ROWS if row.group in arguments.groups]
    if arguments.rows:
        rows = [row for row in rows if row.name in arguments.rows]
    rows = [row for row in rows if not row.peer or importlib.util.find_spec(PACKAGES[row.peer])]
    data = open_folder(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for minutes in arguments.minutes:
            for images in (0 if count == "all" else int(count) for count in arguments.images):
                for row in rows:
                    run(Trial(row, minutes, images, seed), data, arguments.out)
                    results = read_results(arguments.out)
                    (arguments.out / "table.md").write_text(table(results, data), encoding="utf-8")
                    (arguments.out / "curves.svg").write_text(curves(results), encoding="utf-8")
    print((arguments.out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
