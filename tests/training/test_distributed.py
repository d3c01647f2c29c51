"""Training in two processes on one machine, by gloo, as torchrun starts them."""

import csv
import json
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.forks import Forks

import maskpencil.training.distributed as distributed
from maskpencil.errors import ConfigError
from maskpencil.training.distributed import first_host, slurm_environment
from maskpencil.training.train import train

SETTINGS = {
    "backbone": "alexnet",  # has no batch normalization, whose statistics would be each process's own
    "weights": "none",
    "fully_connected": False,
    "crop_size": "32x32",
    "dropout": 0.0,
    "epochs": 2,
    "learning_rate": 1e-3,
    "class_weights": "median-frequency",
    "precision": "fp32",
    "device": "cpu",
    "quiet": True,
}

DRIVER = """
import atexit, json, sys
import torch
from maskpencil.training.train import train
atexit.register(lambda: print("connected" if torch.distributed.is_initialized() else "disconnected"))  # runs last
train(**json.loads(sys.argv[1]))
"""


def launch(forks: Forks, world: int, **arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """Train in several processes, with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    started = [forks.start(DRIVER, json.dumps(arguments), environment=environment) for environment in ranks]
    return [forks.wait(process) for process in started]


def step_losses(run: Path) -> list[float]:
    events = EventAccumulator(str(run))
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_twice_as_large(
    forks: Forks, tiny_folder: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"  # not where the cache is
    for done in launch(forks, 2, data=str(tiny_folder), out=str(runs / "two"), batch_size=1, **SETTINGS):
        assert done.returncode == 0, done.stderr
        assert done.stdout == "disconnected\n", "threads of gloo that outlive the interpreter can abort it"
    one = train(tiny_folder, out=runs / "one", batch_size=2, **SETTINGS)
    losses = step_losses(runs / "two"), step_losses(one.folder)
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    matrices = [(runs / name / "scores.json").read_text() for name in ("two", "one")]
    assert matrices[0] == matrices[1]
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == ["one", "two"], "only one writes"
    with (runs / "two" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes_and_says_so(
    forks: Forks, tiny_folder: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "epochs": 3}
    train(tiny_folder, out=tmp_path / "run", batch_size=1, **settings)
    state = tmp_path / "run" / "checkpoints" / "last" / "state.pt"
    saved = torch.load(state, weights_only=True)
    saved["progress"] |= {
        "epoch": 1,
        "batch": 4,
        "step": 10,
        "ended": False,
    }  # as if it had been cut in its second epoch
    torch.save(saved, state)
    first, second = launch(forks, 2, resume=str(tmp_path / "run"), quiet=False)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "warning: the run was started with 1 processes and continues with 2" in first.stderr
    assert "warning" not in second.stderr
    progress = torch.load(state, weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"], progress["processes"]) == (3, 9, 2)


def test_the_environment_of_srun_is_understood() -> None:
    environment = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NODELIST": "node[07-09,12],login1",
        "SLURM_JOB_ID": "123456",
    }
    assert slurm_environment(environment, devices=8) == {
        "WORLD_SIZE": "4",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "node07",
        "MASTER_PORT": "23456",
    }
    assert slurm_environment({**environment, "WORLD_SIZE": "2"}, devices=8) == {}, "torchrun has said it"
    assert slurm_environment({**environment, "SLURM_STEP_NUM_TASKS": "1"}, devices=8) == {}
    assert slurm_environment(environment, devices=1)["LOCAL_RANK"] == "0", "each has been given its own"
    assert slurm_environment({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, devices=0) == {}, (
        "no srun has started this one"
    )


@pytest.mark.parametrize(
    ("hosts", "first"), [("node1", "node1"), ("a1,a2", "a1"), ("gpu[3,5-7]", "gpu3"), ("n[01-02],m", "n01")]
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_a_tracker_that_is_unknown_or_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--tracker must be .*wandb, but got 'paper'"):
        distributed.checked_tracker("paper")
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(
        ConfigError, match="--tracker wandb: its package is not installed; install it with pip install wandb"
    ):
        distributed.checked_tracker("wandb")
