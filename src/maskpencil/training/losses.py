"""What training makes small; each loss honours `IGNORE_INDEX` and is finite without a valid pixel."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.config import ClassWeights


def cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    class_weights: torch.Tensor | None,
    reduction: Literal["mean", "sum"] = "mean",
) -> torch.Tensor:
    """Cross-entropy averaged or summed over the valid pixels, weighted by their classes.

    `logits` (N, K, H, W) float32, `target` (N, H, W) int64, `class_weights` (K,). The value is 0, with gradients of 0,
    where no pixel is valid.
    """
    total = functional.cross_entropy(logits, target, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    if reduction == "sum":
        return total
    valid = target[target != IGNORE_INDEX]
    weight = class_weights[valid].sum() if class_weights is not None else torch.tensor(float(len(valid)))
    return total / weight.clamp(min=torch.finfo(torch.float32).tiny).to(total.device)


def l2_penalty(kernels: Iterable[torch.Tensor], strength: float) -> torch.Tensor:
    """`strength` times half the sum of the kernels' squares, a scalar."""
    return strength / 2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()


def class_weights(
    kind: ClassWeights, counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> torch.Tensor | None:
    """Weights of the classes from the (masks, K) pixel counts of the training masks and their (masks,) sizes.

    The frequency of a class is its share of the pixels of the masks that show it; its weight is the median frequency
    over its own, or the square root of that. A class that never occurs weighs 1; no weight is above 10.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", ICCV 2015, section 6.3.2.
    """
    if kind == "none":
        return None
    shown = (counts > 0).astype(np.int64)
    pixels, area = counts.sum(0), (shown * sizes[:, None]).sum(0)
    present = pixels > 0
    frequency = np.divide(pixels, area, out=np.ones(len(pixels)), where=present)
    weights = np.where(present, np.median(frequency[present]) / frequency, 1.0)
    if kind == "sqrt-median-frequency":
        weights = np.sqrt(weights)
    return torch.tensor(weights.clip(max=10), dtype=torch.float32)
