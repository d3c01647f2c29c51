"""Load pairs from disk as batches; every sample depends only on (seed, epoch, index)."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkstemp
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import tv_tensors

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import DataFolder
from maskpencil.training.transforms import Augmentation, FitSize, Size, draw_gains, recolor

Pair = tuple[torch.Tensor, torch.Tensor]
"""An image (3, H, W) uint8 and its target (H, W) uint8."""


class Sample(NamedTuple):
    """An augmented pair, and the `gains` (3,) of its colors, see `recolor`."""

    image: torch.Tensor
    target: torch.Tensor
    gains: torch.Tensor


class Images(NamedTuple):
    """A batch from the loader: `pixels` (N, 3, H, W) uint8 and the `gains` (N, 3) of their colors."""

    pixels: torch.Tensor
    gains: torch.Tensor

    def on(self, device: torch.device) -> torch.Tensor:
        """Move the images (N, 3, H, W) to a device and recolor them there, 0-255."""
        pixels = self.pixels.to(device, non_blocking=True)
        return pixels if bool((self.gains == 1).all()) else recolor(pixels, self.gains)


class Place(NamedTuple):
    """The index of a sample: the number of an image, the `epoch` of its augmentation, and its relative `resolution`."""

    epoch: int
    image: int
    resolution: float = 1.0


class SegmentationDataset(Dataset[Sample]):
    """Images (3, H, W) uint8 and targets (H, W) uint8 of one split, augmented.

    An item is indexed by its `Place`. Its random numbers depend only on epoch, image and seed, never on the order of
    loading or the number of workers, so a resumed run sees the same samples as an uninterrupted one.

    Args:
        data: the data set.
        split: the name of the split.
        working_size: gives the (height, width) to which an image of a size is scaled first.
        transform_of: gives the transform, of torchvision's v2, for a resolution.
        color_jitter: the largest relative change of brightness, contrast and saturation.
        seed: the seed of all samples.
    """

    def __init__(
        self,
        data: DataFolder,
        split: str,
        *,
        working_size: Callable[[Size], Size],
        transform_of: Callable[[float], Augmentation],
        color_jitter: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.data, self.pairs, self.transform_of, self.seed = data, data.pairs(split), transform_of, seed
        self.fit, self.color_jitter = FitSize(working_size), color_jitter
        self._kept: list[Pair] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: Place) -> Sample:
        epoch, index, resolution = place
        image, target = self._kept[index] if self._kept else self.read(index)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]))
            changed, labels = self.transform_of(resolution)(image, target)
            gains = draw_gains(self.color_jitter)
        return Sample(changed.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor), gains)

    @property
    def memory(self) -> int:
        """The bytes that `keep` needs."""
        return sum(4 * math.prod(self.fit.working_size(self.data.facts[pair.mask].size)) for pair in self.pairs)

    def keep(self, folder: Path | None = None) -> None:
        """Read every pair once, so that epochs decode nothing; forked workers share the copy.

        With a `folder` the pairs are kept in an unnamed file there, which is gone when the process ends.
        """
        with ThreadPoolExecutor(max_workers=4) as pool:
            chunks = (range(start, min(start + 64, len(self))) for start in range(0, len(self), 64))
            samples = (sample for chunk in chunks for sample in pool.map(self.read, chunk))
            self._kept = list(samples if folder is None else self._moved(samples, folder))

    def _moved(self, samples: Iterable[Pair], folder: Path) -> Iterator[Pair]:
        """Move the tensors of the pairs to a file."""
        descriptor, path = mkstemp(dir=folder)
        if hasattr(os, "posix_fallocate"):  # otherwise a full disk would end the process without a message
            os.posix_fallocate(descriptor, 0, self.memory)
        os.close(descriptor)
        place = torch.from_file(path, shared=True, size=self.memory, dtype=torch.uint8)
        Path(path).unlink()
        start = 0
        for sample in samples:
            moved = []
            for tensor in sample:
                room = place[start : start + tensor.numel()].view(tensor.shape)
                room.copy_(tensor)
                moved.append(tv_tensors.wrap(room, like=tensor))
                start += tensor.numel()
            yield moved[0], moved[1]

    def read(self, index: int) -> Pair:
        """Read a pair and scale it to its working size, without augmentation."""
        image, label_map = self.data.read_pair(self.pairs[index])
        pixels = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))  # (3, H, W)
        target = tv_tensors.Mask(torch.from_numpy(label_map))  # (H, W)
        fitted: Pair = self.fit(pixels, target)
        return fitted


class EpochBatches(Sampler[list[Place]]):
    """Shuffled batches of places for one of `world` processes, which split each batch among them.

    Unless `batch_size` is 1, no process gets a batch of one, on which batch normalization cannot train: a last batch
    that is too small is added to the one before, and a data set that is too small repeats its samples. Set `epoch` and
    the batch to `start` from before iterating; `resolution` may change at any time, for the following batches.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        self.length, self.batch_size, self.seed, self.rank, self.world = length, batch_size, seed, rank, world
        self.epoch = self.start = 0
        self.resolution = 1.0

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[list[Place]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        first = 0
        for batch, size in enumerate(self._sizes()):
            if batch >= self.start:
                together = order[np.arange(first, first + size) % self.length]
                yield [Place(self.epoch, int(index), self.resolution) for index in together[self.rank :: self.world]]
            first += size

    def _sizes(self) -> list[int]:
        """Return the sizes of the batches over all processes, each a multiple of their number."""
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

    Returns images and targets (N, H, W) int64, of the greatest height and width.
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
    """Load `batches` in this process, or in `workers` other processes."""
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_Collate(fill),
        persistent_workers=workers > 0,
        pin_memory=pin,
        generator=torch.Generator(),  # otherwise every iterator draws a seed from the generator of dropout
    )
    return loader


class _Collate:
    """`collate` with its fill, picklable for worker processes."""

    def __init__(self, fill: tuple[int, int, int]) -> None:
        self.fill = fill

    def __call__(self, samples: Sequence[Sample]) -> tuple[Images, torch.Tensor]:
        return collate(samples, fill=self.fill)
