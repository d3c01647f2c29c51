"""Whether a run still computes with numbers: weights, averages, statistics and the optimizer's state."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from maskpencil.errors import TrainingError
from maskpencil.training.course import Progress
from maskpencil.training.job import Job
from maskpencil.training.run_folder import RunFolder


def first_not_finite(state: object) -> str | None:
    """Name the first tensor of a nested state that holds NaN or infinity; None where all are finite numbers.

    Args:
        state: a tensor, or mappings and sequences of them, such as a state dict; all else in it is passed over.
    """
    named = list(_tensors(state, ()))
    # in the greatest absolute value NaN stays NaN
    finite = [torch.linalg.vector_norm(tensor, ord=math.inf).isfinite() for _, tensor in named]
    return next((name for (name, _), each in zip(named, finite, strict=True) if not bool(each)), None)


def refuse_broken(job: Job, progress: Progress, run: RunFolder) -> None:
    """Refuse to keep or to go on with a network that has diverged; in several processes, where one of them has.

    Raises:
        TrainingError: weights, their average, statistics of normalization or the optimizer's state are not finite.
    """
    parts: dict[str, object] = {"weights": job.network.state_dict(), "optimizer": job.optimizer.state_dict()["state"]}
    if job.average:
        parts["average"] = job.average.network.state_dict()
    broken = first_not_finite(parts)
    flag = torch.tensor(float(broken is not None), device=job.device)
    if float(job.accelerator.reduce(flag, reduction="sum")):
        where = broken or "those of another process"
        raise diverged(job, progress, run, f"the weights or their statistics are not finite numbers ({where})")


def diverged(job: Job, progress: Progress, run: RunFolder, found: str) -> TrainingError:
    """Make the error of a run that has diverged: what was found, what was kept, what to do."""
    config = job.config
    remedies = ["look at the masks"]
    if job.segmenter.runtime.precision != "fp32":
        remedies.insert(0, "--precision fp32")
    if config.optimizer != "lbfgs":  # which has no learning rate
        if not config.clip_norm:
            remedies.insert(0, "--clip-norm 1")
        remedies.insert(0, f"a smaller --learning-rate (it is {config.learning_rate})")
    within = f"at step {progress.step} (epoch {progress.epoch + 1})"
    where = within if progress.batch or not progress.epoch else f"after epoch {progress.epoch}"
    return TrainingError(f"{found} {where}; start again and try {', or '.join(remedies)}; {_kept(progress, run)}")


def _kept(progress: Progress, run: RunFolder) -> str:
    if not run.model.is_dir():
        return "no model was kept"
    score = "" if math.isnan(progress.best_score) else f", mean IoU {progress.best_score:.4f},"
    return f"the best model until then{score} stays in {run.model}"


def _tensors(state: object, path: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of floating-point numbers in a nested state, each with its path."""
    if isinstance(state, torch.Tensor):
        if state.is_floating_point() and state.numel():
            yield " ".join(path), state.detach()
    elif isinstance(state, Mapping):
        for name, part in state.items():
            yield from _tensors(part, (*path, str(name)))
    elif isinstance(state, Sequence) and not isinstance(state, str | bytes):
        for number, part in enumerate(state):
            yield from _tensors(part, (*path, str(number)))
