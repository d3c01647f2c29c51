"""Choose the stride of the finest scores by the highest mean IoU that each stride allows on the training masks."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES
from maskpencil.errors import ConfigError
from maskpencil.images import fitted_size
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import ConfusionMatrix
from maskpencil.models.backbones import create_backbone
from maskpencil.models.backbones.weights import BLANK

STRIDES: tuple[Literal[8, 4, 2], ...] = (8, 4, 2)
"""The strides to choose from, the fastest first."""

MIN_BOUND = 0.75
"""The lowest mean IoU that a stride must allow to be chosen."""

MAX_MASKS = 20
"""The number of masks on which strides are compared."""


def choose_stride(
    label_maps: Iterable[LabelMap], *, backbone: str, image_size: int | tuple[int, int] | None
) -> tuple[Literal[8, 4, 2], str]:
    """Choose the coarsest stride of `STRIDES` whose `bound` is at least `MIN_BOUND`, else the finest stride.

    Strides at which the backbone has no features are not chosen. Return the stride, and the reason if it is not 8,
    else "".

    Args:
        label_maps: label maps (H, W) at the size of their images, `MAX_MASKS` or fewer.
        backbone: the name of the backbone.
        image_size: the size to which images are scaled, see `images.fitted_size`.
    """
    scaled = [_scaled(label_map, image_size) for label_map in label_maps]
    if not scaled:
        return STRIDES[0], ""
    bounds: dict[Literal[8, 4, 2], float] = {}
    for stride in STRIDES:
        if bounds and not _has_features(backbone, stride):
            break
        bounds[stride] = bound(scaled, stride)
        if bounds[stride] >= MIN_BOUND:
            break
    *coarser, chosen = bounds
    reason = ", ".join(f"{bounds[stride]:.2f} at stride {stride}" for stride in bounds)
    return chosen, f"stride {chosen}, since the masks have narrow parts: mean IoU at most {reason}" if coarser else ""


def bound(label_maps: Iterable[torch.Tensor], stride: int) -> float:
    """Compute the mean IoU of masks that are reduced by `stride` and bilinearly enlarged again.

    This is an upper bound, in practice, on the mean IoU of a network with scores at this stride.

    Args:
        label_maps: class numbers (H, W) uint8; `IGNORE_INDEX` pixels are not counted.
        stride: the factor of the reduction.

    Source: Long, Shelhamer and Darrell, CVPR 2015, section 4.3, "Upper bounds on IU".
    """
    matrix = ConfusionMatrix(MAX_CLASSES)
    for label_map in label_maps:
        height, width = label_map.shape
        best, prediction = torch.full((height, width), -1.0), torch.zeros(height, width, dtype=torch.uint8)
        for index in np.unique(label_map.numpy()).tolist():
            if index == IGNORE_INDEX:
                continue
            inside = functional.pad((label_map == index).float()[None, None], (0, -width % stride, 0, -height % stride))
            shares = functional.avg_pool2d(inside, stride)
            enlarged = functional.interpolate(shares, scale_factor=stride, mode="bilinear")[0, 0, :height, :width]
            better = enlarged > best
            best[better], prediction[better] = enlarged[better], index
        matrix.update(label_map.numpy(), prediction.numpy())
    return matrix.scores([str(index) for index in range(MAX_CLASSES)]).mean_iou


def _scaled(label_map: LabelMap, image_size: int | tuple[int, int] | None) -> torch.Tensor:
    tensor = torch.from_numpy(label_map)
    height, width = tensor.shape
    size = fitted_size((height, width), image_size)
    return tensor if size == (height, width) else functional.interpolate(tensor[None, None], size=size)[0, 0]


def _has_features(backbone: str, stride: int) -> bool:
    try:
        create_backbone(backbone, weights=BLANK, stride=stride)
    except ConfigError:
        return False
    return True
