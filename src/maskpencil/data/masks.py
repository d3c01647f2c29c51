"""What the numbers in a folder of mask files mean: one encoding, found from all of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet
from maskpencil.errors import DataError
from maskpencil.images import IGNORE_COLOR, LabelMap, read_mask_pixels

NO_CLASS = -1
LOSSY_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class MaskFacts:
    """What occurs in one mask file of `size` (height, width): `values` -> pixels; a colour is the number 0xRRGGBB."""

    path: Path
    size: tuple[int, int]
    values: dict[int, int]
    colored: bool
    palette: npt.NDArray[np.uint8] | None

    def values_for(self, kind: str) -> dict[int, int]:
        """The counts as an encoding of that kind sees them: grey and palette masks turn into colours for `color`."""
        if kind != "color" or self.colored:
            return self.values
        levels = np.array(list(self.values), dtype=np.int64)
        numbers = _as_numbers(levels, self.palette)
        counts: dict[int, int] = {}
        for number, count in zip(numbers.tolist(), self.values.values(), strict=True):
            counts[number] = counts.get(number, 0) + count
        return counts


@dataclass(frozen=True)
class MaskEncoding:
    """How the pixels of a mask file stand for classes.

    `index`: the number is the class. `binary`: 0 is the first class and 255 the second. `color`: the class of that
    colour in the palette. The classes' ignore index (and 255, unless it is the second class) becomes `IGNORE_INDEX`.

    `codes` stands in place of all these rules, as public data sets need it: the class, or `IGNORE_INDEX`, of each
    number or colour (0xRRGGBB) that may occur.
    """

    kind: Literal["index", "binary", "color"]
    classes: ClassSet
    codes: Mapping[int, int] | None = None

    def read(self, path: Path) -> LabelMap:
        """Read a mask file as class indices, (H, W) uint8.

        Raises:
            ImageError: not a readable picture.
            DataError: a value or colour stands for no class.
        """
        pixels = read_mask_pixels(path)
        values = _as_numbers(pixels.values, pixels.palette) if self.kind == "color" else pixels.values
        if values.ndim != 2:
            raise DataError(f"{path}: is coloured, but the other masks hold class numbers; save it like them")
        found, counts = _count_values(values)
        meanings = self.meanings(found[counts > 0], path).astype(np.uint8)
        if values.dtype == np.uint8:  # the usual case: one look-up
            table = np.zeros(256, dtype=np.uint8)
            table[found[counts > 0]] = meanings
            return np.asarray(table[values])
        return np.asarray(meanings[np.searchsorted(found, values)])

    def covers(self, facts: Iterable[MaskFacts]) -> bool:
        """Whether every value in the masks stands for a class or is ignored."""
        known = self._table()
        return all(value in known for fact in facts for value in fact.values_for(self.kind))

    def meanings(self, values: npt.NDArray[np.integer], path: Path) -> npt.NDArray[np.int64]:
        """The class of each value (n,), `IGNORE_INDEX` for those that are ignored.

        Raises:
            DataError: a value stands for no class; `path` is named.
        """
        known = self._table()
        classes = np.array([known.get(int(value), NO_CLASS) for value in values], dtype=np.int64)
        strangers = [int(value) for value in values[classes == NO_CLASS]]
        if strangers:
            raise DataError(f"{path}: {self._complaint(strangers)}")
        return classes

    def _table(self) -> Mapping[int, int]:
        if self.codes is not None:
            return self.codes
        names = range(len(self.classes))
        if self.kind == "color":
            table = {_number(color): i for i, color in enumerate(self.classes.palette)}
            return {_number(IGNORE_COLOR): IGNORE_INDEX} | table
        if self.kind == "binary":
            return {0: 0, 255: 1}
        return {IGNORE_INDEX: IGNORE_INDEX, self.classes.ignore_index: IGNORE_INDEX} | {i: i for i in names}

    def _complaint(self, strangers: Sequence[int]) -> str:
        few = strangers[:5]
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        shown = self._shown(few)
        if self.codes is not None:
            what = "colour" if self.kind == "color" else "value"
            return (
                f"holds the {what} {shown}{more}, which has no meaning in this data set; expected "
                f"{self._shown(self.codes)}; correct the mask or remove it with its picture"
            )
        if self.kind == "color":
            return f"the colour {shown}{more} belongs to no class; add it to the palette in classes.yaml"
        if self.kind == "binary":
            return f"holds the value {shown}{more}; the other masks hold 0 and 255 alone; save it like them"
        return (
            f"holds the value {shown}{more}, which is no class; expected 0 to {len(self.classes) - 1} "
            f"({', '.join(self.classes.names[:3])}{', ...' if len(self.classes) > 3 else ''}) or "
            f"{self.classes.ignore_index} for pixels to ignore; add the class to classes.yaml or correct the mask"
        )

    def _shown(self, values: Iterable[int]) -> str:
        if self.kind == "color":
            return ", ".join(str((n >> 16, n >> 8 & 255, n & 255)) for n in values)
        return ", ".join(map(str, values))


def scan_masks(paths: Sequence[Path], report: Callable[[int], None] | None = None) -> list[MaskFacts]:
    """Count what occurs in each mask file; `report` hears how many are done.

    Raises:
        ImageError: a file is not a readable picture.
    """
    facts = []
    with ThreadPoolExecutor(max_workers=4) as pool:  # decoding leaves the interpreter lock
        for done, fact in enumerate(pool.map(_scan, paths), start=1):
            facts.append(fact)
            if report:
                report(done)
    return facts


def discover_encoding(facts: Sequence[MaskFacts], classes: ClassSet | None) -> MaskEncoding:
    """Find the encoding of all masks together; `classes` come from a class file or a model, or are found too.

    Raises:
        DataError: coloured masks without a class file, values that can be no class numbers, or a value without a class.
    """
    encoding = _encoding(facts, classes)
    if encoding.kind == "color":
        _check_colors_differ(encoding.classes)
    check_values(facts, encoding)
    return encoding


def check_values(facts: Iterable[MaskFacts], encoding: MaskEncoding) -> None:
    """Make sure that every value in the masks has a meaning.

    Raises:
        DataError: one has none; its file is named.
    """
    for fact in facts:
        encoding.meanings(np.array(sorted(fact.values_for(encoding.kind))), fact.path)


def count_classes(facts: Iterable[MaskFacts], encoding: MaskEncoding) -> npt.NDArray[np.int64]:
    """Count the pixels of each class in each mask, (masks, K); ignored pixels are left out."""
    rows = []
    for fact in facts:
        counts = np.zeros(256, dtype=np.int64)
        values = fact.values_for(encoding.kind)
        classes = encoding.meanings(np.array(list(values)), fact.path)
        np.add.at(counts, classes, list(values.values()))
        rows.append(counts[: len(encoding.classes)])
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(encoding.classes))


def _encoding(facts: Sequence[MaskFacts], classes: ClassSet | None) -> MaskEncoding:
    colored = next((fact for fact in facts if fact.colored), None)
    if colored:
        if classes is None:
            count = len(colored.values)
            raise DataError(
                f"{colored.path}: is a colour picture ({count} colours) and nothing says "
                "which colour is which class; write a classes.yaml with 'names' and 'palette' beside the pictures"
            )
        return MaskEncoding("color", classes)
    black_and_white = {value for fact in facts for value in fact.values} == {0, 255}
    if classes is None:
        if black_and_white:
            return MaskEncoding("binary", ClassSet(("background", "foreground")))
        return MaskEncoding("index", _classes_of(facts))
    by_color = MaskEncoding("color", classes)  # grey levels can be colours of the class file, too
    if black_and_white and len(classes) == 2:
        return by_color if by_color.covers(facts) else MaskEncoding("binary", classes)
    by_number = MaskEncoding("index", classes)
    return by_color if by_color.covers(facts) and not by_number.covers(facts) else by_number


def _check_colors_differ(classes: ClassSet) -> None:
    for i, color in enumerate(classes.palette):
        if color in classes.palette[:i]:
            one, other = classes.names[classes.palette.index(color)], classes.names[i]
            raise DataError(
                f"the classes {one!r} and {other!r} have one colour, {color}, so coloured masks cannot tell them "
                "apart; give each its own in classes.yaml"
            )


def _classes_of(facts: Sequence[MaskFacts]) -> ClassSet:
    """Name the classes after their numbers, in the colours of the masks' own palette."""
    totals: Counter[int] = Counter()
    for fact in facts:
        totals.update(fact.values)
    numbers = [value for value in sorted(totals) if value != IGNORE_INDEX]
    highest = max(numbers, default=0)
    if highest >= MAX_CLASSES or min(numbers, default=0) < 0:
        strange = next(fact for fact in facts if highest in fact.values or min(fact.values) < 0)
        raise DataError(
            f"{strange.path}: holds the values {min(strange.values)} to {max(strange.values)}; "
            f"expected class numbers from 0 to {MAX_CLASSES - 1}; renumber the classes"
        )
    far_apart = highest > 32 and len(numbers) < (highest + 1) / 8  # as grey levels are
    blurred = highest > 32 and 2 * totals[255] > totals.total() - totals[0]  # black and white, and a little between
    lossy = highest > 0 and any(fact.path.suffix.lower() in LOSSY_SUFFIXES for fact in facts)
    if far_apart or blurred or lossy:
        named = ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
        raise DataError(
            f"{facts[0].path.parent}: the masks hold {len(numbers)} values ({named}) between 0 and {highest}, which do "
            "not look like class numbers; save the masks as PNG with the numbers 0, 1, 2, ... and without smoothing, "
            "or add a classes.yaml if they are meant so"
        )
    names = tuple(f"class_{i}" for i in range(highest + 1))
    palette = next((fact.palette for fact in facts if fact.palette is not None), None)
    if palette is None or len(palette) < len(names):
        return ClassSet(names)
    return ClassSet(names, tuple((int(r), int(g), int(b)) for r, g, b in palette[: len(names)]))


def _scan(path: Path) -> MaskFacts:
    pixels = read_mask_pixels(path)
    colored = pixels.values.ndim == 3
    values, counts = _count_values(_as_numbers(pixels.values, None) if colored else pixels.values)
    counted = {int(value): int(count) for value, count in zip(values, counts, strict=True) if count}
    height, width = pixels.values.shape[:2]
    return MaskFacts(path, (height, width), counted, colored, pixels.palette)


def _count_values(values: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
    if values.dtype == np.uint8:
        return np.arange(256), np.bincount(values.ravel(), minlength=256)
    return np.unique(values, return_counts=True)


def _as_numbers(values: npt.NDArray[np.integer], palette: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.int64]:
    """Colours (..., 3), or grey levels or palette indices (...) of any other shape, as numbers 0xRRGGBB (...)."""
    if palette is not None:
        colors = np.zeros((256, 3), dtype=np.uint8)  # a file may list fewer than it uses
        colors[: len(palette)] = palette
        values = colors[values]
    elif values.ndim < 3:
        return values.astype(np.int64) * 0x010101
    red, green, blue = (values[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue


def _number(color: tuple[int, int, int]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]
