"""Faults of the contents of masks: values, borders, specks."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.check.report import Fault, fault
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.data.masks.facts import MaskFacts

STEPS = 0.3
"""The share of smoothed borders from which a mask is reported."""

PARTING = 0.6
"""A class with this share of thin runs between other classes looks like a border to ignore."""

DOUBT = 0.05
MOST_SPECKS = 5
"""Up to this many specks in a mask may be intended."""


def check_labels(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    """Return the faults of the masks that could be read."""
    facts = [view.mask.facts for view in seen if view.mask.facts]
    return [
        *_strange_values(facts, encoding),
        *_doubtful(facts, encoding),
        *_smoothed(seen, encoding),
        *_looks_ignored(seen, encoding),
        *_specks(seen, encoding),
    ]


def _strange_values(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> list[Fault]:
    if encoding.nearest:
        return []
    strange = []
    for fact in facts:
        strangers = [value for value in fact.values_for(encoding.kind) if value not in encoding.table]
        if strangers:
            strange.append(f"{fact.path}: {encoding.shown(sorted(strangers)[:5])}{', ...' * (len(strangers) > 5)}")
    return fault(
        "values-without-class",
        "error",
        strange,
        "masks with values that have no class: {n}",
        "name them in classes.yaml, or correct the masks",
    )


def _doubtful(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> list[Fault]:
    if not encoding.nearest:
        return []
    bad = []
    for fact in facts:
        values = fact.values_for(encoding.kind)
        doubt = encoding.doubtful(np.array(list(values)))
        pixels = fact.others + sum(count for count, is_so in zip(values.values(), doubt, strict=True) if is_so)
        share = pixels / (fact.size[0] * fact.size[1])
        if share > DOUBT:
            bad.append(f"{fact.path}: {share:.1%}")
    return fault(
        "doubtful-colors",
        "warning",
        bad,
        f"masks with more than {DOUBT:.0%} of their pixels in the color of no class: {{n}}",
        "save the masks again as PNG from the program they were drawn in; --fix gives each pixel the nearest class",
    )


def _smoothed(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if encoding.nearest:
        smoothed = [
            view.mask.facts.path for view in seen if view.mask.facts and _has_strangers(view.mask.facts, encoding)
        ]
        what = "compressed or smoothed masks, with values between those of the classes: {n}"
    else:
        smoothed = [view.pair.mask for view in seen if view.mask.steps > STEPS]
        what = "masks whose borders pass through the numbers between two classes, as if scaled with smoothing: {n}"
    return fault(
        "smoothed-borders",
        "warning",
        smoothed,
        what,
        "scale masks without smoothing (nearest neighbor) and save them as PNG",
    )


def _has_strangers(fact: MaskFacts, encoding: MaskEncoding) -> bool:
    return bool(fact.others) or any(value not in encoding.table for value in fact.values_for(encoding.kind))


def _looks_ignored(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if len(encoding.classes) < 3:
        return []
    parting: dict[int, list[float]] = {}
    for view in seen:
        for value, share in view.mask.parting.items():
            parting.setdefault(value, []).append(share)
    found = []
    for value, shares in sorted(parting.items()):
        index = encoding.table.get(value, IGNORE_INDEX)
        if index != IGNORE_INDEX and float(np.median(shares)) > PARTING:
            found.append(f"{encoding.classes.names[index]} = {encoding.shown([value])}")
    return fault(
        "looks-ignored",
        "warning",
        found,
        "classes in thin lines between the others, like borders to ignore: {n}",
        "if so, give them the value 255, or write ignore_index into classes.yaml",
    )


def _specks(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if encoding.nearest:
        return []  # compression makes specks of its own
    speckled: Counter[object] = Counter()
    for view in seen:
        count = sum(
            n for value, n in view.mask.specks.items() if encoding.table.get(value, IGNORE_INDEX) != IGNORE_INDEX
        )
        if count > MOST_SPECKS:
            speckled[view.pair.mask] = count
    return fault(
        "specks",
        "note",
        [f"{mask}: {count}" for mask, count in speckled.most_common()],
        "masks with many specks, like slips of a brush: {n}",
        "look at them; a network trained on specks learns noise",
    )
