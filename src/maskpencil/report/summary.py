"""Say in words what scores mean: how good, how sure, which class is worst and why, and what to do next."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.metrics import DetailedClassScores, DetailedScores
from maskpencil.plain_text import counted

RARE = 0.3
"""Classes that occur in a smaller share of the training images are called rare."""

THIN = 0.15
"""If the boundary F1 of a class is larger than its IoU by more than this, its objects are thin or small."""

WIDE = 0.06
"""An interval of the mean IoU wider than this hides most differences between models."""

OVERCONFIDENT = 0.03
"""An expected calibration error above this is worth a remark."""


def headline(scores: DetailedScores) -> str:
    """Say how good a model is, and how sure that is."""
    if np.isnan(scores.mean_iou):
        return "There is no score: no pixel of these images is labeled."
    text = f"Of 100 pixels {100 * scores.pixel_accuracy:.0f} are right; the mean IoU is {scores.mean_iou:.3f}"
    if interval := scores.intervals.get("mean_iou"):
        drawn = counted(scores.groups, "image" if scores.groups == scores.images else "video")
        low, high = interval
        return f"{text}, and with other images like these {drawn} it would lie between {low:.3f} and {high:.3f}."
    return f"{text}; one image alone does not tell how good it is on others."


def worst_class(scores: DetailedScores) -> tuple[str, DetailedClassScores] | None:
    """Return the class of the lowest IoU among those that occur in the targets."""
    found = [(name, each) for name, each in scores.classes.items() if each.iou is not None and each.pixels]
    return min(found, key=lambda pair: pair[1].iou or 0.0, default=None)


def why(scores: DetailedScores, name: str) -> str:
    """Say why the IoU of a class is not higher: missed or invented, and with which class it is confused."""
    index = list(scores.classes).index(name)
    each = scores.classes[name]
    lost = partners(scores.confusion_matrix[index], index, list(scores.classes))
    taken = partners(scores.confusion_matrix[:, index], index, list(scores.classes))
    missed, invented = 1 - (each.accuracy or 0.0), 1 - (each.precision or 0.0)
    parts = []
    if lost and missed >= 0.05:
        parts.append(f"{missed:.0%} of its pixels are missed ({_list(lost)})")
    if taken and invented >= 0.05:
        parts.append(f"{invented:.0%} of the pixels called {name} are something else ({_list(taken)})")
    if each.boundary_f1 is not None and each.iou is not None and each.boundary_f1 > each.iou + THIN:
        parts.append(
            f"its outlines agree better than its pixels (boundary F1 {each.boundary_f1:.2f}), as with thin or small "
            "objects, where a pixel more or less counts"
        )
    return " and ".join(parts) or "its few wrong pixels have no common cause"


def partners(row: npt.NDArray[np.int64], index: int, names: Sequence[str], *, most: int = 3) -> list[tuple[str, float]]:
    """Return the classes with which a class is confused most, and their share of all its pixels, the largest first.

    Args:
        row: the row (target) or the column (prediction) of the class in the confusion matrix.
        index: the class.
        names: the names of all classes.
        most: the largest number of classes.
    """
    total = row.sum()
    order = [int(i) for i in np.argsort(-row, kind="stable") if i != index and row[i] >= 0.01 * total and row[i]]
    return [(names[i], float(row[i] / total)) for i in order[:most]]


def next_steps(
    scores: DetailedScores,
    *,
    training: Mapping[str, tuple[float, int]],
    training_images: int,
    suspects: int,
    csv: str,
) -> list[str]:
    """Say what to do next, the most rewarding first, each step with the numbers that speak for it.

    Args:
        scores: the scores.
        training: the share of the training pixels of each class, 0..1, and the number of training images with it.
        training_images: the number of training images.
        suspects: the number of suspected label errors.
        csv: the name of the file that lists them.
    """
    steps = []
    if suspects:
        which = (
            "the suspected label error" if suspects == 1 else f"the strongest of {suspects:,} suspected label errors"
        )
        steps.append(f"Look at {which} below: wrong labels cap every score. {csv} lists all.")
    worst = worst_class(scores)
    if worst:
        name, each = worst
        share, images = training.get(name, (1.0, training_images))
        if images < RARE * training_images:
            steps.append(
                f"Label more images with {name}, the weakest class (IoU {each.iou:.2f}): it is in {images} of "
                f"{training_images} training images, with {share:.2%} of the pixels."
            )
        else:
            steps.append(f"Improve {name}, the weakest class (IoU {each.iou:.2f}): {why(scores, name)}.")
    sizes = {
        size: (sum(each.objects[size].found for each in scores.classes.values()), count)
        for size in ("small", "large")
        if (count := sum(each.objects[size].objects for each in scores.classes.values()))
    }
    if len(sizes) == 2:
        small, large = (found / count for found, count in sizes.values())
        if small < large - 0.2:
            steps.append(
                f"Small objects are found in {small:.0%} of the cases, large ones in {large:.0%}: train with larger "
                "images (--image-size) or with a finer stride (--stride 4), if they matter."
            )
    if (interval := scores.intervals.get("mean_iou")) and interval[1] - interval[0] > WIDE:
        steps.append(
            f"Label more images to score on: the interval of the mean IoU is {100 * (interval[1] - interval[0]):.0f} "
            "points wide, so that smaller differences between models cannot be told."
        )
    if scores.calibration_error is not None and scores.calibration_error > OVERCONFIDENT:
        sure = sum(confidence * pixels for confidence, _, pixels in scores.reliability)
        right = sum(accuracy * pixels for _, accuracy, pixels in scores.reliability)
        steps.append(
            f"Do not take confidences at their word: they are {'higher' if sure > right else 'lower'} than the share "
            f"of right pixels, by {100 * scores.calibration_error:.1f} points on average."
        )
    return steps


def _list(pairs: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in pairs)
