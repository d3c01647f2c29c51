"""Define the result of a check (faults and class frequencies), and draw a sheet of example overlays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.faults import Fault
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.images import RGBImage, read_image
from maskpencil.plain_text import counted
from maskpencil.visualize import colorize, contact_sheet, overlay, with_legend

ORDER = ("error", "warning", "note")


@dataclass(frozen=True)
class ClassCount:
    """The frequency of a class.

    `pixels` is the number of pixels of the class, `share` (0..1) their share of all pixels that are not ignored, and
    `masks` the number of masks that contain the class.
    """

    pixels: int
    share: float
    masks: int


@dataclass(frozen=True)
class CheckReport:
    """The result of `check`.

    `notes` describe how the data set was read, `splits` has the number of pairs of each split, and `seen` the
    measurements of each pair. `ignored` counts the ignored pixels, with their share of all pixels. `encoding` is None
    if the values of the masks could not be mapped to classes. `declared` is whether a class file or the format of the
    data set defines the classes; if not, they are inferred from the masks.

    Example:
        >>> report = mp.check("street")
        >>> report.usable, report.splits["train"], report.classes["road"].masks
        (True, 8, 14)
        >>> report.verdict
        'fit for training: 14 pairs (8 train, 4 val, 2 test), 8 classes; 1 warning, 1 note'
    """

    root: Path
    notes: tuple[str, ...]
    splits: Mapping[str, int]
    faults: tuple[Fault, ...]
    classes: Mapping[str, ClassCount] = field(default_factory=dict)
    ignored: ClassCount = ClassCount(0, 0.0, 0)
    encoding: MaskEncoding | None = None
    declared: bool = True
    seen: tuple[PairFacts, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a network can be trained on the data without changes."""
        return not any(fault.severity == "error" for fault in self.faults)

    @property
    def verdict(self) -> str:
        """A line that says whether the data is fit for training, with the numbers of pairs by split and of faults."""
        counts = {severity: sum(fault.severity == severity for fault in self.faults) for severity in ORDER}
        faults = ", ".join(f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count)
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        pairs = f"{counted(sum(self.splits.values()), 'pair')} ({splits})"
        if not self.usable:
            return f"not fit for training: {pairs}; {faults}"
        faults = f"; {faults}" if faults else ", no faults"
        return f"fit for training: {pairs}, {counted(len(self.classes), 'class')}{faults}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary of JSON types, as `maskpencil check --json` writes it."""
        return {
            "data": str(self.root),
            "usable": self.usable,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "splits": dict(self.splits),
            "classes": {
                name: {"pixels": count.pixels, "share": count.share, "masks": count.masks}
                for name, count in self.classes.items()
            },
            "ignored": {"pixels": self.ignored.pixels, "share": self.ignored.share, "masks": self.ignored.masks},
            "faults": [
                {
                    "kind": fault.kind,
                    "severity": fault.severity,
                    "count": fault.count,
                    "what": fault.what,
                    "remedy": fault.remedy,
                    "files": list(fault.files),
                }
                for fault in self.faults
            ],
        }


ROWS = 6


def overlay_sheet(report: CheckReport) -> RGBImage | None:
    """Draw image, overlay and colored label map of up to six pairs, evenly spaced over the data set.

    Returns:
        The sheet (H, W, 3), or None if no pair can be drawn.
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
    """Return at most `count` of the views, evenly spaced."""
    if len(views) <= count:
        return views
    return [views[round(i * (len(views) - 1) / (count - 1))] for i in range(count)]
