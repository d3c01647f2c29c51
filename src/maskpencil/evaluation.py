"""Segmenter + labelled folder -> `Scores`, and `RoadScores` of one class."""

from collections.abc import Callable, Sequence
from pathlib import Path

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Pair
from maskpencil.errors import DataError
from maskpencil.metrics import ConfusionMatrix, Scores
from maskpencil.segmenter import Segmenter
from maskpencil.threshold_metrics import RoadScores, ThresholdCounts


def evaluate(
    segmenter: Segmenter,
    data: str | Path | DataFolder,
    *,
    split: str = "val",
    report: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a segmenter on one split of a folder, every picture whole and at its own size.

    `report` hears (pictures done, of).

    Raises:
        DataError: the folder cannot be read, lacks the split, or has other classes than the segmenter.
    """
    folder = _opened(segmenter, data)
    return count_pixels(segmenter, folder, folder.pairs(split), report=report).scores(segmenter.classes.names)


def evaluate_class(
    segmenter: Segmenter,
    data: str | Path | DataFolder,
    name: str,
    *,
    split: str = "val",
    report: Callable[[int, int], None] | None = None,
) -> tuple[Scores, RoadScores]:
    """As `evaluate`, and score how well the probability of the class `name` tells it from the others, in one pass.

    Raises:
        DataError: the model has no such class, or as `evaluate`.
    """
    index = segmenter.classes.index(name)
    folder = _opened(segmenter, data)
    pairs = folder.pairs(split)
    matrix, thresholds = ConfusionMatrix(len(segmenter.classes)), ThresholdCounts(index)
    for done, pair in enumerate(pairs, start=1):
        image, target = folder.read_pair(pair)
        ((prediction, probability),) = segmenter.predict_class([image], index)
        matrix.update(target, prediction.label_map)
        thresholds.update(target, probability)
        if report:
            report(done, len(pairs))
    return matrix.scores(segmenter.classes.names), thresholds.scores()


def count_pixels(
    segmenter: Segmenter,
    data: DataFolder,
    pairs: Sequence[Pair],
    *,
    report: Callable[[int, int], None] | None = None,
) -> ConfusionMatrix:
    """One confusion matrix over some pairs; see `evaluate`."""
    matrix = ConfusionMatrix(len(segmenter.classes))
    for done, pair in enumerate(pairs, start=1):
        image, target = data.read_pair(pair)
        matrix.update(target, segmenter.predict_batch([image])[0].label_map)
        if report:
            report(done, len(pairs))
    return matrix


def _opened(segmenter: Segmenter, data: str | Path | DataFolder) -> DataFolder:
    folder = data if isinstance(data, DataFolder) else open_folder(data, classes=segmenter.classes)
    if folder.classes.names != segmenter.classes.names:
        raise DataError(
            f"{folder.root}: has the classes {_listed(folder.classes.names)}, but the model knows "
            f"{_listed(segmenter.classes.names)}; evaluate on a folder with the model's classes, in its order"
        )
    return folder


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
