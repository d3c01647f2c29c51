"""The contact sheet of a check: images and what their masks say."""

from collections.abc import Sequence

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.check.report import Report
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.images import RGBImage, read_image
from maskpencil.visualize import colorize, contact_sheet, overlay, with_legend

ROWS = 6


def overlay_sheet(report: Report) -> RGBImage | None:
    """Some pairs, spread over the data set: image, overlay, classes; None where no pair can be shown.

    Returns:
        (H, W, 3).
    """
    if report.encoding is None:
        return None
    shown = [view for view in report.seen if _fits(view, report.encoding)]
    rows, indices = [], list(range(len(report.encoding.classes)))
    for view in _spread(shown, ROWS):
        image, label_map = read_image(view.pair.image), report.encoding.read(view.pair.mask)
        if IGNORE_INDEX not in indices and (label_map == IGNORE_INDEX).any():
            indices.append(IGNORE_INDEX)
        rows.append(
            (image, overlay(image, label_map, report.encoding.classes), colorize(label_map, report.encoding.classes))
        )
    if not rows:
        return None
    sheet = contact_sheet(rows, captions=("image", "overlay", "classes"))
    return with_legend(sheet, report.encoding.classes, indices=indices)


def _fits(view: PairFacts, encoding: MaskEncoding) -> bool:
    header, facts = view.image.header, view.mask.facts
    if header is None or facts is None or header.shown_size != facts.size:
        return False
    return encoding.nearest or encoding.covers([facts])


def _spread(views: Sequence[PairFacts], count: int) -> Sequence[PairFacts]:
    """At most `count` of them, at equal distances."""
    if len(views) <= count:
        return views
    return [views[round(i * (len(views) - 1) / (count - 1))] for i in range(count)]
