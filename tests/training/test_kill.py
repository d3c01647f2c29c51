"""A run that is killed without warning, five times, at different moments."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

DRIVER = """
import os, signal, sys, time
from pathlib import Path
from maskpencil.training.train import train  # imported once; every run is a fork

data, out = sys.argv[1], Path(sys.argv[2])
settings = dict(weights="none", backbone="test_resnet", crop_size="64x64", batch_size=2, epochs=5, dropout=0.3)
settings |= dict(device="cpu")

def start(**arguments):
    child = os.fork()
    if child == 0:
        train(quiet=True, **arguments)
        os._exit(0)
    return child

def finished(child):
    return os.waitpid(child, os.WNOHANG) != (0, 0)

start_fresh = dict(data=data, out=out / "whole", **settings)
assert os.waitpid(start(**start_fresh), 0)[1] == 0
run, kills = out / "cut", 0
arguments = dict(data=data, out=run, **settings)
moments = [
    lambda: (run / "config.yaml").exists(),                       # before the first step
    lambda: (run / "preview/epoch_001.png").exists(),             # before the first checkpoint
    lambda: list((run / "checkpoints").glob(".last.*")),          # while a checkpoint is written
    lambda: "\\n3," in (run / "metrics.csv").read_text(),          # between metrics and checkpoint
    lambda: list(run.glob(".model.*")) or (run / "preview/epoch_004.png").exists(),  # while a model is written
]
for moment in moments:
    child = start(**arguments)
    while not moment():
        assert not finished(child), "the run ended before it was killed"
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
    arguments = dict(resume=run)
assert os.waitpid(start(**arguments), 0)[1] == 0
print("kills", kills)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are POSIX")
def test_a_run_killed_five_times_ends_with_the_weights_of_one_that_was_not(tiny_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tiny_folder), str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["kills", "5"]
    whole, cut = (state(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut["model"][name]) for name, tensor in whole["model"].items())
    for key, moments in whole["optimizer"]["state"].items():
        assert all(torch.equal(value, cut["optimizer"]["state"][key][name]) for name, value in moments.items())
    assert torch.equal(whole["random"]["cpu"], cut["random"]["cpu"])
    assert (tmp_path / "cut/model/model.safetensors").read_bytes() == (
        tmp_path / "whole/model/model.safetensors"
    ).read_bytes()
    assert not list((tmp_path / "cut").rglob(".*"))


def state(run: Path):
    return torch.load(run / "checkpoints" / "last" / "state.pt", weights_only=True)
