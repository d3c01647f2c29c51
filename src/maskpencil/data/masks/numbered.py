"""Recognize masks that number objects, as Cellpose, StarDist and panoptic PNGs do, in place of classes."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np

from maskpencil.data.masks.encoding import Alpha, MaskFacts, as_numbers
from maskpencil.errors import DataError, ImageError

MIN_MASKS = 3
"""With fewer masks, numbers of objects cannot be distinguished from those of classes."""

MIN_OBJECTS = 3
"""Some mask numbers at least this many objects."""

MIN_NUMBERS = 8
"""The least number of values that occur, where they are no numbers from 1."""

EVEN_SHARE = 0.2
"""The least share of pixels that equal their neighbors: photographs, such as cut-outs, have fewer."""

MANY_NUMBERS = 128
"""More values than any data set has classes that are one region each."""

NEARLY_ALL = 0.95
FEWER = 0.3
"""The least share of masks with fewer numbers than the most."""

ONCE = 0.8
"""The least share of values that occur in one mask only."""

SAMPLE = 8


class NumberedObjectsError(DataError):
    """The masks number objects; `has_background` is whether 0 or black stands for none of them.

    `alpha` is what transparency says, see `MaskEncoding`.
    """

    def __init__(self, message: str, *, has_background: bool, alpha: Alpha = "unused") -> None:
        super().__init__(message)
        self.has_background = has_background
        self.alpha = alpha


def refuse_numbered_objects(facts: Sequence[MaskFacts], alpha: Alpha = "unused") -> None:
    """Refuse masks whose values are numbers of objects.

    Either the values of each mask are 1 to N without a gap, with another N in other masks, or most values occur in one
    mask only, or they come and go as in the pages of a volume. And nearly every value is one connected region.

    Raises:
        NumberedObjectsError: they are.
    """
    if alpha == "mask":  # no value counts
        return
    facts = [fact.seen(alpha) for fact in facts]
    values = [{value for value in fact.values if value} for fact in facts]
    values = [of_mask for of_mask in values if of_mask]
    if len(values) < MIN_MASKS or not (_count_up(facts, values) or _occur_once(values) or _come_and_go(values)):
        return
    even = sum(sum(fact.flat.values()) for fact in facts)
    if even < EVEN_SHARE * sum(math.prod(fact.size) for fact in facts) or not _are_regions(facts):
        return
    counts = sorted(len(of_mask) for of_mask in values)
    found = f"{counts[0]} to {counts[-1]} in a mask" if counts[0] < counts[-1] else f"{counts[0]} in each mask"
    has_background = sum(0 in fact.values for fact in facts) >= NEARLY_ALL * len(facts)
    remedy = (
        "maskpencil check DATA --fix CLEAN writes a copy with two classes, background and object; if they are classes, "
        "name them in a classes.yaml"
        if has_background
        else "export a mask of classes (semantic segmentation); if these are classes, name them in a classes.yaml"
    )
    first = facts[0].path
    raise NumberedObjectsError(
        f"{first}: numbers objects ({found}), as the other masks do, and not classes; {remedy}",
        has_background=has_background,
        alpha=alpha,
    )


def _count_up(facts: Sequence[MaskFacts], values: Sequence[set[int]]) -> bool:
    """Return whether the numbers of nearly every mask are 1 to N, and many masks have fewer than the most.

    Classes seldom do: where some are absent, those are not always the last.
    """
    if any(fact.colored for fact in facts):
        return False
    most = max(map(len, values))
    fewer = [of_mask for of_mask in values if len(of_mask) < most]
    counting = [of_mask for of_mask in values if max(of_mask) == len(of_mask)]
    enough = most > MIN_OBJECTS or (most == MIN_OBJECTS and len(values) > MIN_MASKS)
    return enough and len(fewer) >= FEWER * len(values) and len(counting) >= NEARLY_ALL * len(values)


def _occur_once(values: Sequence[set[int]]) -> bool:
    masks = Counter(value for of_mask in values for value in of_mask)
    once = sum(count == 1 for count in masks.values())
    return len(masks) >= MIN_NUMBERS and once >= ONCE * len(masks) and len(masks) >= 2 * len(values)


def _come_and_go(values: Sequence[set[int]]) -> bool:
    """Return whether masks share few of many values, as the pages of a volume: too many, or too sparse, for classes."""
    masks = Counter(value for of_mask in values for value in of_mask)
    many = len(masks) > MANY_NUMBERS or (len(masks) >= 2 * MIN_NUMBERS and 2 * max(masks) >= 3 * len(masks))
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
        except ImageError:  # changed meanwhile; reported when it is read for use
            continue
        numbers = as_numbers(pixels.values, None) if pixels.values.ndim == 3 else pixels.values
        for value in [value for value in fact.values if value][:64]:
            regions, _ = cv2.connectedComponents((numbers == value).astype(np.uint8), connectivity=8)
            single, total = single + (regions == 2), total + 1
    return single >= NEARLY_ALL * total
