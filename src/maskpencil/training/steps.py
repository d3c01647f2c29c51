"""One step: forward, backward and update, in as many parts as the memory asks for."""

from contextlib import nullcontext

import numpy as np
import torch

from maskpencil.errors import TrainingError
from maskpencil.hardware import autocast
from maskpencil.training.course import Progress
from maskpencil.training.dataset import Images
from maskpencil.training.frozen.feature_cache import Features
from maskpencil.training.job import Inputs, Job
from maskpencil.training.losses import l2_penalty


def train_step(job: Job, progress: Progress, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
    """Make one step on a batch, see `job.Batches`; gives the loss before it, a scalar on the device.

    The batch goes through the network in `progress.parts` parts, of which the gradients add up. Where the memory of the
    device does not suffice it is tried again in twice as many, and so all later ones; not in several processes, which
    would have to agree on it. What is dropped follows from seed, step and process alone.

    Raises:
        TrainingError: the batch, or in one process a single image, is too much for the memory.
    """
    targets = targets.to(job.device, non_blocking=True)
    seeds = np.random.SeedSequence([job.config.seed, progress.step, job.accelerator.process_index])
    torch.manual_seed(int(seeds.generate_state(1)[0]))
    while True:
        try:
            loss = _gradients(job, progress.parts, inputs, targets)
            break
        except torch.OutOfMemoryError as error:
            job.optimizer.zero_grad()
            images = -(-len(targets) // progress.parts)
            if images == 1 or job.accelerator.num_processes > 1:
                raise TrainingError(
                    f"the device has too little memory for {images} images of {targets.shape[-2]}x"
                    f"{targets.shape[-1]} at once; give a greater --accumulate or a smaller --batch-size or --crop-size"
                ) from error
            progress.parts = min(2 * progress.parts, len(targets))
    if job.config.clip_norm:
        job.accelerator.clip_grad_norm_(job.model.parameters(), job.config.clip_norm)
    job.optimizer.step()
    job.optimizer.zero_grad()
    if job.average:
        job.average.update(job.network, progress.step + 1)
    return loss


def batch_loss(
    job: Job, inputs: Inputs, targets: torch.Tensor, *, weight: torch.Tensor, penalty: bool = True
) -> torch.Tensor:
    """The loss of a part of a batch of that `weight`, see `Loss`; with the `penalty` on the head's kernels."""
    with autocast(job.device, job.segmenter.runtime.precision):
        logits = job.model(_seen(job, inputs))
    loss = job.loss(logits.float(), targets, weight=weight)
    if job.loss.reduction == "sum":
        loss = loss * job.accelerator.num_processes  # which average their gradients
    return loss + l2_penalty(job.head_kernels, job.config.head_l2) if penalty and job.config.head_l2 else loss


def _gradients(job: Job, parts: int, inputs: Inputs, targets: torch.Tensor) -> torch.Tensor:
    """Compute the gradients of a batch; gives its loss."""
    accelerator = job.accelerator
    # processes average their gradients: each divides by its share of the pixels of all
    weight = accelerator.reduce(job.loss.weigh(targets), reduction="mean")
    total = torch.zeros((), device=targets.device)
    parts = min(parts, len(targets))
    pieces = list(zip(_split(inputs, parts), targets.tensor_split(parts), strict=True))
    for number, (piece, target) in enumerate(pieces, start=1):
        with nullcontext() if number == len(pieces) else accelerator.no_sync(job.model):
            loss = batch_loss(job, piece, target, weight=weight, penalty=number == 1)
            accelerator.backward(loss)
        total += loss.detach()
    return total


def _split(inputs: Inputs, parts: int) -> list[Inputs]:
    pieces = zip(*(tensor.tensor_split(parts) for tensor in inputs), strict=True)
    return [Images(*piece) if isinstance(inputs, Images) else piece for piece in pieces]


def _seen(job: Job, inputs: Inputs) -> torch.Tensor | Features:
    """Images as the network takes them, or features as the head does."""
    device = job.device
    if isinstance(inputs, Images):
        return job.segmenter.preprocessing.normalize(inputs.on(device))
    return tuple(tensor.to(device, torch.float32, non_blocking=True) for tensor in inputs)
