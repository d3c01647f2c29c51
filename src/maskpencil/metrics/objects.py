"""Score objects by their size: how much of the small, medium and large connected regions of a class was found."""

import numpy as np
import numpy.typing as npt

from maskpencil.label_maps import LabelMap
from maskpencil.metrics.counting import histogram

SIZES = {"small": 0, "medium": 32**2, "large": 96**2}
"""The smallest area in pixels of the objects of each size, as in the COCO benchmark."""

_BYTES = 256
"""The number of values of a uint8 number."""

FOUND = 0.5
"""An object counts as found if at least this share of its pixels is predicted as its class."""


def object_counts(target: LabelMap, prediction: LabelMap, num_classes: int) -> npt.NDArray[np.int64]:
    """Count the objects of an image: the connected regions (8 neighbors) of each class in the target.

    Args:
        target: (H, W) class indices, 255 where ignored.
        prediction: (H, W) class indices.
        num_classes: the number K of classes.

    Returns:
        (K, 3, 4): for each class and each of `SIZES` the number of objects, the number of objects that were found (see
        `FOUND`), the number of pixels of all the objects, and the number of these pixels predicted as the class.
    """
    import cv2  # slow to import

    numbers = np.zeros(target.shape, np.int32)  # of the region within its class, from 1
    regions = np.zeros(_BYTES, np.int64)
    for index in np.flatnonzero(histogram(target, num_classes)).tolist():
        mask = (target == index).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)  # most of the image need not be searched for small classes
        count, ids = cv2.connectedComponents(mask[top : top + height, left : left + width], connectivity=8)
        numbers[top : top + height, left : left + width] += ids
        regions[index] = count - 1
    # number the regions of all classes, and count the pixels that are wrong and right separately; 0 is no region
    before = (regions.cumsum() - regions).astype(np.int32)
    codes = numbers + np.asarray(cv2.LUT(target, before), np.int32)
    codes *= 2 * (numbers > 0)
    codes += target == prediction
    wrong, hits = histogram(codes, 2 * int(regions.sum()) + 2).reshape(-1, 2)[1:].T
    areas = wrong + hits
    sizes = np.searchsorted(list(SIZES.values()), areas, side="right") - 1
    values = np.stack([np.ones_like(areas), hits >= FOUND * areas, areas, hits], axis=1)
    counts = np.zeros((_BYTES, len(SIZES), 4), np.int64)
    np.add.at(counts, (np.repeat(np.arange(_BYTES), regions), sizes), values)
    return counts[:num_classes]
