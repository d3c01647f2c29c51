"""Compare the boundaries of classes in target and prediction: boundary F1 and Boundary IoU.

A boundary pixel is a pixel that has a pixel of another class among its 4 neighbors. Pixels whose target is ignored
belong to no class in either map, and make no boundary; neither does the border of the image. Distances are between the
centers of pixels.

Boundary F1 measures whether the boundary is in the right place. A boundary pixel of a class matches if the other map
has a boundary pixel of the same class within a distance of `TOLERANCE` times the image's diagonal, but at least one
pixel. Precision is the share of the predicted boundary pixels that match, recall the share of the target's boundary
pixels that match.

Boundary IoU is the IoU of the class within the bands along the boundaries. The band of a map consists of the pixels
within a distance of `BAND` times the diagonal, but at least one pixel, from a boundary pixel of the map.

Both scores are computed from counts summed over all images.

Sources: Csurka, Larlus, Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013; Cheng et
al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.label_maps import LabelMap
from maskpencil.metrics.counting import Flags, histogram

TOLERANCE = 0.0075
"""The largest distance between matching boundary pixels, as a share of the image's diagonal."""

BAND = 0.02
"""The width of the bands of Boundary IoU, as a share of the image's diagonal."""

_SHARE_UNITS = 10_000
"""Shares are whole multiples of 1 / 10,000, so that squared distances are compared in integers."""

_PLANES = 64
"""The number of classes whose boundaries are dilated together, as the bits of one number."""

_NEAR = 5**2
"""The largest squared distance, in pixels, for which matches are found by dilation. For the few pixels without a match
at this distance, `_has_farther` tries every offset up to the full distance."""

_OFFSETS_AT_ONCE = 16
"""The number of offsets that are tried before the pixels that have found a match are left out."""

_BYTES = 256
"""The number of values of a uint8 number."""


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
    prediction = prediction | np.negative((target == IGNORE_INDEX).view(np.uint8))  # -1 is 255, which is ignored
    edges = boundary_pixels(target), boundary_pixels(prediction)
    true, drawn = (Boundary.of(*pair) for pair in zip((target, prediction), edges, strict=True))
    reach = squared_distance(target.shape, TOLERANCE)
    counts = []
    for one, other in ((true, drawn), (drawn, true)):
        found = one.classes[matched(one, other, target.shape, reach)]
        counts += [np.bincount(classes, minlength=num_classes) for classes in (one.classes, found)]
    # a bit for each map, so that both are dilated at once
    bands = _dilated(edges[0] + 2 * edges[1].view(np.uint8), squared_distance(target.shape, BAND))
    inside = (bands & 1).view(bool), (bands >> 1).view(bool)
    both = histogram(target, num_classes, inside[0] & inside[1] & (target == prediction))
    true_area, drawn_area = histogram(target, num_classes, inside[0]), histogram(prediction, num_classes, inside[1])
    return np.stack([*counts, both, true_area + drawn_area - both], axis=1)


@dataclass(frozen=True)
class Boundary:
    """The n boundary pixels of a label map: their places in the flattened map and their classes, (n,) each."""

    places: npt.NDArray[np.int64]
    classes: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, label_map: LabelMap, edge: Flags) -> "Boundary":
        """Collect the boundary pixels `edge` (H, W) of a label map."""
        places = np.flatnonzero(edge)
        return cls(places, label_map.ravel()[places])


def squared_distance(size: tuple[int, ...], share: float) -> int:
    """Return the largest squared distance in pixels that is within `share` of the diagonal of an image (H, W).

    It is at least 1, so that neighboring pixels are always within the distance.
    """
    units = round(share * _SHARE_UNITS)
    return max(1, units**2 * (size[0] ** 2 + size[1] ** 2) // _SHARE_UNITS**2)


def boundary_pixels(label_map: LabelMap) -> Flags:
    """Return a boolean mask (H, W) of the pixels of a class with a pixel of another class among their 4 neighbors."""
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


def matched(one: Boundary, other: Boundary, size: tuple[int, ...], reach: int) -> Flags:
    """Return, for each of the n pixels of a boundary, whether another boundary has a pixel of its class within reach.

    Args:
        one: the boundary.
        other: the other boundary.
        size: (H, W) of the image.
        reach: the largest squared distance, in pixels.

    Returns:
        (n,) booleans.
    """
    found = np.zeros(len(one.places), dtype=bool)
    near = min(reach, _NEAR)
    present = np.unique(other.classes).tolist()
    for start in range(0, len(present), _PLANES):
        group = present[start : start + _PLANES]
        numbers = np.min_scalar_type((1 << len(group)) - 1)
        bits = np.zeros(_BYTES, numbers)
        bits[group] = np.left_shift(1, np.arange(len(group), dtype=np.uint64), dtype=np.uint64).astype(numbers)
        planes = np.zeros(size, numbers)
        planes.ravel()[other.places] = bits[other.classes]
        found |= (_dilated(planes, near).ravel()[one.places] & bits[one.classes]) != 0
    if reach > near:
        left = np.flatnonzero(~found)
        found[left] = _has_farther(Boundary(one.places[left], one.classes[left]), other, size, near, reach)
    return found


def _has_farther(one: Boundary, other: Boundary, size: tuple[int, ...], near: int, reach: int) -> Flags:
    """Return, for each of the n pixels `one`, whether `other` has a pixel of its class farther than `near`: (n,).

    Args:
        one: some boundary pixels.
        other: the other boundary.
        size: (H, W) of the image.
        near: the squared distance, in pixels, that the pixel in `other` must exceed.
        reach: the largest squared distance, in pixels.
    """
    radius = isqrt(reach)
    width = size[1] + 2 * radius
    padded = np.full((size[0] + 2 * radius) * width, IGNORE_INDEX, np.uint8)

    def in_padded(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (places // size[1] + radius) * width + places % size[1] + radius

    padded[in_padded(other.places)] = other.classes
    down, right = (axis.ravel() - radius for axis in np.indices((2 * radius + 1, 2 * radius + 1)))
    squares = down**2 + right**2
    order = np.argsort(squares, kind="stable")
    order = order[(squares[order] > near) & (squares[order] <= reach)]
    offsets = (down * width + right)[order].tolist()
    found = np.zeros(len(one.places), dtype=bool)
    left, places, classes = np.arange(len(found)), in_padded(one.places), one.classes
    for start in range(0, len(offsets), _OFFSETS_AT_ONCE):
        matches = np.zeros(len(left), dtype=bool)
        for offset in offsets[start : start + _OFFSETS_AT_ONCE]:
            matches |= padded[places + offset] == classes
        found[left[matches]] = True
        left, places, classes = left[~matches], places[~matches], classes[~matches]
    return found


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
