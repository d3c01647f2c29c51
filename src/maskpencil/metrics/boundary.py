"""Compare the boundaries of classes in target and prediction: boundary F1 and Boundary IoU.

A boundary pixel is a pixel next to a pixel (of the 4 neighbors) of another class. Pixels whose target is ignored belong
to no class in either map, and make no boundary; neither does the border of the image. Distances are between the centers
of pixels.

Boundary F1 asks whether the boundary is where it should be. Precision is the share of the predicted boundary pixels of
a class with a boundary pixel of the same class in the target at most `TOLERANCE` of the image's diagonal away, and at
least one pixel; recall is the same with the maps exchanged.

Boundary IoU is the IoU of the class within the bands along the boundaries: in each map only the pixels count that are
at most `BAND` of the diagonal, and at least one pixel, away from a boundary pixel of that map.

Both are computed from counts summed over all images.

Sources: Csurka, Larlus, Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013; Cheng et
al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021.
"""

from math import isqrt

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.label_maps import LabelMap

Flags = npt.NDArray[np.bool_]

TOLERANCE = 0.0075
"""The largest distance between matching boundary pixels, as a share of the image's diagonal."""

BAND = 0.02
"""The width of the bands of Boundary IoU, as a share of the image's diagonal."""

_SHARE_UNITS = 10_000
"""Shares are whole multiples of 1 / 10,000, so that squared distances are compared in integers."""

_PLANES = 64
"""The number of classes whose boundaries are dilated together, as the bits of one number."""

_NEAR = 5**2
"""The largest squared distance for which boundaries are dilated; the few pixels without a match so near are compared
with each pixel of the disk."""

_OFFSETS_AT_ONCE = 16
"""The number of distances that are tried before the pixels with a match are left out."""


def boundary_counts(target: LabelMap, prediction: LabelMap, num_classes: int) -> npt.NDArray[np.int64]:
    """Count the boundary pixels and the pixels of the bands of one image.

    Args:
        target: (H, W) class indices, 255 where ignored.
        prediction: (H, W) class indices.
        num_classes: the number K of classes.

    Returns:
        (K, 6): the boundary pixels of the target, and those that match the prediction; the boundary pixels of the
        prediction, and those that match the target; the intersection and the union of the bands.
    """
    prediction = np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), prediction)
    maps = target, prediction
    edges = true, drawn = boundary_pixels(target), boundary_pixels(prediction)
    reach = squared_distance(target.shape, TOLERANCE)
    near = matched(target, prediction, true, drawn, reach), matched(prediction, target, drawn, true, reach)
    bands = [_band(edge, squared_distance(target.shape, BAND)) for edge in edges]
    counts = [
        _per_class(each, where, num_classes)
        for each, edge, match in zip(maps, edges, near, strict=True)
        for where in (edge, match)
    ]
    both = _per_class(target, bands[0] & bands[1] & (target == prediction), num_classes)
    either = sum(_per_class(each, band, num_classes) for each, band in zip(maps, bands, strict=True)) - both
    return np.stack([*counts, both, either], axis=1)


