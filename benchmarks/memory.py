"""How much memory prediction takes over a long time.

    python benchmarks/memory.py MODEL [--count 10000] [--out memory.png]

Predicts `--count` images of mixed sizes, nearly all of them different, in one process, and draws the resident memory
over the images done.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageDraw, ImageFont

from maskpencil.inference.predict import predict
from maskpencil.inference.report import Progress
from maskpencil.inference.sources import find_sources
from maskpencil.segmenter import Segmenter

SHORTEST, LONGEST = 60, 500
"""Pixels of a side."""

STEP = 50
"""Images between two looks at the memory."""


def write_images(folder: Path, count: int) -> int:
    """Write `count` images of noise of random sizes and return the number of different sizes."""
    random, sizes = np.random.default_rng(0), set()
    for number in range(count):
        height, width = random.integers(SHORTEST, LONGEST, 2)
        sizes.add((height, width))
        colors = random.integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
        Image.fromarray(colors).resize((int(width), int(height))).save(folder / f"{number:05}.jpg")
    return len(sizes)


def plot(counts: list[int], memory: list[float], title: str, path: Path) -> None:
    """Draw memory in MiB over images as a line."""
    width, height, left, bottom = 960, 480, 80, 60
    sheet = Image.new("RGB", (width, height), "white")
    draw, letters = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    top = max(memory) * 1.15
    right = width - 40

    def at(count: float, mebibytes: float) -> tuple[float, float]:
        x = left + (right - left) * count / counts[-1]
        return x, height - bottom - (height - bottom - 60) * mebibytes / top

    step = 200 if top < 1500 else 500
    for mebibytes in range(0, int(top), step):
        draw.line([at(0, mebibytes), at(counts[-1], mebibytes)], fill="#dddddd")
        draw.text((left - 10, at(0, mebibytes)[1]), str(mebibytes), fill="black", font=letters, anchor="rm")
    for part in range(6):
        count = counts[-1] * part // 5
        draw.text((at(count, 0)[0], height - bottom + 8), f"{count:,}", fill="black", font=letters, anchor="mt")
    draw.line([at(*point) for point in zip(counts, memory, strict=True)], fill="#1f77b4", width=2)
    draw.text((left, 20), title, fill="black", font=letters)
    draw.text((width // 2, height - 24), "images", fill="black", font=letters, anchor="mt")
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("memory.png"))
    arguments = parser.parse_args()
    process, counts, memory = psutil.Process(), [], []

    def look(progress: Progress) -> None:
        if progress.number % STEP == 0:
            counts.append(progress.number)
            memory.append(process.memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory() as place:
        images, out = Path(place, "images"), Path(place, "out")
        images.mkdir()
        sizes = write_images(images, arguments.count)
        segmenter = Segmenter.from_pretrained(arguments.model)
        began = time.monotonic()
        predict(segmenter, find_sources([images]), out=out, report=look)
        seconds = time.monotonic() - began
    first = memory[counts.index(100)]
    print(f"{arguments.count} images of {sizes} sizes, {SHORTEST} to {LONGEST} pixels a side, in {seconds:.0f} s")
    print(f"MiB: {first:.0f} after 100, {max(memory):.0f} at most, {memory[-1]:.0f} at the end")
    title = f"Resident memory in MiB: {arguments.count:,} images of {sizes:,} sizes in one process"
    plot(counts, memory, title, arguments.out)


if __name__ == "__main__":
    main()
