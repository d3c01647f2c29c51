"""Infer the encoding of the masks of a folder from the contents of all masks."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet, Color
from maskpencil.data.drawing import MaskSource
from maskpencil.data.masks.encoding import MaskEncoding, MaskFacts, channels, color_number
from maskpencil.data.masks.transparency import choose_alpha
from maskpencil.errors import DataError
from maskpencil.known_classes import KNOWN
from maskpencil.label_maps import IGNORE_COLOR
from maskpencil.plain_text import counted

MIN_COLOR_DISTANCE = 24.0
"""The smallest distance between the colors, or between the gray levels, of two classes; Euclidean in RGB."""

MIN_AREA_SHARE = 2e-4
"""The smallest share of all flat pixels, which equal their eight neighbors, that have the color of a class."""

MAX_LINE_DISTANCE = 12.0
"""The largest distance of a mixed color from the straight line between the two colors it mixes."""

MAX_MIXTURE_SHARE = 0.05
"""A color between two other colors is a mixture if it fills less than this share of the smaller of their two areas."""

ROUND_LEVELS = np.array([0, 32, 64, 96, 128, 160, 192, 224, 255])
ROUNDING = 3
"""The largest distance at which a level is rounded to one of `ROUND_LEVELS`.

Compression changes levels in even areas by no more, and the colors of palettes usually consist of these levels.
"""


def are_mixtures(values: Counter[int], flat: Counter[int], *, colored: bool) -> bool:
    """Return whether all values without a flat pixel are mixtures of two values with flat pixels, as after smoothing.

    Args:
        values: the number of pixels by value, a color as 0xRRGGBB or a gray level.
        flat: the number of flat pixels by value, those that equal their eight neighbors.
        colored: whether the values are colors.
    """
    solid = [value for value in values if flat[value]]
    thin = [value for value in values if not flat[value]]
    if len(solid) < 2 or len(thin) < 3 or len(thin) < len(solid):
        return False
    ends, points = points_of(solid, colored=colored), points_of(thin, colored=colored)
    return bool(_line_distances(points, ends).max() <= MAX_LINE_DISTANCE)


def class_values(flat: Counter[int], *, colored: bool) -> list[int]:
    """Return the values that look like classes, the most frequent value first.

    They are the values with many flat pixels (equal to their eight neighbors) that are not mixtures of other values.
    `flat` has the number of flat pixels by value: colors as 0xRRGGBB, or gray levels.
    """
    least = MIN_AREA_SHARE * flat.total()
    found: list[int] = []
    for value, count in sorted(flat.items(), key=lambda entry: (-entry[1], entry[0])):
        if count < least:
            break
        point = points_of([value], colored=colored)
        centers = points_of(found, colored=colored)
        if found and np.linalg.norm(centers - point, axis=1).min() < MIN_COLOR_DISTANCE:
            continue
        if not any(
            count < MAX_MIXTURE_SHARE * min(flat[one], flat[other])
            and _line_distances(point, points_of((one, other), colored=colored))[0] <= MAX_LINE_DISTANCE
            for one, other in combinations(found, 2)
        ):
            found.append(value)
    return [_rounded(value, colored=colored) for value in found]


def points_of(values: Sequence[int], *, colored: bool) -> npt.NDArray[np.float64]:
    """Turn values into points whose distances measure their difference: colors (n, 3), gray levels (n, 1)."""
    numbers = np.array(values, dtype=np.int64)
    return np.stack(channels(numbers) if colored else (numbers,), axis=-1).astype(np.float64)


def totals(counts: Iterable[dict[int, int]]) -> Counter[int]:
    """Add up counts by value."""
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    return total


def _line_distances(points: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distance (n,) of each of the `points` (n, d) to the nearest line segment between two of the `ends`."""
    nearest = np.full(len(points), np.inf)
    for one, other in combinations(ends, 2):
        way = other - one
        share = np.clip((points - one) @ way / max(way @ way, 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - one - share[:, None] * way, axis=1))
    return nearest


