"""Compare the speed of a fully convolutional classifier with that of the same classifier on each window separately."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from maskpencil.comparison import interleaved
from maskpencil.errors import ConfigError
from maskpencil.images import RGBImage
from maskpencil.models.dense_classifier import STRIDE, WINDOW, DenseClassifier
from maskpencil.visualize import contact_sheet, heat


@dataclass(frozen=True)
class SlidingWindowResult:
    """The speed of a classifier on whole images and on sliding windows, and how well the scores of both agree.

    Each image has a `grid` of (rows, columns) scores.

    `dense` (the dense classifier), `batched` (windows in batches) and `single` (one window at a time) are seconds per
    image. `agreement` is the share of grid cells to which the dense classifier and the windows give the same class,
    `correlation` the correlation coefficient, -1..1, of their scores.

    `dense_probabilities` and `window_probabilities` are (N, K, rows, columns), for N images and K classes.
    """

    grid: tuple[int, int]
    dense: float
    batched: float
    single: float
    agreement: float
    correlation: float
    dense_probabilities: Tensor
    window_probabilities: Tensor

    @property
    def ratio(self) -> float:
        """The speed of the dense classifier as a multiple of the speed of windows in batches."""
        return self.batched / self.dense


def windows_of(images: Tensor) -> Tensor:
    """Cut images (N, 3, H, W) into overlapping windows, row by row: (N * rows * columns, 3, 224, 224).

    Neighboring windows are `STRIDE` (32) pixels apart.
    """
    tiles = images.unfold(2, WINDOW, STRIDE).unfold(3, WINDOW, STRIDE)  # (N, 3, rows, columns, 224, 224)
    return tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def by_windows(classifier: DenseClassifier, images: Tensor, *, batch_size: int) -> Tensor:
    """Classify each window separately; return scores (N, K, rows, columns) on the grid of the dense classifier."""
    windows = windows_of(images)
    scores = torch.cat([classifier(windows[i : i + batch_size]) for i in range(0, len(windows), batch_size)])
    rows, columns = ((side - WINDOW) // STRIDE + 1 for side in images.shape[-2:])
    return scores.flatten(1).view(len(images), rows, columns, -1).permute(0, 3, 1, 2)


@torch.inference_mode()
def compare(
    classifier: DenseClassifier, images: Tensor, *, batch_size: int = 16, repeats: int = 3
) -> SlidingWindowResult:
    """Time the dense classifier, windows in batches and single windows, in turns, on normalized images (N, 3, H, W).

    The scores differ only because each window is padded with zeros, where the dense classifier sees the pixels around
    the window.

    Raises:
        ConfigError: the images are smaller than a window.
    """
    if min(images.shape[-2:]) < WINDOW:
        raise ConfigError(f"--size must be {WINDOW}x{WINDOW} or more, but got {images.shape[-2]}x{images.shape[-1]}")
    classifier.eval()
    dense, windowed = classifier(images), by_windows(classifier, images, batch_size=batch_size)
    dense = dense[..., : windowed.shape[-2], : windowed.shape[-1]]
    one = windows_of(images)[:1]
    seconds = interleaved(
        {
            "dense": lambda: classifier(images),
            "batched": lambda: by_windows(classifier, images, batch_size=batch_size),
            "single": lambda: classifier(one),
        },
        repeats=repeats,
    )
    cells = windowed.shape[-2] * windowed.shape[-1]
    both = torch.stack([dense.flatten(), windowed.flatten()])
    return SlidingWindowResult(
        grid=(windowed.shape[-2], windowed.shape[-1]),
        dense=seconds["dense"] / len(images),
        batched=seconds["batched"] / len(images),
        single=seconds["single"] * cells,
        agreement=float((dense.argmax(1) == windowed.argmax(1)).float().mean()),
        correlation=float(torch.corrcoef(both)[0, 1]),
        dense_probabilities=dense.float().softmax(1).cpu(),
        window_probabilities=windowed.float().softmax(1).cpu(),
    )


def main_classes(result: SlidingWindowResult) -> list[int]:
    """Return for each image the class of the highest probability that the dense classifier finds in it."""
    return [int(found) for found in result.dense_probabilities.amax((2, 3)).argmax(1)]


def figure(images: Sequence[RGBImage], result: SlidingWindowResult) -> RGBImage:
    """Draw a sheet (H, W, 3): each image beside the heatmaps of its main class by the dense classifier and windows."""
    rows = [
        [
            image,
            *(
                heat(image, _enlarged(probabilities[number, category], image.shape[:2]))
                for probabilities in (result.dense_probabilities, result.window_probabilities)
            ),
        ]
        for number, (image, category) in enumerate(zip(images, main_classes(result), strict=True))
    ]
    captions = ("image", f"dense, {1000 * result.dense:.0f} ms", f"windows, {1000 * result.batched:.0f} ms")
    return contact_sheet(rows, captions=captions)


def _enlarged(cells: Tensor, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Interpolate the probabilities of windows, `cells` (rows, columns), between their centers, to (H, W).

    The margin of the image, in which no window has its center, gets 0.
    """
    inner = functional.interpolate(cells[None, None], scale_factor=STRIDE, mode="bilinear")[0, 0].numpy()
    before = (WINDOW - STRIDE) // 2
    margins = [(before, side - before - covered) for side, covered in zip(size, inner.shape, strict=True)]
    enlarged: npt.NDArray[np.float32] = np.pad(inner, margins)
    return enlarged
