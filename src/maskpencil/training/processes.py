"""Many processes on one machine or several: accelerate launch and torchrun say how many, and so does SLURM."""

import os
import re
from collections.abc import Mapping
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from maskpencil.errors import ConfigError

T = TypeVar("T")

FIRST_PORT, PORTS = 20_000, 10_000


def build_accelerator(*, on_cpu: bool, tracker: str | None = None) -> Accelerator:
    """The processes that train together: those that torchrun, accelerate launch or srun have started, or this alone.

    Raises:
        ConfigError: there is no such tracker, or it is not installed.
    """
    for name, value in slurm_environment(os.environ).items():
        os.environ.setdefault(name, value)
    return Accelerator(cpu=on_cpu, log_with=None if tracker is None else checked_tracker(tracker))


def slurm_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What torch wants to know of the processes, from what srun tells each; nothing where srun has started but one.

    Source: the environment variables of srun's manual.
    """
    tasks = int(environment.get("SLURM_NTASKS", "1"))
    if tasks < 2 or "WORLD_SIZE" in environment or "SLURM_PROCID" not in environment:
        return {}
    return {
        "WORLD_SIZE": str(tasks),
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(environment.get("SLURM_STEP_NODELIST", "localhost")),
        "MASTER_PORT": str(FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % PORTS),
    }


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts: node07 of `node[07-09,12],login1`."""
    found = re.match(r"([^\[,]*)(?:\[(\d+))?", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts


def shared(accelerator: Accelerator, value: T) -> T:
    """What the main process has for `value`, in all of them."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


def checked_tracker(name: str) -> str:
    """The name of a tracker that Accelerate knows and that is installed.

    Raises:
        ConfigError: it is none.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers  # slow to import

    if name not in LOGGER_TYPE_TO_CLASS:
        raise ConfigError(f"--tracker must be {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}, but got {name!r}")
    if name not in map(str, get_available_trackers()):
        raise ConfigError(f"--tracker {name}: its package is not installed; pip install {name.replace('_', '-')}")
    return name
