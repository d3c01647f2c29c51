"""How soon L-BFGS and Adam make the loss of a head small, on the same cached features of a frozen backbone.

    python benchmarks/solver.py DATA --model MODEL [--image-size 180x240] [--epochs 50] [--rates 1e-3 1e-2]

The backbone is that of a trained model; the head starts from nothing, without dropout or learned upsampling. The loss
is that of all training images together; the time to look at it is not counted. L-BFGS continues until it is below the
least that Adam came to, or `--epochs` rounds are made.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import Accelerator

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.training.build import build_trainer
from maskpencil.training.config import TrainConfig
from maskpencil.training.dataset import TrainingImages
from maskpencil.training.frozen.feature_cache import Features
from maskpencil.training.resolve import resolve
from maskpencil.training.trainer import Trainer


def head_trainer(arguments: argparse.Namespace, data: DataFolder, optimizer: str, rate: float) -> Trainer:
    """Build the trainer of an untrained head on the model's backbone."""
    config = TrainConfig(
        backbone=arguments.backbone,
        init=str(arguments.model),
        freeze="backbone",
        optimizer=optimizer,
        learning_rate=rate,
        learned_upsampling="none",
        dropout=0.0,
        image_size=arguments.image_size,
        crop_size="none",
        scale=(1.0, 1.0),
        flip=0.0,
        color_jitter=0.0,
        weight_decay=0.0,
        clip_norm=0.0,
        schedule="constant",
        epochs=1,
    )
    plan = resolve(config, data.sizes)
    images = TrainingImages(data, plan.image_size)
    images.load()
    trainer = build_trainer(plan, images, Accelerator(cpu=True))
    for name, parameter in trainer.network.named_parameters():
        if parameter.requires_grad and name.startswith("score_"):
            torch.nn.init.zeros_(parameter)
    trainer.train_mode()
    return trainer


def whole_loss(trainer: Trainer, batches: Iterable[tuple[Features, torch.Tensor]]) -> float:
    """Compute the loss of all training images together."""
    weight = torch.stack([trainer.loss.weigh(targets) for _, targets in batches]).sum()
    with torch.no_grad():
        return sum(float(trainer.batch_loss(inputs, targets, weight=weight)) for inputs, targets in batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", default="180x240")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 1e-2])
    arguments = parser.parse_args()
    data = open_folder(arguments.data)
    least = float("inf")
    for rate in arguments.rates:
        trainer, seconds = head_trainer(arguments, data, "adam", rate), 0.0
        for epoch in range(arguments.epochs):
            started = time.perf_counter()
            trainer.batches.epoch = epoch
            for inputs, targets in trainer.loader:
                trainer.solver.step(trainer, inputs, targets)
            seconds += time.perf_counter() - started
            if (epoch + 1) % 10 == 0 or epoch + 1 == arguments.epochs:
                loss = whole_loss(trainer, trainer.loader)
                print(f"Adam {rate:g}: loss {loss:.5f} after {epoch + 1} epochs, {seconds:.1f} s", flush=True)
                least = min(least, loss)
    trainer, seconds = head_trainer(arguments, data, "lbfgs", 1.0), 0.0
    ((batches, targets),) = trainer.loader
    for number in range(1, arguments.epochs + 1):
        started = time.perf_counter()
        trainer.solver.step(trainer, batches, targets)
        seconds += time.perf_counter() - started
        loss = whole_loss(trainer, batches)
        print(f"L-BFGS: loss {loss:.5f} after {number} rounds, {seconds:.1f} s", flush=True)
        if loss < least:
            break


if __name__ == "__main__":
    main()
