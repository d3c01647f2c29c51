"""Score objects by their size: how much of the small, medium and large connected regions of a class was found."""

import numpy as np
import numpy.typing as npt

from maskpencil.label_maps import LabelMap
from maskpencil.metrics.counting import histogram

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

    right = target == prediction
    classes, areas, hits = ([np.empty(0, np.int64)] for _ in range(3))
    for index in np.flatnonzero(histogram(target, num_classes)).tolist():
        mask = (target == index).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)  # most of the image need not be searched for small classes
        window = slice(top, top + height), slice(left, left + width)
        most = ((width + 1) // 2) * ((height + 1) // 2)  # regions in a window of this size
        number = cv2.CV_16U if most < 2**16 else cv2.CV_32S
        count, ids = cv2.connectedComponents(mask[window], connectivity=8, ltype=number)
        classes.append(np.full(count - 1, index))
        areas.append(histogram(ids, count)[1:])
        hits.append(histogram(ids, count, right[window])[1:])
    area, hit = np.concatenate(areas), np.concatenate(hits)
    size = np.searchsorted(list(SIZES.values()), area, side="right") - 1
    counts = np.zeros((num_classes, len(SIZES), 4), np.int64)
    np.add.at(
        counts,
        (np.concatenate(classes), size),
        np.stack([np.ones_like(area), hit >= FOUND * area, area, hit], axis=1),
    )
    return counts