def _rounded(value: int, *, colored: bool) -> int:
    levels = np.array(channels(np.array(value))) if colored else np.array([value])
    near = ROUND_LEVELS[np.abs(levels[:, None] - ROUND_LEVELS).argmin(axis=1)]
    levels = np.where(np.abs(levels - near) <= ROUNDING, near, levels)
    return int(levels[0] << 16 | levels[1] << 8 | levels[2]) if colored else int(levels[0])


LOSSY_SUFFIXES = (".avif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg")
TWO_CLASSES = ("background", "foreground")

FLAT_SHARE = 0.1
"""A color without a class that fills areas with more than this share of its pixels is a class, not an artifact."""

EVEN_SHARE = 0.2
"""An image with a smaller share of even areas is a photograph, not a mask."""

LIKE_A_PHOTOGRAPH = (
    "and few even areas, like a photograph; expected a mask, in which all pixels of a class have the same value; check "
    "that images and masks are not exchanged"
)

MAX_RED_LEVEL = 64
"""Levels of red below this level, without green and blue, are class numbers: as colors they would look like black."""

MIN_OPACITY_SHARE = 0.05
"""An opacity between 0 and 255 is not a class if it fills less than this share of the area of opacity 0 or of opacity
255."""

STRAY_SHARE = 1e-4
"""If at most this share of the pixels is neither black nor white, these pixels are mistakes."""

MIN_KNOWN_COLORS = 20
"""This many colors of a published palette, or half of its colors, identify the palette; fewer may be a coincidence."""


@dataclass(frozen=True)
class Discovery:
    """The encoding of a folder's masks, and notes on how it was found."""

    encoding: MaskEncoding
    notes: tuple[str, ...] = ()


def discover_encoding(facts: Sequence[MaskFacts], classes: ClassSet | None) -> Discovery:
    """Infer the encoding of all masks together; values without a class are reported later, by `check_values`.

    Args:
        facts: the contents of each mask.
        classes: the classes of a class file or a model; None to infer the classes as well.

    Raises:
        DataError: the values cannot be classes, or two classes have one color.
    """
    alpha, notes = choose_alpha(facts, classes)
    facts = [fact.seen(alpha) for fact in facts]
    if alpha == "mask" and (classes is None or len(classes) == 2) and _is_matte(facts):
        discovery = Discovery(MaskEncoding("binary", classes or ClassSet(TWO_CLASSES), nearest=True))
    else:
        discovery = _red_numbers(facts, classes) or (
            _with_classes(facts, classes) if classes else _without_classes(facts)
        )
    encoding = replace(discovery.encoding, alpha=alpha)
    discovery = Discovery(encoding, (*_remarks(facts, encoding), *notes, *discovery.notes))
    if encoding.kind == "color":
        _check_colors_differ(encoding.classes)
    return Discovery(encoding, (*discovery.notes, lossy_note(facts, encoding))) if encoding.nearest else discovery


def _with_classes(facts: Sequence[MaskFacts], classes: ClassSet) -> Discovery:
    colored = any(fact.colored for fact in facts) or _palettes_disagree(facts)
    by_color = MaskEncoding("color", classes)  # gray levels can also be colors of the class file
    by_number = MaskEncoding("index", classes)
    if colored:
        return Discovery(nearest_if_lossy(by_color, facts))
    if len(classes) == 2 and {value for fact in facts for value in fact.values} == {0, 255}:
        return Discovery(by_color if by_color.covers(facts) else MaskEncoding("binary", classes))
    if by_number.covers(facts):
        return Discovery(by_number)
    if by_color.covers(facts):
        return Discovery(by_color)
    if _are_numbers(totals(fact.values for fact in facts), facts):
        return Discovery(by_number)  # rather than colors close to black
    others = (by_color, MaskEncoding("binary", classes)) if len(classes) == 2 else (by_color,)
    nearest = next((e for e in (nearest_if_lossy(encoding, facts) for encoding in others) if e.nearest), None)
    if nearest:
        return Discovery(nearest)
    with suppress(DataError):  # if there are as many gray levels as classes, the darkest is the first
        shown = _without_classes(facts)
        if shown.encoding.codes and shown.encoding.kind == "index" and len(shown.encoding.codes) == len(classes):
            listed = ", ".join(f"{classes.names[i]} {level}" for level, i in shown.encoding.codes.items())
            return Discovery(replace(shown.encoding, classes=classes), (f"gray levels are the classes: {listed}",))
    return Discovery(by_number)


