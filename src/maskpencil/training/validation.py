"""Scoring a run's network on the validation images: all of them, or as many as the time allows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from accelerate.utils import broadcast

from maskpencil.data.layout import Pair
from maskpencil.errors import ModelError
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.training.distributed import shared
from maskpencil.training.job import Job

FIRST_PART = 4
"""The images for each process that are scored even when the time is up; each further part doubles them."""

TIMED_IMAGES = 3
"""The images from which the time of a validation is estimated, after a first one, which is slower."""


@dataclass(frozen=True)
class Validation:
    """The scores on `scores.images` of the `images` of the validation split.

    `by_part` maps numbers of images to the mean IoU on the first of them, so that two validations of which one was cut
    short can be compared on the same images. It is NaN where none of their pixels is labeled.
    """

    scores: Scores
    images: int
    by_part: dict[int, float]

    @property
    def part(self) -> str:
        """The number of images scored out of how many, in words; "" where all of them were scored."""
        return "" if self.scores.images == self.images else f"{self.scores.images} of {self.images}"


@dataclass(frozen=True)
class _Count:
    """What one process has counted: (K, K) pixels, whether time ran out, whether the network gave no numbers."""

    pixels: npt.NDArray[np.int64]
    cut: bool
    broken: bool


def validate(job: Job, *, until: float | None = None) -> Validation | None:
    """Score the model on the validation images, shared out among the processes and summed exactly.

    With `until`, a time of `time.monotonic`, the images are scored in parts, spread over the split, and no part is
    begun that would take longer; the first part is always scored.

    Returns None where the network gives no numbers.
    """
    accelerator, data, world = job.accelerator, job.data, int(job.accelerator.num_processes)
    # what normalization layers measure is each process's own between two steps; the main one's is kept
    broadcast(list(job.segmenter.network.buffers()))
    pairs, names = data.pairs("val"), data.classes.names
    order, ends = np.arange(len(pairs)), [len(pairs)]
    if until is not None:
        order, ends = np.random.default_rng(0).permutation(len(pairs)), part_ends(len(pairs), first=FIRST_PART * world)
    matrix, by_part, done, started = ConfusionMatrix(len(names)), dict[int, float](), 0, time.monotonic()
    for end in ends:
        mine = [pairs[index] for index in order[done:end][accelerator.process_index :: world]]
        counted = _together(job, _count(job, mine, until=until if done else None))
        if counted.broken:
            return None
        if counted.cut:
            break
        matrix.add(counted.pixels, images=end - done)
        by_part[end] = matrix.scores(names).mean_iou
        done, now = end, time.monotonic()
        following = min(2 * done, len(pairs)) - done
        if until is not None and not shared(accelerator, now + (now - started) * following / done <= until):
            break
    return Validation(matrix.scores(names), len(pairs), by_part)


def expected_validation(job: Job) -> float:
    """Estimate the seconds that a validation of all images takes, from those of a few."""
    pairs = job.data.pairs("val")
    _count(job, pairs[:1])
    few = pairs[:TIMED_IMAGES]
    started = time.monotonic()
    _count(job, few)
    return (time.monotonic() - started) / len(few) * len(pairs) / int(job.accelerator.num_processes)


def part_ends(images: int, *, first: int) -> list[int]:
    """How many images are done after each part: `first`, twice as many, and so on up to all."""
    ends = []
    while first < images:
        ends.append(first)
        first *= 2
    return [*ends, images]


def _count(job: Job, pairs: Sequence[Pair], *, until: float | None = None) -> _Count:
    """Count the pixels of some images, until the time is up."""
    matrix = ConfusionMatrix(len(job.data.classes))
    for pair in pairs:
        if until is not None and time.monotonic() > until:
            return _Count(matrix.counts, cut=True, broken=False)
        image, target = job.data.read_pair(pair)
        try:
            (prediction,) = job.segmenter.predict_batch([image], confidence=True)
        except ModelError:  # the scores of the network are not numbers
            return _Count(matrix.counts, cut=False, broken=True)
        if prediction.confidence is None or not np.isfinite(prediction.confidence).all():
            return _Count(matrix.counts, cut=False, broken=True)
        matrix.update(target, prediction.label_map)
    return _Count(matrix.counts, cut=False, broken=False)


def _together(job: Job, mine: _Count) -> _Count:
    """Sum what all processes have counted; time ran out for all where it did for one."""
    flat = torch.from_numpy(np.append(mine.pixels.ravel(), [mine.cut, mine.broken]).astype(np.int64))
    summed = job.accelerator.reduce(flat.to(job.device), reduction="sum").cpu().numpy()
    return _Count(summed[:-2].reshape(mine.pixels.shape), cut=bool(summed[-2]), broken=bool(summed[-1]))
