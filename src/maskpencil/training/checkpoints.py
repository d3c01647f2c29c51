"""Save and load checkpoints: the training state that is needed to resume a run exactly."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from maskpencil.errors import ModelError
from maskpencil.files import folder_written_whole
from maskpencil.training.schedule import Progress

FILE = "state.pt"

RENAMED = {"parts": "accumulate", "leaving_seconds": "graph_seconds"}
"""The names of fields of `Progress` in checkpoints of earlier versions, and their current names."""


def save_checkpoint(
    path: Path,
    *,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write the weights, their moving average, the state of the optimizer and the progress of a run.

    The states of random number generators are not stored, since the random numbers depend only on the seed and the
    progress.

    Args:
        path: the folder of the checkpoint; an older checkpoint there is replaced.
        progress: the state of the run.
        model: the network that is trained.
        optimizer: the optimizer of the network.
        average: the network with the moving average of the weights, if any.
        scaler: the scaler of the loss in fp16; None for other precisions.

    Raises:
        OutputError: the checkpoint cannot be written; the previous checkpoint is kept.
    """
    state = {
        "progress": asdict(progress),
        "model": model.state_dict(),
        "average": average.state_dict() if average else None,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
    }
    with folder_written_whole(path) as folder:
        try:
            torch.save(state, folder / FILE)
        except RuntimeError as error:  # torch's error for a full disk
            raise OSError(str(error).splitlines()[0]) from error


def has_checkpoint(path: Path) -> bool:
    """Return whether there is a checkpoint to resume from; after a crash call `files.recover_folder` first."""
    return (path / FILE).is_file()


def load_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Progress | None:
    """Restore the state that `save_checkpoint` wrote, and return the progress.

    Return None if there is no checkpoint yet.

    Raises:
        ModelError: the checkpoint is damaged, belongs to another network, or holds values that are not finite.
    """
    if not has_checkpoint(path):
        return None
    try:
        state: Mapping[str, Any] = torch.load(path / FILE, map_location="cpu", weights_only=True)
        broken = first_not_finite({name: state[name] for name in ("model", "average", "optimizer")})
        if broken:
            raise ModelError(
                f"{path / FILE}: cannot be resumed from, since the run had diverged (not finite: {broken}); start the "
                "run again, with a smaller --learning-rate or --precision fp32"
            )
        model.load_state_dict(state["model"])
        if average:
            average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        if scaler:
            scaler.load_state_dict(state["scaler"])
        return Progress(**{RENAMED.get(name, name): value for name, value in state["progress"].items()})
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path / FILE}: cannot be resumed from ({reason}); start a new run") from error


def first_not_finite(state: object) -> str | None:
    """Return the name of the first tensor in a nested state that holds NaN or infinity; None if all tensors are finite.

    Args:
        state: a tensor, or mappings and sequences of tensors such as a state dict; other values are skipped.
    """
    named = list(_tensors(state, ()))
    # the maximum of a tensor with NaN is NaN
    finite = [torch.linalg.vector_norm(tensor, ord=math.inf).isfinite() for _, tensor in named]
    return next((name for (name, _), each in zip(named, finite, strict=True) if not bool(each)), None)


def _tensors(state: object, path: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for each floating-point tensor of a nested state; `path` is the path of `state`."""
    if isinstance(state, Tensor):
        if state.is_floating_point() and state.numel():
            yield " ".join(path), state.detach()
    elif isinstance(state, Mapping):
        for name, part in state.items():
            yield from _tensors(part, (*path, str(name)))
    elif isinstance(state, Sequence) and not isinstance(state, str | bytes):
        for number, part in enumerate(state):
            yield from _tensors(part, (*path, str(number)))
