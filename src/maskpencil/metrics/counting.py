"""Count pixels by value, and by pairs of target and prediction: exact, and several times as fast as numpy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.errors import DataError

Flags = npt.NDArray[np.bool_]

_BYTES = 256
"""The number of values of a uint8 number."""

_SHORTS = 2**16
"""The number of values of a uint16 number."""

_EXACT = 2**24
"""The largest count that is exact: OpenCV returns counts as float32."""


def histogram(values: npt.NDArray[np.integer], bins: int, counted: Flags | None = None) -> npt.NDArray[np.int64]:
    """Count the pixels of each value: (bins,).

    Args:
        values: (H, W), uint8 or uint16, where values of `bins` or more are left out; or int32, all less than `bins`.
        bins: the number of values that are counted.
        counted: (H, W), which of the pixels are counted; by default all.
    """
    if bins > _SHORTS:
        return np.bincount(values.ravel() if counted is None else values[counted], minlength=bins)
    shorts = values if values.dtype in (np.uint8, np.uint16) else values.astype(np.uint16)
    return _histogram([shorts], [bins], counted)


def pair_counts(
    target: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], num_classes: int
) -> npt.NDArray[np.int64]:
    """Count the pixels of each pair of target class (rows) and predicted class (columns): (K, K).

    Arguments and errors are those of `ConfusionMatrix.update`.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    for name, array in (("target", target), ("prediction", prediction)):
        if array.dtype.kind not in "biu":
            raise DataError(
                f"{name} must be an array of integers, the class indices, but got {array.dtype}; convert it, such as "
                f"with {name}.astype(np.int64)"
            )
    if target.shape != prediction.shape:
        raise DataError(f"target and prediction must have equal shapes, but got {target.shape} and {prediction.shape}")
    if target.dtype == prediction.dtype == np.uint8 and target.ndim == 2:
        pairs = _histogram([target, prediction], [num_classes, _BYTES])
        if not pairs[:, num_classes:].any():
            return pairs[:, :num_classes]
    counted = (target >= 0) & (target < num_classes)
    rows, columns = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
    if columns.size and (columns.min() < 0 or columns.max() >= num_classes):
        strange = columns.min() if columns.min() < 0 else columns.max()
        raise DataError(f"predictions must be class indices from 0 to {num_classes - 1}, but got {strange}")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _histogram(
    maps: Sequence[npt.NDArray[np.integer]], bins: Sequence[int], counted: Flags | None = None
) -> npt.NDArray[np.int64]:
    """Count the pixels of each combination of values of several maps (H, W), and return an array of the shape `bins`.

    Pixels at which a map has a value of its number of bins or more are left out.
    """
    import cv2  # slow to import

    counts = np.zeros(tuple(bins), np.int64)
    height, width = maps[0].shape
    limits = [limit for number in bins for limit in (0, number)]
    rows = max(1, _EXACT // max(1, width))
    for start in range(0, height if width else 0, rows):
        part = slice(start, start + rows)
        mask = None if counted is None else counted[part].view(np.uint8)
        found = cv2.calcHist([each[part] for each in maps], [*range(len(maps))], mask, [*bins], limits)
        counts += found.reshape(counts.shape).astype(np.int64)
    return counts
