"""Training state on disk: everything that an exact continuation needs, written whole."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from maskpencil.errors import ModelError
from maskpencil.files import folder_written_whole, recover_folder
from maskpencil.training.course import Progress
from maskpencil.training.finite import first_not_finite

FILE = "state.pt"


def save_checkpoint(
    path: Path,
    *,
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write weights and their average, optimizer state and progress; random numbers follow from the seed and these.

    In fp16 the `scaler` of the loss belongs to it.

    Raises:
        OutputError: it cannot be written; the checkpoint before stays.
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
        except RuntimeError as error:  # torch reports a full disk so
            raise OSError(str(error).splitlines()[0]) from error


def has_checkpoint(path: Path) -> bool:
    """Whether there is a checkpoint to continue from."""
    recover_folder(path)
    return (path / FILE).is_file()


def load_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> Progress | None:
    """Bring everything back as it was; None where there is no checkpoint yet.

    Raises:
        ModelError: the checkpoint is damaged or of another network, or holds values that are not finite numbers.
    """
    if not has_checkpoint(path):
        return None
    try:
        state: Mapping[str, Any] = torch.load(path / FILE, map_location="cpu", weights_only=True)
        broken = first_not_finite({name: state[name] for name in ("model", "average", "optimizer")})
        if broken:
            raise ModelError(
                f"{path / FILE}: cannot be resumed from, for the run had diverged (not finite: {broken}); start the "
                "run anew, with a smaller --learning-rate or --precision fp32"
            )
        model.load_state_dict(state["model"])
        if average:
            average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        if scaler:
            scaler.load_state_dict(state["scaler"])
        return Progress(**state["progress"])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path / FILE}: cannot be resumed from ({reason}); start the run anew") from error
