"""Write a report as one HTML file: on one or several models and a data set, or on a model and a video."""

import csv
import hashlib
import math
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.layout import Pair
from maskpencil.errors import ConfigError, DataError, OutputError
from maskpencil.evaluation import evaluate_pairs, match_classes, neighboring_frames, video_names, videos_of
from maskpencil.files import refuse_unwritable, run_name, written_whole
from maskpencil.images import RGBImage
from maskpencil.label_maps import LabelMap
from maskpencil.metrics import DetailedScores
from maskpencil.parsing import is_several, read_path, read_whole
from maskpencil.pipeline import in_parallel
from maskpencil.plain_text import counted
from maskpencil.prediction import Prediction
from maskpencil.predictor import Predictor, predict_each
from maskpencil.report import sections
from maskpencil.report.compare import compare
from maskpencil.report.html import MARK, element, name_of, page
from maskpencil.report.images import GROUPS, Choice, choose_images, fitted
from maskpencil.report.label_errors import NEIGHBORS, REGION, LabelErrors, Suspect, csv_rows
from maskpencil.report.shots import Shot, image_shot, present_classes, suspect_shot
from maskpencil.report.summary import next_steps
from maskpencil.report.video import describe_video
from maskpencil.segmenter import load_predictor

QUALITIES = (80, 60, 40)
"""The WebP qualities, 0..100, that are tried in turn until the page is small enough."""

ENCODERS = 4
"""The number of threads that encode images."""

SHOWN_SUSPECTS = 30
"""The largest number of suspected label errors that the page shows; the CSV file lists all."""

DRAWING_SHARE = 0.3
"""The share of `ReportOptions.seconds` that scoring leaves for drawing images."""

SHOWN_ALIKE, SHOWN_MODELS = 4, 3
"""The largest number of suspects of the same two classes, and of models with drawn predictions, that the page shows."""

LABEL_ERRORS = "label_errors.csv"
"""The name of the CSV file of suspected label errors beside report.html; NAME.html gets NAME_label_errors.csv."""

DIGEST_NAME = "label-errors"
"""The name of the meta element with the digest, see `DIGEST`."""

DIGEST = re.compile(rf'<meta name="{DIGEST_NAME}" content="(\w+)">')
"""The meta element of a report with the SHA-256 of its CSV file of label errors, to detect changes of the file."""

HEAD = 4096
"""The number of characters at the start of a file that are searched for `MARK` and `DIGEST`."""

Progress = Callable[[int, int], None]
"""A function that is called with (done, total)."""


@dataclass(frozen=True)
class ReportOptions:
    """The settings of a report.

    Attributes:
        split: the split whose images are scored.
        top: about how many images are shown, in addition to the worst image of each class.
        size: the largest size of the HTML file in bytes.
        seconds: the time limit; images for which the time does not suffice are left out. None means no limit.

    Example:
        >>> options = mp.ReportOptions(split="test", top=8)
        >>> mp.write_report("runs/train/street/model", "street", "test.html", options=options).images
        2

    Raises:
        ConfigError: `top` is not a whole number from 1 on, or `size` is not a whole number from 1,000,000 on.
    """

    split: str = "val"
    top: int = 24
    size: int = 15_000_000
    seconds: float | None = None

    def __post_init__(self) -> None:
        read_whole("top", self.top, least=1)
        if read_whole("size", self.size) < 1_000_000:
            raise ConfigError(f"size must be at least 1 MB, but got {self.size} bytes")


