"""Recognize masks that number objects instead of classes, as Cellpose, StarDist and panoptic tools write them."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.data.masks.encoding import Alpha, MaskEncoding, MaskFacts, as_numbers
from maskpencil.errors import ImageError

MIN_MASKS = 3
"""With fewer masks, object numbers cannot be distinguished from class numbers."""

MIN_OBJECTS = 3
"""At least one mask must number this many objects."""

MIN_NUMBERS = 8
"""The smallest number of different values, if the values do not count from 1."""

EVEN_SHARE = 0.2
"""The smallest share of pixels that equal their neighbors; in photographs the share is smaller."""

MIN_IMPOSSIBLE_CLASSES = 128
"""More values than this are not classes, since no data set has more classes that are one region each."""

NEARLY_ALL = 0.95
MIN_FEWER_SHARE = 0.3
"""The smallest share of masks that must have fewer numbers than the mask with the most numbers."""

MIN_ONCE_SHARE = 0.8
"""The smallest share of values that occur in only one mask."""

SAMPLE = 8


@dataclass(frozen=True)
class NumberedObjects:
    """The properties of masks that number objects instead of classes.

    Attributes:
        message: the error message, with the remedy.
        has_background: whether 0 or black marks the pixels that belong to no object.
        alpha: the meaning of transparency, see `MaskEncoding`.
    """

    message: str
    has_background: bool
    alpha: Alpha

    @property
    def encoding(self) -> MaskEncoding | None:
        """The encoding that reads the masks as background and object; None if the masks have no background."""
        two = ClassSet(("background", "object"))
        return MaskEncoding("objects", two, alpha=self.alpha) if self.has_background else None


def find_numbered_objects(facts: Sequence[MaskFacts], alpha: Alpha = "unused") -> NumberedObjects | None:
    """Recognize masks whose values are object numbers, and return their properties; return None for all other masks.

    In such masks nearly every value is one connected region. In addition, the values of each mask are 1 to N without a
    gap, where N differs from mask to mask; or most values occur in only one mask; or values appear and disappear from
    mask to mask, as in the pages of a volume.
    """
    if alpha == "mask":  # no value counts
        return None
    facts = [fact.seen(alpha) for fact in facts]
    values = [{value for value in fact.values if value} for fact in facts]
    values = [of_mask for of_mask in values if of_mask]
    if len(values) < MIN_MASKS or not (_count_up(facts, values) or _occur_once(values) or _come_and_go(values)):
        return None
    even = sum(sum(fact.flat.values()) for fact in facts)
    if even < EVEN_SHARE * sum(math.prod(fact.size) for fact in facts) or not _are_regions(facts):
        return None
    counts = sorted(len(of_mask) for of_mask in values)
    found = f"{counts[0]} to {counts[-1]} in a mask" if counts[0] < counts[-1] else f"{counts[0]} in each mask"
    has_background = sum(0 in fact.values for fact in facts) >= NEARLY_ALL * len(facts)
    remedy = (
        "maskpencil check DATA --fix CLEAN writes a copy with two classes, background and object; if the numbers are "
        "classes, name them in a classes.yaml"
        if has_background
        else "export a mask of classes (semantic segmentation); if the numbers are classes, name them in a classes.yaml"
    )
    first = facts[0].path
    message = f"{first}: numbers objects ({found}), as the other masks do, and not classes; {remedy}"
    return NumberedObjects(message, has_background, alpha)


def _count_up(facts: Sequence[MaskFacts], values: Sequence[set[int]]) -> bool:
    """Return whether the numbers of nearly every mask are 1 to N, and many masks have fewer than the largest N.

    This is rare for classes, since the classes that are absent from a mask are not always the last classes.
    """
    if any(fact.colored for fact in facts):
        return False
    most = max(map(len, values))
    fewer = [of_mask for of_mask in values if len(of_mask) < most]
    counting = [of_mask for of_mask in values if max(of_mask) == len(of_mask)]
    enough = most > MIN_OBJECTS or (most == MIN_OBJECTS and len(values) > MIN_MASKS)
    return enough and len(fewer) >= MIN_FEWER_SHARE * len(values) and len(counting) >= NEARLY_ALL * len(values)


def _occur_once(values: Sequence[set[int]]) -> bool:
    masks = Counter(value for of_mask in values for value in of_mask)
    once = sum(count == 1 for count in masks.values())
    return len(masks) >= MIN_NUMBERS and once >= MIN_ONCE_SHARE * len(masks) and len(masks) >= 2 * len(values)


def _come_and_go(values: Sequence[set[int]]) -> bool:
    """Return whether values appear and disappear from mask to mask, as object numbers do in the slices of a volume.

    In addition, there must be too many values for classes, or too many gaps between the values.
    """
    masks = Counter(value for of_mask in values for value in of_mask)
    many = len(masks) > MIN_IMPOSSIBLE_CLASSES or (len(masks) >= 2 * MIN_NUMBERS and 2 * max(masks) >= 3 * len(masks))
    of_a_mask = statistics.median(map(len, values))
    return many and of_a_mask >= MIN_NUMBERS and 2 * statistics.median(masks.values()) <= len(values)


def _are_regions(facts: Sequence[MaskFacts]) -> bool:
    """Return whether nearly every value of a sample of masks is one connected region."""
    import cv2  # slow to import

    step = max(1, len(facts) // SAMPLE)
    single = total = 0
    for fact in facts[::step][:SAMPLE]:
        try:
            pixels = fact.read()
        except ImageError:  # changed since; reported when the mask is used
            continue
        numbers = as_numbers(pixels.values, None) if pixels.values.ndim == 3 else pixels.values
        for value in [value for value in fact.values if value][:64]:
            regions, _ = cv2.connectedComponents((numbers == value).astype(np.uint8), connectivity=8)
            single, total = single + (regions == 2), total + 1
    return single >= NEARLY_ALL * total
