"""`maskpencil evaluate`."""

import math
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from maskpencil.cli.data import labeled_data, refuse_model_as_data
from maskpencil.cli.options import (
    CLASSES,
    INPUT,
    OUTPUT,
    DataImages,
    DataMasks,
    Device,
    ImageSize,
    ModelOrServer,
    Precision,
    RuntimeName,
    SplitFile,
    TokenFile,
    found_model,
    load_predictor,
    option,
)
from maskpencil.files import written_whole
from maskpencil.metrics import DetailedScores, RoadScores
from maskpencil.metrics.confusion import plain
from maskpencil.metrics.detailed import SUMMARY
from maskpencil.metrics.intervals import ROUNDS, Interval
from maskpencil.metrics.objects import SIZES
from maskpencil.plain_text import json_text, visible
from maskpencil.progress import ProgressBar
from maskpencil.results import refuse_to_replace_file
from maskpencil.terminal import show

JSON_KEYS = ("classes", "confusion_matrix", "frequency_weighted_iou", "mean_accuracy", "mean_iou", "pixel_accuracy")
"""The keys by which a file of scores written by this command is recognized."""


def command(
    model: ModelOrServer,
    data: Annotated[Path, Parameter(help="A folder of images and masks with the model's classes.")],
    /,
    *,
    split: Annotated[Literal["train", "val", "test"], option("The split whose images are scored.", INPUT)] = "val",
    class_name: Annotated[
        str | None,
        option(
            "Also score the probability of this class by the measures of the KITTI Road benchmark, such as MaxF1.",
            CLASSES,
            "CLASS",
            name="--class",
        ),
    ] = None,
    images: DataImages = None,
    masks: DataMasks = None,
    split_file: SplitFile = None,
    json_file: Annotated[
        Path | None, option("Also write the scores to this JSON file.", OUTPUT, "FILE", name="--json")
    ] = None,
    image_size: ImageSize = None,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    token_file: TokenFile = None,
) -> None:
    """Score a model on a folder of images and masks.

    The scores, such as mean IoU, are computed from one confusion matrix over all pixels of the split.
    """
    from maskpencil.data.layout import Places
    from maskpencil.evaluation import evaluate, evaluate_class

    model = found_model(model, "evaluate", [data])
    refuse_model_as_data(data, "evaluate")
    if json_file:
        refuse_to_replace_file(json_file, keys=JSON_KEYS)  # before minutes are spent
    segmenter = load_predictor(
        model, runtime=runtime, device=device, precision=precision, image_size=image_size, token_file=token_file
    )
    if class_name is not None:
        segmenter.classes.index(class_name)  # raises an error for an unknown class before the folder is read
    folder = labeled_data(data, "evaluate", segmenter.classes, Places(images, masks, split_file))
    with ProgressBar("evaluating", 1) as bar:
        if class_name is None:
            scores, of_class = evaluate(segmenter, folder, split=split, report=bar.update_of), None
        else:
            scores, of_class = evaluate_class(segmenter, folder, class_name, split=split, report=bar.update_of)
    count = sum(map(len, folder.splits.values()))
    show(f"the split {split}: {scores.images} of {count} images", f"on {segmenter.title}", "", *table(scores))
    entries = scores.to_dict()
    if of_class:
        show("", f"{class_name}, scored by its probability", *class_table(of_class))
        entries["threshold_scores"] = {"class": class_name, **of_class.to_dict()}
    if json_file:
        with written_whole(json_file) as temporary:
            temporary.write_text(json_text(entries, indent=2) + "\n", encoding="utf-8")


COLUMNS = {"accuracy": "accuracy", "precision": "precision", "   bF1": "boundary_f1", "  bIoU": "boundary_iou"}
"""The titles and the names of the scores of a class that follow its IoU."""


def table(scores: DetailedScores) -> list[str]:
    """Format the scores as aligned lines: first each class, then the whole data set."""
    width = max(len(visible(name)) for name in (*scores.classes, "class"))
    total = sum(each.pixels for each in scores.classes.values()) or 1
    has_intervals = bool(scores.intervals)
    titles = "".join(f"  {title}" for title in COLUMNS)
    lines = [f"{'class':<{width}}     IoU{'  95% interval' if has_intervals else ''}{titles}   share"]
    for name, each in scores.classes.items():
        low_high = f"  {_range(each.intervals.get('iou')):>12}" if has_intervals else ""
        others = "".join(f"  {_score(getattr(each, score)):>{len(title)}}" for title, score in COLUMNS.items())
        lines.append(f"{visible(name):<{width}}  {_score(each.iou):>6}{low_high}{others}   {each.pixels / total:>6.2%}")
    lines.append("")
    for name in sorted(SUMMARY, key=lambda name: name != "mean_iou"):  # mean IoU first, which most readers want
        title, interval = SUMMARY[name], scores.intervals.get(name)
        value = _score(plain(getattr(scores, name)))
        lines.append(f"{title:<24} {value}{f'   {_range(interval)}' if interval else ''}")
    if scores.calibration_error is not None:
        lines.append(f"{'calibration error':<24} {scores.calibration_error:.4f}")
    for size in SIZES:
        objects = [each.objects[size] for each in scores.classes.values()]
        found, count = sum(each.found for each in objects), sum(each.objects for each in objects)
        lines.append(f"{f'{size} objects found':<24} {found:,} of {count:,}")
    lines.append(f"{'images':<24} {scores.images}")
    lines += ["", "bF1, bIoU: boundary F1 and Boundary IoU"]
    if has_intervals:
        drawn = "images" if scores.groups == scores.images else "videos"
        lines.append(f"95% intervals by the bootstrap, {ROUNDS:,} draws of {scores.groups} {drawn}")
    return lines


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else "{:.3f}-{:.3f}".format(*interval)


def class_table(scores: RoadScores) -> list[str]:
    """Format the KITTI Road scores of one class, such as MaxF1, as aligned lines."""
    values = {
        "MaxF1": scores.max_f1,
        "at the threshold": scores.threshold,
        "average precision": scores.average_precision,
        "precision": scores.precision,
        "recall": scores.recall,
        "false positive rate": scores.false_positive_rate,
        "false negative rate": scores.false_negative_rate,
    }
    return [f"{label:<24} {'-' if math.isnan(value) else f'{value:.4f}'}" for label, value in values.items()]
