"""Draw thin structures: branching vessels, one to six pixels wide, on a mottled background, with exact masks.

    python benchmarks/vessels.py OUT [--train 60] [--val 20] [--size 384] [--seed 0]

Nothing in these images is easy by color alone: the background has spots as dark as vessels, and their contrast varies
along each vessel. A pixel is a vessel's if vessels cover at least half of it.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Values = npt.NDArray[np.float32]

SCALE = 4
"""Drawn pixels per pixel of the image, along each axis."""

CLASSES = "names: [background, vessel]\npalette:\n  - [0, 0, 0]\n  - [255, 255, 255]\n"


@dataclass
class Branch:
    """The tip of a growing vessel: its position and width in pixels, and its direction in radians."""

    x: float
    y: float
    direction: float
    width: float


def draw(random: np.random.Generator, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw an image (size, size, 3) and its label map (size, size), 1 at vessels."""
    cover, depth = _vessels(random, size)
    tissue = _mottled(random, size, (64, 24, 8)) * 0.10 + _mottled(random, size, (4, 2)) * 0.03
    spots = np.clip(_mottled(random, size, (12,)) - 2.0, 0, 1) * 0.25
    fading = 0.5 + 0.5 / (1 + np.exp(-2 * _mottled(random, size, (96, 32))))
    light = 0.62 + tissue - spots - cover * depth * fading
    colors = np.asarray(random.uniform((0.85, 0.50, 0.30), (1.0, 0.65, 0.45)), np.float32)
    image = light[..., None] * colors + random.normal(0, 0.02, (size, size, 3))
    return np.uint8(np.clip(image, 0, 1) * 255), np.uint8(cover >= 0.5)


def _vessels(random: np.random.Generator, size: int) -> tuple[Values, Values]:
    """Draw vessels; return the share of each pixel that they cover, and their darkness."""
    canvas = Image.new("L", (size * SCALE, size * SCALE))
    pencil = ImageDraw.Draw(canvas)
    branches = []
    for _ in range(random.integers(2, 5)):
        edge, inward = random.uniform(0, size), random.uniform(-0.6, 0.6)
        side = random.integers(4)
        x, y = ((0, edge), (edge, 0), (size, edge), (edge, size))[side]
        branches.append(Branch(float(x), float(y), side * np.pi / 2 + inward, float(random.uniform(3, 6))))
    while branches:
        tip = branches.pop()
        while tip.width >= 0.9 and -9 < tip.x < size + 9 and -9 < tip.y < size + 9:
            before = tip.x, tip.y
            tip.direction += random.normal(0, 0.14)
            tip.x += 4 * np.cos(tip.direction)
            tip.y += 4 * np.sin(tip.direction)
            points = [coordinate * SCALE for coordinate in (*before, tip.x, tip.y)]
            pencil.line(points, fill=255, width=round(tip.width * SCALE))
            tip.width *= 0.996
            if random.random() < 0.035:
                turn, share = random.choice((-1, 1)) * random.uniform(0.4, 1.1), random.uniform(0.5, 0.8)
                branches.append(Branch(tip.x, tip.y, tip.direction + turn, tip.width * share))
                tip.width *= 0.93
    cover = np.asarray(canvas.reduce(SCALE), np.float32) / 255
    return cover, np.full_like(cover, random.uniform(0.16, 0.30))


def _mottled(random: np.random.Generator, size: int, lengths: tuple[int, ...]) -> Values:
    """Sum smooth noise of several lengths in pixels, each with mean 0 and variance 1."""
    total = np.zeros((size, size), np.float32)
    for length in lengths:
        coarse = random.normal(size=(size // length + 3,) * 2).astype(np.float32)
        smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) / max(1e-6, float(np.std(smooth)))
    return total / np.float32(np.sqrt(len(lengths)))


def write(out: Path, *, counts: dict[str, int], size: int, seed: int) -> None:
    """Write images and masks of each split, and the classes, into the new folder `out`."""
    for number, (split, count) in enumerate(counts.items()):
        for kind in ("images", "masks"):
            (out / kind / split).mkdir(parents=True)
        for index in range(count):
            image, label_map = draw(np.random.default_rng([seed, number, index]), size)
            Image.fromarray(image).save(out / "images" / split / f"{index:03}.png")
            Image.fromarray(label_map).save(out / "masks" / split / f"{index:03}.png")
    (out / "classes.yaml").write_text(CLASSES, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=60)
    parser.add_argument("--val", type=int, default=20)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.out, counts={"train": given.train, "val": given.val}, size=given.size, seed=given.seed)
