"""Score a segmenter on a labeled folder: `DetailedScores` of all classes and, on request, `RoadScores` of one class."""

import math
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Pair
from maskpencil.errors import DataError
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import DetailedCounts, DetailedScores, RoadScores, ThresholdCounts
from maskpencil.parsing import did_you_mean, read_path
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, predict_each
from maskpencil.runtimes.upsampling import Floats
from maskpencil.segmenter import load_predictor

T = TypeVar("T")

BATCH_PIXELS = 2**17
"""The largest number of pixels in a batch of small images, such as 12 of 90x120."""

MIN_VIDEOS = 8
"""The smallest number of videos for intervals over videos; fewer videos say too little about other videos."""

SHORT = 8
"""At most one in `SHORT` of a video's frames before a frame, and as many after it, are its `neighboring_frames`."""

_FRAME_NUMBER = re.compile(r"\d+$")

MAX_LISTED_CLASSES = 20
"""The largest number of classes that an error message lists."""


def evaluate(
    segmenter: Predictor | str | os.PathLike[str],
    data: str | os.PathLike[str] | DataFolder,
    *,
    split: str = "val",
    report: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> DetailedScores:
    """Score a segmenter on one split of a folder, every image whole and at its own size.

    `segmenter` may be a model folder, which is loaded. If the data have the model's classes in another order, classes
    are matched by name, see `match_classes`, and `tell` is called with a note. `report` is called with (images done,
    total).

    Example:
        >>> scores = mp.evaluate("runs/train/street/model", "street", split="test")
        >>> scores.images
        2

    Raises:
        ConfigError: an argument has the wrong type or value.
        DataError: the folder cannot be read, lacks the split, or has other classes than the segmenter.
        ModelError: the model folder cannot be read.
    """
    segmenter, folder = _opened(segmenter, data, tell)
    return evaluate_pairs(segmenter, folder, folder.pairs(split), report=report)


def evaluate_pairs(
    segmenter: Predictor,
    folder: DataFolder,
    pairs: Sequence[Pair],
    *,
    report: Callable[[int, int], None] | None = None,
    measure: Callable[[LabelMap, Prediction], T] = lambda *_: None,  # type: ignore[assignment]
    use: Callable[[T], bool] = lambda _: True,
) -> DetailedScores:
    """Score a segmenter on some pairs of a folder, whose class numbers must be those of the segmenter.

    Args:
        segmenter: the segmenter.
        folder: the folder.
        pairs: the pairs to score.
        report: called with (pairs done, total).
        measure: called with the target (H, W) and the prediction of each pair, in several threads.
        use: called with each result of `measure`, in the order of the pairs; if it returns False, the remaining pairs
            are left out.
    """
    counts = DetailedCounts(len(segmenter.classes))
    call = partial(segmenter.predict_batch, confidence=True)

    def counted(target: LabelMap, prediction: Prediction) -> tuple[DetailedCounts, T]:
        own = DetailedCounts(len(segmenter.classes))
        own.update(target, prediction.label_map, prediction.confidence)
        return own, measure(target, prediction)

    with closing(predict_pairs(segmenter, folder, pairs, call, report=report, then=counted)) as predicted:
        for _, (own, measured) in predicted:
            counts.merge(own)
            if not use(measured):
                break
    return counts.scores(segmenter.classes.names, videos_of(pairs[: counts.images]))


def evaluate_class(
    segmenter: Predictor | str | os.PathLike[str],
    data: str | os.PathLike[str] | DataFolder,
    name: str,
    *,
    split: str = "val",
    report: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[DetailedScores, RoadScores]:
    """Compute the scores of `evaluate`, and the `RoadScores` of the class `name`, in one pass over the images.

    Raises:
        DataError: the model has no class `name`; see also `evaluate`.
    """
    segmenter = load_predictor(segmenter)
    index = segmenter.classes.index(name)
    segmenter, folder = _opened(segmenter, data, tell)
    counts, thresholds = DetailedCounts(len(segmenter.classes)), ThresholdCounts(index)
    pairs, call = folder.pairs(split), partial(segmenter.predict_class, index=index, confidence=True)

    def counted(target: LabelMap, result: tuple[Prediction, Floats]) -> tuple[DetailedCounts, ThresholdCounts]:
        prediction, probability = result
        own, reached = DetailedCounts(len(segmenter.classes)), ThresholdCounts(index)
        own.update(target, prediction.label_map, prediction.confidence)
        reached.update(target, probability)
        return own, reached

    with closing(predict_pairs(segmenter, folder, pairs, call, report=report, then=counted)) as predicted:
        for _, (own, reached) in predicted:
            counts.merge(own)
            thresholds.add(reached.counts, images=1)
    return counts.scores(segmenter.classes.names, videos_of(pairs)), thresholds.scores()


def video_names(pairs: Sequence[Pair]) -> list[str]:
    """Return the name of each pair's video, which is the name of the pair without the number at its end.

    Return [] if the pairs do not look like frames of videos: if a video's name would have neither a digit nor a slash,
    as for IMG_0001, or if the videos would have fewer than two frames on average.
    """
    videos = [_FRAME_NUMBER.sub("", pair.name) for pair in pairs]
    are_frames = all(re.search(r"\d|/", video) for video in videos)
    return videos if are_frames and 2 * len({*videos}) <= len(videos) else []


def neighboring_frames(pairs: Sequence[Pair], reach: int) -> list[list[int]]:
    """Return, for each pair, its own index and the indices of the pairs at most `reach` frames away in its video.

    Videos are recognized by names, see `video_names`; pairs that are not frames of videos have no neighbors. In a short
    video, at most one in `SHORT` of its frames before a frame, and as many after it, are neighbors of the frame.
    """
    videos = video_names(pairs)
    found = [[index] for index in range(len(pairs))]
    frames: dict[str, list[int]] = {}
    for index, video in enumerate(videos):
        frames.setdefault(video, []).append(index)
    for own in frames.values():
        own.sort(key=lambda index: int(pairs[index].name[len(videos[index]) :]))
        near = min(reach, math.ceil(len(own) / SHORT))
        for rank, index in enumerate(own):
            found[index] = own[max(0, rank - near) : rank + near + 1]
    return found


def videos_of(pairs: Sequence[Pair]) -> list[str] | None:
    """Return the name of each pair's video, for intervals over videos, since the frames of a video resemble each other.

    Return None, for intervals over images, if there are fewer than `MIN_VIDEOS` videos.
    """
    videos = video_names(pairs)
    return videos if len({*videos}) >= MIN_VIDEOS else None


def predict_pairs(
    predictor: Predictor,
    data: DataFolder,
    pairs: Sequence[Pair],
    call: Callable[[list[RGBImage]], Sequence[Any]],
    *,
    report: Callable[[int, int], None] | None = None,
    then: Callable[[LabelMap, Any], Any] | None = None,
) -> Generator[tuple[LabelMap, Any], None, None]:
    """Read pairs of image and mask, run `call` on the images, and yield each target (H, W) with its image's result.

    For `predictor`, `call` and `then` see `predict_each`. `report` is called with (pairs done, total) each time the
    caller has used a result and requests the next.
    """

    def read(pair: Pair) -> tuple[LabelMap, RGBImage]:
        image, target = data.read_pair(pair)
        return target, image

    with closing(predict_each(predictor, pairs, read, call, batch_pixels=BATCH_PIXELS, then=then)) as predicted:
        for done, (target, result) in enumerate(predicted, start=1):
            if result is not None:
                yield target, result
            if report:
                report(done, len(pairs))


def match_classes(folder: DataFolder, classes: ClassSet) -> tuple[DataFolder, str]:
    """Renumber the classes of a folder in the order of a model, by their names.

    Returns:
        The folder with the class numbers of the model, and a note if the order of the classes differed, else "".

    Raises:
        DataError: the names of the classes differ.
    """
    own = folder.classes
    if own.names == classes.names:
        return folder, ""
    if {*own.names} != {*classes.names}:
        raise DataError(_names_differ(folder, classes))
    numbers = [classes.index(name) for name in own.names]
    codes = {
        value: IGNORE_INDEX if index == IGNORE_INDEX else numbers[index]
        for value, index in folder.encoding.table.items()
    }
    line = (
        f"{folder.root}: has the model's classes in another order ({_listed(own.names)}), which are matched by name to "
        f"{_listed(classes.names)}"
    )
    encoding = replace(folder.encoding, classes=classes, codes=codes)
    return replace(folder, encoding=encoding, notes=(*folder.notes, line)), line


def _names_differ(folder: DataFolder, classes: ClassSet) -> str:
    own = folder.classes.names
    lacking = [name for name in classes.names if name not in own]
    others = [name for name in own if name not in classes.names]
    differing = [f"the model has no {name!r}{_hint(name, lacking)}" for name in others]
    differing += [f"the data have no {', '.join(map(repr, lacking))}"] if lacking else []
    remedy = (
        f"if these classes mean the same, give them the model's names in {folder.root / 'classes.yaml'}; else train a "
        "model on these classes"
        if len(own) == len(classes)
        else "evaluate a model that was trained on these classes"
    )
    return (
        f"{folder.root}: has the classes {_listed(own)}, but the model has {_listed(classes.names)}; "
        f"{', '.join(differing)}; {remedy}"
    )


def _hint(name: str, lacking: Sequence[str]) -> str:
    meant = did_you_mean(name, lacking).removeprefix("; ")
    return f" ({meant})" if meant else ""


def _opened(
    segmenter: Predictor | str | os.PathLike[str],
    data: str | os.PathLike[str] | DataFolder,
    tell: Callable[[str], None],
) -> tuple[Predictor, DataFolder]:
    segmenter = load_predictor(segmenter)
    folder = data if isinstance(data, DataFolder) else open_folder(read_path("data", data), classes=segmenter.classes)
    folder, line = match_classes(folder, segmenter.classes)
    if line:
        tell(line)
    return segmenter, folder


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_LISTED_CLASSES]) + (
        f", ... ({len(names)} in all)" if len(names) > MAX_LISTED_CLASSES else ""
    )
