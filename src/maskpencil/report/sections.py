"""Build the sections of a report: scores, classes, confusions, calibration, comparison, videos, definitions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.metrics import DetailedScores, RoadScores
from maskpencil.metrics.boundary import BAND, TOLERANCE
from maskpencil.metrics.calibration import BINS
from maskpencil.metrics.detailed import SUMMARY
from maskpencil.metrics.intervals import Interval
from maskpencil.metrics.objects import FOUND, SIZES
from maskpencil.report.charts import bar, boundary_figure, curve, over_time, swatch
from maskpencil.report.compare import Comparison, verdict
from maskpencil.report.html import Child, element, name_of, with_options
from maskpencil.report.images import GROUPS
from maskpencil.report.summary import calibration_verdict, headline, interval_note, partners, why, worst_class
from maskpencil.report.video import VideoFindings

MAX_MATRIX_CLASSES = 30
"""With more classes the most frequent confusions are listed instead of the confusion matrix."""

MAX_CONFUSIONS = 40
"""The largest number of pairs of classes in the list of the most frequent confusions."""

MAX_LOST = 10
"""The largest number of listed images on which a model is worse than the first model."""


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share, 0..1, as text in percent; "–" for None and NaN."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}%}"


def section(name: str, title: str, *children: Child | Iterable[Child]) -> Element:
    """Return a section with the heading `title` and the id `name`, to which the navigation of the page links."""
    heading = element("h2", title)
    return element("section", heading, *children, id=name, aria_label=title)


def labeled(classes: ClassSet, index: int) -> list[Child]:
    """Return the color square, the number and the name of a class; the number, index + 1, is also in drawn images."""
    return [swatch(classes.palette[index]), f"{index + 1} ", name_of(classes.names[index])]


def scores_section(scores: DetailedScores, steps: Sequence[str], *, split: str, videos: int) -> Element:
    """Return the section with the headline, the scores, their intervals, the weakest class and what to do next.

    Args:
        scores: the scores.
        steps: the advice from `next_steps`.
        split: the name of the scored split.
        videos: the number of videos that the images belong to, judged by their names; 0 if they are not frames.
    """
    cards = []
    for name in ("mean_iou", "pixel_accuracy", "mean_boundary_f1"):
        value, interval = getattr(scores, name), scores.intervals.get(name)
        cards.append(_card(_shown(value), f"{SUMMARY[name]}{f', 95%: {_range(interval)}' if interval else ''}"))
    if scores.calibration_error is not None:
        cards.append(_card(f"{scores.calibration_error:.3f}", "expected calibration error, 0 is best"))
    remarks: list[Child] = []
    if worst := worst_class(scores):
        name, each = worst
        remarks.append(
            element("li", "The weakest class is ", name_of(name), f" with IoU {each.iou:.3f}: {why(scores, name)}.")
        )
    if split == "val":
        remarks.append(
            element("li", "Training chose its best model by the images of val: scores on a test split are fairer.")
        )
    rows = []
    for name in SUMMARY:
        interval = scores.intervals.get(name)
        cells = [element("th", SUMMARY[name], scope="row"), _number(getattr(scores, name))]
        rows.append(element("tr", cells, element("td", _range(interval))))
    head = element("tr", *(element("th", text, scope="col") for text in ("score", "value", "95% interval")))
    table = element("table", element("thead", head), element("tbody", rows))
    return section(
        "scores",
        "How good it is",
        element("p", headline(scores, videos=videos)),
        element("div", cards, class_="cards"),
        element("ul", remarks) if remarks else None,
        element("h3", "What to do next") if steps else None,
        element("ol", [element("li", with_options(step)) for step in steps]) if steps else None,
        element("h3", "All scores"),
        _scrollable(table, "All scores"),
        element("p", interval_note(scores, videos=videos), class_="faint small"),
    )


def classes_section(scores: DetailedScores, classes: ClassSet, training: Mapping[str, tuple[float, int]]) -> Element:
    """Return the section with the scores of each class and the objects found by size, in sortable tables.

    `training` is that of `summary.next_steps`; without it the column of the training pixels is left out.
    """
    total = sum(each.pixels for each in scores.classes.values()) or 1
    titles = ["class", "IoU", "", "95% interval", "accuracy", "precision", "boundary F1", "Boundary IoU", "share"]
    titles += ["in training"] if training else []
    rows = []
    for index, (name, each) in enumerate(scores.classes.items()):
        interval = each.intervals.get("iou")
        drawn = bar(each.iou, interval, label=f"{name}: IoU {_text(each.iou)}")
        cells = [
            element("th", labeled(classes, index), scope="row", data_value=name),
            _number(each.iou),
            element("td", drawn, data_value=_text(each.iou)),
            element("td", _range(interval), data_value=f"{interval[0]:.4f}" if interval else ""),
            *(_number(getattr(each, score)) for score in ("accuracy", "precision", "boundary_f1", "boundary_iou")),
            element("td", percent(each.pixels / total, 2), data_value=f"{each.pixels / total:.8f}"),
        ]
        if training:
            share = training.get(name, (0.0, 0))[0]
            cells.append(element("td", percent(share, 2), data_value=f"{share:.8f}"))
        rows.append(element("tr", cells))
    sized = []
    for index, (_, each) in enumerate(scores.classes.items()):
        if not any(objects.objects for objects in each.objects.values()):
            continue
        cells = [element("th", labeled(classes, index), scope="row")]
        for objects in each.objects.values():
            shown = f"{objects.found:,} of {objects.objects:,}" if objects.objects else "–"
            cells += [
                element("td", shown, data_value=f"{objects.found / objects.objects:.6f}" if objects.objects else ""),
                element("td", percent(objects.accuracy), data_value=_text(objects.accuracy)),
            ]
        sized.append(element("tr", cells))
    limits = [*SIZES.values()]
    return section(
        "classes",
        "Classes",
        _sortable(titles, rows, "Scores by class; press a heading to sort."),
        element("h3", "Objects by size"),
        element(
            "p",
            f"An object is a connected region of a class in the masks. It counts as found if at least {FOUND:.0%} of "
            f"its pixels are right. Small means under {limits[1]:,} pixels, large {limits[2]:,} or more.",
        ),
        _sortable(
            ["class", "small found", "pixels right", "medium found", "pixels right", "large found", "pixels right"],
            sized,
            "Objects found, and the share of their pixels that is right.",
        ),
    )


def confusion_section(scores: DetailedScores, classes: ClassSet) -> Element:
    """Return the section with the main confusions of each class, and the confusion matrix in percent of each row."""
    counts, names = scores.confusion_matrix, list(scores.classes)
    totals = counts.sum(axis=1)
    rows = []
    for index in range(len(names)):
        lost, taken = (partners(row, index, names) for row in (counts[index], counts[:, index]))
        if lost or taken:
            title = element("th", labeled(classes, index), scope="row")
            rows.append(element("tr", title, _partners(lost), _partners(taken)))
    head = element(
        "tr",
        *map(_text_heading, ("class", "missed: its pixels are called", "invented: pixels called this class are")),
    )
    table = element("table", element("thead", head), element("tbody", rows))
    parts: list[Child] = [
        element("p", "The classes with which each class is confused most: up to three, from 1% of its pixels."),
        _scrollable(table, "Confusions of each class"),
    ]
    if 1 < len(names) <= MAX_MATRIX_CLASSES:
        numbers = (element("th", str(j + 1), scope="col", title=name) for j, name in enumerate(names))
        heads = element("tr", element("th", "class", scope="col"), *numbers)
        body = []
        for index in range(len(names)):
            cells = [element("th", labeled(classes, index), scope="row")]
            for other in range(len(names)):
                share = counts[index, other] / totals[index] if totals[index] else 0.0
                cells.append(
                    _heat(float(share), f"{names[index]} called {names[other]}: {counts[index, other]:,} pixels")
                )
            body.append(element("tr", cells))
        caption = element(
            "caption", "Rows: the class in the masks. Columns: the predicted class. In percent of the row."
        )
        matrix = element("table", caption, element("thead", heads), element("tbody", body), class_="matrix")
        parts += [element("h3", "Confusion matrix"), _scrollable(matrix, "Confusion matrix")]
    elif len(names) > MAX_MATRIX_CLASSES:
        wrong = counts.copy()
        np.fill_diagonal(wrong, 0)
        order = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None)[:MAX_CONFUSIONS]]
        body = [
            element(
                "tr",
                element("td", labeled(classes, i)),
                element("td", labeled(classes, j), class_="text"),
                element("td", f"{wrong[i, j]:,}"),
            )
            for i, j in order
            if wrong[i, j]
        ]
        heads = element(
            "tr", *(_text_heading(text) for text in ("class in the masks", "predicted class")), element("th", "pixels")
        )
        parts += [
            element("h3", "Most frequent confusions"),
            _scrollable(element("table", element("thead", heads), element("tbody", body)), "Most frequent confusions"),
        ]
    return section("confusion", "Confusions", *parts)


def calibration_section(scores: DetailedScores, classes: ClassSet) -> Element | None:
    """Return the section with the reliability curve and, for two classes, the curve of precision and recall.

    Return None if the scores were computed without confidences.
    """
    if scores.calibration_error is None:
        return None
    points = [(confidence, accuracy) for confidence, accuracy, _ in scores.reliability]
    rows = [
        element(
            "tr", element("td", f"{confidence:.3f}"), element("td", f"{accuracy:.3f}"), element("td", f"{pixels:,}")
        )
        for confidence, accuracy, pixels in scores.reliability
    ]
    head = element("tr", *(element("th", text, scope="col") for text in ("confidence", "right", "pixels")))
    drawn = curve(points, label="Reliability curve", across="confidence", up="share of right pixels", diagonal=True)
    figure = element(
        "figure",
        drawn,
        element(
            "figcaption",
            "On the dashed line confidence and share of right pixels agree; below it confidences are too high.",
        ),
    )
    table = _scrollable(element("table", element("thead", head), element("tbody", rows)), "Confidence and accuracy")
    parts: list[Child] = [
        element(
            "p",
            f"{calibration_verdict(scores)} The expected calibration error is {scores.calibration_error:.4f}: "
            f"confidence and share of right pixels differ by {100 * scores.calibration_error:.1f} points on average, "
            f"over {BINS} equally wide bins of confidence.",
        ),
        element("div", figure, table, class_="figures"),
    ]
    if scores.foreground:
        parts += _threshold(scores.foreground, scores.precision_recall, classes.names[1])
    return section("calibration", "Can its confidence be trusted", *parts)


def _threshold(road: RoadScores, points: Sequence[tuple[float, float, float]], name: str) -> Iterator[Child]:
    """Yield the heading, the curve and the best threshold for the class `name`.

    Args:
        road: the scores of the class at the best threshold.
        points: (threshold, precision, recall) of all thresholds; empty if no pixel of the masks has the class.
        name: the name of the class.
    """
    yield element("h3", "Precision and recall of ", name_of(name))
    if not points:
        yield element("p", "No pixel of the masks has this class.")
        return
    drawn = curve(
        [(recall, precision) for _, precision, recall in points],
        label="Precision and recall at all thresholds",
        across="recall",
        up="precision",
        marked=(road.recall, road.precision),
    )
    yield element("figure", drawn)
    yield element(
        "p",
        f"The best F1, {road.max_f1:.3f}, is reached at the threshold {road.threshold:.2f} (circle): precision "
        f"{road.precision:.3f}, recall {road.recall:.3f}. Without --threshold, 0.50 is used.",
    )


def comparison_section(
    names: Sequence[str],
    scores: Sequence[DetailedScores],
    comparisons: Sequence[Comparison],
    images: Sequence[str],
) -> Element:
    """Return the section with the scores of all models, and the differences of each further model to the first model.

    Args:
        names: the names of the models.
        scores: the scores of each model.
        comparisons: the comparison of each model but the first with the first model.
        images: the file names of the scored images.
    """
    rows = [
        element(
            "tr",
            element("th", name_of(name), scope="row"),
            _number(each.mean_iou),
            element("td", _range(each.intervals.get("mean_iou"))),
            _number(each.pixel_accuracy),
            _number(each.mean_boundary_f1),
        )
        for name, each in zip(names, scores, strict=True)
    ]
    titles = ("model", "mean IoU", "95% interval", "pixel accuracy", "boundary F1")
    head = element("tr", *(element("th", text, scope="col") for text in titles))
    table = element("table", element("thead", head), element("tbody", rows))
    parts: list[Child] = [_scrollable(table, "Scores of the models")]
    for name, comparison in zip(names[1:], comparisons, strict=True):
        kind = "" if not comparison.mean_iou.is_clear else "better" if comparison.mean_iou.value > 0 else "worse"
        parts.append(element("p", element("span", verdict(comparison, names[0], name), class_=kind or None)))
        rows = []
        for class_name, difference in sorted(comparison.classes.items(), key=lambda item: item[1].value):
            interval = difference.interval
            shown = "–" if interval is None else f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
            clear = ("better" if difference.value > 0 else "worse") if difference.is_clear else "not clear"
            rows.append(
                element(
                    "tr",
                    element("th", name_of(class_name), scope="row", data_value=class_name),
                    element("td", f"{100 * difference.value:+.1f}", data_value=f"{difference.value:.6f}"),
                    element("td", shown, data_value=f"{interval[0]:.6f}" if interval else ""),
                    element("td", clear, data_value=clear),
                )
            )
        parts.append(_sortable(["class", "IoU, points", "95% interval", "verdict"], rows, f"{name} minus {names[0]}"))
        order = sorted((value, i) for i, value in enumerate(comparison.images) if not np.isnan(value) and value < 0)
        lost = [element("li", name_of(images[i]), f": {100 * value:+.1f} points") for value, i in order[:MAX_LOST]]
        count = f" ({len(order)} of {len(images)})"
        parts.append(element("h3", "Images where ", name_of(name), f" is worse{count}"))
        parts.append(element("ul", lost) if lost else element("p", "None."))
    return section("comparison", "Comparison", *parts)


def video_section(found: VideoFindings, classes: ClassSet) -> Iterator[Element]:
    """Yield the sections of a video: flicker, uncertainty (if known) and the shares of the classes over time."""
    mean = found.mean_flicker
    text = (
        "No two successive frames have still pixels, so that flicker cannot be measured."
        if np.isnan(mean)
        else f"{mean:.2%} of the pixels that do not move change their class from one frame to the next. "
        "If the flicker disturbs, predict with --smooth 0.5. Gaps in the curve are cuts and frames in which all pixels "
        "move."
    )
    yield section(
        "flicker",
        "Flicker",
        element("p", with_options(text)),
        over_time(found.flicker, found.seconds, label="Share of the still pixels that change their class"),
    )
    if not np.isnan(found.uncertainty).all():
        yield section(
            "uncertainty",
            "Uncertainty",
            element("p", "The mean of 1 - confidence over the pixels of each frame."),
            over_time(found.uncertainty, found.seconds, label="Mean of 1 - confidence"),
        )
    shares = np.array(found.shares)
    charts: list[Child] = []
    for index in np.argsort(-shares.mean(axis=0), kind="stable").tolist():
        if shares[:, index].any():
            title = element("figcaption", labeled(classes, index), f" {shares[:, index].mean():.1%} on average")
            values = shares[:, index].tolist()
            charts.append(
                element("figure", title, over_time(values, found.seconds, label=f"Share of {classes.names[index]}"))
            )
    yield section("shares", "Shares of the classes over time", element("div", charts, class_="figures"))


def definitions_section() -> Element:
    """Return the section with the definitions of the scores, and the figure of the boundary scores."""
    return section(
        "definitions",
        "How the numbers are defined",
        element(
            "p",
            "All scores are computed from counts summed over all images. IoU is TP / (TP + FP + FN), accuracy (recall) "
            "TP / (TP + FN), precision TP / (TP + FP). Ignored pixels are not counted, and classes that never occur "
            "are left out of means. The mean IoU of an image is over the classes that occur in the image.",
        ),
        element(
            "p",
            "A boundary pixel has a pixel of another class among its 4 neighbors; ignored pixels and the border of the "
            "image make no boundary. Boundary F1 combines precision and recall of boundary pixels, which match if one "
            f"of the same class is at most {TOLERANCE:.2%} of the image's diagonal away. Boundary IoU is the IoU "
            f"within bands of {BAND:.0%} of the diagonal along the boundaries. Both distances are at least one pixel.",
        ),
        element("figure", boundary_figure()),
    )


def group_choices(groups: Iterable[str], classes: ClassSet, present: Iterable[int], target: str) -> Element:
    """Return the controls that show only the images of a group or a class.

    Args:
        groups: the keys of `GROUPS` to choose from.
        classes: the classes.
        present: the indices of the classes to choose from.
        target: the id of the list of images.
    """
    options = [element("option", "all", value="")]
    options += [element("option", GROUPS[group], value=group) for group in groups]
    of_class = [element("option", "any", value="")]
    of_class += [element("option", f"{i + 1} {classes.names[i]}", value=i) for i in present]
    return element(
        "div",
        element("label", "Images: ", element("select", options, data_by="groups")),
        element("label", "Class: ", element("select", of_class, data_by="classes")),
        element("output", class_="faint small"),
        class_="tools",
        data_list=target,
    )


def legend(classes: ClassSet, present: Iterable[int]) -> Element:
    """Return a list with the colors, numbers and names of the classes whose indices are in `present`."""
    return element("ul", [element("li", labeled(classes, index)) for index in present], class_="legend")


def _card(number: str, below: str) -> Element:
    return element("div", element("div", number, class_="number"), element("p", below), class_="card")


def _range(interval: Interval | None) -> str:
    return "–" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def _text(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.4f}"


def _shown(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"


def _number(value: float | None) -> Element:
    return element("td", _shown(value), data_value=_text(value))


def _text_heading(text: str) -> Element:
    return element("th", text, scope="col", class_="text")


def _heat(share: float, title: str) -> Element:
    """Return a cell of the confusion matrix, shaded by its `share` of the row, 0..1, with the tooltip `title`."""
    shade = element("rect", width=44, height=18, rx=3, fill_opacity=round(0.65 * share, 3))
    shown = f"{100 * share:.0f}" if share >= 0.005 else ""
    text = element("text", shown, x=22, y=13, text_anchor="middle")
    drawn = element("svg", shade, text, viewBox="0 0 44 18", width=44, height=18, class_="heat", aria_hidden="true")
    return element("td", drawn, element("span", f"{share:.1%}", class_="unseen"), title=title)


def _partners(pairs: Sequence[tuple[str, float]]) -> Element:
    cells: list[Child] = []
    for number, (name, share) in enumerate(pairs):
        cells += [", " if number else "", name_of(name), f" {share:.0%}"]
    return element("td", cells or "–", class_="text")


def _sortable(titles: Sequence[str], rows: Sequence[Element], caption: str) -> Element:
    heads = [
        element(
            "th",
            element("button", title, type="button") if title else element("span", "chart", class_="unseen"),
            scope="col",
        )
        for title in titles
    ]
    table = element(
        "table", element("caption", caption), element("thead", element("tr", heads)), element("tbody", rows)
    )
    return _scrollable(table, caption)


def _scrollable(table: Element, label: str) -> Element:
    """Return an element in which a wide table scrolls, also by the keyboard; `label` describes the table."""
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
