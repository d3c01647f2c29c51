"""Score a network on all validation images, or on as many as time allows."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from maskpencil.data.folder import DataFolder
from maskpencil.data.layout import Pair
from maskpencil.errors import ModelError
from maskpencil.evaluation import predict_pairs
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.segmenter import Segmenter
from maskpencil.training.distributed import shared

FIRST_PART = 4
"""The number of images per process in the first part of a validation, which is always scored; each further part doubles
the number of images so far."""

TIMED_IMAGES = 3
"""The number of images from which the duration of a validation is estimated, after a slower first image."""


@dataclass(frozen=True)
class Validation:
    """Scores on the validation images, or on a part of them.

    Args:
        scores: the scores on all images that were scored; `scores.images` is their number.
        images: the number of images in the validation split.
        by_part: n -> the mean IoU of the first n scored images; NaN if no pixel of these images is labeled. Images are
            scored in parts, see `part_ends`, and n is the number of images scored at the end of each part. Two
            validations are compared by their entries for the largest n that both have.
    """

    scores: Scores
    images: int
    by_part: dict[int, float]

    @property
    def part(self) -> str:
        """The number of scored images, such as `4 of 8`; "" if all images were scored."""
        return "" if self.scores.images == self.images else f"{self.scores.images} of {self.images}"

    def is_better(self, best_score: float, best_scores: Mapping[int, float]) -> bool:
        """Return whether the mean IoU exceeds the best mean IoU so far on the same images.

        True also if the mean IoU is NaN, because no pixel of the images is labeled.

        Args:
            best_score: the mean IoU of the best model on all images on which it was scored; used only if `by_part` and
                `best_scores` have no number of images in common.
            best_scores: the mean IoU of the best model by number of images, see `by_part`; empty before the first
                validation, and in runs of early versions.
        """
        both = self.by_part.keys() & best_scores.keys()
        if not both:
            return not self.scores.mean_iou <= best_score
        return not self.by_part[max(both)] <= best_scores[max(both)]


@dataclass(frozen=True)
class _Count:
    """The confusion counts of one process.

    Args:
        pixels: the counts (K, K), by target and predicted class.
        cut: whether the time of the process ran out.
        broken: whether outputs of the network were not finite.
    """

    pixels: npt.NDArray[np.int64]
    cut: bool
    broken: bool


def validate(
    segmenter: Segmenter, data: DataFolder, accelerator: Accelerator, *, until: float | None = None
) -> Validation | None:
    """Score a model on the validation images, divided among the processes; return None if its outputs are not finite.

    Args:
        segmenter: the model.
        data: the folder with the validation images.
        accelerator: the processes.
        until: the value of `time.monotonic()` at which to stop; None to score all images. With `until`, the images are
            scored in parts of randomly chosen images. A part that would take too long is not begun, but the first part
            is always scored.
    """
    world, pairs, names = int(accelerator.num_processes), data.pairs("val"), data.classes.names
    # statistics of normalization layers differ between processes until the next step; the main process's are used
    broadcast(list(segmenter.network.buffers()))
    order, ends = np.arange(len(pairs)), [len(pairs)]
    if until is not None:
        order, ends = np.random.default_rng(0).permutation(len(pairs)), part_ends(len(pairs), first=FIRST_PART * world)
    matrix, by_part, done, started = ConfusionMatrix(len(names)), dict[int, float](), 0, time.monotonic()
    for end in ends:
        mine = [pairs[index] for index in order[done:end][accelerator.process_index :: world]]
        counted = _sum_counts(accelerator, _count(segmenter, data, mine, until=until if done else None))
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


def expected_validation(segmenter: Segmenter, data: DataFolder, accelerator: Accelerator) -> float:
    """Estimate the seconds that a validation on all images takes, from a few images."""
    pairs = data.pairs("val")
    _count(segmenter, data, pairs[:1])
    few = pairs[:TIMED_IMAGES]
    started = time.monotonic()
    _count(segmenter, data, few)
    return (time.monotonic() - started) / len(few) * len(pairs) / int(accelerator.num_processes)


def part_ends(images: int, *, first: int) -> list[int]:
    """List the numbers of images scored at the ends of the parts: `first`, 2 * `first`, 4 * `first`, ..., `images`."""
    ends = []
    while first < images:
        ends.append(first)
        first *= 2
    return [*ends, images]


def _count(segmenter: Segmenter, data: DataFolder, pairs: Sequence[Pair], *, until: float | None = None) -> _Count:
    """Count the pixels of some images by target and predicted class, until `time.monotonic()` exceeds `until`."""
    matrix = ConfusionMatrix(len(data.classes))
    call = partial(segmenter.predict_batch, confidence=True)
    with closing(predict_pairs(segmenter, data, pairs, call)) as predicted:
        for _ in pairs:
            if until is not None and time.monotonic() > until:
                return _Count(matrix.counts, cut=True, broken=False)
            try:
                target, prediction = next(predicted)
            except ModelError:  # the scores are not finite
                return _Count(matrix.counts, cut=False, broken=True)
            if prediction.confidence is None or not np.isfinite(prediction.confidence).all():
                return _Count(matrix.counts, cut=False, broken=True)
            matrix.update(target, prediction.label_map)
    return _Count(matrix.counts, cut=False, broken=False)


def _sum_counts(accelerator: Accelerator, mine: _Count) -> _Count:
    """Sum the counts of all processes; the sum is `cut` or `broken` if the count of any process is."""
    flat = torch.from_numpy(np.append(mine.pixels.ravel(), [mine.cut, mine.broken]).astype(np.int64))
    summed = accelerator.reduce(flat.to(accelerator.device), reduction="sum").cpu().numpy()
    return _Count(summed[:-2].reshape(mine.pixels.shape), cut=bool(summed[-2]), broken=bool(summed[-1]))