def _red_numbers(facts: Sequence[MaskFacts], classes: ClassSet | None) -> Discovery | None:
    """Return the encoding of class numbers in the red channel, with 0 in green and blue, as simulators write them.

    Return None if the masks have another encoding.
    """
    values = totals(fact.values_for("color") for fact in facts)
    numbers = sorted({value >> 16 for value in values} - {IGNORE_INDEX})
    plain = not any(value & 0xFFFF for value in values) and not any(fact.others for fact in facts)
    if not plain or not numbers or not 0 < numbers[-1] < MAX_RED_LEVEL or not any(fact.colored for fact in facts):
        return None
    if classes and (MaskEncoding("color", classes).covers(facts) or numbers[-1] >= len(classes)):
        return None
    named = classes or ClassSet(tuple(f"class_{number}" for number in range(numbers[-1] + 1)))
    codes = {number << 16: number for number in numbers} | {IGNORE_INDEX << 16: IGNORE_INDEX}
    note = f"the red channel holds the class numbers 0 to {numbers[-1]}, green and blue hold 0"
    return Discovery(MaskEncoding("color", named, codes=codes), (note,))


def nearest_if_lossy(encoding: MaskEncoding, facts: Sequence[MaskFacts]) -> MaskEncoding:
    """Return the encoding, with `nearest` set if all values without a class come from compression or smoothing."""
    values = totals(fact.values_for(encoding.kind) for fact in facts)
    flat = totals(fact.flat_for(encoding.kind) for fact in facts)
    unknown = [value for value in values if value not in encoding.table]
    if len(unknown) < (1 if any_lossy_file(facts) else 3) or not flat:
        return encoding
    nearest = MaskEncoding(encoding.kind, encoding.classes, encoding.codes, nearest=True)
    off = [s for s, doubtful in zip(unknown, nearest.doubtful(np.array(unknown)), strict=True) if doubtful]
    solid = sum(flat[value] for value in off) > FLAT_SHARE * sum(values[value] for value in off)
    mostly_off = sum(flat[value] for value in off) > FLAT_SHARE * flat.total()
    areas = totals({nearest.nearest_class(value): count} for value, count in flat.items())
    # otherwise class numbers would be read as colors close to black
    several = sum(count >= MIN_AREA_SHARE * flat.total() for count in areas.values()) > 1
    return nearest if several and not (off and solid) and not mostly_off else encoding


def _without_classes(facts: Sequence[MaskFacts]) -> Discovery:
    if any(fact.colored for fact in facts) or _palettes_disagree(facts):
        return _by_colors(facts)
    values = totals(fact.values for fact in facts)
    if set(values) == {0, 255} or _are_strays(facts, values):
        return Discovery(MaskEncoding("binary", ClassSet(TWO_CLASSES)))
    _refuse_photographs(facts, values)
    if any(fact.palette is not None for fact in facts) or _are_numbers(values, facts):
        return Discovery(MaskEncoding("index", _numbered_classes(facts, values)))
    return _by_levels(facts, values)


