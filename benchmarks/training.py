"""How fast `maskpencil train` makes its steps, beside the loop that people start from and segmentation_models.pytorch.

    python benchmarks/training.py DATA [--backbone resnet18] [--size 352x480] [--batch-size 8] [--rounds 4] [--steps 3]
    python benchmarks/training.py DATA --minutes 10

The plain loop has the same net, optimizer, batch and window, in eager float32 and torch's own layout, with a DataLoader
of two workers. Every contestant has a process of its own; they take turns, `--steps` steps each in every round, so that
what else the machine does hits all alike. With `--minutes` each trains for so long, all with its own usual settings,
and is then scored on the validation images. Masks must hold class numbers.

segmentation_models.pytorch takes part where it is installed: pip install segmentation-models-pytorch
"""

import argparse
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.metrics import ConfusionMatrix

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PEERS = {"smp Unet": "Unet", "smp FPN": "FPN"}
RATE = 1e-3


class PlainDataset(Dataset):
    """Decodes and changes a pair whenever it is asked for."""

    def __init__(self, data: DataFolder, size: tuple[int, int]) -> None:
        self.pairs, self.classes = data.pairs("train"), len(data.classes)
        self.change = v2.Compose(
            [
                v2.RandomCrop(size, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.15, 0.15, 0.15),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self.pairs[index]
        image = tv_tensors.Image(Image.open(pair.image).convert("RGB"))
        labels = np.array(Image.open(pair.mask))
        labels[labels >= self.classes] = 255  # void, where it has a number of its own
        return self.change(image, tv_tensors.Mask(labels))


def plain_net(name: str, backbone: str, classes: int) -> nn.Module:
    """The FCN-8s that `ours` has, or a peer's net."""
    if name in PEERS:
        import segmentation_models_pytorch as smp

        return getattr(smp, PEERS[name])(backbone, encoder_weights=None, classes=classes)
    from maskpencil.models import FCNConfig, build_fcn

    config = FCNConfig(classes, backbone, fully_connected=False, learned_upsampling="twofold", dropout=0.1)
    return build_fcn(config, weights="none")


def plain_steps(model: nn.Module, data: DataFolder, size: tuple[int, int], batch_size: int) -> Iterator[float]:
    """The loop that people start from; gives the loss of every step."""
    loader = DataLoader(PlainDataset(data, size), batch_size, shuffle=True, drop_last=True, num_workers=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    while True:
        model.train()
        for images, targets in loader:
            loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def our_steps(
    data: DataFolder, backbone: str, size: tuple[int, int], batch_size: int, *, fuse: bool
) -> Iterator[float]:
    """The steps of `maskpencil train`, with the same net and optimizer."""
    from accelerate import Accelerator

    from maskpencil.training.build import build_trainer
    from maskpencil.training.config import TrainConfig
    from maskpencil.training.dataset import TrainingImages
    from maskpencil.training.resolve import resolve

    config = TrainConfig(
        backbone=backbone,
        weights="none",
        fully_connected=False,
        crop_size=f"{size[0]}x{size[1]}",
        batch_size=batch_size,
        optimizer="adamw",
        learning_rate=RATE,
        clip_norm=0.0,
        scale=(1.0, 1.0),
        coarse_share=0.0,
        class_weights="none",
        epochs=1,
        compile=fuse,
    )
    plan = resolve(config, data.sizes)
    images = TrainingImages(data, plan.image_size)
    images.load()
    trainer = build_trainer(plan, images, Accelerator(cpu=True))
    trainer.train_mode()
    while True:
        for inputs, targets in trainer.loader:
            yield float(trainer.solver.step(trainer, inputs, targets).loss)
        trainer.batches.epoch += 1


def score(model: nn.Module, data: DataFolder) -> float:
    """The mean IoU on the validation images, each whole and padded to what the net takes."""
    matrix, normalize = ConfusionMatrix(len(data.classes)), v2.Normalize(MEAN, STD)
    model.eval()
    for pair in data.pairs("val"):
        image, target = data.read_pair(pair)
        height, width = target.shape
        inputs = normalize(torch.from_numpy(image).permute(2, 0, 1).float() / 255)[None]
        inputs = nn.functional.pad(inputs, (0, -width % 32, 0, -height % 32))
        with torch.inference_mode():
            labels = model(inputs)[0, :, :height, :width].argmax(0)
        matrix.update(target, labels.numpy().astype(np.uint8))
    return matrix.scores(data.classes.names).mean_iou


def work(arguments: argparse.Namespace) -> None:
    """Be one contestant: make as many steps as each line of standard input says, and tell how long they took."""
    data, size = open_folder(arguments.data), tuple(map(int, arguments.size.split("x")))
    if arguments.work.startswith("maskpencil"):
        fuse = arguments.work.endswith("--compile")
        steps = our_steps(data, arguments.backbone, size, arguments.batch_size, fuse=fuse)
    else:
        model = plain_net(arguments.work, arguments.backbone, len(data.classes))
        steps = plain_steps(model, data, size, arguments.batch_size)
    for line in sys.stdin:
        started = time.perf_counter()
        losses = [next(steps) for _ in range(int(line))]
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "loss": losses[-1], "peak": peak}), flush=True)


