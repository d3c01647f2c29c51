"""Score objects by their size: how much of the small, medium and large connected regions of a class was found."""

import numpy as np
import numpy.typing as npt

from maskpencil.label_maps import LabelMap

SIZES = {"small": 0, "medium": 32**2, "large": 96**2}
"""The smallest area in pixels of the objects of each size, as in the COCO benchmark."""

FOUND = 0.5
"""The share of its pixels that must be predicted as its class for an object to count as found."""


def object_counts(target: LabelMap, prediction: LabelMap, num_classes: int) -> npt.NDArray[np.int64]:
    """Count the objects of an image: the connected regions (8 neighbors) of each class in the target.

    Args:
        target: (H, W) class indices, 255 where ignored.
        prediction: (H, W) class indices.
        num_classes: the number K of classes.

    Returns:
        (K, 3, 4): for each class and each of `SIZES` the objects, those that were found, see `FOUND`, their pixels, and
        those of the pixels that were predicted as the class.
    """
    import cv2  # slow to import

    counts = np.zeros((num_classes, len(SIZES), 4), dtype=np.int64)
    right = target == prediction
    for index in np.flatnonzero(np.bincount(target.ravel(), minlength=num_classes)[:num_classes]).tolist():
        mask = (target == index).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)  # most of the image need not be searched for small classes
        window = slice(top, top + height), slice(left, left + width)
        count, ids, stats, _ = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
        hits = np.bincount(ids[right[window] & mask[window].view(bool)], minlength=count)[1:]
        sizes = np.searchsorted(list(SIZES.values()), areas, side="right") - 1
        values = np.stack([np.ones_like(areas), hits >= FOUND * areas, areas, hits], axis=1)
        np.add.at(counts[index], sizes, values)
    return counts
