"""How much faster a frozen backbone trains on cached features: the tutorial's run, VGG16 FCN-8s, 50 epochs at 160x576.

    python benchmarks/feature_cache.py [--images 289] [--epochs 50] [--steps 6] [--out runs/feature_cache]

Both ways train the same net on the same drawn images in one process, one after the other: with the cache all epochs,
computing the features included; without it `--steps` steps, from whose time that of all epochs follows. The weights are
random, which costs the same time; validation is left to the last epoch and its time is taken off both.
"""

import argparse
import os
import shutil
import time
from pathlib import Path

import numpy as np

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.folder import open_folder
from maskpencil.images import write_image
from maskpencil.label_maps import write_label_map
from maskpencil.training.build import build_trainer
from maskpencil.training.config import TrainConfig
from maskpencil.training.dataset import TrainingImages
from maskpencil.training.resolve import resolve
from maskpencil.training.trainer import Trainer

SIZE = (160, 576)
ROAD = ClassSet(("not road", "road"))


def draw(folder: Path, count: int) -> None:
    """Roads to the horizon under noise; two of the images validate."""
    rows, columns = np.indices(SIZE)
    for number in range(count + 2):
        random = np.random.default_rng(number)
        middle, width = random.uniform(200, 380), random.uniform(0.8, 2.0)
        road = (rows > 60) & (np.abs(columns - middle) < (rows - 60) * width)
        image = np.where(road[..., None], 90, (60, 140, 70)) + random.normal(0, 25, (*SIZE, 3))
        split = "train" if number < count else "val"
        write_image(folder / "images" / split / f"{number}.png", image.clip(0, 255).astype(np.uint8))
        write_label_map(folder / "masks" / split / f"{number}.png", road.astype(np.uint8), ROAD.colors)
    write_classes(folder / "classes.yaml", ROAD)


def steps(trainer: Trainer, count: int) -> tuple[float, list[float]]:
    """Make `count` steps, over as many epochs as it takes; returns the seconds and the losses."""
    trainer.train_mode()
    losses: list[float] = []
    started = time.perf_counter()
    while len(losses) < count:
        trainer.batches.epoch = len(losses) // len(trainer.batches)
        for inputs, targets in trainer.loader:
            losses.append(float(trainer.solver.step(trainer, inputs, targets).loss))
            if len(losses) == count:
                break
    return time.perf_counter() - started, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=289)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/feature_cache"))
    arguments = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = str(arguments.out.resolve() / "cache")
    shutil.rmtree(arguments.out / "cache", ignore_errors=True)
    data = arguments.out / f"roads-{arguments.images}"
    if not (data / "classes.yaml").exists():
        draw(data, arguments.images)
    folder = open_folder(data)
    config = TrainConfig(
        recipe="tutorial", weights="none", freeze="backbone", epochs=arguments.epochs, precision="fp32", device="cpu"
    )
    plan = resolve(config, folder.sizes)
    images = TrainingImages(folder, plan.image_size)
    images.load()

    from accelerate import Accelerator  # slow to import

    started = time.perf_counter()
    cached = build_trainer(plan, images, Accelerator(cpu=True))
    computing = time.perf_counter() - started
    whole_run = arguments.epochs * len(cached.batches)
    training, losses = steps(cached, whole_run)

    without = resolve(TrainConfig(**{**config.to_dict(), "cache_views": 0}), folder.sizes)
    anew = build_trainer(without, images, Accelerator(cpu=True))
    seconds, others = steps(anew, arguments.steps)
    whole = seconds / arguments.steps * whole_run
    apart = max(abs(one - other) / other for one, other in zip(losses, others, strict=False))
    print(f"with the cache    {computing:.0f} s for the features (and the net), {training:.0f} s for {whole_run} steps")
    print(f"without it        {seconds:.1f} s for {arguments.steps} steps, so {whole:.0f} s for {whole_run}")
    print(f"times as fast     {whole / (computing + training):.1f}")
    print(f"losses differ by  {apart:.1e} at most, relative, over the {arguments.steps} steps")


if __name__ == "__main__":
    main()
