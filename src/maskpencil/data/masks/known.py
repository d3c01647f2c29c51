"""Choose the encoding of the masks of a known data set, since copies of it may have other encodings."""

from collections.abc import Sequence

from maskpencil.classes import ClassSet
from maskpencil.data.masks.discovery import (
    MIN_COLOR_DISTANCE,
    Discovery,
    any_lossy_file,
    discover_encoding,
    lossy_note,
    nearest_if_lossy,
)
from maskpencil.data.masks.encoding import FEW, MaskEncoding, MaskFacts
from maskpencil.errors import DataError


def choose_encoding(
    encodings: Sequence[MaskEncoding],
    facts: Sequence[MaskFacts],
    *,
    published: bool = False,
    given: ClassSet | None = None,
) -> Discovery:
    """Return the first of the encodings in which every value of the masks has a meaning.

    If no encoding fits, colors that were compressed or smoothed take the nearest class. If no color was changed, the
    first encoding of the masks' kind is returned, and its check then names the values without a meaning.

    Args:
        encodings: one or more encodings, the most likely encoding first.
        facts: the contents of each mask.
        published: whether the data set is a public data set, of which users make copies with other classes.
        given: the classes of a classes.yaml, if there is one; they are read if all masks are of such a copy.

    Raises:
        DataError: the masks are JPEG files of class numbers, which compression has changed, or all masks of a public
            data set hold values without a meaning, and no classes are given.
    """
    colored = any(fact.colored for fact in facts)
    kind = "color" if colored else encodings[0].kind  # the numbers of a palette count, unless colors come first
    possible = [each for each in encodings if each.kind == kind or (kind == "color" and not colored)]
    possible = possible or list(encodings)
    certain = [each for each in possible if not (any_lossy_file(facts) and _are_close(each))]
    fitting = next((each for each in certain if each.covers(facts)), None)
    if fitting:
        return Discovery(fitting)
    for each in certain:
        nearest = nearest_if_lossy(each, facts)
        if nearest.nearest:
            return Discovery(nearest, (lossy_note(facts, nearest),))
    if not certain:
        raise DataError(
            f"{facts[0].path}: is a JPEG file, whose compression changes class numbers; expected PNG; export the masks "
            "as PNG"
        )
    first = certain[0]
    if published and len(facts) > 1 and not any(each.covers([fact]) for fact in facts for each in certain):
        if given:
            discovery = discover_encoding(facts, given)
            note = "all masks hold other values than published: they are read by the classes.yaml alone"
            return Discovery(discovery.encoding, (note, *discovery.notes))
        strangers = sorted(value for value in facts[0].values_for(first.kind) if value not in first.table)
        what = "colors" if colored else "values"
        raise DataError(
            f"{facts[0].path}: holds the {what} {first.shown(strangers[:FEW])}{', ...' * (len(strangers) > FEW)}, and "
            f"all masks hold such {what}, which this data set does not have as published; name their classes"
            f"{' and colors' if colored else ''} in a classes.yaml"
        )
    return Discovery(first)


def _are_close(encoding: MaskEncoding) -> bool:
    """Return whether compression can turn one number of an encoding into another."""
    return encoding.kind == "index" and 3 * encoding.margin < MIN_COLOR_DISTANCE
