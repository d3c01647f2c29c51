"""Choose the images that a report shows, draw them, and say in words what is wrong in each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import DetailedScores, ImageScores
from maskpencil.metrics.boundary import boundary_pixels
from maskpencil.visualize import overlay

GROUPS = {
    "worst": "lowest mean IoU",
    "uncertain": "lowest confidence",
    "median": "around the median",
    "best": "highest mean IoU",
    "class": "worst of a class",
}
"""Why an image is shown, and the same in words."""

SIDE = 480
"""The longer side of a drawn image, in pixels."""

WRONG = (255, 140, 0)
NEAR = 3
"""Pixels at most this far from a boundary of the target count as being along it."""

MISSED = 0.5
"""A class counts as missed in an image if less than this share of its pixels is right."""

SMALL_PART = 0.002
"""Classes with a smaller share of an image's pixels are not mentioned."""

MIN_NUMBERED = 0.008
"""The smallest share of the image of a region that is marked with the number of its class."""


@dataclass(frozen=True)
class Choice:
    """An image to show: its number in the data set, and the groups (see `GROUPS`) for which it was chosen."""

    index: int
    groups: tuple[str, ...]


def choose_images(scores: DetailedScores, most: int) -> list[Choice]:
    """Choose about `most` images: the worst, the most uncertain, those around the median and the best.

    For each class the image in which the largest number of its pixels is wrong is added, so that every class can be
    judged; for many classes, only for the classes with the lowest IoU. Images without a counted pixel are left out.
    """
    images = scores.per_image
    order = sorted((i for i, image in enumerate(images) if not math.isnan(image.mean_iou)), key=_quality(images))
    groups: dict[int, list[str]] = {}

    def choose(indices: Sequence[int], group: str) -> None:
        for index in indices:
            groups.setdefault(index, []).append(group)

    part = max(1, most // 4)
    middle = max(0, (len(order) - part) // 2)
    choose(order[: most - 3 * part], "worst")
    unsure = sorted((i for i in order if not math.isnan(images[i].uncertainty)), key=lambda i: -images[i].uncertainty)
    choose(unsure[:part], "uncertain")
    choose(order[middle : middle + part], "median")
    choose(order[::-1][:part], "best")
    choose(_worst_of_classes(scores)[:most], "class")
    return [Choice(index, tuple(groups[index])) for index in sorted(groups, key=_quality(images))]


def _quality(images: Sequence[ImageScores]) -> Callable[[int], tuple[float, int]]:
    return lambda index: (images[index].mean_iou, index)


def _worst_of_classes(scores: DetailedScores) -> list[int]:
    """Return the image with most wrong pixels of each class, the classes with the lowest IoU first."""
    wrong: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(scores.per_image):
        hits, target, predicted = image.counts[:, :3].T
        for k, count in zip(image.classes.tolist(), (target + predicted - 2 * hits).tolist(), strict=True):
            if count > wrong.get(k, (0, 0))[0]:
                wrong[k] = count, index
    ious = [each.iou for each in scores.classes.values()]
    known = [k for k in wrong if ious[k] is not None]
    return [wrong[k][1] for k in sorted(known, key=lambda k: ious[k] or 0.0)]


def reason(image: ImageScores, names: Sequence[str], *, along: float | None = None) -> str:
    """Say in words what is wrong in an image, from its counts.

    Args:
        image: the counts.
        names: the names of the classes.
        along: the share of the wrong pixels that lie along the boundaries of the target.
    """
    total = int(image.confused[:, 2].sum())
    wrong = image.confused[image.confused[:, 0] != image.confused[:, 1]]
    count = int(wrong[:, 2].sum())
    if not total:
        return "all pixels are ignored"
    if not count:
        return "every pixel is right"
    parts = []
    by_class = {int(k): row for k, row in zip(image.classes, image.counts.tolist(), strict=True)}
    for k, (hits, target, *_) in sorted(by_class.items(), key=lambda item: item[1][0] - item[1][1]):
        if target < SMALL_PART * total or hits >= MISSED * target:
            continue
        others = wrong[wrong[:, 0] == k]
        other, pixels = max(((int(p), int(n)) for _, p, n in others), key=lambda pair: pair[1])
        parts.append(f"{names[k]} missed: {pixels / target:.0%} of its pixels called {names[other]}")
    for k, (hits, target, predicted, *_) in by_class.items():
        if target == 0 and predicted >= SMALL_PART * total and hits == 0:
            others = wrong[wrong[:, 1] == k]
            other, pixels = max(((int(t), int(n)) for t, _, n in others), key=lambda pair: pair[1])
            parts.append(f"{names[k]} invented: {predicted:,} pixels, {pixels / predicted:.0%} of them {names[other]}")
    if not parts:
        truth, called, pixels = wrong[wrong[:, 2].argmax()].tolist()
        parts.append(f"{pixels / count:.0%} of the wrong pixels: {names[truth]} called {names[called]}")
    if along is not None and along >= 0.5:
        parts.append(f"{along:.0%} of the wrong pixels lie along boundaries")
    return "; ".join(parts[:3])


def share_along_boundaries(target: LabelMap, prediction: LabelMap) -> float | None:
    """Return the share of the wrong pixels along the boundaries of the target, see `NEAR`; None if none is wrong."""
    import cv2  # slow to import

    wrong = (target != prediction) & (target != IGNORE_INDEX)
    edge = boundary_pixels(target)
    if not wrong.any() or not edge.any():
        return None
    near = cv2.dilate(edge.view(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)) > 0
    return float(near[wrong].mean())


def fitted(pixels: npt.NDArray[np.uint8], side: int = SIDE, *, nearest: bool = False) -> npt.NDArray[np.uint8]:
    """Scale an image (H, W, 3) or a label map (H, W) down so that its longer side has at most `side` pixels."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    kind = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size, kind))


def painted(image: RGBImage, label_map: LabelMap, classes: ClassSet) -> RGBImage:
    """Draw the classes over an image, with the number of its class in each large region, for the color-blind."""
    import cv2  # slow to import

    drawn = overlay(image, label_map, classes, opacity=0.65)
    canvas = Image.fromarray(drawn)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(max(10, round(min(label_map.shape) / 24)))
    for index in np.unique(label_map).tolist():
        if index == IGNORE_INDEX:
            continue
        mask = np.pad((label_map == index).view(np.uint8), 1)
        count, ids, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        depths = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
        for region in range(1, count):
            if stats[region, cv2.CC_STAT_AREA] < MIN_NUMBERED * label_map.size:
                continue
            own = np.where(ids == region, depths, 0)
            y, x = np.unravel_index(own.argmax(), own.shape)  # where there is most room
            place = int(x) - 1, int(y) - 1
            draw.text(place, str(index + 1), fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black")
    return np.asarray(canvas)


def differing(image: RGBImage, target: LabelMap, prediction: LabelMap) -> RGBImage:
    """Draw the wrong pixels in orange over the image in gray; ignored pixels are darkened."""
    gray = image.mean(axis=2, keepdims=True)
    drawn = np.repeat((gray * 0.6 + 60).astype(np.uint8), 3, axis=2)
    ignored = target == IGNORE_INDEX
    drawn[ignored] //= 3
    drawn[(target != prediction) & ~ignored] = WRONG
    return drawn
