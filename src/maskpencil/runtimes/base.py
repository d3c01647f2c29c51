"""What runs networks: `Runtime`, from images to cells and from cells to label maps."""

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
from maskpencil.runtimes.upsampling import Block, Floats, Size, Upscoring

GPU_BATCH = 8
"""Images that keep a GPU busy."""

ALIGNMENT = 32
"""Parts of images start at multiples of so many pixels, where the coarsest cells start."""

BLENDED_OVERLAP = 256
"""Pixels around a part that it is given to see, where a network looks at the whole image."""

Finish = Literal["labels", "confidence", "probabilities", "logits"]
"""What is computed of a block: labels; labels and their probability; labels and all probabilities; logits."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside the label map: confidence, entropy, the probability of one class."""

    confidence: bool = False
    entropy: bool = False
    class_index: int | None = None

    @property
    def finish(self) -> Finish:
        """The least that gives it."""
        if self.entropy or self.class_index is not None:
            return "probabilities"
        return "confidence" if self.confidence else "labels"


@dataclass(frozen=True)
class Maps:
    """Of images (N, H, W): the label maps, uint8, and what else was asked for, float32.

    `confidence` is the probability of the class chosen, `probability` that of the one asked for, both 0..1; `entropy`
    is as `relative_entropy` gives it.
    """

    labels: npt.NDArray[np.uint8]
    confidence: Floats | None = None
    entropy: Floats | None = None
    probability: Floats | None = None


