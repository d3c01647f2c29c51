"""How long `maskpencil check` takes for many pairs, and how much memory.

    python benchmarks/check_speed.py [--pairs 10000] [--folder FOLDER]

Draws the pairs (480x360, JPEG and palette PNG, a twentieth of them near-duplicates, a few broken) below FOLDER unless
they are there from an earlier call, then runs the command in a process of its own and prints its time, the greatest
memory of it and its workers together, and what it found of what was planted.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
from PIL import Image

SIZE = (360, 480)
CLASSES = 12


def draw(number: int, folder: Path) -> None:
    """A pair: smooth noise with boxes and discs of all classes; every twentieth is the one before it, saved again."""
    again = number % 20 == 19
    random = np.random.default_rng(number - again)
    label_map = np.zeros(SIZE, dtype=np.uint8)
    for _ in range(30):
        x, y, radius = int(random.integers(480)), int(random.integers(360)), int(random.integers(8, 90))
        color = int(random.integers(CLASSES))
        if random.random() < 0.5:
            cv2.circle(label_map, (x, y), radius, color, -1)
        else:
            cv2.rectangle(label_map, (x, y), (x + radius, y + radius), color, -1)
    colors = random.integers(0, 255, (CLASSES, 3))
    ground = cv2.resize(random.normal(0, 40, (12, 16, 3)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    image = (0.6 * colors[label_map] + 50 + ground + random.normal(0, 8, (*SIZE, 3))).clip(0, 255).astype(np.uint8)
    split = "val" if number % 5 == 0 else "train"
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=85 if again else 93)
    content = encoded.getvalue()
    (folder / "images" / split / f"{number:06}.jpg").write_bytes(content[:9000] if number % 2500 == 7 else content)
    mask = Image.fromarray(label_map)
    mask.putpalette(np.random.default_rng(0).integers(0, 255, 3 * CLASSES, dtype=np.uint8).tobytes())
    mask.save(folder / "masks" / split / f"{number:06}.png")


def measure(command: list[str]) -> tuple[float, float, float]:
    """Run a command; returns seconds by the clock, seconds of processor time, MiB at the most."""
    start, most, seconds = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            memory, busy = 0, 0.0
            try:
                for each in (root, *root.children(recursive=True)):
                    memory += each.memory_full_info().pss  # what processes share is counted once
                    times = each.cpu_times()
                    busy += times.user + times.system
            except psutil.NoSuchProcess:
                continue
            most, seconds = max(most, memory / 2**20), max(seconds, busy)
            time.sleep(0.2)
    return time.perf_counter() - start, seconds, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/check_speed"))
    arguments = parser.parse_args()
    folder = arguments.folder / f"{arguments.pairs}"
    if not (folder / "done").exists():
        for kind in ("images", "masks"):
            for split in ("train", "val"):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            list(pool.map(draw, range(arguments.pairs), [folder] * arguments.pairs, chunksize=64))
        (folder / "done").touch()
    found = arguments.folder / "report.json"
    command = [sys.executable, "-m", "maskpencil", "check", str(folder), "--json", str(found)]
    clock, busy, memory = measure([*command, "--out", str(arguments.folder / "overlays")])
    faults = {fault["kind"]: fault["count"] for fault in json.loads(found.read_text())["faults"]}
    print(
        f"{arguments.pairs} pairs: {clock:.1f} s by the clock, {busy:.1f} s of processor time, at most {memory:.0f} MiB"
    )
    print(f"found: {faults}")


if __name__ == "__main__":
    main()
