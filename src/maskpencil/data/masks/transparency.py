"""Infer what transparency means in the masks of a folder: the object, the background, ignored pixels, or nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from maskpencil.classes import ClassSet
from maskpencil.data.masks.encoding import Alpha, MaskFacts, color_number
from maskpencil.plain_text import counted, worded

EVEN_SHARE = 0.2
"""Images with a smaller share of even areas are photographs."""

MAX_PAINTED_VALUES = 64
"""An image with more values than this and few even areas is a photograph."""


def choose_alpha(facts: Sequence[MaskFacts], classes: ClassSet | None) -> tuple[Alpha, tuple[str, ...]]:
    """Return the meaning of transparency, inferred from all masks together, and a note on it.

    The first rule that applies counts:

    - If no mask has both transparent and opaque pixels, transparency has no meaning.
    - If the opaque pixels look like a photograph, as in cut-outs, or are all black, or if all pixels, opaque or
      transparent, have the same color, the opacity itself is the mask.
    - If all transparent pixels have the same value, which is 0 or the color of a class, and no opaque pixel has it,
      transparency has no meaning.
    - If a mask with transparent pixels also has opaque pixels of the value 0, or if the masks are colored and none of
      the known `classes` is black, transparent pixels are ignored.
    - Otherwise transparent pixels get the value 0.

    Args:
        facts: the contents of the masks.
        classes: the classes, if they are known.
    """
    varied = [fact for fact in facts if fact.alpha and fact.alpha.is_varied]
    if not varied:
        return "unused", ()
    shown: Counter[int] = Counter()
    hidden: Counter[int] = Counter()
    flat = others = 0
    kind = "color" if any(fact.colored for fact in facts) else "index"
    for fact in facts:
        opaque = fact.seen("ignored")
        shown.update(opaque.values_for(kind))
        flat += sum(opaque.flat.values())
        others += opaque.others
        if fact.alpha:
            hidden.update(replace(fact, values=fact.alpha.hidden).values_for(kind))
    photographed = len(shown) > MAX_PAINTED_VALUES and flat < EVEN_SHARE * (shown.total() + others)
    if photographed or set(shown) <= {0} or len({*shown, *hidden}) == 1:
        return "mask", (_as_mask(facts, varied),)
    declared = {color_number(color) for color in classes.palette} if classes else set()
    if len(hidden) == 1 and {*hidden}.isdisjoint(shown) and {*hidden} <= {0, *declared}:
        return "unused", ()
    count = worded("{n} {mask has|masks have} transparent pixels, which", len(varied))
    if any(0 in fact.alpha.covered.values for fact in varied if fact.alpha):
        return "ignored", (f"{count} are ignored: black (0) is another class",)
    if classes and any(fact.colored for fact in facts) and 0 not in declared:
        return "ignored", (f"{count} are ignored: no class is black (0, 0, 0)",)
    return "background", (f"{count} are read as black (0), whatever their color",)


def _as_mask(facts: Sequence[MaskFacts], varied: Sequence[MaskFacts]) -> str:
    full = len([fact for fact in facts if fact.alpha is None])
    rest = worded("; {n} without transparent pixels {is|are} foreground throughout", full) if full else ""
    return f"the transparency of {counted(len(varied), 'mask')} is read as the mask, their colors are not used{rest}"