def _by_colors(facts: Sequence[MaskFacts]) -> Discovery:
    values = totals(fact.values_for("color") for fact in facts)
    flat = totals(fact.flat_for("color") for fact in facts)
    lossy = (
        any_lossy_file(facts)
        or len(values) > MAX_CLASSES
        or any(fact.others for fact in facts)
        or are_mixtures(values, flat, colored=True)
    )
    if lossy:
        if flat.total() < EVEN_SHARE * (values.total() + sum(fact.others for fact in facts)):
            strangest = max(facts, key=lambda fact: len(fact.values))
            raise DataError(f"{strangest.path}: has at least {len(strangest.values)} colors {LIKE_A_PHOTOGRAPH}")
        found = class_values(flat, colored=True)
    else:
        found = [value for value in values if value != color_number(IGNORE_COLOR)]
        _refuse_numbers_among_colors(facts)
    if {*found} <= {0x000000, 0xFFFFFF}:
        return Discovery(MaskEncoding("color", ClassSet(TWO_CLASSES, ((0, 0, 0), (255, 255, 255))), nearest=lossy))
    known = next(((name, each) for name, each in KNOWN.items() if _is_palette(each, found)), None)
    if known:
        name, classes = known
        void = {} if (0, 0, 0) in classes.palette else {0x000000: IGNORE_INDEX}
        codes = {color_number(color): index for index, color in enumerate(classes.palette)} | void
        codes.setdefault(color_number(IGNORE_COLOR), IGNORE_INDEX)
        note = (
            f"the masks have the colors of {name}, so these classes are used; to use other classes, name them in a "
            "classes.yaml"
        )
        return Discovery(MaskEncoding("color", classes, codes=codes, nearest=lossy), (note,))
    counts = {value: (value != 0, -values[value], value) for value in found}
    palette = tuple(_color(value) for value in sorted(found, key=counts.__getitem__))
    if len(palette) > MAX_CLASSES:
        raise DataError(
            f"{_folder_of(facts)}: the masks have {len(palette)} colors; expected at most {MAX_CLASSES}, one for each "
            "class; save the masks as PNG without smoothing, with one color for each class"
        )
    classes = ClassSet(tuple(f"class_{number}" for number in range(1, len(palette) + 1)), palette)
    shown = ", ".join(f"{name} {color}" for name, color in zip(classes.names[:6], palette, strict=False))
    more = ", ..." if len(palette) > 6 else ""
    note = (
        f"{counted(len(palette), 'color')} found, most frequent first: {shown}{more}; name the classes in a "
        "classes.yaml"
    )
    return Discovery(MaskEncoding("color", classes, nearest=lossy), (note,))


def _by_levels(facts: Sequence[MaskFacts], values: Counter[int]) -> Discovery:
    """Infer classes from gray levels that are well separated, even if compression or smoothing blurred them."""
    flat = totals(fact.flat for fact in facts)
    lossy = any_lossy_file(facts) or len(values) > MAX_CLASSES // 2 or are_mixtures(values, flat, colored=False)
    found = sorted(class_values(flat, colored=False) if lossy else values)
    if not found or (lossy and flat.total() < EVEN_SHARE * values.total()) or len(found) < 2 or len(found) > 64:
        raise DataError(_not_classes(facts, values))
    if set(found) == {0, 255}:
        return Discovery(MaskEncoding("binary", ClassSet(TWO_CLASSES), nearest=lossy))
    classes = ClassSet(tuple(f"gray_{level}" for level in found))
    note = f"{len(found)} gray levels are the classes; name the classes in a classes.yaml, the darkest first"
    codes = {level: index for index, level in enumerate(found)}
    return Discovery(MaskEncoding("index", classes, codes=codes, nearest=lossy), (note,))


def palette_contradiction(facts: Sequence[MaskFacts], classes: ClassSet | None = None) -> str | None:
    """Describe a number that has different colors in the palettes of different files; return None if there is none.

    If `classes` are given, and every color in the palettes is the color of a class, also describe a number that has the
    color of a class with another number.
    """
    meant: dict[int, tuple[tuple[int, ...], MaskSource]] = {}
    for fact in facts:
        for value, color in _palette_colors(fact).items():
            first, where = meant.setdefault(value, (color, fact.path))
            if first != color:
                return f"number {value} is {first} in {where}, but {color} in {fact.path}"
    named: dict[tuple[int, ...], int] = {}
    for index, own in enumerate(classes.palette if classes else ()):
        named.setdefault(own, index)
    if classes and all(color in named for color, _ in meant.values()):
        for value, (color, where) in meant.items():
            if named[color] != value:
                return f"number {value} is {color} in {where}, the color of {classes.names[named[color]]!r}"
    return None


def _palettes_disagree(facts: Sequence[MaskFacts]) -> bool:
    """Return whether a palette index has different colors in different files; then colors identify the classes.

    Return False if all palettes are gray ramps, see `_is_ramp`, since microscopy programs add them for display.
    """
    return palette_contradiction(facts) is not None and not all(map(_is_ramp, facts))


def _is_ramp(fact: MaskFacts) -> bool:
    """Return whether a mask is gray, or its palette shows each index i as the gray level i or 255 - i."""
    return not fact.colored and (_is_inverted(fact) or all(c == (v, v, v) for v, c in _palette_colors(fact).items()))


