"""Choose the stride of the finest scores by how well each stride keeps the narrow parts of the training masks."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES
from maskpencil.errors import ConfigError
from maskpencil.images import fitted_size
from maskpencil.label_maps import LabelMap
from maskpencil.models.backbones import create_backbone
from maskpencil.models.backbones.weights import BLANK

STRIDES: tuple[Literal[8, 4, 2], ...] = (8, 4, 2)
"""The strides to choose from, the fastest first."""

MIN_SOFT_IOU = 0.7
"""The lowest `soft_mean_iou` with which a stride is fine enough."""

MIN_GAIN = 0.03
"""The smallest gain in `soft_mean_iou` for which a finer stride is chosen; masks of noise gain less."""

MAX_MASKS = 20
"""The number of masks on which strides are compared."""


def choose_stride(
    label_maps: Iterable[LabelMap], *, backbone: str, image_size: int | tuple[int, int] | None
) -> tuple[Literal[8, 4, 2], str]:
    """Choose the coarsest stride of `STRIDES` that is fine enough for the masks.

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
    found: dict[Literal[8, 4, 2], float] = {}
    chosen = STRIDES[0]
    for stride in STRIDES:
        if found and not _has_features(backbone, stride):
            break
        found[stride] = soft_mean_iou(scaled, stride)
        if stride != STRIDES[0] and found[stride] < found[chosen] + MIN_GAIN:
            break
        chosen = stride
        if found[stride] >= MIN_SOFT_IOU:
            break
    if chosen == STRIDES[0]:
        return chosen, ""
    listed = ", ".join(f"{iou:.2f} at stride {stride}" for stride, iou in found.items())
    return chosen, f"stride {chosen}, since the masks have narrow parts (soft IoU {listed})"


def soft_mean_iou(label_maps: Iterable[torch.Tensor], stride: int) -> float:
    """Compute how well masks are kept if they are reduced by `stride` and bilinearly enlarged again, 0..1.

    The result is the mean over the classes of the soft IoU: the sum over all pixels of the smaller of share and truth,
    divided by the sum of the larger of the two. The share (0..1) is a pixel of the enlarged mask of a class, the truth
    (0 or 1) is the same pixel of the mask itself.

    Args:
        label_maps: class numbers (H, W) uint8; `IGNORE_INDEX` pixels are not counted.
        stride: the factor of the reduction.

    Similar to Long, Shelhamer and Darrell, CVPR 2015, section 4.3, "Upper bounds on IU".
    """
    smaller, larger = np.zeros(MAX_CLASSES), np.zeros(MAX_CLASSES)
    for label_map in label_maps:
        height, width = label_map.shape
        counted = label_map != IGNORE_INDEX
        for index in np.unique(label_map[counted].numpy()).tolist():
            truth = (label_map == index).float()
            padded = functional.pad(truth[None, None], (0, -width % stride, 0, -height % stride))
            shares = functional.interpolate(
                functional.avg_pool2d(padded, stride), scale_factor=stride, mode="bilinear"
            )[0, 0, :height, :width]
            smaller[index] += float(torch.minimum(shares, truth)[counted].sum())
            larger[index] += float(torch.maximum(shares, truth)[counted].sum())
    present = larger > 0
    return float((smaller[present] / larger[present]).mean()) if present.any() else 1.0


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
