"""Load batches of images and targets; the random numbers of a sample depend only on seed, epoch and image index."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from shutil import disk_usage
from tempfile import mkstemp
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import DataFolder
from maskpencil.files import cache_folder
from maskpencil.hardware import available_memory
from maskpencil.images import RGBImage, fitted_size
from maskpencil.label_maps import LabelMap
from maskpencil.training.transforms import Augmentation, FitSize, Size, draw_gains, recolor

KEPT_SHARE = 1 / 3
"""The largest share of the free memory, or of the free disk space, that decoded images may take."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""An image (3, H, W) uint8 and its target (H, W) uint8."""


T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Choose `count` evenly spaced items, or all items if there are fewer."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else [*items]


class Sample(NamedTuple):
    """An augmented image (3, H, W) uint8 and its target (H, W) uint8.

    `gains` (3,) are the factors by which `recolor` later changes the image's brightness, contrast and saturation.
    """

    image: torch.Tensor
    target: torch.Tensor
    gains: torch.Tensor


class Images(NamedTuple):
    """The images of a batch: `pixels` (N, 3, H, W) uint8, and their color factors `gains` (N, 3), see `Sample`."""

    pixels: torch.Tensor
    gains: torch.Tensor

    def on(self, device: torch.device) -> torch.Tensor:
        """Move the images to a device, change their colors there by `gains`, and return them (N, 3, H, W), 0-255.

        The result is uint8 if all `gains` are 1, else float32.
        """
        pixels = self.pixels.to(device, non_blocking=True)
        return pixels if bool((self.gains == 1).all()) else recolor(pixels, self.gains)


class SampleIndex(NamedTuple):
    """The index of a sample, which determines its augmentation.

    `epoch` and `image`, the index of the image, select the random numbers; `resolution` is a share of the full
    resolution.
    """

    epoch: int
    image: int
    resolution: float = 1.0


