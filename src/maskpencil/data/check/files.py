"""Find faults of files: missing, unreadable, of different sizes, rotated, or with ambiguous names."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from maskpencil.data.check.inspect import PairFacts
from maskpencil.data.faults import Fault, fault
from maskpencil.data.layout import Layout


def check_files(layout: Layout, seen: Sequence[PairFacts]) -> list[Fault]:
    """Return the faults of the files of a data set; `seen` holds the measurements of its pairs."""
    return [
        *no_training_images(layout.splits),
        *_unreadable(seen),
        *_bands_and_levels(seen),
        *_sizes(seen),
        *_turned(seen),
        *_same_names(layout),
        *_names_by_case(layout),
    ]


def no_training_images(splits: Mapping[str, Sequence[object]]) -> list[Fault]:
    """Return a list with one fault if the split train has no images, else []."""
    if splits.get("train"):
        return []
    return fault(
        "no-training-images",
        "error",
        [split for split, pairs in splits.items() if pairs],
        "no images to train on: all images are in other splits",
        "add images in train/, or name the split of each image in a file: --split-file FILE",
    )


def _unreadable(seen: Sequence[PairFacts]) -> list[Fault]:
    broken = [f"{f.pair.image}: {f.image.error}" for f in seen if f.image.error]
    masks = [f"{f.pair.mask}: {f.mask.error}" for f in seen if f.mask.error]
    remedy = "restore them from the source, or remove each file together with its mask or image"
    return [
        *fault("unreadable-images", "error", broken, "images that cannot be read: {n}", remedy),
        *fault("unreadable-masks", "error", masks, "masks that cannot be read: {n}", remedy),
    ]


def _bands_and_levels(seen: Sequence[PairFacts]) -> list[Fault]:
    """Return notes on images with unread bands or with values scaled to 0-255, and a warning if the scalings differ."""
    by_bands: dict[str, list[Path]] = defaultdict(list)
    by_levels: dict[str, list[Path]] = defaultdict(list)
    for facts in seen:
        if facts.image.bands:
            by_bands[facts.image.bands].append(facts.pair.image)
        if facts.image.levels:
            by_levels[facts.image.levels].append(facts.pair.image)
    differ = [f"{files[0]}: {text}" for text, files in by_levels.items()] if len(by_levels) > 1 else []
    return [
        *(
            found
            for text, files in by_bands.items()
            for found in fault(
                "bands",
                "note",
                files,
                f"images in which {text}: {{n}}",
                "mark the bands to read: gdal_edit.py -colorinterp_1 red FILE.tif",
            )
        ),
        *(
            found
            for text, files in by_levels.items()
            for found in fault(
                "levels",
                "note",
                files,
                f"images whose {text}: {{n}}",
                "to map another range of numbers, set the scale of the files: gdal_edit.py -scale FACTOR FILE.tif",
            )
        ),
        *fault(
            "levels-differ",
            "warning",
            differ,
            "images scaled to 0 to 255 in different ways: {n}",
            "if the files belong together, give all of them one scale: gdal_edit.py -scale FACTOR FILE.tif",
        ),
    ]


def _sizes(seen: Sequence[PairFacts]) -> list[Fault]:
    differ: list[str] = []
    stored: list[str] = []
    for facts in seen:
        if not facts.image.header or not facts.mask.facts:
            continue
        (height, width), (mask_height, mask_width) = facts.image.header.shown_size, facts.mask.facts.size
        if (height, width) == (mask_height, mask_width):
            continue
        text = f"{facts.pair.mask}: {mask_width} x {mask_height}, but its image is {width} x {height}"
        fits_stored = facts.image.header.size == facts.mask.facts.size
        (stored if fits_stored else differ).append(text)
    return [
        *fault(
            "sizes-differ",
            "error",
            differ,
            "masks that differ in size from their image: {n}",
            "save each mask at the size of its image, without smoothing (nearest neighbor); --fix does so for equal "
            "aspect ratios",
        ),
        *fault(
            "exif-rotation",
            "error",
            stored,
            "masks in the stored orientation of their image, which EXIF rotates: {n}",
            "rotate the masks as well, or remove the EXIF entry from the images",
        ),
    ]


def _turned(seen: Sequence[PairFacts]) -> list[Fault]:
    """Return a warning on pairs of different EXIF orientations whose sizes are equal with and without rotation.

    It is then unclear whether the image must be rotated to match the mask.
    """
    doubtful = [
        f.pair.image
        for f in seen
        if f.image.header and f.mask.header and f.mask.facts
        if f.image.header.orientation != f.mask.header.orientation
        if f.image.header.shown_size == f.mask.facts.size
        if f.image.header.orientation < 5 or f.image.header.size[0] == f.image.header.size[1]
    ]
    return fault(
        "exif-rotation-doubtful",
        "warning",
        doubtful,
        "images rotated or mirrored by EXIF while their masks are not: {n}",
        "look at the overlays; where they do not match, remove the EXIF entry from the image",
    )


def _same_names(layout: Layout) -> list[Fault]:
    splits: dict[str, list[str]] = defaultdict(list)
    for split, pairs in layout.splits.items():
        for pair in pairs:
            splits[pair.name].append(split)
    twice = [f"{name} in {' and '.join(where)}" for name, where in splits.items() if len(where) > 1]
    return fault(
        "same-name-in-splits",
        "warning",
        twice,
        "names that occur in more than one split: {n}",
        "check that they are different images, and rename them",
    )


def _names_by_case(layout: Layout) -> list[Fault]:
    files = [path for pairs in layout.splits.values() for pair in pairs for path in _files(pair.image, pair.mask)]
    by_lower: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_lower[str(path).lower()].append(path)
    groups = [sorted({*paths}) for paths in by_lower.values() if len({*paths}) > 1]
    alike = [" and ".join((str(first), *(path.name for path in others))) for first, *others in groups]
    return fault(
        "names-differ-in-case",
        "warning",
        alike,
        "file names that differ only in case: {n}",
        "rename them: on Windows and macOS one file would replace the other",
    )


def _files(*paths: object) -> Iterable[Path]:
    return (path for path in paths if isinstance(path, Path))