def squared_distance(size: tuple[int, ...], share: float) -> int:
    """Return the largest squared distance in pixels that is within `share` of the diagonal of an image (H, W).

    It is at least 1, so that neighboring pixels are always within the distance.
    """
    units = round(share * _SHARE_UNITS)
    return max(1, units**2 * (size[0] ** 2 + size[1] ** 2) // _SHARE_UNITS**2)


def boundary_pixels(label_map: LabelMap) -> Flags:
    """Return which pixels (H, W) have a class, and one of another class among their 4 neighbors."""
    found = np.zeros(label_map.shape, dtype=bool)
    known = label_map != IGNORE_INDEX
    for one, other in (
        ((slice(1, None), slice(None)), (slice(-1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(-1))),
    ):
        differ = (label_map[one] != label_map[other]) & known[one] & known[other]
        found[one] |= differ
        found[other] |= differ
    return found


def matched(label_map: LabelMap, other: LabelMap, edge: Flags, other_edge: Flags, reach: int) -> Flags:
    """Return which boundary pixels of a label map have one of the same class in the other label map within reach.

    Args:
        label_map: (H, W) class indices.
        other: the other label map.
        edge: the boundary pixels of `label_map`.
        other_edge: the boundary pixels of `other`.
        reach: the largest squared distance, in pixels.
    """
    found = np.zeros(edge.shape, dtype=bool)
    near = min(reach, _NEAR)
    present = np.flatnonzero(np.bincount(other[other_edge], minlength=IGNORE_INDEX + 1)).tolist()
    for start in range(0, len(present), _PLANES):
        group = present[start : start + _PLANES]
        numbers = np.min_scalar_type((1 << len(group)) - 1)
        bits = np.zeros(IGNORE_INDEX + 1, numbers)
        bits[group] = np.left_shift(1, np.arange(len(group), dtype=np.uint64), dtype=np.uint64).astype(numbers)
        planes = _dilated(np.where(other_edge, bits[other], numbers.type(0)), near)
        found |= edge & ((planes & bits[label_map]) != 0)
    if reach > near:
        _match_farther(
            found, label_map, np.where(other_edge, other, np.uint8(IGNORE_INDEX)), edge & ~found, near, reach
        )
    return found


def _match_farther(found: Flags, label_map: LabelMap, other: LabelMap, left: Flags, near: int, reach: int) -> None:
    """Set `found` for those of the pixels `left` that have a match farther than `near`, and within `reach`.

    Args:
        found: (H, W), changed in place.
        label_map: (H, W) the classes of the pixels.
        other: (H, W) the classes of the other map's boundary pixels, 255 elsewhere.
        left: (H, W) the pixels to look at.
        near: the squared distance up to which there is no match.
        reach: the largest squared distance.
    """
    radius = isqrt(reach)
    padded = np.pad(other, radius, constant_values=IGNORE_INDEX)
    width = padded.shape[1]
    down, right = (axis.ravel() - radius for axis in np.indices((2 * radius + 1, 2 * radius + 1)))
    squares = down**2 + right**2
    order = np.argsort(squares, kind="stable")
    order = order[(squares[order] > near) & (squares[order] <= reach)]
    offsets = (down * width + right)[order].tolist()
    points, flat = np.argwhere(left), padded.ravel()
    for start in range(0, len(offsets), _OFFSETS_AT_ONCE):
        places, classes = (points + radius) @ [width, 1], label_map[tuple(points.T)]
        matches = np.zeros(len(points), dtype=bool)
        for offset in offsets[start : start + _OFFSETS_AT_ONCE]:
            matches |= flat[places + offset] == classes
        found[tuple(points[matches].T)] = True
        points = points[~matches]


def _dilated(planes: npt.NDArray[np.unsignedinteger], reach: int) -> npt.NDArray[np.unsignedinteger]:
    """Dilate the bits of (H, W) numbers by a disk: combine all numbers within the squared distance `reach` by OR."""
    height, width = planes.shape
    radius = isqrt(reach)
    half_widths = [isqrt(reach - row**2) for row in range(radius + 1)]  # of the disk's rows, from its center
    result = np.zeros_like(planes)
    wide = planes.copy()  # dilated along the row, by 0, 1, ... `radius` columns
    for half in range(radius + 1):
        if 0 < half < width:
            wide[:, half:] |= planes[:, :-half]
            wide[:, :-half] |= planes[:, half:]
        for row in range(min(radius, height - 1) + 1):
            if half_widths[row] == half:
                result[row:] |= wide[: height - row]
                result[: height - row] |= wide[row:]
    return result


def _band(edge: Flags, reach: int) -> Flags:
    """Return which pixels are within the squared distance `reach` of a boundary pixel."""
    import cv2  # slow to import

    if not edge.any():
        return edge
    distances = cv2.distanceTransform((~edge).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near: Flags = distances < np.float32((reach + 0.5) ** 0.5)  # squared distances are whole numbers
    return near


def _per_class(label_map: LabelMap, where: Flags, num_classes: int) -> npt.NDArray[np.int64]:
    return np.bincount(label_map[where], minlength=IGNORE_INDEX + 1)[:num_classes]
