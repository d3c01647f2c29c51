"""Check a data set: read every file, and report all faults with the affected files and a remedy."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskpencil.classes import ClassSet
from maskpencil.data.check.files import check_files
from maskpencil.data.check.images import check_images
from maskpencil.data.check.inspect import PairFacts, inspect_pairs
from maskpencil.data.check.masks import Counts, check_classes, check_labels, refuse_nonsense
from maskpencil.data.check.report import ORDER, CheckReport, ClassCount, overlay_sheet
from maskpencil.data.faults import Fault
from maskpencil.data.folder import find_folder
from maskpencil.data.layout import ANYWHERE, Places
from maskpencil.data.masks.encoding import MaskEncoding, MaskFacts, count_classes
from maskpencil.errors import ConfigError, DataError
from maskpencil.parsing import read_path, read_whole, shown

__all__ = [
    "MAX_PROCESSES",
    "CheckReport",
    "ClassCount",
    "Fault",
    "check",
    "overlay_sheet",
    "refuse_nonsense",
]

MAX_PROCESSES = 60
"""The largest number of processes that read files; Windows cannot wait for many more processes at once."""


def check(
    root: str | Path,
    *,
    places: Places = ANYWHERE,
    processes: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every image and mask of a data set and list all faults; nothing is changed.

    Args:
        root: the folder or archive of the data set.
        places: the folders of images, masks and splits, if they cannot be found automatically.
        processes: the number of processes that read files; with more than one, the calling script must be safe to
            import, see Python's `multiprocessing`.
        report: called after each pair with the numbers of pairs (done, total).

    Example:
        >>> report = mp.check("street")
        >>> report.verdict
        'fit for training: 14 pairs (8 train, 4 val, 2 test), 8 classes; 1 warning, 1 note'

    Raises:
        ConfigError: an argument has the wrong type or is out of range.
        DataError: the folder is missing, or it has no pair of image and mask.
        OutputError: files must be unpacked, and the cache cannot be written.
    """
    if not isinstance(places, Places):
        raise ConfigError(f"places must be a maskpencil.data.layout.Places, but got {shown(places)}")
    processes = read_whole("processes", processes, least=1, most=MAX_PROCESSES)
    found = find_folder(read_path("root", root), places=places)
    pairs = [(split, pair) for split, pairs in found.layout.splits.items() for pair in pairs]
    seen = inspect_pairs(pairs, processes=processes, report=report)
    faults = [*found.layout.faults, *check_files(found.layout, seen), *check_images(seen, found.layout.root)]
    readable = [view for view in seen if view.mask.facts]
    notes = list(found.notes)
    encoding: MaskEncoding | None = None
    classes: dict[str, ClassCount] = {}
    ignored = ClassCount(0, 0.0, 0)
    if readable:
        facts = [view.mask.facts for view in readable if view.mask.facts]
        try:
            encoding, more = found.encoding(facts)
            notes += more
        except DataError as error:
            objects = found.numbered_objects(facts)
            faults.append(_unreadable_encoding(error, "numbered-objects" if objects else "masks-not-understood"))
            encoding = objects.encoding if objects else None
    if encoding:
        seen = [_with_alpha(view, encoding) for view in seen]
        readable = [view for view in seen if view.mask.facts]
        facts = [view.mask.facts for view in readable if view.mask.facts]
        counts = count_classes(facts, encoding)
        classes, ignored = _class_table(encoding.classes, counts), _count_ignored(facts, encoding, counts)
        faults += check_labels(readable, encoding)
        faults += check_classes(
            facts,
            [view.split for view in readable],
            encoding,
            counts,
            declared=found.declares(encoding.classes),
        )
    return CheckReport(
        root=found.layout.root,
        notes=tuple(notes),
        splits={split: len(pairs) for split, pairs in found.layout.splits.items()},
        faults=tuple(_below(fault, found.layout.root) for fault in sorted(faults, key=_by_severity)),
        classes=classes,
        ignored=ignored,
        encoding=encoding,
        declared=encoding is None or found.declares(encoding.classes),
        seen=tuple(seen),
    )


def _with_alpha(view: PairFacts, encoding: MaskEncoding) -> PairFacts:
    """Return a copy of `view` whose counts give the transparent pixels of the mask their meaning in `encoding`."""
    facts = view.mask.facts and view.mask.facts.seen(encoding.alpha)
    return replace(view, mask=replace(view.mask, facts=facts))


def _by_severity(fault: Fault) -> int:
    return ORDER.index(fault.severity)


def _below(fault: Fault, root: Path) -> Fault:
    """Return a copy of a fault with file names relative to `root`."""
    return replace(fault, files=tuple(name.removeprefix(f"{root}{os.sep}") for name in fault.files))


def _unreadable_encoding(error: DataError, kind: str) -> Fault:
    what, _, remedy = str(error).partition("; ")
    return Fault(kind, "error", 1, what, remedy or "docs/data.md lists the layouts and encodings that are read")


def _class_table(classes: ClassSet, counts: Counts) -> dict[str, ClassCount]:
    totals, masks = counts.sum(axis=0), np.count_nonzero(counts, axis=0)
    every = max(1, int(totals.sum()))
    return {
        name: ClassCount(int(pixels), float(pixels / every), int(occurs))
        for name, pixels, occurs in zip(classes.names, totals, masks, strict=True)
    }


def _count_ignored(facts: Sequence[MaskFacts], encoding: MaskEncoding, counts: Counts) -> ClassCount:
    """Count the ignored pixels, which have no class on purpose; pixels with an unknown value are not counted."""
    sizes = [fact.size[0] * fact.size[1] for fact in facts]
    ignored = np.array(sizes, dtype=np.int64) - counts.sum(axis=1)
    if not encoding.nearest:
        ignored -= [_count_unknown(fact, encoding) for fact in facts]
    pixels = int(ignored.sum())
    return ClassCount(pixels, pixels / max(1, sum(sizes)), int(np.count_nonzero(ignored)))


def _count_unknown(fact: MaskFacts, encoding: MaskEncoding) -> int:
    values = fact.values_for(encoding.kind)
    others = 0 if encoding.kind == "objects" else fact.others
    return others + sum(count for value, count in values.items() if value not in encoding.table)
