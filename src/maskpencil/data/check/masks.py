"""Find faults of masks: wrong values, smoothed borders, specks, and absent, dominant or wrongly numbered classes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.check.files import no_training_images
from maskpencil.data.check.images import check_copies
from maskpencil.data.check.inspect import MAX_SPECK_AREA, PairFacts
from maskpencil.data.drawing import MaskSource
from maskpencil.data.faults import Fault, fault
from maskpencil.data.folder import DataFolder
from maskpencil.data.masks.discovery import TWO_CLASSES, palette_remark
from maskpencil.data.masks.encoding import MaskEncoding, MaskFacts
from maskpencil.errors import DataError
from maskpencil.known_classes import KNOWN

ALMOST_ALL = 0.99

Counts = npt.NDArray[np.int64]
"""(masks, K): the number of pixels of each class in each mask."""


def check_classes(
    facts: Sequence[MaskFacts], splits: Sequence[str], encoding: MaskEncoding, counts: Counts, *, declared: bool
) -> list[Fault]:
    """Return the faults that the pixel counts of the classes show; no file is read.

    Args:
        facts: the contents of each mask.
        splits: the split of each mask.
        encoding: the encoding of the masks.
        counts: the number of pixels of each class in each mask.
        declared: whether a class file or the format of the data set names the classes; if not, they are inferred from
            the masks.
    """
    return [
        *_similar_names(encoding),
        *_off_by_one(facts, encoding, declared=declared),
        *_never_seen(encoding, counts, declared=declared),
        *_not_in_train(splits, encoding, counts),
        *_one_class_in_val(splits, encoding, counts),
        *_unbalanced(encoding, counts),
        *_mostly_foreground(encoding, counts, declared=declared),
        *_empty(facts, encoding, counts),
        *_equal_masks(facts),
        *_contradictory_palettes(facts, encoding),
    ]


def refuse_nonsense(folder: DataFolder) -> list[Fault]:
    """Run the fast checks of a data set before training, and return the warnings and notes.

    Raises:
        DataError: there are no training images, or the masks have a fault that makes training pointless.
    """
    counts = np.concatenate([folder.class_counts(split) for split in folder.splits])
    entries = [(folder.facts[pair.mask], split) for split, pairs in folder.splits.items() for pair in pairs]
    facts, splits = [fact for fact, _ in entries], [split for _, split in entries]
    faults = no_training_images(folder.splits)
    faults += check_classes(facts, splits, folder.encoding, counts, declared=folder.declared)
    for each in faults:
        if each.severity == "error":
            raise DataError(f"{folder.root}: {each.line.removeprefix('error: ')}; run maskpencil check for all faults")
    return [*check_copies(folder.splits, folder.root), *faults]


def _similar_names(encoding: MaskEncoding) -> list[Fault]:
    groups = [names for names in same_names(encoding.classes) if len(names) > 1]
    return fault(
        "classes-alike",
        "warning",
        [" = ".join(map(repr, names)) for names in groups],
        "classes with names that differ only in case or spaces: {n}",
        "maskpencil check DATA --fix CLEAN writes a copy in which these names are one class",
    )


def same_names(classes: ClassSet) -> list[tuple[str, ...]]:
    """Return the names of the classes in groups; names that differ only in case and spaces are in one group."""
    groups: dict[str, list[str]] = {}
    for name in classes.names:
        groups.setdefault(" ".join(name.split()).casefold(), []).append(name)
    return [tuple(names) for names in groups.values()]


def _off_by_one(facts: Sequence[MaskFacts], encoding: MaskEncoding, *, declared: bool) -> list[Fault]:
    """Return a fault if the class numbers start at 1, so that the first class never occurs."""
    if encoding.kind != "index" or encoding.codes is not None or not facts:
        return []
    numbers = {value for fact in facts for value in fact.values} - {IGNORE_INDEX, encoding.classes.ignore_index}
    if not numbers or min(numbers) != 1:
        return []
    highest, names = max(numbers), encoding.classes.names
    certain = highest == len(names)
    is_fixed = certain or leaves_out_absent(encoding, declared=declared)
    return fault(
        "off-by-one",
        "error" if certain else "warning",
        [f"1 to {highest}"],
        f"the class numbers of the masks start at 1, so that {names[0]!r} never occurs"
        + (f" and {highest} has no class" if certain else ""),
        f"subtract 1 from all class numbers{', as --fix does,' if is_fixed else ''} if 1 is the first class",
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
            "a network has nothing to distinguish; check that these files are masks, and check their values",
        )
    absent = [name for name, total in zip(encoding.classes.names, totals, strict=True) if not total]
    return fault(
        "classes-never-seen",
        "warning" if declared or 2 * len(absent) > len(totals) else "note",
        absent,
        f"classes that never occur: {{n}} of {len(totals)}",
        "a network cannot learn them; maskpencil check DATA --fix CLEAN writes a copy without them, renumbered"
        if leaves_out_absent(encoding, declared=declared)
        else "a network cannot learn them; add images that show them",
    )


def leaves_out_absent(encoding: MaskEncoding, *, declared: bool) -> bool:
    """Return whether `write_fixed` leaves out the classes without a pixel, and renumbers the other classes.

    It does so if these classes are only gaps between the numbers of the masks: no class file, format or published
    palette names them.
    """
    return not declared and encoding.kind in ("index", "color") and encoding.classes not in KNOWN.values()


def _not_in_train(splits: Sequence[str], encoding: MaskEncoding, counts: Counts) -> list[Fault]:
    """Return the faults of classes that occur in val or test but not in train; `splits` has one entry per mask."""
    names = np.array(splits)
    if "train" not in splits:  # which is a fault of its own
        return []
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
            "move images with these classes to train; a network cannot find classes that it was not trained on",
        )
    return found


def _one_class_in_val(splits: Sequence[str], encoding: MaskEncoding, counts: Counts) -> list[Fault]:
    """Return a fault if the validation masks show only one class, and the training masks show several."""
    names = np.array(splits)
    shown, asked = (counts[names == split].sum(axis=0) for split in ("train", "val"))
    if np.count_nonzero(shown) < 2 or np.count_nonzero(asked) != 1:
        return []
    return fault(
        "one-class-in-val",
        "warning",
        [encoding.classes.names[int(asked.argmax())]],
        "all pixels of val are of one class",
        "move images of the other classes to val; without them, the scores say nothing about these classes",
    )


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
        "crop the images to the other classes, or add images of the other classes; training gives rare classes more "
        "weight",
    )


MIN_FOREGROUND_SHARE = 0.7
"""In masks without a class file, a foreground with at least this share of the pixels may be the background instead."""


def _mostly_foreground(encoding: MaskEncoding, counts: Counts, *, declared: bool) -> list[Fault]:
    """Return a note if the foreground covers most of nearly all masks, and no class file or format names it."""
    totals = counts.sum(axis=0)
    if declared or encoding.classes.names != TWO_CLASSES or not totals.all():
        return []
    share = totals[1] / totals.sum()
    if share < MIN_FOREGROUND_SHARE or np.mean(counts[:, 1] > counts[:, 0]) < NEARLY_ALL:
        return []
    shown = "1" if encoding.kind == "index" else "white"
    names = "names: [object, background]"
    if encoding.kind == "color":
        names = f"{{{names}, palette: {[list(color) for color in encoding.classes.palette]}}}"
    return [
        Fault(
            "mostly-foreground",
            "note",
            1,
            f"the foreground ({shown}) covers {share:.0%} of the pixels",
            f"if {shown} means background in these masks, write into a classes.yaml in the data folder: {names}",
        )
    ]


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


NEARLY_ALL = 0.9
MIN_EQUAL_MASKS = 3
"""The smallest number of equal masks to report; fewer may be a coincidence."""


def _equal_masks(facts: Sequence[MaskFacts]) -> list[Fault]:
    """Return a fault if nearly all masks are equal; masks of a single value are not compared."""
    alike: dict[object, list[MaskSource]] = {}
    for fact in facts:
        if len(fact.values) > 1:
            alike.setdefault((fact.size, fact.digest, tuple(fact.values.items())), []).append(fact.path)
    most = max(alike.values(), key=len, default=[])
    if len(most) < max(MIN_EQUAL_MASKS, NEARLY_ALL * len(facts)):
        return []
    count = f"all {len(facts)} masks" if len(most) == len(facts) else f"{len(most)} of {len(facts)} masks"
    return fault(
        "masks-alike",
        "warning",
        most,
        f"{count} are the same, so they do not depend on their images",
        "check that these are the masks, and not the frame of the camera; name their folder with --masks",
    )


def _contradictory_palettes(facts: Sequence[MaskFacts], encoding: MaskEncoding) -> list[Fault]:
    remark = palette_remark(facts, encoding)
    remedy = "save all masks with one palette, in which a number has the color of its class"
    return [Fault("palettes-differ", "warning", 1, remark, remedy)] if remark else []


MIN_SMOOTHED_SHARE = 0.3
"""A mask is reported if more than this share of its runs look like smoothed borders, see `MaskView.steps`."""

MIN_THIN_SHARE = 0.6
"""A class with more than this share of thin runs, see `MaskView.thin_shares`, looks like a border to ignore."""

DOUBT = 0.05
MAX_SPECKS = 5
"""A mask with more specks than this is reported; fewer may be intended."""


def check_labels(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    """Return the faults of the masks that could be read, such as values without a class, or smoothed borders."""
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
        unknown = [value for value in fact.values_for(encoding.kind) if value not in encoding.table]
        if unknown:
            strange.append(f"{fact.path}: {encoding.shown(sorted(unknown)[:5])}{', ...' * (len(unknown) > 5)}")
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
        f"masks with more than {DOUBT:.0%} of their pixels far from the colors of all classes: {{n}}",
        "save the masks again as PNG from the program they were drawn in; --fix gives each pixel the nearest class",
    )


def _smoothed(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if encoding.nearest:
        smoothed = [
            view.mask.facts.path for view in seen if view.mask.facts and _has_unknown_values(view.mask.facts, encoding)
        ]
        what = "compressed or smoothed masks, with values between the values of the classes: {n}"
    else:
        smoothed = [view.pair.mask for view in seen if view.mask.steps > MIN_SMOOTHED_SHARE]
        what = "masks whose borders pass through the numbers between two classes, as if scaled with smoothing: {n}"
    return fault(
        "smoothed-borders",
        "warning",
        smoothed,
        what,
        "scale masks without smoothing (nearest neighbor) and save them as PNG",
    )


def _has_unknown_values(fact: MaskFacts, encoding: MaskEncoding) -> bool:
    return bool(fact.others) or any(value not in encoding.table for value in fact.values_for(encoding.kind))


def _looks_ignored(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if len(encoding.classes) < 3:
        return []
    thin_shares: dict[int, list[float]] = {}
    for view in seen:
        for value, share in view.mask.thin_shares.items():
            thin_shares.setdefault(value, []).append(share)
    found = []
    for value, shares in sorted(thin_shares.items()):
        index = encoding.table.get(value, IGNORE_INDEX)
        if index != IGNORE_INDEX and float(np.median(shares)) > MIN_THIN_SHARE:
            found.append(f"{encoding.classes.names[index]} = {encoding.shown([value])}")
    return fault(
        "looks-ignored",
        "warning",
        found,
        "classes in thin lines between other classes, like borders to ignore: {n}",
        "if they are borders to ignore, give them the value 255, or write ignore_index into classes.yaml",
    )


def _specks(seen: Sequence[PairFacts], encoding: MaskEncoding) -> list[Fault]:
    if encoding.nearest:
        return []  # compression itself creates specks
    speckled: Counter[object] = Counter()
    for view in seen:
        count = sum(
            n for value, n in view.mask.specks.items() if encoding.table.get(value, IGNORE_INDEX) != IGNORE_INDEX
        )
        if count > MAX_SPECKS:
            speckled[view.pair.mask] = count
    return fault(
        "specks",
        "note",
        [f"{mask}: {count}" for mask, count in speckled.most_common()],
        f"masks with many specks of at most {MAX_SPECK_AREA} pixels, such as drawing errors: {{n}}",
        "look at these masks, and remove the specks that are errors; a network would learn them as noise",
    )