def write_report(
    models: Any,
    data: str | os.PathLike[str] | DataFolder,
    out: str | os.PathLike[str],
    *,
    options: ReportOptions | None = None,
    progress: Progress = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> DetailedScores:
    """Score models on a folder of images and masks, and write one HTML file that shows how good they are and why.

    If label errors are suspected, they are listed in the file `label_errors.csv` beside the HTML file.

    Args:
        models: a segmenter or a model folder, or a list of them; further models are compared with the first.
        data: the folder of images and masks.
        out: the HTML file to write; an earlier report is replaced, any other file is not.
        options: the settings; by default those of `ReportOptions()`.
        progress: called with (images done, total), where the images of each model count.
        tell: called with a remark if the data have the classes of the first model in another order.

    Returns:
        The scores of the first model.

    Example:
        >>> scores = mp.write_report("runs/train/street/model", "street", "report.html")
        >>> scores.images
        4

    Raises:
        ConfigError: an argument has the wrong type or value.
        DataError: the folder cannot be read, lacks the split, or has other classes than a model.
        ModelError: a model folder cannot be read.
        OutputError: `out` is not an earlier report, or a file cannot be written.
    """
    options, out = options or ReportOptions(), read_path("out", out)
    started = time.monotonic()
    refuse_to_replace(out)
    names, predictors = _loaded(models)
    first = predictors[0]
    folder = data if isinstance(data, DataFolder) else open_folder(read_path("data", data), classes=first.classes)
    folder, line = match_classes(folder, first.classes)
    if line:
        tell(line)
    pairs = list(folder.pairs(options.split))
    end = math.inf if options.seconds is None else started + options.seconds
    if options.seconds is not None:
        random.Random(0).shuffle(pairs)  # noqa: S311 - so that the images scored in time represent all
    errors = LabelErrors(len(first.classes))

    def measure(target: LabelMap, prediction: Prediction) -> LabelErrors:
        own = LabelErrors(len(first.classes))
        if prediction.confidence is not None:
            own.add(target, prediction.label_map, prediction.confidence)
        return own

    def use(own: LabelErrors) -> bool:
        errors.merge(own)
        share = (1 - DRAWING_SHARE) / len(predictors)
        return options.seconds is None or time.monotonic() < started + share * options.seconds

    scores = [
        evaluate_pairs(first, folder, pairs, report=_part(progress, 0, len(predictors)), measure=measure, use=use)
    ]
    pairs = pairs[: scores[0].images]
    for number, predictor in enumerate(predictors[1:], start=1):
        scores.append(evaluate_pairs(predictor, folder, pairs, report=_part(progress, number, len(predictors))))
    found = errors.ranked(neighboring_frames(pairs, NEIGHBORS))
    files = [_shown(pair, folder) for pair in pairs]
    videos = video_names(pairs)
    choices = choose_images(
        scores[0], options.top, videos if options.seconds is None else ()
    )  # shuffled images are not in the order of the frames
    models = dict(zip(names, predictors, strict=True))
    shots, doubts = _drawn(models, folder, pairs, scores[0], choices, _varied(found), end)
    training = _training(folder, options.split)
    table = errors_file(out)
    steps = next_steps(
        scores[0],
        training=training,
        training_images=len(folder.splits.get("train", ())),
        suspects=len(found),
        csv=table.name,
    )
    parts = [sections.scores_section(scores[0], steps, split=options.split, videos=len({*videos}))]
    if len(scores) > 1:
        groups = videos_of(pairs)
        comparisons = [compare(scores[0], each, groups) for each in scores[1:]]
        parts.append(sections.comparison_section(names, scores, comparisons, files))
    parts.append(sections.classes_section(scores[0], first.classes, training))
    parts.append(sections.confusion_section(scores[0], first.classes))
    parts += [part for part in (sections.calibration_section(scores[0], first.classes),) if part is not None]
    of = len(folder.pairs(options.split))
    count = counted(len(pairs), "image") if len(pairs) == of else f"{len(pairs)} of {of} images"
    compared = f", compared with {' and '.join(names[1:])}" if len(names) > 1 else ""
    lead = element("p", f"{count} of the split {options.split} of ", name_of(str(folder.root)), class_="faint")
    rows = _csv_text(csv_rows(found, files, first.classes.names)) if found else ""

    def written(quality: int, most: int) -> str:
        images = _images_section(shots[:most], quality, first)
        doubtful = _suspects_section(doubts[:most], quality, found, table.name)
        return _page(
            f"Report on {names[0]}{compared}", lead, [*parts, images, doubtful, sections.definitions_section()], rows
        )

    _write(out, written, max(len(shots), len(doubts)), options.size)
    if found:
        with written_whole(table) as temporary:
            temporary.write_text(rows, encoding="utf-8", newline="")
    else:
        table.unlink(missing_ok=True)  # the table of the earlier report
    return scores[0]


def report_video(
    model: Any,
    video: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: ReportOptions | None = None,
    progress: Progress = lambda *_: None,
) -> None:
    """Segment a video, and write one HTML file that shows flicker, uncertainty and the class shares over time.

    Args:
        model: a segmenter or a model folder.
        video: the path of the video.
        out: the HTML file to write; an earlier report is replaced, any other file is not.
        options: the settings, of which only `size` has an effect; by default those of `ReportOptions()`.
        progress: called with (frames done, total); the total may be an estimate.

    Raises:
        ModelError: the model folder cannot be read.
        OutputError: `out` is not an earlier report, or cannot be written.
        VideoError: no frame of the video can be read.
    """
    options, out, path = options or ReportOptions(), read_path("out", out), read_path("video", video)
    refuse_to_replace(out, with_table=False)
    (name,), (predictor,) = _loaded([model])
    found = describe_video(predictor, path, report=progress)
    shots = [
        Shot(
            f"{first:.1f} to {last:.1f} s",
            (element("p", "the most uncertain frame of this stretch", class_="faint small"),),
            ((fitted(prediction.image), "frame"), (fitted(prediction.overlay(legend=False)), "prediction")),
        )
        for first, last, prediction in found.stretches
    ]
    parts = list(sections.video_section(found, predictor.classes))
    lead = element("p", counted(len(found.seconds), "frame"), " of ", name_of(str(path)), class_="faint")

    def written(quality: int, most: int) -> str:
        items = _items(shots[:most], quality)
        stretches = sections.section("stretches", "Uncertain stretches", element("ol", items, class_="shots"))
        return _page(f"Report on {name}", lead, [*parts, *([stretches] if items else [])], "")

    _write(out, written, len(shots), options.size)


def errors_file(out: Path) -> Path:
    """Return the path of the CSV file of suspected label errors beside the report `out`."""
    return out.with_name(LABEL_ERRORS if out.stem == "report" else f"{out.stem}_{LABEL_ERRORS}")


def refuse_to_replace(out: Path, *, with_table: bool = True) -> None:
    """Check that `out` can be written, and that it is missing or an earlier report whose CSV file is unchanged.

    Args:
        out: the HTML file to write.
        with_table: also check the CSV file of label errors beside `out`.

    Raises:
        OutputError: `out` is a folder or another file, the CSV file is another file or was changed, or `out` cannot be
            written.
    """
    if out.is_dir() or not out.name:
        raise OutputError(f"{out}: is a folder; give the name of a file, such as {out / 'report.html'}")
    refuse_unwritable(out)
    digest = None
    if out.exists():
        head = _text_of(out, HEAD)
        if MARK not in head:
            raise OutputError(f"{out}: is not from maskpencil report; move it, or give another name with --out")
        digest = re.search(DIGEST, head)
    table = errors_file(out)
    if with_table and table.exists() and (digest is None or digest[1] != _digest(_text_of(table, -1))):
        raise OutputError(f"{table}: is not what maskpencil report wrote; move it, or give another name with --out")


def _text_of(path: Path, most: int) -> str:
    """Read the first `most` characters of a text file, or the whole file if `most` is -1."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            return file.read(most)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); give another name with --out") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def model_names(models: Sequence[Any]) -> list[str]:
    """Return a short name for each model: the name of its run or folder, with a number if two names are equal."""
    names = []
    for model in models:
        folder = model if isinstance(model, str | os.PathLike) else getattr(model, "folder", None)
        names.append(getattr(model, "name", "the model") if folder is None else run_name(folder))
    repeated = len({*names}) < len(names)
    return [f"{name} ({number})" if repeated else name for number, name in enumerate(names, start=1)]


def _loaded(models: Any) -> tuple[list[str], list[Predictor]]:
    listed = list(models) if is_several(models) else [models]
    if not listed:
        raise ConfigError("models must be a model or a list of models, but got an empty list")
    names, predictors = model_names(listed), [load_predictor(model) for model in listed]
    for name, predictor in zip(names, predictors, strict=True):
        if predictor.classes.names != predictors[0].classes.names:
            raise DataError(
                f"{name} has other classes than {names[0]}, or has them in another order; compare models that were "
                "trained on one data set"
            )
    return names, predictors


def _part(progress: Progress, number: int, count: int) -> Progress:
    return lambda done, total: progress(number * total + done, count * total)


def _varied(found: Sequence[Suspect]) -> list[Suspect]:
    """Choose at most `SHOWN_SUSPECTS` suspects, few with the same two classes, and no regions of a suspected mask."""
    masks = {suspect.image for suspect in found if suspect.kind != REGION}
    seen = Counter[tuple[int | None, int | None]]()
    shown = []
    for suspect in found:
        pair = suspect.label, suspect.would_be
        if suspect.kind == REGION and (suspect.image in masks or seen[pair] == SHOWN_ALIKE):
            continue
        seen[pair] += 1
        shown.append(suspect)
    return shown[:SHOWN_SUSPECTS]


def _drawn(
    models: Mapping[str, Predictor],
    folder: DataFolder,
    pairs: Sequence[Pair],
    scores: DetailedScores,
    choices: Sequence[Choice],
    suspects: Sequence[Suspect],
    end: float,
) -> tuple[list[Shot], list[Shot]]:
    """Read and segment the images to show a second time, since scoring keeps no images, and draw them.

    Args:
        models: the models by their names; the first one found the suspects.
        folder: the data set.
        pairs: the scored images and their masks.
        scores: the scores of the first model.
        choices: the images to show.
        suspects: the suspected label errors to show.
        end: the time, as by `time.monotonic`, after which no further image is drawn.

    Returns:
        The drawn images in the order of `choices`, and the drawn suspects in the order of `suspects`.
    """
    chosen = {choice.index: choice for choice in choices}
    doubts: dict[int, list[tuple[int, Suspect]]] = {}
    for rank, suspect in enumerate(suspects):
        doubts.setdefault(suspect.image, []).append((rank, suspect))
    (_, first), *others = list(models.items())[:SHOWN_MODELS]

    def read(index: int) -> tuple[tuple[int, LabelMap], RGBImage]:
        image, target = folder.read_pair(pairs[index])
        return (index, target), image

    def draw(value: tuple[int, LabelMap], prediction: Prediction) -> tuple[Shot | None, list[tuple[int, Shot]]]:
        (index, target), image, name = value, prediction.image, _shown(pairs[value[0]], folder)
        shot = None
        if index in chosen:
            label_maps = [prediction.label_map, *(other.predict_batch([image])[0].label_map for _, other in others)]
            drawn = dict(zip(models, label_maps, strict=False))
            shot = image_shot(name, image, target, drawn, scores.per_image[index], chosen[index], first.classes)
        return shot, [
            (rank, suspect_shot(name, image, target, prediction.label_map, suspect, first.classes))
            for rank, suspect in doubts.get(index, ())
        ]

    shots, ranked = list[Shot](), dict[int, Shot]()
    indices = list(dict.fromkeys((*chosen, *doubts)))
    with closing(predict_each(first, indices, read, first.predict_batch, then=draw)) as done:
        for _, (shot, suspected) in done:
            shots += [shot] if shot else []
            ranked |= dict(suspected)
            if time.monotonic() >= end:
                break
    return shots, [ranked[rank] for rank in sorted(ranked)]


def _items(shots: Sequence[Shot], quality: int) -> list[Element]:
    """Return the list items of `shots`; their images are encoded in several threads."""
    with closing(in_parallel(lambda shot: shot.drawn(quality), shots, workers=ENCODERS)) as items:
        return list(items)


def _images_section(shots: Sequence[Shot], quality: int, predictor: Predictor) -> Element:
    present = present_classes(shots)
    groups = [group for group in GROUPS if any(group in shot.data["data_groups"].split() for shot in shots)]
    return sections.section(
        "images",
        "Images",
        element(
            "p",
            "The worst images, the most uncertain, those around the median and the best; press an image to enlarge it. "
            "The mean IoU of an image is over the classes that occur in it, so it is often lower than the mean IoU "
            "over all images together.",
        ),
        sections.group_choices(groups, predictor.classes, present, "image-list"),
        sections.legend(predictor.classes, present),
        element("ol", _items(shots, quality), class_="shots", id="image-list"),
    )


def _suspects_section(shots: Sequence[Shot], quality: int, found: Sequence[Suspect], table: str) -> Element:
    masks = sum(suspect.kind != REGION for suspect in found)
    parts = [f"{counted(len(found) - masks, 'region')} whose label is rare for what the model predicts there"]
    if masks:
        parts.insert(0, counted(masks, "whole mask"))
    text = (
        f"Suspected are {' and '.join(parts)}. The strongest are shown, few of each kind; {table} lists all. "
        "If the data are well labeled, most suspects are errors of the model, not of the label: look at a suspect "
        "before you change its label."
        if found
        else "No label is suspect."
    )
    items = _items(shots, quality)
    return sections.section(
        "labels", "Suspected label errors", element("p", text), element("ol", items, class_="shots") if items else None
    )


def _page(title: str, lead: Element, parts: Sequence[Element], table: str) -> str:
    """Return the page as HTML.

    Args:
        title: the title and main heading.
        lead: the line below the heading.
        parts: the sections.
        table: the text of the CSV file of label errors, whose digest the page contains; empty if there is no file.
    """
    ids = [part.get("id") or "" for part in parts]
    links = [element("li", element("a", name.capitalize(), href=f"#{name}")) for name in ids]
    viewer = element(
        "dialog",
        element("img", alt=""),
        element("p"),
        *(element("button", text, type="button") for text in ("previous", "next", "close")),
        aria_label="Enlarged image",
    )
    return page(
        title,
        {DIGEST_NAME: _digest(table)} if table else {},
        element("a", "Skip to the numbers", href=f"#{ids[0]}", class_="skip"),
        element("header", element("h1", title), lead),
        element("nav", element("ul", links), aria_label="Sections"),
        element("main", list(parts)),
        element("footer", element("p", "Written by maskpencil report. This file loads nothing from the network.")),
        viewer,
    )


def _write(out: Path, written: Callable[[int, int], str], most: int, size: int) -> None:
    """Write the page with the best image quality, and then the largest number of images, that fit into `size` bytes.

    Args:
        out: the HTML file.
        written: makes the page from the image quality and the largest number of images of each section.
        most: the largest number of images of a section.
        size: the size in bytes; a page without images is written even if it is larger.
    """
    for quality in QUALITIES:
        content = written(quality, most).encode()
        if len(content) <= size:
            break
    while len(content) > size and most:
        most //= 2
        content = written(QUALITIES[-1], most).encode()
    with written_whole(out) as temporary:
        temporary.write_bytes(content)


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _training(folder: DataFolder, split: str) -> dict[str, tuple[float, int]]:
    """Return each class's share of the training pixels and the number of training images with it, by its name.

    Return {} if there are no training images, or if they are the scored images.
    """
    if split == "train" or not folder.splits.get("train"):
        return {}
    counts = folder.class_counts("train")
    total = counts.sum() or 1
    shares, images = counts.sum(axis=0) / total, (counts > 0).sum(axis=0)
    return {name: (float(shares[i]), int(images[i])) for i, name in enumerate(folder.classes.names)}


def _shown(pair: Pair, folder: DataFolder) -> str:
    """Return the path of an image relative to the data set's folder, or its whole path if it is not in the folder."""
    try:
        return pair.image.relative_to(folder.root).as_posix()
    except ValueError:
        return str(pair.image)
