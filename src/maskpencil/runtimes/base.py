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
"""The number of images in a batch that keeps a GPU busy."""

ALIGNMENT = 32
"""Tiles begin at multiples of this number of pixels: the stride of the coarsest features of a network."""

BLENDED_OVERLAP = 256
"""The halo in pixels for networks whose receptive field is the whole image; their tiles are blended."""

Finish = Literal["labels", "confidence", "probabilities", "logits"]
"""The outputs of `Runtime.finish`: "labels": only labels; "confidence": labels, and the probability of the chosen class
of each pixel; "probabilities": labels, and the probabilities of all classes; "logits": only logits."""


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
        """The fastest outputs of `Runtime.finish` from which the wanted maps can be computed."""
        if self.entropy or self.class_index is not None:
            return "probabilities"
        return "confidence" if self.confidence else "labels"


@dataclass(frozen=True)
class Maps:
    """The label maps (N, H, W) uint8 of images, and the maps that `Wanted` requests, (N, H, W) float32 each.

    `confidence` is the probability of the chosen class, and `probability` the probability of the class
    `Wanted.class_index`, both 0..1; for `entropy` see `relative_entropy`. Maps that were not requested are None.
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
        working: the size (H, W) in pixels of the images that the network gets.
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
        """Return the number of images."""
        return int(self.values.shape[0])


@dataclass(frozen=True)
class NetworkProfile:
    """The receptive field of a network and its memory use, see `torch_runtime.measure_profile`.

    Args:
        receptive_radius: the largest distance in pixels, rounded up to a multiple of `ALIGNMENT`, between a coarse
            score and a pixel on which the score depends; None if scores depend on the whole image, or on their position
            in the image.
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
        """The width in pixels of the margin with which each tile is read, as context for the network."""
        return BLENDED_OVERLAP if self.receptive_radius is None else self.receptive_radius

    def tile_size(self, memory: int) -> int:
        """Return the side in pixels of the largest square tiles that, with their halo, take at most `memory` bytes.

        The side is a multiple of `ALIGNMENT`, and at least `ALIGNMENT`, even if this takes more memory.
        """
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
        """The device, runtime and precision in words, such as "cpu by onnx in fp32"."""
        return f"{self.device} by {self.name} in {self.precision}"

    @property
    def graph_digest(self) -> str:
        """The digest of the graph of a converted network; "" for a torch module."""
        return ""

    @property
    def batch_size(self) -> int:
        """The number of images in a batch at which the runtime is fastest."""
        return GPU_BATCH if self.device == "cuda" else 1

    @property
    def at_once(self) -> int:
        """The largest number of images that the runtime computes simultaneously, see `side_by_side`."""
        return 1

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Prepare for simultaneous predictions and yield the number of threads at which they are fastest.

        Inside the `with` block a single prediction may take longer.
        """
        yield self.at_once

    @abstractmethod
    def coarse_scores(self, images: Sequence[RGBImage]) -> CoarseScores:
        """Run the network without its last upsampling on images of one size, (H, W, 3) uint8 each."""

    @abstractmethod
    def fetched(self, scores: CoarseScores) -> Floats:
        """Return the values (N, K, h, w) of coarse scores as an array in main memory that no later call overwrites."""

    @property
    @abstractmethod
    def profile(self) -> NetworkProfile:
        """The receptive field and the memory use of the network, measured at the first access."""

    @abstractmethod
    def finish(self, scores: Any, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute the outputs for one block of pixels from the `values` of `CoarseScores`.

        Returns:
            The outputs that `kind` names, see `Finish`: labels (N, rows, columns) uint8, followed by confidence (N,
            rows, columns) or probabilities (N, K, rows, columns) if requested; or only logits (N, K, rows, columns).
        """

    def maps(self, scores: CoarseScores, shown: Size, wanted: Wanted, *, rows: slice = slice(None)) -> Maps:
        """Compute the maps of images of size `shown` (H, W), or only of `rows`, block by block to save memory.

        Raises:
            ModelError: the scores are NaN or infinite.
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
            ModelError: the scores are NaN or infinite.
        """
        has_numbers = self.has_numbers(scores.values)
        result = np.empty((len(scores), self.upsampling.classes, *shown), np.float32)
        for block in self.upsampling.blocks(scores.grid, working=scores.working, shown=shown):
            result[:, :, block.place[0], block.place[1]] = self.finish(scores.values, block, kind)[-1]
        self._refuse_unless(has_numbers, scores)
        return result

    def has_numbers(self, values: Any) -> Any:
        """Check whether the `values` of `CoarseScores` are all finite.

        The result is a scalar array or tensor. A GPU checks in the background; only `bool(result)` waits for the GPU.
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
    """Compute the wanted maps of a block from its probabilities (N, K, rows, columns), and put them into `maps`."""
    if maps.confidence is not None:
        maps.confidence[place] = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)[:, 0]
    if maps.probability is not None and wanted.class_index is not None:
        maps.probability[place] = probabilities[:, wanted.class_index]
    if maps.entropy is not None:
        maps.entropy[place] = relative_entropy(probabilities)


def relative_entropy(probabilities: Floats) -> Floats:
    """Return the entropy (N, H, W) of probabilities (N, K, H, W), divided by the largest possible entropy, log K.

    The result is 0 if one class is certain, and 1 if all classes are equally probable.
    """
    terms = probabilities * np.log(probabilities.clip(min=np.finfo(np.float32).tiny))
    entropy: Floats = (-terms.sum(axis=1) / np.log(max(2, probabilities.shape[1]))).clip(0, 1)
    return entropy


def joined_maps(bands: Sequence[Maps]) -> Maps:
    """Join the maps of bands of rows, given from top to bottom, into the maps of whole images."""
    return _together(bands, axis=1)


def stacked_maps(images: Sequence[Maps]) -> Maps:
    """Stack the maps of several images of one size along the axis N."""
    return _together(images, axis=0)


def _together(parts: Sequence[Maps], *, axis: int) -> Maps:
    def one(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=axis)

    return Maps(*(one(field.name) for field in fields(Maps)))
