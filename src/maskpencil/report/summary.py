"""Explain scores in words: how good the model is, how certain the scores are, what is weakest, and what to do next."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.metrics import DetailedClassScores, DetailedScores
from maskpencil.metrics.intervals import MIN_GROUPS, ROUNDS
from maskpencil.plain_text import counted

RARE = 0.3
"""Classes that are in a smaller share of the training images count as rare."""

RARER, SMALL_SHARE = 3.0, 0.005
"""More training images of a class are advised if its share of the scored pixels is more than `RARER` times its share of
the training pixels, and at least `SMALL_SHARE`. Bins of confidence with a smaller share of the pixels are ignored."""

THIN = 0.15
"""The objects of a class count as thin or small if its boundary F1 exceeds its IoU by more than this."""

NOTABLE = 0.05
"""The smallest share, 0..1, of missed or invented pixels of a class that is mentioned."""

GOOD = 0.9
"""The weakest class gets no advice if its IoU is at least this."""

FEW, SMALL_OBJECTS = 10, 0.1
"""Small objects of a class are judged if there are at least `FEW` of them and at least `FEW` larger objects, and if the
small objects have at least the share `SMALL_OBJECTS` of the pixels of the class."""

WIDE = 0.06
"""More images to score on are advised if the 95% interval of the mean IoU is wider than this."""


def headline(scores: DetailedScores, *, videos: int) -> str:
    """Return a text that says how good a model is, and how certain the score is; for `videos` see `interval_note`."""
    if np.isnan(scores.mean_iou):
        return "There is no score: no pixel of these images is labeled."
    text = f"{scores.pixel_accuracy:.1%} of the pixels are right; the mean IoU is {scores.mean_iou:.3f}"
    if interval := scores.intervals.get("mean_iou"):
        text += f" (95% interval {interval[0]:.3f} to {interval[1]:.3f}, for further images like these)"
    else:
        text += f"; {counted(scores.images, 'image')} are too few for an interval" if scores.images > 1 else ""
    if scores.intervals and videos and scores.groups == scores.images:
        text += (
            f". By their names these are frames of {counted(videos, 'video')}; other videos may well score outside of "
            "the interval"
        )
    return text + "."


def interval_note(scores: DetailedScores, *, videos: int) -> str:
    """Return a text that says how the intervals are computed and what they do not cover.

    `videos` is the number of videos that the images belong to, judged by their names; 0 if the images are not frames.
    """
    if not scores.intervals:
        return f"Intervals need at least {MIN_GROUPS} images, or as many videos."
    drawn = counted(scores.groups, "image" if scores.groups == scores.images else "video")
    text = (
        f"The intervals come from the bootstrap: the scores of {ROUNDS:,} random draws of {drawn}, with repetition. "
        "They hold for further images like these, not for other places or cameras."
    )
    if videos and scores.groups == scores.images:
        text += (
            f" By their names the images may be frames of {counted(videos, 'video')}. Frames of one video resemble "
            "each other, so that the score on other videos may well lie outside of the interval."
        )
    return text


def worst_class(scores: DetailedScores) -> tuple[str, DetailedClassScores] | None:
    """Return the name and the scores of the class with the lowest IoU among the classes that occur in the targets.

    Return None if no class has an IoU and occurs in the targets.
    """
    found = [(name, each) for name, each in scores.classes.items() if each.iou is not None and each.pixels]
    return min(found, key=lambda pair: pair[1].iou or 0.0, default=None)


def why(scores: DetailedScores, name: str) -> str:
    """Return a phrase that says why the IoU of the class `name` is not higher.

    It names the share of missed and of invented pixels, and the classes with which the class is confused.
    """
    index = list(scores.classes).index(name)
    each = scores.classes[name]
    lost = partners(scores.confusion_matrix[index], index, list(scores.classes))
    taken = partners(scores.confusion_matrix[:, index], index, list(scores.classes))
    missed, invented = 1 - (each.accuracy or 0.0), 1 - (each.precision or 0.0)
    parts = []
    if missed >= NOTABLE:
        parts.append(f"{missed:.0%} of its pixels are missed{_in_brackets(lost)}")
    if invented >= NOTABLE:
        parts.append(f"{invented:.0%} of the pixels called {name} are something else{_in_brackets(taken)}")
    return " and ".join(parts) or f"few of its pixels are missed, and few other pixels are called {name}"


def partners(row: npt.NDArray[np.int64], index: int, names: Sequence[str], *, most: int = 3) -> list[tuple[str, float]]:
    """Return the classes with which a class is confused most.

    Args:
        row: (K,) the row (pixels of the class in the targets) or the column (pixels predicted as the class) of the
            confusion matrix.
        index: the index of the class.
        names: the names of all classes.
        most: the largest number of classes to return.

    Returns:
        Pairs of a name and the share, 0..1, of the pixels in `row`, the largest share first; shares under 1% are left
        out.
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
    """Return advice on what to do next, a sentence or two for each step, with the numbers that are the reason for it.

    Args:
        scores: the scores.
        training: for the name of each class its share of the training pixels, 0..1, and the number of training images
            that show it; empty if there is no training split.
        training_images: the number of training images.
        suspects: the number of suspected label errors.
        csv: the name of the file that lists the suspected label errors.
    """
    steps = []
    worst = worst_class(scores)
    if worst and (worst[1].iou or 0.0) < GOOD:
        steps.append(_improve(scores, *worst, training.get(worst[0]), training_images))
    rare = [
        f"{name} ({training[name][0]:.2%} of the training pixels, {share:.2%} here)"
        for name, share in _shares(scores).items()
        if name in training and share > RARER * training[name][0] and share >= SMALL_SHARE
    ]
    if rare:
        steps.append(f"Label more training images like these: they show much more of {', '.join(rare[:3])}.")
    small = _badly_found_small(scores)
    if small:
        steps.append(
            f"Small objects are found less often than larger objects: {'; '.join(small[:3])}. Train with larger images "
            "(--image-size) or with a finer stride (--stride 4), if they matter."
        )
    if suspects:
        which = (
            "the suspected label error" if suspects == 1 else f"the strongest of {suspects:,} suspected label errors"
        )
        steps.append(f"Look at {which} below ({csv} lists all): the model may be wrong, or the label.")
    if (interval := scores.intervals.get("mean_iou")) and interval[1] - interval[0] > WIDE:
        steps.append(
            f"Label more images to score on: the interval of the mean IoU is {100 * (interval[1] - interval[0]):.0f} "
            "points wide, so that smaller differences between models are not recognized."
        )
    return steps


