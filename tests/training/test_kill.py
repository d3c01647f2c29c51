"""Runs that are killed without warning, asked to end, and left without room on the disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.forks import Forks

DISK_BYTES = 64_000_000

MANY_CUTS = 20 * max(1, round(float(os.environ.get("MASKPENCIL_STRESS", "1"))))

DRIVER = """
import os, signal, sys, time
from pathlib import Path
from maskpencil.training.train import train  # every run is a fork

data, out = sys.argv[1], Path(sys.argv[2])
settings = dict(weights="none", backbone="test_resnet", stride=8, crop_size="64x64", batch_size=2, epochs=5)
settings |= dict(device="cpu", dropout=0.3)

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


RANDOM_DRIVER = """
import os, random, signal, sys, time, traceback
from pathlib import Path
from maskpencil.errors import OutputError
from maskpencil.files import recover_folder
from maskpencil.training.checkpoints import has_checkpoint
from maskpencil.training.train import train

data, out, disk, cuts = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
settings = dict(weights="none", backbone="test_resnet", stride=8, crop_size="64x64", batch_size=2, epochs=3 * cuts)
settings |= dict(device="cpu", dropout=0.3, average=0.9, validate_every=7)
run = out / "cut"
chance = random.Random(0)

def start(**arguments):
    child = os.fork()
    if child == 0:
        try:
            train(quiet=True, **arguments)
        except OutputError as error:
            print(error, file=sys.stderr)
            os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    return child

def size(path):
    return path.stat().st_size if path.exists() else 0

def cut(how):
    arguments = dict(resume=run) if (run / "config.yaml").exists() else dict(data=data, out=run, **settings)
    if how == "full":
        filler, room = run / "filler", os.statvfs(run)
        filler.write_bytes(bytes(max(0, room.f_bavail * room.f_bsize - chance.randrange(200_000))))
    before, child, since = size(run / "train.log"), start(**arguments), time.monotonic()
    while size(run / "train.log") == before and time.monotonic() - since < (5 if how == "full" else 60):
        time.sleep(0.01)  # until it is set up, which a full disk leaves no line of
    time.sleep(chance.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL if how == "full" else how)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    cut_short = -signal.SIGTERM if how == signal.SIGTERM else -signal.SIGKILL
    assert code in (0, cut_short) or (code == 1 and how == "full"), code
    if how == "full":
        filler.unlink()

assert os.waitpid(start(data=data, out=out / "whole", **settings), 0)[1] == 0
for _ in range(20):
    recover_folder(run / "checkpoints" / "last")
    if not has_checkpoint(run / "checkpoints" / "last"):
        cut(signal.SIGKILL)
ended = cuts * 7 // 20
full = "full" if disk == "small" else signal.SIGKILL
kinds = [signal.SIGKILL] * ended + [signal.SIGTERM] * ended + [full] * (cuts - 2 * ended)
chance.shuffle(kinds)
for kind in kinds:
    cut(kind)
    recover_folder(run / "checkpoints" / "last")
    assert has_checkpoint(run / "checkpoints" / "last")
assert os.waitpid(start(resume=run), 0)[1] == 0
print("cuts", len(kinds))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are POSIX")
def test_a_run_killed_five_times_ends_with_the_weights_of_one_that_was_not(forks, tiny_folder, tmp_path):
    assert drive(forks, DRIVER, tiny_folder, tmp_path) == ["kills", "5"]
    assert_ends_alike(tmp_path)
    assert not list((tmp_path / "cut").rglob(".*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are POSIX")
@pytest.mark.parametrize("cuts", [6, pytest.param(MANY_CUTS, marks=pytest.mark.stress)], ids=["few", "many"])
def test_a_run_cut_at_random_moments_ends_with_the_weights_of_one_that_was_not(forks, tiny_folder, tmp_path, cuts):
    place = tmp_path / "runs"
    place.mkdir()
    small = mount(place)
    try:
        done = drive(forks, RANDOM_DRIVER, tiny_folder, place, "small" if small else "large", cuts)
        assert done == ["cuts", str(cuts)]
        assert_ends_alike(place)
    finally:
        if small:
            subprocess.run(["umount", str(place)], check=True)


def mount(place: Path) -> bool:
    """Make a small disk in memory of a folder, where the system lets us."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    return subprocess.run(command, capture_output=True).returncode == 0


def drive(forks: Forks, script: str, *arguments: object) -> list[str]:
    """Run a driver, which has imported what its runs need; what it printed."""
    done = forks.run(script, *arguments, seconds=3000)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def assert_ends_alike(place: Path) -> None:
    """The run `cut` has the weights, averages and optimizer of the run `whole`."""
    whole, cut = (state(place / name) for name in ("whole", "cut"))
    for part in ("model", "average"):
        if whole[part]:
            assert all(torch.equal(tensor, cut[part][name]) for name, tensor in whole[part].items())
    for key, moments in whole["optimizer"]["state"].items():
        assert all(torch.equal(value, cut["optimizer"]["state"][key][name]) for name, value in moments.items())
    files = [place / name / "model" / "model.safetensors" for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def state(run: Path):
    return torch.load(run / "checkpoints" / "last" / "state.pt", weights_only=True)
