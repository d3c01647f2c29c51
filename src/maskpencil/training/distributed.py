"""Many processes on one machine or several: accelerate launch and torchrun say how many, and so does SLURM."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from maskpencil.errors import ConfigError
from maskpencil.signals import ENDING
from maskpencil.training.course import Progress
from maskpencil.training.stopping import STOPPING, StopRequest

T = TypeVar("T")

FIRST_PORT, PORTS = 20_000, 10_000

PATIENCE = timedelta(hours=12)
"""So long the others wait for the main process, which reads the data and computes features first."""

CLOCK = ("seconds", "other_seconds", "validation_seconds", "validated", "saving_seconds", "leaving_seconds")


def build_accelerator(*, on_cpu: bool, precision: str = "auto", tracker: str | None = None) -> Accelerator:
    """The processes that train together: those that torchrun, accelerate launch or srun have started, or this alone.

    In the `precision` fp16, on CUDA devices, it has a `scaler` of the loss.

    Raises:
        ConfigError: there is no such tracker, or it is not installed.
    """
    for name, value in slurm_environment(os.environ, devices=torch.cuda.device_count()).items():
        os.environ.setdefault(name, value)
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="fp16" if precision == "fp16" and not on_cpu else "no",
        log_with=None if tracker is None else checked_tracker(tracker),
        project_dir="runs",  # where trackers that write files put them
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def agree(accelerator: Accelerator, progress: Progress, stop: StopRequest) -> None:
    """Let all processes go by the main one's clock and by the signals of all, so that they end after the same step."""
    if accelerator.num_processes == 1:
        stop.number = stop.heard
        return
    times = [getattr(progress, name) if accelerator.is_main_process else 0.0 for name in CLOCK]
    heard = [float(stop.heard == number) for number in STOPPING]
    facts = torch.tensor([*times, *heard], dtype=torch.float64, device=accelerator.device)
    summed = accelerator.reduce(facts, reduction="sum").tolist()
    for name, value in zip(CLOCK, summed, strict=False):
        setattr(progress, name, value)
    asked = [number for number, processes in zip(STOPPING, summed[len(CLOCK) :], strict=True) if processes]
    stop.number = next((number for number in asked if number in ENDING), asked[0] if asked else 0)


def shared(accelerator: Accelerator, value: T) -> T:
    """What the main process has for `value`, in all of them."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


@contextmanager
def in_turn(accelerator: Accelerator) -> Iterator[None]:
    """Let the processes through the block one by one, the main one first."""
    for turn in range(accelerator.num_processes):
        if turn == accelerator.process_index:
            yield
        accelerator.wait_for_everyone()


def slurm_environment(environment: Mapping[str, str], *, devices: int) -> dict[str, str]:
    """What torch wants to know of the processes, from what srun tells each; nothing where srun has started but one.

    `devices` are the GPUs that this process sees, of which it may have been given its own.

    Source: the environment variables of srun's manual.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks < 2 or "WORLD_SIZE" in environment:
        return {}
    return {
        "WORLD_SIZE": str(tasks),
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": str(int(environment["SLURM_LOCALID"]) % max(1, devices)),
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(FIRST_PORT + int(environment["SLURM_JOB_ID"]) % PORTS),
    }


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts: node07 of `node[07-09,12],login1`."""
    found = re.match(r"([^\[,]*)(?:\[(\d+))?", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts


def checked_tracker(name: str) -> str:
    """The name of a tracker that Accelerate knows and that is installed.

    Raises:
        ConfigError: it is none.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers  # slow to import

    known = sorted(set(map(str, LOGGER_TYPE_TO_CLASS)) - {"tensorboard"})  # whose events are always written
    if name not in known:
        raise ConfigError(f"--tracker must be {', '.join(known)}, but got {name!r}")
    if name not in map(str, get_available_trackers()):
        raise ConfigError(f"--tracker {name}: its package is not installed; pip install {name.replace('_', '-')}")
    return name