def calibration_verdict(scores: DetailedScores) -> str:
    """Return a text that compares the mean confidence with the share of right pixels, and names the worst bin.

    The scores must have a reliability curve.
    """
    total = sum(pixels for *_, pixels in scores.reliability)
    sure = sum(confidence * pixels for confidence, _, pixels in scores.reliability) / total
    right = sum(accuracy * pixels for _, accuracy, pixels in scores.reliability) / total
    verdict = (
        f"On average the model is {100 * abs(sure - right):.1f} points {'more' if sure > right else 'less'} confident "
        f"than it is right ({sure:.1%} against {right:.1%})"
    )
    seen = [point for point in scores.reliability if point[2] >= SMALL_SHARE * total]
    confidence, accuracy, pixels = max(seen, key=lambda point: abs(point[0] - point[1]))
    return (
        f"{verdict}. The largest difference: where its confidence is about {confidence:.2f}, as in "
        f"{pixels / total:.1%} of the pixels, {accuracy:.0%} are right."
    )


def _improve(
    scores: DetailedScores,
    name: str,
    each: DetailedClassScores,
    trained: tuple[float, int] | None,
    training_images: int,
) -> str:
    """Return advice on how to improve the weakest class.

    Args:
        scores: the scores.
        name: the name of the weakest class.
        each: the scores of the class.
        trained: the share of the training pixels of the class, and the number of training images that show it; None if
            unknown.
        training_images: the number of training images.
    """
    if trained and trained[1] < RARE * training_images:
        return (
            f"Label more images with {name}, the weakest class (IoU {each.iou:.2f}): it is in {trained[1]} of "
            f"{training_images} training images."
        )
    if each.boundary_f1 is not None and each.boundary_f1 > (each.iou or 0.0) + THIN:
        return (
            f"Try a finer stride (--stride 4) or larger images (--image-size) for {name}, the weakest class: its "
            f"outlines (boundary F1 {each.boundary_f1:.2f}) agree better than its pixels (IoU {each.iou:.2f}), as with "
            "thin or small objects."
        )
    index = list(scores.classes).index(name)
    lost = partners(scores.confusion_matrix[index], index, list(scores.classes), most=1)
    beside = f" beside {lost[0][0]}" if lost else ""
    confused = f", and {lost[0][1]:.0%} of its pixels are called {lost[0][0]}" if lost else ""
    return f"Label more images that show {name}{beside}: it is the weakest class (IoU {each.iou:.2f}){confused}."


def _shares(scores: DetailedScores) -> dict[str, float]:
    total = sum(each.pixels for each in scores.classes.values()) or 1
    return {name: each.pixels / total for name, each in scores.classes.items()}


def _badly_found_small(scores: DetailedScores) -> list[str]:
    """Return a text for each class whose small objects are found clearly less often than its larger objects.

    Classes with few small objects are left out, see `FEW` and `SMALL_OBJECTS`. The largest difference comes first.
    """
    found = []
    for name, each in scores.classes.items():
        small, larger = each.objects["small"], [each.objects[size] for size in ("medium", "large")]
        count = sum(objects.objects for objects in larger)
        if small.objects < FEW or count < FEW or small.objects < count:
            continue
        rates = small.found / small.objects, sum(objects.found for objects in larger) / count
        if rates[0] < rates[1] - 0.2 and small.share >= SMALL_OBJECTS:
            found.append((rates[0] - rates[1], f"{name} {rates[0]:.0%}, larger objects {rates[1]:.0%}"))
    return [text for _, text in sorted(found)]


def _in_brackets(pairs: Sequence[tuple[str, float]]) -> str:
    return f" ({', '.join(f'{name} {share:.0%}' for name, share in pairs)})" if pairs else ""