def _is_inverted(fact: MaskFacts) -> bool:
    """Return whether the palette of a mask shows each index i as the gray level 255 - i."""
    palette = fact.palette
    return palette is not None and len(palette) > 1 and bool((255 - np.arange(len(palette)) == palette.T).all())


def _palette_colors(fact: MaskFacts) -> dict[int, tuple[int, ...]]:
    """Return the palette's color of each index that occurs in a mask, except `IGNORE_INDEX`.

    Return {} if the mask has no palette.
    """
    if fact.palette is None:
        return {}
    colors = {value: tuple(fact.palette[value].tolist()) for value in fact.values if value < len(fact.palette)}
    return {value: color for value, color in colors.items() if value != IGNORE_INDEX}


def _are_strays(facts: Sequence[MaskFacts], values: Counter[int]) -> bool:
    """Return whether the pixels that are neither black nor white are few and scattered, too few for a class."""
    others = sum(count for value, count in values.items() if value not in (0, 255))
    flat = sum(count for fact in facts for value, count in fact.flat.items() if value not in (0, 255))
    return bool(values[0] and values[255]) and others < STRAY_SHARE * values.total() and not flat


def _is_matte(facts: Sequence[MaskFacts]) -> bool:
    """Return whether masks of opacities hold two classes, 0 and 255, and other values only at smooth borders."""
    flat, values = totals(fact.flat for fact in facts), totals(fact.values for fact in facts)
    between = flat.total() - flat[0] - flat[255]
    return len(values) > 2 and bool(flat[0] and flat[255]) and between < MIN_OPACITY_SHARE * min(flat[0], flat[255])


def _refuse_photographs(facts: Sequence[MaskFacts], values: Counter[int]) -> None:
    flat = sum(sum(fact.flat.values()) for fact in facts)
    has_areas = all(min(fact.size) > 2 for fact in facts)  # smaller images have no even areas
    if has_areas and len(values) > 32 and flat < EVEN_SHARE * values.total() and not any_lossy_file(facts):
        strangest = max(facts, key=lambda fact: len(fact.values))
        raise DataError(f"{strangest.path}: has {len(strangest.values)} gray levels {LIKE_A_PHOTOGRAPH}")


def _are_numbers(values: Counter[int], facts: Sequence[MaskFacts]) -> bool:
    """Return whether gray values are class numbers and not gray levels."""
    numbers = [value for value in values if value != IGNORE_INDEX]
    highest = max(numbers, default=0)
    far_apart = highest > 32 and len(numbers) < (highest + 1) / 8  # like gray levels
    blurred = highest > 32 and 2 * values[255] > values.total() - values[0]  # black and white, and a little between
    lossy = highest > 0 and any_lossy_file(facts)
    return highest >= MAX_CLASSES or min(numbers, default=0) < 0 or not (far_apart or blurred or lossy)


def _numbered_classes(facts: Sequence[MaskFacts], values: Counter[int]) -> ClassSet:
    """Name the classes by their numbers, in the colors of the palette of the masks."""
    numbers = [value for value in sorted(values) if value != IGNORE_INDEX]
    highest = max(numbers, default=0)
    if highest >= MAX_CLASSES or min(numbers, default=0) < 0:
        strange = next(fact for fact in facts if highest in fact.values or min(fact.values) < 0)
        raise DataError(
            f"{strange.path}: holds the values {min(strange.values)} to {max(strange.values)}; "
            f"expected class numbers from 0 to {MAX_CLASSES - 1}; renumber the classes"
        )
    names = TWO_CLASSES if numbers == [0, 1] else tuple(f"class_{i}" for i in range(highest + 1))
    palette = next((fact.palette for fact in facts if fact.palette is not None), None)
    if palette is None or len(palette) < len(names):
        return ClassSet(names)
    return ClassSet(names, tuple((int(r), int(g), int(b)) for r, g, b in palette[: len(names)]))


