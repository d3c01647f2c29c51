"""Cache the features of a frozen backbone: computed once for each view of an image, read from memory-mapped files."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from maskpencil.errors import OutputError, TrainingError
from maskpencil.files import cache_folder, folder_written_whole
from maskpencil.hardware import autocast
from maskpencil.models import FCN
from maskpencil.segmenter import Segmenter
from maskpencil.training.dataset import Images, Pair, Sample, SampleIndex, SegmentationDataset, collate

VERSION = 3
"""The version of the cache, part of every cache name; a change makes old caches invalid."""

IMAGES_AT_ONCE = 4
"""The number of images in one batch for the backbone."""

IMAGES_READ_AHEAD = 64
"""The largest number of decoded images in memory while the images are hashed for the name of the cache folder."""

SHAPES = "shapes.json"
TARGETS = "targets"

Features = tuple[torch.Tensor, ...]
"""One tensor (N, C, H/stride, W/stride) for each stride, the coarsest first."""


@dataclass(frozen=True)
class FeatureCache:
    """Features and targets of randomly augmented versions (views) of images, as memory-mapped files.

    Args:
        path: the folder of the memory-mapped files.
        images: the number of images.
        views: the number of views of each image; row v * images + i is view v of image i.
        tensors: the features (views * images, H/stride, W/stride, C) of each stride, the coarsest first.
        targets: (views * images, H, W) uint8.
    """

    path: Path
    images: int
    views: int
    tensors: Features
    targets: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the views."""
        return self.targets.shape[1], self.targets.shape[2]

    def batch(self, places: Sequence[SampleIndex]) -> tuple[Features, torch.Tensor]:
        """Read the features of the samples `places`, see `Features`, and their targets (N, H, W) int64.

        Epoch e uses view e modulo `views`.
        """
        rows = torch.tensor([place.epoch % self.views * self.images + place.image for place in places])
        # channels last in memory, as the backbone's output
        return tuple(tensor[rows].permute(0, 3, 1, 2) for tensor in self.tensors), self.targets[rows].long()


class CachedBatches:
    """A loader that yields the features and the targets of each batch, see `FeatureCache.batch`."""

    def __init__(self, cache: FeatureCache, batches: Iterable[Sequence[SampleIndex]]) -> None:
        self.cache, self.batches = cache, batches

    def __iter__(self) -> Iterator[tuple[Features, torch.Tensor]]:
        return (self.cache.batch(places) for places in self.batches)


class Head(nn.Module):
    """The head of an FCN, which is trained on features of images of `size` (H, W)."""

    def __init__(self, network: FCN, *, size: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, features: Features) -> torch.Tensor:
        """Compute logits (N, K, H, W) from features, the coarsest first."""
        named = dict(zip(strides_of(self.network), features, strict=True))
        return self.network.logits(named, self.size)


def strides_of(network: FCN) -> tuple[int, ...]:
    """List the strides of the features that a network's head takes, the coarsest first."""
    return tuple(stride for stride in (32, 16, 8, 4, 2) if stride >= network.config.stride)


@dataclass(frozen=True)
class Views:
    """The randomly augmented versions (views) of each image whose features are cached.

    Args:
        count: the number of views of each image.
        window: (height, width) of the views; if None, the views are padded with the mean color to the size of the
            largest image.
        settings: name -> value of the other training settings on which the views depend, such as seed and flip.
    """

    count: int
    window: tuple[int, int] | None
    settings: Mapping[str, object]


def cached_features(
    segmenter: Segmenter,
    network: FCN,
    dataset: SegmentationDataset,
    *,
    views: Views,
    announce: Callable[[str], None],
    report: Callable[[int, int], None] | None = None,
) -> FeatureCache:
    """Compute the features of the `views` of each image, or reuse the features of an earlier run.

    Features are reused if the images and masks, the weights of the backbone, the precision and the settings are the
    same. Features are float32 if the network computes in float32, else float16.

    Args:
        segmenter: the model, whose precision and preprocessing are used.
        network: the network with the frozen backbone.
        dataset: the images.
        views: the views of each image.
        announce: called with a line that gives the size of the files to be written, or says that features are reused.
        report: called with (done, total), numbers of views.

    Raises:
        OutputError: the disk has too little space, or cannot be written to.
        TrainingError: the features are not finite, or too large for the precision.
    """
    dtype = torch.float32 if segmenter.runtime.precision == "fp32" else torch.float16
    facts = {**views.settings, "views": views.count, "precision": segmenter.runtime.precision, "version": VERSION}
    key, largest = _identify(network, dataset, json.dumps(facts, sort_keys=True, default=str))
    place = cache_folder("features") / key
    if not (place / SHAPES).is_file():
        places = [SampleIndex(view, index) for view in range(views.count) for index in range(len(dataset))]
        compute = partial(_features, segmenter, network, dataset, size=views.window or largest)
        _compute(place, places, compute, dtype, announce=announce, report=report)
    else:
        announce(f"features of {len(dataset)} images are reused from an earlier run: {place}")
    return _open(place, len(dataset), views.count)


