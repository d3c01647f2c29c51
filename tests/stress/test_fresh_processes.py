"""First predictions in fresh processes: lazily initialized libraries must not let threads wait for each other."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import COMMAND, environment, times

pytestmark = pytest.mark.stress

LIMIT = 300
"""Seconds after which a process has hung; it needs one or two, under load some more."""

EIGHT_THREADS = """
import sys, threading
import numpy as np
import maskpencil as mp

image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
start, found = threading.Barrier(8), []
shared = None if sys.argv[3] == "each" else mp.Segmenter.from_pretrained(sys.argv[1], runtime=sys.argv[2])

def predict():
    start.wait()
    segmenter = shared or mp.Segmenter.from_pretrained(sys.argv[1], runtime=sys.argv[2])
    found.append(segmenter.predict(image).label_map.tobytes())

threads = [threading.Thread(target=predict) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""


def test_predict_never_hangs_in_a_fresh_process(model: Path, images: Path, load: str, tmp_path: Path) -> None:
    for number in range(times(30)):
        out = tmp_path / str(number)
        run([COMMAND, "predict", model, images, "--out", out], model.parent.parent / "cache")
        assert len(list((out / "masks").iterdir())) == 8


@pytest.mark.parametrize(("runtime", "count"), [("openvino", 30), ("onnx", 6), ("torch", 3)])
def test_eight_threads_predict_first_at_the_same_time(model: Path, load: str, runtime: str, count: int) -> None:
    for _ in range(times(count)):
        said = run([sys.executable, "-c", EIGHT_THREADS, model, runtime, "one"], model.parent.parent / "cache")
        assert said.split() == ["8", "1"]


def test_eight_threads_load_and_predict_at_the_same_time(model: Path, load: str) -> None:
    for _ in range(times(5)):
        said = run([sys.executable, "-c", EIGHT_THREADS, model, "openvino", "each"], model.parent.parent / "cache")
        assert said.split() == ["8", "1"]


def test_eight_threads_convert_a_network_at_the_same_time(model: Path, tmp_path: Path) -> None:
    for number in range(times(4)):
        cache = tmp_path / str(number)
        said = run([sys.executable, "-c", EIGHT_THREADS, model, "openvino", "each"], cache)
        assert said.split() == ["8", "1"]


def run(command: list[object], cache: Path) -> str:
    """Run a command to its end; gives what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env=environment(cache),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
