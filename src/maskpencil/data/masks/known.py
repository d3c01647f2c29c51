"""Choose the encoding of the masks of a known data set, since copies of it may have other encodings."""

from collections.abc import Sequence

from maskpencil.classes import ClassSet
from maskpencil.data.masks.discovery import (
    MIN_COLOR_DISTANCE,
    Discovery,
    any_lossy_file,
    discover_encoding,
    lossy_file,
    lossy_note,
    nearest_if_lossy,
)
from maskpencil.data.masks.encoding import MAX_SHOWN, MaskEncoding, MaskFacts
from maskpencil.errors import DataError


def choose_encoding(
    encodings: Sequence[MaskEncoding],
    facts: Sequence[MaskFacts],
    *,
    published: bool = False,
    given: ClassSet | None = None,
) -> Discovery:
    """Return the first of the encodings in which every value of the masks has a class or is ignored.

    If no encoding fits, and compression or smoothing has changed the values, each value takes the nearest class.
    Otherwise the first encoding of the masks' kind (colors or numbers) is returned, and `check_values` then reports the
    values without a class.

    Args:
        encodings: one or more encodings, the most likely encoding first.
        facts: the contents of each mask.
        published: whether the data set is a public data set. If it is, has at least two masks, and none of the masks
            fits an encoding, it is a copy with other classes, which `given` must name.
        given: the classes of a classes.yaml, used only for such a copy; None if there is no classes.yaml.

    Raises:
        DataError: the masks are JPEG files of class numbers, which compression has changed, or all masks of a public
            data set hold values without a class, and no classes are given.
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
            f"{lossy_file(facts)}: is in a lossy format, whose compression changes class numbers; expected PNG; export "
            "the masks as PNG"
        )
    first = certain[0]
    if published and len(facts) > 1 and not any(each.covers([fact]) for fact in facts for each in certain):
        if given:
            discovery = discover_encoding(facts, given)
            note = "all masks hold other values than published: they are read by the classes.yaml alone"
            return Discovery(discovery.encoding, (note, *discovery.notes))
        unknown = sorted(value for value in facts[0].values_for(first.kind) if value not in first.table)
        what = "colors" if colored else "values"
        raise DataError(
            f"{facts[0].path}: holds the {what} {first.shown(unknown[:MAX_SHOWN])}"
            f"{', ...' * (len(unknown) > MAX_SHOWN)}, and "
            f"all masks hold {what} that the published data set does not have; name their classes"
            f"{' and colors' if colored else ''} in a classes.yaml"
        )
    return Discovery(first)


def _are_close(encoding: MaskEncoding) -> bool:
    """Return whether class numbers are so close to each other that compression can turn one into another."""
    return encoding.kind == "index" and 3 * encoding.margin < MIN_COLOR_DISTANCE
