"""Test what shows only in many fresh processes, under load, by kills or over a long time: `make stress`.

`MASKPENCIL_STRESS` multiplies how often everything is tried, 1 unless it is set.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import COMMAND, environment, times

from maskpencil.classes import ClassSet, write_classes
from maskpencil.inference.video.writers import write_video

CLASSES = ClassSet(("ground", "box", "disc"), ((60, 110, 60), (210, 70, 50), (50, 80, 220)))


def scene(seed: int, size: tuple[int, int] = (64, 96)) -> tuple[np.ndarray, np.ndarray]:
    """A box and a disc on the ground: image (H, W, 3) and label map (H, W)."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    label_map = np.zeros(size, np.uint8)
    top, left = random.integers(2, 30, 2)
    label_map[top : top + 20, left : left + 20] = 1
    row, column = random.integers(12, 50), random.integers(50, 80)
    label_map[(rows - row) ** 2 + (columns - column) ** 2 < 100] = 2
    image = CLASSES.colors[label_map] + random.normal(0, 12, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), label_map


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 12 images with masks."""
    folder = tmp_path_factory.mktemp("stress") / "data"
    for number in range(12):
        for kind, array in zip(("images", "masks"), scene(number), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{number:02}.png")
    write_classes(folder / "classes.yaml", CLASSES)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight images."""
    folder = tmp_path_factory.mktemp("stress") / "images"
    folder.mkdir()
    for number in range(8):
        Image.fromarray(scene(100 + number)[0]).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images of three sizes, 500 of them unless `MASKPENCIL_STRESS` says otherwise."""
    folder = tmp_path_factory.mktemp("stress") / "many"
    folder.mkdir()
    for number in range(times(500)):
        Image.fromarray(scene(number, (64 + 16 * (number % 3), 96))[0]).save(folder / f"{number:05}.png")
    return folder


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 75 frames."""
    path = tmp_path_factory.mktemp("stress") / "drive.mp4"
    write_video(path, (scene(200 + number)[0] for number in range(75)), frame_rate=25)
    return path


@pytest.fixture(scope="session")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained for one epoch, its network already in the cache `cache`."""
    place = tmp_path_factory.mktemp("stress")
    options = ["--weights", "none", "--backbone", "resnet18", "--epochs", "1", "--batch-size", "4", "--workers", "0"]
    command = [COMMAND, "train", data, *options, "--out", place / "run"]
    subprocess.run(command, check=True, capture_output=True, timeout=600, env=environment(place / "cache"))
    return place / "run" / "model"


@pytest.fixture(params=["idle", "busy"])
def load(request: pytest.FixtureRequest) -> Iterator[str]:
    """The machine as it is, and with a busy process on every core."""
    count = (os.cpu_count() or 1) if request.param == "busy" else 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield request.param
    finally:
        for process in busy:
            process.kill()
            process.wait()
