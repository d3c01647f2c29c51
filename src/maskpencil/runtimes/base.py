"""Define `Runtime`, which computes label maps from images.

It first computes coarse scores, the logits before the last upsampling, and from these the label maps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from maskpencil.errors import ModelError
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.runtimes.upsampling import Block, Floats, Size, Upsampling

GPU_BATCH = 8
"""The batch size that keeps a GPU busy."""

ALIGNMENT = 32
"""Tiles begin at multiples of this number of pixels, which is the stride of the coarsest features."""

BLENDED_OVERLAP = 256
"""The halo in pixels for networks whose receptive field is the whole image; their tiles are blended."""

Finish = Literal["labels", "confidence", "probabilities", "logits"]
"""The outputs for a block: labels; labels and the probabilities of the chosen classes; labels and the probabilities of
all classes; or logits."""


@dataclass(frozen=True)
class Wanted:
    """Which maps to compute in addition to the label map.

    `confidence` and `entropy` request these maps; `class_index`, unless None, requests the probability of that class.
    """

    confidence: bool = False
    entropy: bool = False
    class_index: int | None = None

    @property
    def finish(self) -> Finish:
        """The outputs to request from `Runtime.finish`: the cheapest from which the wanted maps can be computed."""
        if self.entropy or self.class_index is not None:
            return "probabilities"
        return "confidence" if self.confidence else "labels"


@dataclass(frozen=True)
class Maps:
    """The label maps (N, H, W) uint8 of images, and the maps that `Wanted` requests, (N, H, W) float32 each.

    `confidence` is the probability of the chosen class, `probability` the probability of the requested class, both
    0..1; for `entropy` see `relative_entropy`.
    """

    labels: npt.NDArray[np.uint8]
    confidence: Floats | None = None
    entropy: Floats | None = None
    probability: Floats | None = None


@dataclass(frozen=True)
class CoarseScores:
    """The logits (N, K, h, w) of images before the last upsampling of a network.

    Args:
        values: the logits, an array or a tensor on the device of the runtime; for tiled images only a band of rows.
        working: the size (H, W) of the images as the network gets them.
        first: the index of the first row of `values` in the logits of the whole image.
        rows: the number of rows of the logits of the whole image; by default the number of rows of `values`.
    """

    values: Any
    working: Size
    first: int = 0
    rows: int | None = None

    @property
    def grid(self) -> Size:
        """The size (h, w) of the logits of the whole image."""
        height, width = self.values.shape[-2:]
        return self.rows or int(height), int(width)

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class NetworkProfile:
    """The receptive field of a network and its memory use, see `torch_runtime.measure_profile`.

    Args:
        receptive_radius: the largest distance in pixels, rounded up to a multiple of `ALIGNMENT`, from a coarse score
            to a pixel on which it depends; None if scores depend on the whole image or on their position in it.
        bytes_per_pixel: the estimated peak memory in bytes while the network runs, per pixel of the image.
    """

    receptive_radius: int | None
    bytes_per_pixel: int

    @property
    def exact(self) -> bool:
        """Whether tiles with a halo yield exactly the scores of the whole image."""
        return self.receptive_radius is not None

    @property
    def halo(self) -> int:
        """The width in pixels of the margin around each tile that the network needs as context."""
        return BLENDED_OVERLAP if self.receptive_radius is None else self.receptive_radius

    def tile_size(self, memory: int) -> int:
        """Return the side in pixels of the largest square tiles that, with their halo, take at most `memory` bytes."""
        side = math.isqrt(max(1, memory // self.bytes_per_pixel)) - 2 * self.halo
        return max(ALIGNMENT, side // ALIGNMENT * ALIGNMENT)


class Runtime(ABC):
    """An engine that runs a network on one device; it may be used from several threads.

    Args:
        upsampling: the last upsampling of the network.
        device: cpu, cuda or mps.
        precision: the number format of the convolutions: fp32, bf16, fp16 or int8. Later steps use float32.
    """

    name: ClassVar[str]

    def __init__(self, upsampling: Upsampling, *, device: str, precision: str) -> None:
        self.upsampling, self.device, self.precision = upsampling, device, precision

    @property
    def title(self) -> str:
        """The device, runtime and precision, in words."""
        return f"{self.device} by {self.name} in {self.precision}"

    @property
    def graph_digest(self) -> str:
        """The digest of the graph of a converted network; empty for a torch module."""
        return ""

    @property
    def batch_size(self) -> int:
        """The number of images in a batch at which the runtime is fastest."""
        return GPU_BATCH if self.device == "cuda" else 1

    @property
    def at_once(self) -> int:
        """The largest number of images that are computed simultaneously, see `side_by_side`."""
        return 1

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Prepare for simultaneous predictions and yield the fastest number of threads.

        Within the block a single prediction may take longer.
        """
        yield self.at_once

    @abstractmethod
    def coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        """Run the network without its last upsampling on images of one size, (H, W, 3) uint8 each."""

    @abstractmethod
    def fetched(self, scores: CoarseScores) -> Floats:
        """Return the values of coarse scores as an array in main memory that no later call overwrites."""

    @property
    @abstractmethod
    def profile(self) -> NetworkProfile:
        """The receptive field and the memory use of the network, measured at the first access."""

    @abstractmethod
    def finish(self, scores: Any, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute one block of pixels (N, rows, columns) from the `values` of `CoarseScores`.

        The result depends on `kind`: (labels,) for labels, (labels, confidence) for confidence, (labels, probabilities
        (N, K, rows, columns)) for probabilities, (logits (N, K, rows, columns),) for logits.
        """

    def maps(self, scores: CoarseScores, shown: Size, wanted: Wanted, *, rows: slice = slice(None)) -> Maps:
        """Compute the maps of images of size `shown` (H, W), or of some rows of them, block by block to save memory.

        Raises:
            ModelError: the scores are not finite.
        """
        top, bottom, _ = rows.indices(shown[0])
        shape = (len(scores), bottom - top, shown[1])
        maps = Maps(
            np.empty(shape, np.uint8),
            np.empty(shape, np.float32) if wanted.confidence else None,
            np.empty(shape, np.float32) if wanted.entropy else None,
            np.empty(shape, np.float32) if wanted.class_index is not None else None,
        )
        has_numbers = self.has_numbers(scores.values)
        for whole in self.upsampling.blocks(scores.grid, working=scores.working, shown=shown, rows=rows):
            block = whole.moved(-scores.first)
            within, columns = block.place
            place = slice(None), slice(within.start - top, within.stop - top), columns
            labels, *sure = self.finish(scores.values, block, wanted.finish)
            maps.labels[place] = labels
            if wanted.finish == "confidence" and maps.confidence is not None:
                maps.confidence[place] = sure[0]
            if wanted.finish == "probabilities":
                _fill(maps, place, labels, sure[0], wanted)
        self._refuse_unless(has_numbers, scores)
        return maps

    def everything(self, scores: CoarseScores, shown: Size, kind: Literal["probabilities", "logits"]) -> Floats:
        """Compute the probabilities or logits of all classes, (N, K, H, W) float32, of images of size `shown` (H, W).

        Raises:
            ModelError: the scores are not finite.
        """
        has_numbers = self.has_numbers(scores.values)
        result = np.empty((len(scores), self.upsampling.classes, *shown), np.float32)
        for block in self.upsampling.blocks(scores.grid, working=scores.working, shown=shown):
            result[:, :, block.place[0], block.place[1]] = self.finish(scores.values, block, kind)[-1]
        self._refuse_unless(has_numbers, scores)
        return result

    def has_numbers(self, values: Any) -> Any:
        """Check whether the `values` of `CoarseScores` are all finite.

        The result is a scalar array or tensor. A GPU checks in the background: only `bool` of the result waits for it.
        """
        return np.isfinite(values).all()

    def _refuse_unless(self, has_numbers: Any, scores: CoarseScores) -> None:
        if has_numbers:
            return
        remedy = (
            "train again with a lower learning rate, or use an earlier model"
            if self.precision == "fp32"
            else "use --precision fp32"
        )
        height, width = scores.working
        raise ModelError(
            f"the network's scores of an image of {width} x {height} pixels are not finite (NaN or infinite) in "
            f"{self.precision}; {remedy}"
        )


def _fill(maps: Maps, place: tuple[slice, ...], labels: LabelMap, probabilities: Floats, wanted: Wanted) -> None:
    """Compute the wanted maps of a block from its probabilities (N, K, rows, columns), and write them at `place`."""
    if maps.confidence is not None:
        maps.confidence[place] = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)[:, 0]
    if maps.probability is not None and wanted.class_index is not None:
        maps.probability[place] = probabilities[:, wanted.class_index]
    if maps.entropy is not None:
        maps.entropy[place] = relative_entropy(probabilities)


def relative_entropy(probabilities: Floats) -> Floats:
    """Return the entropy (N, H, W) of probabilities (N, K, H, W), divided by its maximum, log K.

    It is 0 if one class is certain, and 1 if all classes are equally likely.
    """
    terms = probabilities * np.log(probabilities.clip(min=np.finfo(np.float32).tiny))
    entropy: Floats = (-terms.sum(axis=1) / np.log(max(2, probabilities.shape[1]))).clip(0, 1)
    return entropy


def joined_maps(bands: Sequence[Maps]) -> Maps:
    """Join the maps of bands of rows, given from top to bottom, to the maps of whole images."""
    return _together(bands, axis=1)


def stacked_maps(images: Sequence[Maps]) -> Maps:
    """Stack the maps of several images of one size."""
    return _together(images, axis=0)


def _together(parts: Sequence[Maps], *, axis: int) -> Maps:
    def one(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=axis)

    return Maps(*(one(field.name) for field in fields(Maps)))