def _compute(
    place: Path,
    places: Sequence[SampleIndex],
    features_of: Callable[[Sequence[SampleIndex]], tuple[dict[int, torch.Tensor], torch.Tensor]],
    dtype: torch.dtype,
    *,
    announce: Callable[[str], None],
    report: Callable[[int, int], None] | None,
) -> None:
    """Write the features of all views, and their targets, into the folder `place`.

    `places` are the indices of the views, in the order in which the files store them; `features_of` computes features
    {s: (N, H/s, W/s, C)} and targets (N, H, W) of the views with the given indices.

    Raises:
        OutputError: the disk has too little space, or cannot be written to.
        TrainingError: the features are not finite, or too large for `dtype`.
    """
    first, target = features_of(places[:1])
    size = target.shape[1:]
    shapes = {str(stride): [len(places), *tensor.shape[1:]] for stride, tensor in first.items()}
    needed = sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize + len(places) * math.prod(size)
    place.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place.parent).free
    if needed > 0.95 * free:
        raise OutputError(
            f"{place.parent}: the features of {len(places)} augmented images need {needed / 1e9:.1f} GB, but "
            f"{free / 1e9:.1f} GB are free; free some space, set XDG_CACHE_HOME to a folder on a larger "
            "disk, or give --cache-views 0"
        )
    announce(f"features of {len(places)} views are computed once and kept, {needed / 1e9:.2f} GB: {place}")
    with folder_written_whole(place) as folder:
        tensors = {name: _mapped(folder / name, shape, dtype) for name, shape in shapes.items()}
        targets = _mapped(folder / TARGETS, [len(places), *size], torch.uint8)
        for start in range(0, len(places), IMAGES_AT_ONCE):
            features, labels = features_of(places[start : start + IMAGES_AT_ONCE])
            rows = slice(start, start + len(labels))
            for stride, tensor in features.items():
                tensors[str(stride)][rows] = _kept(tensor, dtype)
            targets[rows] = labels.to(torch.uint8)
            if report:
                report(start + len(labels), len(places))
        described = {"features": shapes, "targets": [len(places), *size], "dtype": str(dtype).removeprefix("torch.")}
        (folder / SHAPES).write_text(json.dumps(described), encoding="utf-8")


def _open(place: Path, images: int, views: int) -> FeatureCache:
    described = json.loads((place / SHAPES).read_text(encoding="utf-8"))
    dtype = getattr(torch, described["dtype"])
    tensors = tuple(_mapped(place / name, shape, dtype) for name, shape in described["features"].items())
    return FeatureCache(place, images, views, tensors, _mapped(place / TARGETS, described["targets"], torch.uint8))


def _features(
    segmenter: Segmenter,
    network: FCN,
    dataset: SegmentationDataset,
    places: Sequence[SampleIndex],
    size: tuple[int, int],
) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """Compute features {s: (N, H/s, W/s, C)} and targets (N, H, W) of the views `places`, padded to `size`."""
    fill = segmenter.preprocessing.fill
    # an additional sample of the full size makes `collate` pad the other samples
    blank = Sample(torch.zeros(3, *size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8), torch.ones(3))
    padded, targets = collate([*(dataset[place] for place in places), blank], fill=fill)
    device = next(network.parameters()).device
    inputs = segmenter.preprocessing.normalize(Images(*(tensor[:-1] for tensor in padded)).on(device))
    network.eval()
    with torch.inference_mode(), autocast(device, segmenter.runtime.precision):
        features = network.features(inputs)
    return {stride: features[stride].permute(0, 2, 3, 1) for stride in strides_of(network)}, targets[:-1]


def _kept(features: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Convert features to `dtype`, the precision of the cache, and move them to the CPU.

    Raises:
        TrainingError: the features are not finite, or too large for this precision.
    """
    kept = features.to(dtype)
    if not bool(kept.isfinite().all()):
        if not bool(features.isfinite().all()):
            raise TrainingError(
                "the frozen backbone gives features that are not finite numbers; try --precision fp32, or other "
                "--weights"
            )
        raise TrainingError(
            f"the frozen backbone gives features of up to {float(features.abs().max()):.3g}, more than {dtype} holds; "
            "give --precision fp32"
        )
    return kept.cpu()


def _mapped(path: Path, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_file(str(path), shared=True, size=math.prod(shape), dtype=dtype).view(*shape)


def _identify(network: FCN, dataset: SegmentationDataset, facts: str) -> tuple[str, tuple[int, int]]:
    """Return the name of the cache folder, and the largest height and width of the images.

    The name is a hash of everything on which the features depend: weights, images, targets and the settings `facts`.
    """
    digest = hashlib.blake2b(facts.encode(), digest_size=16)
    weights = network.backbone.state_dict()
    digest.update(" ".join(weights).encode())
    height = width = 0
    for tensor in weights.values():
        _digest(digest, tensor)
    for image, target in _read_all(dataset):
        _digest(digest, image)
        _digest(digest, target)
        height, width = max(height, target.shape[0]), max(width, target.shape[1])
    return digest.hexdigest(), (height, width)


def _digest(digest: "hashlib.blake2b", tensor: torch.Tensor) -> None:
    """Add the shape and the values of a tensor to a hash."""
    digest.update(str(tuple(tensor.shape)).encode())
    digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def _read_all(dataset: SegmentationDataset) -> Iterator[Pair]:
    """Read all images and targets in order, in several threads, with at most `IMAGES_READ_AHEAD` of them in memory."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(dataset), IMAGES_READ_AHEAD):
            yield from pool.map(dataset.images.__getitem__, range(start, min(start + IMAGES_READ_AHEAD, len(dataset))))
