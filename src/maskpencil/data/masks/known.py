"""Choose the encoding of the masks of a known data set, of which copies in other encodings occur."""

from collections.abc import Sequence

from maskpencil.data.masks.discovery import MERGE, Discovery, any_lossy_file, lossy_note, nearest_if_lossy
from maskpencil.data.masks.encoding import MaskEncoding, MaskFacts
from maskpencil.errors import DataError


def choose_encoding(encodings: Sequence[MaskEncoding], facts: Sequence[MaskFacts]) -> Discovery:
    """Return the first of the encodings in which every value of the masks has a meaning.

    Where none fits, colors that were compressed or smoothed take the nearest class. If they were not, the first
    encoding of the masks' kind is returned, whose check then names the values without a meaning.

    Args:
        encodings: one or more, the most likely first.
        facts: the contents of each mask.

    Raises:
        DataError: the masks are JPEG files of class numbers, which compression has changed.
    """
    colored = any(fact.colored for fact in facts)
    possible = [each for each in encodings if each.kind == "color" or not colored] or list(encodings)
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
    return Discovery(certain[0])


def _are_close(encoding: MaskEncoding) -> bool:
    """Return whether compression can turn one number of an encoding into another."""
    return encoding.kind == "index" and 3 * encoding.margin < MERGE