class TrainingImages:
    """The training images of a data set with their targets, scaled to `image_size`.

    After `load`, they are read from memory or disk without decoding, if there is enough space.

    Args:
        data: the data set.
        image_size: the size to which images are scaled, see `images.fitted_size`.
        processes: the number of processes on this machine that keep the same images in memory.
    """

    def __init__(self, data: DataFolder, image_size: int | Size | None = None, *, processes: int = 1) -> None:
        self.data, self.processes, self._pairs = data, processes, data.pairs("train")
        self._fit = FitSize(partial(fitted_size, image_size=image_size))
        self._sizes = [fitted_size(data.facts[pair.mask].size, image_size) for pair in self._pairs]
        self._kept: list[Pair] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        """Return an image and its target without augmentation, as `load` kept them or else decoded from their files."""
        return self._kept[index] if self._kept else self._fitted(*self.data.read_pair(self._pairs[index]))

    @property
    def nbytes(self) -> int:
        """The memory that all images and targets need, in bytes."""
        return sum(map(_nbytes, self._sizes))

    def load(
        self, report: Callable[[int, int], None] | None = None, *, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Decode every image of the data set once, to check it, and keep the training images for later epochs.

        The images are kept in memory or, if they need more than `KEPT_SHARE` of the free memory, on disk; if they need
        more than this share of the free disk space, they are not kept. Worker processes that are forked afterwards
        share the images.

        Args:
            report: called with (done, total), numbers of images.
            tell: called with remarks on how files were read.

        Raises:
            ImageError: a file is not a readable image.
            DataError: an image and its mask differ in size.
        """
        slots = self._slots()

        def keep(split: str, index: int, image: RGBImage) -> None:
            if split == "train" and slots:
                pair = self._fitted(image, self.data.read_label_map(self._pairs[index]))
                for slot, tensor in zip(slots[index], pair, strict=True):
                    slot.copy_(tensor)

        self.data.check_images(report, tell=tell, use=keep)
        self._kept = slots

    def _slots(self) -> list[Pair]:
        """Allocate tensors for all images and targets, in memory or on disk; return [] if there is too little space."""
        needed = self.nbytes * self.processes / KEPT_SHARE
        if needed <= available_memory():
            return [_slot(torch.empty(_nbytes(size), dtype=torch.uint8), size) for size in self._sizes]
        place = cache_folder("images")
        with suppress(OSError):  # the images are then decoded in every epoch
            place.mkdir(parents=True, exist_ok=True)
            if needed <= disk_usage(place).free:
                file = _unnamed_file(place, self.nbytes)
                ends = list(accumulate(map(_nbytes, self._sizes)))
                return [
                    _slot(file[end - _nbytes(size) : end], size) for end, size in zip(ends, self._sizes, strict=True)
                ]
        return []

    def _fitted(self, image: RGBImage, label_map: LabelMap) -> Pair:
        """Scale an image (H, W, 3) and its label map (H, W) as `image_size` says, and convert them to tensors."""
        pixels = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))  # (3, H, W)
        fitted: Pair = self._fit(pixels, tv_tensors.Mask(torch.from_numpy(label_map)))
        return fitted


def _nbytes(size: Size) -> int:
    """Return the number of bytes of an image and a target of `size` (height, width)."""
    return 4 * math.prod(size)


def _slot(room: torch.Tensor, size: Size) -> Pair:
    """View the first `_nbytes(size)` bytes of the uint8 tensor `room` as an image (3, H, W) and a target (H, W).

    The image's channels are last in memory.
    """
    pixels = math.prod(size)
    image = room[: 3 * pixels].view(*size, 3).permute(2, 0, 1)
    return tv_tensors.Image(image), tv_tensors.Mask(room[3 * pixels : 4 * pixels].view(size))


def _unnamed_file(folder: Path, nbytes: int) -> torch.Tensor:
    """Return a uint8 tensor of `nbytes` bytes, mapped from a new file that is removed when the process ends."""
    descriptor, path = mkstemp(dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):  # without it, a full disk would end the process without a message
            os.posix_fallocate(descriptor, 0, nbytes)
        return torch.from_file(path, shared=True, size=nbytes, dtype=torch.uint8)
    finally:
        os.close(descriptor)
        Path(path).unlink()


class SegmentationDataset(Dataset[Sample]):
    """A data set of augmented images and their targets.

    `dataset[SampleIndex(...)]` returns a `Sample`. Its random numbers depend only on epoch, image and seed, never on
    the order of loading or the number of workers, so that a resumed run gets the same samples as an uninterrupted run.

    Args:
        images: the pairs of images and targets.
        transform_of: a function that returns the transform (torchvision v2) for the `resolution` of a `SampleIndex`.
        color_jitter: the largest relative change of brightness, contrast and saturation.
        seed: the seed of all samples.
    """

    def __init__(
        self,
        images: TrainingImages,
        *,
        transform_of: Callable[[float], Augmentation],
        color_jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.images, self.transform_of, self.color_jitter, self.seed = images, transform_of, color_jitter, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: SampleIndex) -> Sample:
        epoch, index, resolution = place
        image, target = self.images[index]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]))
            changed, labels = self.transform_of(resolution)(image, target)
            gains = draw_gains(self.color_jitter)
        return Sample(changed.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor), gains)


class EpochBatches(Sampler[list[SampleIndex]]):
    """A sampler that yields one process's part of each shuffled batch of an epoch, as a list of `SampleIndex`.

    Batch normalization cannot train on a batch of one image. Unless `batch_size` is 1, a last batch of too few images
    is therefore merged with the previous batch, and a data set of too few images repeats its samples. Set `epoch` and
    `start` (the index of the first batch) before iterating; a change of `resolution` takes effect with the next batch.

    Args:
        length: the number of images in the data set.
        batch_size: the number of images of a batch in each process.
        seed: the seed of the order.
        rank: the index of this process.
        world: the number of processes.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self.length, self.batch_size, self.seed, self.rank, self.world = length, batch_size, seed, rank, world
        self.epoch = self.start = 0
        self.resolution = 1.0

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        first = 0
        for batch, size in enumerate(self._sizes()):
            if batch >= self.start:
                together = order[np.arange(first, first + size) % self.length]
                yield [
                    SampleIndex(self.epoch, int(index), self.resolution) for index in together[self.rank :: self.world]
                ]
            first += size

    def _sizes(self) -> list[int]:
        """Return the number of images in each batch over all processes, a multiple of the number of processes."""
        full, rest = divmod(self.length, self.batch_size * self.world)
        shares = [self.batch_size] * full
        last, least = -(-rest // self.world), min(2, self.batch_size)
        if last >= least or (last and not shares):
            shares.append(max(last, least))
        elif last:
            shares[-1] += last
        return [share * self.world for share in shares]


def collate(samples: Sequence[Sample], *, fill: tuple[int, int, int]) -> tuple[Images, torch.Tensor]:
    """Stack samples of unequal size: images are padded right and bottom with `fill`, targets with `IGNORE_INDEX`.

    Returns the images and the targets (N, H, W) int64; H and W are the largest height and width in the batch.
    """
    height = max(sample.image.shape[-2] for sample in samples)
    width = max(sample.image.shape[-1] for sample in samples)
    images = torch.tensor(fill, dtype=torch.uint8).view(1, 3, 1, 1).repeat(len(samples), 1, height, width)
    targets = torch.full((len(samples), height, width), IGNORE_INDEX, dtype=torch.int64)
    for i, (image, target, _) in enumerate(samples):
        images[i, :, : image.shape[-2], : image.shape[-1]] = image
        targets[i, : target.shape[-2], : target.shape[-1]] = target
    return Images(images, torch.stack([sample.gains for sample in samples])), targets


def load_batches(
    dataset: SegmentationDataset, batches: EpochBatches, *, workers: int, fill: tuple[int, int, int], pin: bool = False
) -> Iterable[tuple[Images, torch.Tensor]]:
    """Return an iterable that loads `batches` and yields the images and targets of each batch, see `collate`.

    Args:
        dataset: the samples.
        batches: the indices of the samples of each batch.
        workers: the number of processes that load samples; with 0, this process loads them.
        fill: the color (RGB, 0-255) with which images are padded to the size of the largest image in the batch.
        pin: whether batches are placed in pinned memory, from which copies to a GPU are faster.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_Collate(fill),
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator(),  # keeps iterators from drawing a seed from the generator that dropout uses
    )
    return loader


class _Collate:
    """The function `collate` with a fixed `fill`, as a class that can be pickled for worker processes."""

    def __init__(self, fill: tuple[int, int, int]) -> None:
        self.fill = fill

    def __call__(self, samples: Sequence[Sample]) -> tuple[Images, torch.Tensor]:
        return collate(samples, fill=self.fill)
