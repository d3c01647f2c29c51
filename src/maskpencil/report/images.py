"""Choose the images that a report shows, draw them, and describe in words what is wrong in each image."""

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
"""The groups for which an image can be chosen, with the text that the report shows for each group."""

SIDE = 480
"""The largest length of the longer side of a drawn image, in pixels."""

WRONG = (255, 140, 0)
"""The RGB color of wrong pixels."""

NEAR = 3
"""Pixels whose rows and columns are at most this number of pixels from a boundary pixel are along the boundary."""

MISSED = 0.5
"""A class counts as missed in an image if less than this share of its pixels is right."""

MOSTLY = 0.8
"""The remark that wrong pixels are along boundaries is made if at least this share of them is."""

SMALL_PART = 0.002
"""Classes with a smaller share of an image's pixels are not mentioned as missed or invented."""

MIN_NUMBERED = 0.008
"""The number of the class is drawn in each region that covers at least this share of the image."""


@dataclass(frozen=True)
class Choice:
    """An image to show.

    Attributes:
        index: the index of the image in the scored images.
        groups: the keys of `GROUPS` for which the image was chosen.
        worst_of: the classes of which no other image has more wrong pixels.
    """

    index: int
    groups: tuple[str, ...]
    worst_of: tuple[int, ...]


