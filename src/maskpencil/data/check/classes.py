"""Faults of classes: absent, absent from train, dominant, or numbered from 1."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.check.images import check_copies
from maskpencil.data.check.report import Fault, fault
from maskpencil.data.folder import DataFolder
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.masks.facts import MaskFacts
from maskpencil.errors import DataError

ALMOST_ALL = 0.99

Counts = npt.NDArray[np.int64]
"""(masks, K): the pixels of each class in each mask."""


def check_classes(
    facts: Sequence[MaskFacts], splits: Sequence[str], encoding: MaskEncoding, counts: Counts, *, declared: bool
) -> list[Fault]:
    """Return the faults that the pixel counts of the classes show; no file is read.

    Args:
        facts: the contents of each mask.
        splits: the split of each mask.
        encoding: the encoding of the masks.
        counts: the pixels of each class in each mask.
        declared: whether a class file names the classes, rather than the masks alone.
    """
    return [
        *_off_by_one(facts, encoding),
        *_never_seen(encoding, counts, declared=declared),
        *_not_in_train(splits, encoding, counts),
        *_unbalanced(encoding, counts),
        *_empty(facts, encoding, counts),
    ]


def refuse_nonsense(folder: DataFolder) -> list[Fault]:
    """Return the cheap part of a check, before training; returns the faults that are no reason to stop.

    Raises:
        DataError: the masks have a fault that makes training useless.
    """
    counts = np.concatenate([folder.class_counts(split) for split in folder.splits])
    entries = [(folder.facts[pair.mask], split) for split, pairs in folder.splits.items() for pair in pairs]
    facts, splits = [fact for fact, _ in entries], [split for _, split in entries]
    faults = check_classes(facts, splits, folder.encoding, counts, declared=folder.declared)
    for each in faults:
        if each.severity == "error":
            raise DataError(f"{folder.root}: {each.line.removeprefix('error: ')}; run maskpencil check for all faults")
    return [*check_copies(folder.splits), *faults]


def _off_by_one(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> list[Fault]:
    """Return the fault of class numbers that begin with 1, so that the first class never occurs."""
    if encoding.kind != "index" or encoding.codes is not None or not facts:
        return []
    numbers = {value for fact in facts for value in fact.values} - {IGNORE_INDEX, encoding.classes.ignore_index}
    if not numbers or min(numbers) != 1:
        return []
    highest, names = max(numbers), encoding.classes.names
    certain = highest == len(names)
    return fault(
        "off-by-one",
        "error" if certain else "warning",
        [f"1 to {highest}"],
        f"the masks begin with 1, so that {names[0]!r} never occurs"
        + (f" and {highest} has no class" if certain else ""),
        "subtract 1 from all, as --fix does, if 1 is the first class",
    )


def _never_seen(encoding: MaskEncoding, counts: Counts, *, declared: bool) -> list[Fault]:
    totals = counts.sum(axis=0)
    if np.count_nonzero(totals) == 1:
        only = encoding.classes.names[int(totals.argmax())]
        return fault(
            "one-class",
            "error",
            [only],
            "all pixels are of one class",
            "there is nothing to distinguish; check that these are the masks, and their values",
        )
    absent = [name for name, total in zip(encoding.classes.names, totals, strict=True) if not total]
    return fault(
        "classes-never-seen",
        "warning" if declared or 2 * len(absent) > len(totals) else "note",
        absent,
        f"classes that never occur: {{n}} of {len(totals)}",
        "remove them from the class file, or add images that show them"
        if declared
        else "a network cannot learn them; if the numbers have gaps, list the classes in a classes.yaml or renumber",
    )


def _not_in_train(splits: Sequence[str], encoding: MaskEncoding, counts: Counts) -> list[Fault]:
    """Return the faults of classes that occur in val or test but not in train; `splits` has one entry per mask."""
    names = np.array(splits)
    shown = counts[names == "train"].sum(axis=0)
    found = []
    for split in ("val", "test"):
        asked = counts[names == split].sum(axis=0)
        lacking = [
            name for name, here, there in zip(encoding.classes.names, shown, asked, strict=True) if there > here == 0
        ]
        found += fault(
            f"only-in-{split}",
            "warning",
            lacking,
            f"classes that occur in {split}, but not in train: {{n}}",
            "move images with them to train; a network cannot find classes it was not trained on",
        )
    return found


def _unbalanced(encoding: MaskEncoding, counts: Counts) -> list[Fault]:
    totals = counts.sum(axis=0)
    share = totals.max(initial=0) / max(1, totals.sum())
    if np.count_nonzero(totals) < 2 or share <= ALMOST_ALL:
        return []
    return fault(
        "one-class-almost-all",
        "warning",
        [encoding.classes.names[int(totals.argmax())]],
        f"one class fills {share:.2%} of all pixels",
        "crop the images to where the others are, or add images; training gives rare classes more weight",
    )


def _empty(facts: Sequence[MaskFacts], encoding: MaskEncoding, counts: Counts) -> list[Fault]:
    masks = [fact.path for fact in facts]
    understood = np.array([encoding.nearest or encoding.covers([fact]) for fact in facts], dtype=bool)
    background_only = (counts[:, 1:].sum(axis=1) == 0) & (counts[:, 0] > 0) & understood
    void = (counts.sum(axis=1) == 0) & understood
    first = encoding.classes.names[0]
    return [
        *fault(
            "empty-masks",
            "note",
            [mask for mask, empty in zip(masks, background_only, strict=True) if empty]
            if len(encoding.classes) > 1
            else [],
            f"masks with only {first!r}: {{n}}",
            "fine if these images show nothing else; otherwise draw the missing regions",
        ),
        *fault(
            "void-masks",
            "error" if void.all() else "warning",
            [mask for mask, nothing in zip(masks, void, strict=True) if nothing],
            "masks with only ignored pixels: {n}",
            "remove them with their images; nothing can be learned from them",
        ),
    ]
