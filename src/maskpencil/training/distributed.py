"""Set up training in several processes, started by torchrun, accelerate launch or SLURM's srun."""

import atexit
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

T = TypeVar("T")

FIRST_PORT, PORTS = 20_000, 10_000

PATIENCE = timedelta(hours=12)
"""The time for which processes wait for the main process, which first reads the data and computes features."""


def build_accelerator(*, on_cpu: bool, precision: str = "auto", tracker: str | None = None) -> Accelerator:
    """Connect this process with the other processes that torchrun, accelerate launch or srun started.

    If none of these programs started this process, use only this process.

    Args:
        on_cpu: whether to train on the CPU.
        precision: the precision of training; with fp16 on CUDA devices the accelerator scales the loss.
        tracker: the experiment tracker, if any.

    Raises:
        ConfigError: the tracker is unknown or not installed.
    """
    for name, value in slurm_environment(os.environ, devices=torch.cuda.device_count()).items():
        os.environ.setdefault(name, value)
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision="fp16" if precision == "fp16" and not on_cpu else "no",
        log_with=None if tracker is None else checked_tracker(tracker),
        project_dir="runs",  # the folder of trackers that write files
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if on_cpu and accelerator.num_processes > 1:
        # otherwise gloo's threads outlive the interpreter, which sometimes aborts the process after a good run;
        # NCCL has no such threads, and destroying its group after an error can wait for other processes forever
        atexit.register(_destroy_process_group)
    return accelerator


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def shared(accelerator: Accelerator, value: T) -> T:
    """Return the `value` of the main process in every process."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


@contextmanager
def in_turn(accelerator: Accelerator) -> Iterator[None]:
    """Run the code of a `with` block in one process after the other, beginning with the main process."""
    for turn in range(accelerator.num_processes):
        if turn == accelerator.process_index:
            yield
        accelerator.wait_for_everyone()


def slurm_environment(environment: Mapping[str, str], *, devices: int) -> dict[str, str]:
    """Derive torch's environment variables from srun's; return {} for a single process or if WORLD_SIZE is set.

    Args:
        environment: the variables of this process.
        devices: the number of GPUs visible to this process.

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
    """Return the first host in SLURM's list of hosts, such as node07 for `node[07-09,12],login1`."""
    found = re.match(r"([^\[,]*)(?:\[(\d+))?", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts


def checked_tracker(name: str) -> str:
    """Return a tracker's name after checking that Accelerate supports it and that its package is installed.

    Raises:
        ConfigError: the tracker is not supported or not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers  # slow to import

    known = sorted(set(map(str, LOGGER_TYPE_TO_CLASS)) - {"tensorboard"})  # always in use
    if name not in known:
        raise ConfigError(f"--tracker must be {', '.join(known)}, but got {name!r}")
    if name not in map(str, get_available_trackers()):
        raise ConfigError(
            f"--tracker {name}: its package is not installed; install it with pip install {name.replace('_', '-')}"
        )
    return name