def choose_images(scores: DetailedScores, most: int, videos: Sequence[str] = ()) -> list[Choice]:
    """Choose about `most` images: the worst, the most uncertain, those around the median and the best.

    In addition, so that every class can be judged, the image with the largest number of wrong pixels of each class is
    chosen; if there are more than `most` classes, only for the `most` classes with the lowest IoU. Images whose pixels
    are all ignored are left out.

    Args:
        scores: the scores.
        most: about how many images to choose.
        videos: the name of each image's video, so that a group does not consist of neighboring frames; empty if the
            images are not frames of videos, or not in the order of the frames.

    Returns:
        The chosen images, the lowest mean IoU first.
    """
    images = scores.per_image
    order = sorted((i for i, image in enumerate(images) if not math.isnan(image.mean_iou)), key=_quality(images))
    part = max(1, most // 4)
    from_the_middle = sorted(range(len(order)), key=lambda rank: abs(rank - len(order) // 2))
    unsure = sorted((i for i in order if not math.isnan(images[i].uncertainty)), key=lambda i: -images[i].uncertainty)
    groups: dict[int, list[str]] = {}
    for group, ranked, count in (
        ("worst", order, max(1, most - 3 * part)),
        ("uncertain", unsure, part),
        ("median", [order[rank] for rank in from_the_middle], part),
        ("best", order[::-1], part),
    ):
        for index in _apart(ranked, count, videos):
            groups.setdefault(index, []).append(group)
    worst_of: dict[int, list[int]] = {}
    for number, index in _worst_of_classes(scores)[:most]:
        worst_of.setdefault(index, []).append(number)
    for index in worst_of:
        groups.setdefault(index, []).append("class")
    return [
        Choice(index, tuple(groups[index]), tuple(worst_of.get(index, ())))
        for index in sorted(groups, key=_quality(images))
    ]


def _apart(ranked: Sequence[int], count: int, videos: Sequence[str]) -> list[int]:
    """Return the first `count` images, leaving out an image that is near an image chosen before, in the same video.

    Args:
        ranked: the indices of the images, the best choice first.
        count: the largest number of images.
        videos: see `choose_images`.
    """
    chosen: list[int] = []
    gap = len(videos) // (4 * count)
    for index in ranked:
        if len(chosen) == count:
            break
        if not any(abs(index - other) <= gap and videos[index] == videos[other] for other in chosen if videos):
            chosen.append(index)
    return chosen


def _quality(images: Sequence[ImageScores]) -> Callable[[int], tuple[float, int]]:
    return lambda index: (images[index].mean_iou, index)


def _worst_of_classes(scores: DetailedScores) -> list[tuple[int, int]]:
    """Return pairs (class, index of the image with the largest number of wrong pixels of the class).

    The class with the lowest IoU comes first; classes without a wrong pixel are left out. A pixel is wrong for a class
    if either the target or the prediction is the class, but not both.
    """
    wrong: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(scores.per_image):
        hits, target, predicted = image.counts[:, :3].T
        for k, count in zip(image.classes.tolist(), (target + predicted - 2 * hits).tolist(), strict=True):
            if count > wrong.get(k, (0, 0))[0]:
                wrong[k] = count, index
    ious = [each.iou for each in scores.classes.values()]
    return [(k, wrong[k][1]) for k in sorted(wrong, key=lambda k: ious[k] or 0.0)]


def reason(image: ImageScores, names: Sequence[str], *, along: float | None = None) -> str:
    """Describe what is wrong in an image: the most frequent confusion, then the missed and the invented classes.

    Args:
        image: the counts of the image.
        names: the names of the classes.
        along: the result of `share_along_boundaries` for the image.

    Returns:
        At most three remarks, separated by semicolons.
    """
    total = int(image.confused[:, 2].sum())
    wrong = image.confused[image.confused[:, 0] != image.confused[:, 1]]
    count = int(wrong[:, 2].sum())
    if not total:
        return "all pixels are ignored"
    if not count:
        return "every pixel is right"
    truth, called, pixels = wrong[wrong[:, 2].argmax()].tolist()
    parts = [f"{pixels / count:.0%} of the wrong pixels: {names[truth]} called {names[called]}"]
    by_class = {int(k): row for k, row in zip(image.classes, image.counts.tolist(), strict=True)}
    for k, (hits, target, *_) in sorted(by_class.items(), key=lambda item: item[1][0] - item[1][1]):
        if target < SMALL_PART * total or hits >= MISSED * target:
            continue
        other, lost = _largest(wrong[wrong[:, 0] == k][:, 1:])
        parts.append(f"{names[k]} missed: {lost / target:.0%} of its pixels called {names[other]}")
    for k, (hits, target, predicted, *_) in by_class.items():
        if target == 0 and predicted >= SMALL_PART * total and hits == 0:
            other, lost = _largest(wrong[wrong[:, 1] == k][:, [0, 2]])
            parts.append(f"{names[k]} invented: {predicted:,} pixels, {lost / predicted:.0%} of them {names[other]}")
    if along is not None and along >= MOSTLY:
        parts.append(f"{along:.0%} of the wrong pixels lie along boundaries")
    return "; ".join(parts[:3])


def _largest(pairs: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the row (class, number of pixels) with the largest number of pixels from an array (n, 2) of such rows."""
    other, pixels = pairs[pairs[:, 1].argmax()].tolist()
    return other, pixels


def share_along_boundaries(target: LabelMap, prediction: LabelMap) -> float | None:
    """Return the share, 0..1, of the wrong pixels that are along boundaries of the target, see `NEAR`.

    Return None if no pixel is wrong, or if the target (H, W) has no boundary.
    """
    import cv2  # slow to import

    wrong = (target != prediction) & (target != IGNORE_INDEX)
    edge = boundary_pixels(target)
    if not wrong.any() or not edge.any():
        return None
    near = cv2.dilate(edge.view(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)) > 0
    return float(near[wrong].mean())


def fitted(pixels: npt.NDArray[np.uint8], side: int = SIDE, *, nearest: bool = False) -> npt.NDArray[np.uint8]:
    """Scale an image (H, W, 3) or a label map (H, W) down so that its longer side has at most `side` pixels.

    A smaller image is returned unchanged. Label maps need `nearest`, so that no classes are mixed.
    """
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    kind = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size, kind))


def painted(image: RGBImage, label_map: LabelMap, classes: ClassSet) -> RGBImage:
    """Tint an image (H, W, 3) by the classes of a label map (H, W), and write class numbers into the large regions.

    The numbers are those of the report: the class index plus 1. They tell similar colors apart, for the color-blind.
    """
    import cv2  # slow to import

    drawn = overlay(image, label_map, classes, opacity=0.65)
    canvas = Image.fromarray(drawn)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(max(9, round(min(label_map.shape) / 28)))
    for index in np.unique(label_map).tolist():
        if index == IGNORE_INDEX:
            continue
        mask = np.pad((label_map == index).view(np.uint8), 1)
        _, ids, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for region in np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= MIN_NUMBERED * label_map.size) + 1:
            left, top, width, height, _ = stats[region]
            inside = (ids[top : top + height, left : left + width] == region).view(np.uint8)
            depths = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)
            y, x = np.unravel_index(depths.argmax(), depths.shape)  # the point farthest from the outline
            place = int(left + x) - 2, int(top + y) - 2
            draw.text(place, str(index + 1), fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black")
    return np.asarray(canvas)


def differing(image: RGBImage, target: LabelMap, prediction: LabelMap) -> RGBImage:
    """Draw the wrong pixels in orange on a gray version of the image (H, W, 3); ignored pixels are black."""
    gray = image.mean(axis=2, keepdims=True)
    drawn = np.repeat((gray * 0.6 + 60).astype(np.uint8), 3, axis=2)
    ignored = target == IGNORE_INDEX
    drawn[ignored] = 0
    drawn[(target != prediction) & ~ignored] = WRONG
    return drawn