@dataclass(frozen=True)
class Cells:
    """Scores (N, K, h, w) on the finest grid of a network, where its runtime keeps them, of images of `working` size.

    They may be a part of the grid: the rows from `first` on of so many `rows`.
    """

    values: Any
    working: Size
    first: int = 0
    rows: int | None = None

    @property
    def grid(self) -> Size:
        """(height, width) of the whole grid."""
        height, width = self.values.shape[-2:]
        return self.rows or int(height), int(width)

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class Footprint:
    """What `receptive_field.footprint_of` measured.

    A cell depends on the pixels at most `reach` away, a multiple of `ALIGNMENT`; None where it depends on the whole
    image, or on where in the image it stands. A pixel takes `bytes_per_pixel` while the network runs, at most.
    """

    reach: int | None
    bytes_per_pixel: int

    @property
    def exact(self) -> bool:
        """Whether parts of an image give what the whole image gives."""
        return self.reach is not None

    @property
    def halo(self) -> int:
        """The pixels that a part is given around what is kept of it."""
        return BLENDED_OVERLAP if self.reach is None else self.reach

    def tile(self, memory: int) -> int:
        """The side of what is kept of parts that take at most `memory` bytes with what is around them."""
        side = math.isqrt(max(1, memory // self.bytes_per_pixel)) - 2 * self.halo
        return max(ALIGNMENT, side // ALIGNMENT * ALIGNMENT)


class Runtime(ABC):
    """Runs a network on one device. May be used from several threads.

    Args:
        upscoring: the network's last step.
        device: cpu, cuda or mps.
        precision: of the convolutions: fp32, bf16, fp16 or int8. All after the cells is float32.
    """

    name: ClassVar[str]

    def __init__(self, upscoring: Upscoring, *, device: str, precision: str) -> None:
        self.upscoring, self.device, self.precision = upscoring, device, precision

    @property
    def title(self) -> str:
        """Where and how it computes, in words."""
        return f"{self.device} by {self.name} in {self.precision}"

    @property
    def graph_digest(self) -> str:
        """What follows from a converted network's graph; empty where the network itself is run."""
        return ""

    @property
    def batch_size(self) -> int:
        """How many images of one size go through the network at once for the greatest speed."""
        return GPU_BATCH if self.device == "cuda" else 1

    @property
    def at_once(self) -> int:
        """How many images the network works at in the same time; see `side_by_side`."""
        return 1

    @contextmanager
    def side_by_side(self) -> Iterator[int]:
        """Make ready for several predictions at once, and say how many threads make them fastest; until the block ends.

        Within the block one that is made alone may take longer.
        """
        yield self.at_once

    @abstractmethod
    def cells(self, images: Sequence[RGBImage]) -> Cells:
        """Run the network, but for its last upsampling, on images of one size, (H, W, 3) uint8 each."""

    @abstractmethod
    def fetched(self, cells: Cells) -> Floats:
        """The values of cells as an array that stays as it is."""

    @property
    @abstractmethod
    def footprint(self) -> Footprint:
        """What the network needs of memory and around a cell; measured when it is first asked for."""

    @abstractmethod
    def finish(self, cells: Any, block: Block, kind: Finish) -> tuple[npt.NDArray[Any], ...]:
        """Compute one block of pixels (N, rows, columns) of the `values` of `Cells`.

        Gives (labels,), (labels, confidence), (labels, probabilities (N, K, rows, columns)) or (logits,).
        """

    def maps(self, cells: Cells, shown: Size, wanted: Wanted, *, rows: slice = slice(None)) -> Maps:
        """The maps of images `shown` (H, W), or of some of their rows: never are all logits there at once.

        Raises:
            ModelError: the cells are not finite, so that no class would be the right one.
        """
        top, bottom, _ = rows.indices(shown[0])
        shape = (len(cells), bottom - top, shown[1])
        maps = Maps(
            np.empty(shape, np.uint8),
            np.empty(shape, np.float32) if wanted.confidence else None,
            np.empty(shape, np.float32) if wanted.entropy else None,
            np.empty(shape, np.float32) if wanted.class_index is not None else None,
        )
        has_numbers = self.has_numbers(cells.values)
        for whole in self.upscoring.blocks(cells.grid, working=cells.working, shown=shown, rows=rows):
            block = whole.moved(-cells.first)
            within, columns = block.place
            place = slice(None), slice(within.start - top, within.stop - top), columns
            labels, *sure = self.finish(cells.values, block, wanted.finish)
            maps.labels[place] = labels
            if wanted.finish == "confidence" and maps.confidence is not None:
                maps.confidence[place] = sure[0]
            if wanted.finish == "probabilities":
                _fill(maps, place, labels, sure[0], wanted)
        self._refuse_unless(has_numbers, cells)
        return maps

    def everything(self, cells: Cells, shown: Size, kind: Literal["probabilities", "logits"]) -> Floats:
        """All probabilities or logits of images `shown` (H, W): (N, K, H, W) float32.

        Raises:
            ModelError: the cells are not finite.
        """
        has_numbers = self.has_numbers(cells.values)
        result = np.empty((len(cells), self.upscoring.classes, *shown), np.float32)
        for block in self.upscoring.blocks(cells.grid, working=cells.working, shown=shown):
            result[:, :, block.place[0], block.place[1]] = self.finish(cells.values, block, kind)[-1]
        self._refuse_unless(has_numbers, cells)
        return result

    def has_numbers(self, values: Any) -> Any:
        """Whether the `values` of `Cells` are all finite; what is given may be asked for its truth later."""
        return np.isfinite(values).all()

    def _refuse_unless(self, has_numbers: Any, cells: Cells) -> None:
        if has_numbers:
            return
        remedy = (
            "train again with a lower learning rate, or take an earlier model"
            if self.precision == "fp32"
            else "use --precision fp32"
        )
        height, width = cells.working
        raise ModelError(
            f"the network's scores of an image of {width} x {height} pixels are not finite (NaN or infinite) in "
            f"{self.precision}; {remedy}"
        )


def _fill(maps: Maps, place: tuple[slice, ...], labels: LabelMap, probabilities: Floats, wanted: Wanted) -> None:
    """Write what follows from a block's probabilities (N, K, rows, columns)."""
    if maps.confidence is not None:
        maps.confidence[place] = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)[:, 0]
    if maps.probability is not None and wanted.class_index is not None:
        maps.probability[place] = probabilities[:, wanted.class_index]
    if maps.entropy is not None:
        maps.entropy[place] = relative_entropy(probabilities)


def relative_entropy(probabilities: Floats) -> Floats:
    """The entropy (N, H, W) of probabilities (N, K, H, W): 0 where one class is sure, 1 where all are alike."""
    terms = probabilities * np.log(probabilities.clip(min=np.finfo(np.float32).tiny))
    entropy: Floats = (-terms.sum(axis=1) / np.log(max(2, probabilities.shape[1]))).clip(0, 1)
    return entropy


def joined_maps(bands: Sequence[Maps]) -> Maps:
    """The maps of images of which these are bands of rows, the uppermost first."""
    return _together(bands, axis=1)


def stacked_maps(images: Sequence[Maps]) -> Maps:
    """The maps of all images together."""
    return _together(images, axis=0)


def _together(parts: Sequence[Maps], *, axis: int) -> Maps:
    def one(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=axis)

    return Maps(*(one(field.name) for field in fields(Maps)))
