"""Memory over a long time."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import environment, times

pytestmark = pytest.mark.stress

MANY_SIZES = """
import sys
import numpy as np, psutil
import maskpencil as mp

segmenter, process, random = mp.Segmenter.from_pretrained(sys.argv[1]), psutil.Process(), np.random.default_rng(0)
for number in range(int(sys.argv[2]) + 1):
    height, width = random.integers(40, 500, 2)
    segmenter.predict(np.zeros((height, width, 3), np.uint8))
    if number % 100 == 0:
        print(process.memory_info().rss, flush=True)
"""


def test_ever_new_image_sizes_need_no_more_memory_than_a_hundred(model: Path) -> None:
    count = times(1000)
    done = subprocess.run(
        [sys.executable, "-c", MANY_SIZES, str(model), str(count)],
        capture_output=True,
        text=True,
        timeout=3000,
        check=True,
        env=environment(model.parent.parent / "cache"),
    )
    memory = [int(line) / 2**20 for line in done.stdout.split()]
    assert len(memory) > 3, "at least 300 sizes show whether it grows"
    assert max(memory[2:]) - memory[1] < 300, f"MiB after each hundred sizes: {[round(value) for value in memory]}"