def _is_palette(classes: ClassSet, found: Sequence[int]) -> bool:
    known = {color_number(color) for color in classes.palette}
    hits = known.intersection(found)
    return len(hits) >= min(MIN_KNOWN_COLORS, (len(known) + 1) // 2) and {*found} <= known | {0x000000}


def _refuse_numbers_among_colors(facts: Sequence[MaskFacts]) -> None:
    """Raise an error if masks of class numbers are among colored masks: they would be read as colors close to black."""
    colored = {value for fact in facts if fact.colored for value in fact.values}
    for fact in facts:
        strange = [value for value in fact.values_for("color") if value not in colored]
        if not fact.colored and fact.palette is None and strange and max(fact.values) < 32:
            other = next(fact for fact in facts if fact.colored)
            raise DataError(
                f"{fact.path}: holds the numbers {', '.join(map(str, sorted(fact.values)[:5]))}, while {other.path} is "
                "a color image; save all masks in the same way"
            )


def _check_colors_differ(classes: ClassSet) -> None:
    for i, color in enumerate(classes.palette):
        if color in classes.palette[:i]:
            one, other = classes.names[classes.palette.index(color)], classes.names[i]
            raise DataError(
                f"the classes {one!r} and {other!r} have the same color, {color}, so colored masks cannot distinguish "
                "them; give each its own color in classes.yaml"
            )


def _not_classes(facts: Sequence[MaskFacts], values: Counter[int]) -> str:
    numbers = [value for value in sorted(values) if value != IGNORE_INDEX]
    named = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
    return (
        f"{_folder_of(facts)}: the masks hold {len(numbers)} values ({named}) between 0 and {max(numbers, default=0)}, "
        "which do not look like class numbers; save the masks as PNG with the numbers 0, 1, 2, ... and without "
        "smoothing, or, if they are class numbers, add a classes.yaml"
    )


def palette_remark(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> str | None:
    """Return a note if the palettes contradict each other or the classes, else None.

    The note says whether numbers or colors are read.
    """
    differ = palette_contradiction(facts, None if encoding.kind == "color" else encoding.classes)
    counts = "colors are read, not the numbers" if encoding.kind == "color" else "numbers are read, not the colors"
    return differ and f"the palettes of the masks contradict each other ({differ}): the {counts}"


def _remarks(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> list[str]:
    """Return the remarks on how mask files were read, each with the first file and the number of files."""
    files: dict[str, list[str]] = {}
    for fact in facts:
        if fact.remark:
            files.setdefault(fact.remark, []).append(str(fact.path))
    inverted = [str(fact.path) for fact in facts if _is_inverted(fact)]
    if inverted and len(inverted) < len(facts) and encoding.kind != "color":
        files["have a palette that shows their numbers inverted: the numbers are read, not the colors"] = inverted
    palettes = palette_remark(facts, encoding)
    return [
        *(f"{len(paths)} masks ({paths[0]}, ...) {remark}" for remark, paths in files.items()),
        *([palettes] if palettes else []),
    ]


def lossy_note(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> str:
    """Return the note on masks whose pixels take the nearest class, with the share of doubtful pixels."""
    values = totals(fact.values_for(encoding.kind) for fact in facts)
    doubtful = encoding.doubtful(np.array(list(values)))
    others = sum(fact.others for fact in facts)
    count = sum(count for count, doubt in zip(values.values(), doubtful, strict=True) if doubt)
    share = (count + others) / max(1, values.total() + others)
    return (
        f"masks are compressed or smoothed: each pixel takes the nearest class; {share:.2%} of the pixels are doubtful"
    )


def any_lossy_file(facts: Sequence[MaskFacts]) -> bool:
    """Return whether a mask is a JPEG, HEIF or AVIF file, whose compression may change values."""
    return lossy_file(facts) is not None


def lossy_file(facts: Sequence[MaskFacts]) -> Path | None:
    """Return the first mask that is a JPEG, HEIF or AVIF file; None if there is none."""
    paths = (fact.path for fact in facts if isinstance(fact.path, Path))
    return next((path for path in paths if path.suffix.lower() in LOSSY_SUFFIXES), None)


def _folder_of(facts: Sequence[MaskFacts]) -> Path:
    path = facts[0].path
    return path.parent if isinstance(path, Path) else path.path


def _color(value: int) -> Color:
    red, green, blue = (int(level) for level in channels(np.array(value)))
    return red, green, blue