def race(arguments: argparse.Namespace, names: list[str]) -> None:
    """Let the contestants take turns, and tell who is how fast."""
    command = [
        sys.executable,
        __file__,
        str(arguments.data),
        "--backbone",
        arguments.backbone,
        "--size",
        arguments.size,
    ]
    command += ["--batch-size", str(arguments.batch_size), "--work"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    runners = {name: subprocess.Popen([*command, name], start_new_session=True, **pipes) for name in names}

    def go(name: str, steps: int) -> dict[str, float]:
        os.killpg(runners[name].pid, signal.SIGCONT)
        runners[name].stdin.write(f"{steps}\n")
        runners[name].stdin.flush()
        told = json.loads(runners[name].stdout.readline())
        os.killpg(runners[name].pid, signal.SIGSTOP)  # its workers too: nobody reads ahead in another's turn
        return told

    for name in names:
        go(name, 2)  # to warm up
    told: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            told[name].append(go(name, arguments.steps))
    for runner in runners.values():
        os.killpg(runner.pid, signal.SIGKILL)
    rates = {
        name: [arguments.steps * arguments.batch_size / turn["seconds"] for turn in turns]
        for name, turns in told.items()
    }
    print(f"{arguments.backbone}, {arguments.size}, batches of {arguments.batch_size}, torch {torch.__version__}")
    print(f"{'':24} images/s (median, each turn)          to plain   peak MiB")
    for name, rate in rates.items():
        turns = " ".join(f"{value:.2f}" for value in rate)
        ratio = median(a / b for a, b in zip(rate, rates["plain"], strict=True))
        print(f"{name:24} {median(rate):5.2f}  ({turns})   {ratio:8.2f}   {told[name][-1]['peak']:8.0f}")


def train_for(arguments: argparse.Namespace, names: list[str]) -> None:
    """Let each contestant train for `minutes` minutes, one after the other, and print their scores."""
    data, size = open_folder(arguments.data), tuple(map(int, arguments.size.split("x")))
    for name in names:
        if name == "maskpencil":
            from maskpencil.training.train import train

            with tempfile.TemporaryDirectory() as folder:
                budget = f"{arguments.minutes}m"
                settings = {"backbone": arguments.backbone, "weights": "none", "time_budget": budget, "quiet": True}
                result = train(arguments.data, out=Path(folder) / "run", **settings).mean_iou
        elif name in PEERS or name == "plain":
            model = plain_net(name, arguments.backbone, len(data.classes))
            steps, end = plain_steps(model, data, size, arguments.batch_size), time.monotonic() + 60 * arguments.minutes
            while time.monotonic() < end:
                next(steps)
            steps.close()
            result = score(model, data)
        else:
            continue
        print(f"{name:24} mean IoU {result:.4f} after {arguments.minutes} minutes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", default="352x480")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--compile", action="store_true", help="let `maskpencil train --compile` take part too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = ["plain", "maskpencil", *(["maskpencil --compile"] if arguments.compile else [])]
    if importlib.util.find_spec("segmentation_models_pytorch"):
        names += PEERS
    if arguments.work:
        work(arguments)
    elif arguments.minutes:
        train_for(arguments, names)
    else:
        race(arguments, names)


if __name__ == "__main__":
    main()
