"""Read stacks, such as volumes: split pairs whose image and mask have several pages into one pair per page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from maskpencil.data.drawing import ClassPages
from maskpencil.data.faults import Fault, fault
from maskpencil.data.layout import Layout, Pair, files_below
from maskpencil.data.layout.search import MASK_WORDS
from maskpencil.data.packed.archives import Budget
from maskpencil.data.packed.cache import made_once
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES, count_pages, pages_of

MAX_FILES_BESIDE = 8
"""The largest number of image files in a folder that is searched for a single volume."""

STACK_SUFFIXES = (".tif", ".tiff")
VALIDATION_SHARE = 0.2

SAVE = "save the pages as separate files, or save equally many pages in image and mask"


def split_stacks(layout: Layout) -> tuple[Layout, tuple[str, ...]]:
    """Return a layout in which each pair is one page, and notes on files with several pages.

    - If image and mask have the same number of pages, each page becomes a pair of files in the cache. All pages of a
      file stay in one split.
    - If each image has one page and all masks have the same number of pages, pages are classes, see `ClassPages`.
    - If an image has several pages and its mask has one page, the first page of the image is read, with a warning.
    - Other pairs are left out, with a warning.

    Raises:
        DataError: no pair is left, or a page is damaged.
        OutputError: the cache cannot be written.
    """
    pages = {
        pair: (count_pages(pair.image), count_pages(pair.mask) if isinstance(pair.mask, Path) else 1)
        for pairs in layout.splits.values()
        for pair in pairs
    }
    if all(count == (1, 1) for count in pages.values()):
        return layout, ()
    stacks = [pair for pair, (image, mask) in pages.items() if image == mask > 1]
    classes = {mask for image, mask in pages.values() if image == 1}
    of_classes = [pair for pair, (image, _) in pages.items() if image == 1] if len(classes) == 1 < max(classes) else []
    first = [pair for pair, (image, mask) in pages.items() if image > mask == 1]
    usable = {*stacks, *of_classes, *first, *(pair for pair, count in pages.items() if count == (1, 1))}
    left_out = [pair for pair in pages if pair not in usable]
    folder, notes = _written(layout.root, stacks) if stacks else (layout.root, ())
    parts: Mapping[Pair, Sequence[Pair]] = {
        **{pair: _pairs(folder / str(place), pair, pages[pair][0]) for place, pair in enumerate(stacks)},
        **{pair: [replace(pair, mask=ClassPages(pair.mask))] for pair in of_classes if isinstance(pair.mask, Path)},
        **dict.fromkeys(left_out, ()),
    }
    splits = {
        split: tuple(page for pair in pairs for page in parts.get(pair, (pair,)))
        for split, pairs in layout.splits.items()
    }
    splits = {split: pairs for split, pairs in splits.items() if pairs}
    faults = _faults(pages, stacks, first, left_out)
    if not splits:
        raise DataError(f"{layout.root}: {faults[-1].line.removeprefix('warning: ')}")
    if of_classes:
        count = max(classes)
        notes = (f"each mask has {count} pages, which are read as {count} classes: page 1 is class 1", *notes)
    return replace(layout, splits=splits, faults=(*layout.faults, *faults)), notes


def _faults(
    pages: Mapping[Pair, tuple[int, int]], stacks: Sequence[Pair], first: Sequence[Pair], left_out: Sequence[Pair]
) -> list[Fault]:
    several = [f"{pair.image}: {pages[pair][0]} pages" for pair in first]
    masks = [f"{pair.mask}: {pages[pair][1]} pages, its image {pages[pair][0]}" for pair in left_out]
    total = sum(pages[pair][0] for pair in stacks)
    return [
        *fault(
            "stacks",
            "warning",
            [f"{pair.image}: {pages[pair][0]} pages" for pair in stacks],
            f"images and masks of several pages are read as {total} pairs, one for each page: {{n}}",
            "this is right if the pages are slices or frames; if they are channels or tiles of one image, save one "
            "page for each image",
        ),
        *fault(
            "several-pages",
            "warning",
            several,
            "images with several pages, whose mask has one page; only the first page is read: {n}",
            "save the other pages as separate files if they should be used",
        ),
        *fault(
            "several-pages-masks",
            "warning",
            masks,
            "{n} {mask|masks} with more or fewer pages than their image left out",
            SAVE,
        ),
    ]


def _written(root: Path, stacks: Sequence[Pair]) -> tuple[Path, tuple[str, ...]]:
    files = [file for pair in stacks for file in (pair.image, pair.mask) if isinstance(file, Path)]
    return made_once(root, files, partial(_write, stacks))


def _write(stacks: Sequence[Pair], target: Path) -> tuple[str, ...]:
    """Write the pages of `stacks` below `target`, in a folder for each pair; return (), since there are no notes."""
    for place, pair in enumerate(stacks):
        for kind, file in (("images", pair.image), ("masks", pair.mask)):
            if isinstance(file, Path):
                folder = target / str(place) / kind
                folder.mkdir(parents=True)
                _write_pages(file, [folder], file.stem)
    return ()


def _pairs(folder: Path, pair: Pair, count: int) -> list[Pair]:
    """Return a pair for each of the `count` pages of `pair`, which were written to `folder`."""
    images, masks = (sorted((folder / kind).iterdir()) for kind in ("images", "masks"))
    if not len(images) == len(masks) == count:
        raise DataError(f"{pair.image}: some of its {count} pages cannot be read; replace it or remove it")
    return [
        Pair(f"{pair.name}_{image.stem.rpartition('_')[2]}", image, mask)
        for image, mask in zip(images, masks, strict=True)
    ]


def _write_pages(file: Path, folders: Sequence[Path], name: str) -> None:
    """Write each page of a file: page n into the n-th folder, and pages beyond the last folder into the last folder."""
    budget = Budget(file, file.stat().st_size, folders[0].parent)
    for number, (content, suffix) in enumerate(pages_of(file), start=1):
        budget.claim(len(content))
        folder = folders[min(number, len(folders)) - 1]
        with written_whole(folder / f"{name}_p{number:04d}{suffix}") as temporary:
            temporary.write_bytes(content)


@dataclass(frozen=True)
class LoneStack:
    """The single labeled volume of a folder: an image file and a mask file, with the same number of pages.

    `others` are the other image files of the folder.
    """

    image: Path
    mask: Path
    pages: int
    others: tuple[Path, ...]


def find_lone_stack(folder: Path) -> LoneStack | None:
    """Return the single volume below a folder, such as train-volume.tif + train-labels.tif; None for other folders."""
    if not folder.is_dir():
        return None
    files = list(islice(files_below(folder, IMAGE_SUFFIXES), MAX_FILES_BESIDE + 1))
    counts = {file: count_pages(file) for file in files if file.suffix.lower() in STACK_SUFFIXES}
    if len(files) > MAX_FILES_BESIDE or len(counts) < 2:
        return None
    masks = [
        file
        for file, count in counts.items()
        if count > 1 and MASK_WORDS.search(str(file.relative_to(folder).with_suffix("")).lower())
    ]
    if len(masks) != 1:
        return None
    mask = masks[0]
    likely = {
        file: _common_prefix_length(file.stem, mask.stem)
        for file, count in counts.items()
        if file != mask and count > 1
    }
    images = [file for file, alike in likely.items() if alike == max(likely.values())]
    if len(images) != 1 or counts[images[0]] != counts[mask]:
        return None
    return LoneStack(images[0], mask, counts[mask], tuple(file for file in files if file not in (images[0], mask)))


def unstack(root: Path, stack: LoneStack) -> tuple[Path, tuple[str, ...], Fault]:
    """Write each page of a volume as a pair into the cache, the last fifth of the pages for validation.

    Returns the folder, notes, and a warning that the scores will be too high, since pages of one volume are similar.

    Raises:
        DataError: a page is damaged.
        OutputError: the cache cannot be written.
    """
    train = max(1, min(stack.pages - 1, round(stack.pages * (1 - VALIDATION_SHARE))))

    def make(target: Path) -> tuple[str, ...]:
        for kind, file in (("images", stack.image), ("masks", stack.mask)):
            folders = [target / kind / split for split in ("train", "val")]
            for folder in folders:
                folder.mkdir(parents=True)
            _write_pages(file, [folders[0]] * train + folders[1:], stack.image.stem)
        return ()

    folder, notes = made_once(root, [stack.image, stack.mask], make)
    left_out = f", {', '.join(file.name for file in stack.others)} left out" if stack.others else ""
    what = (
        f"one volume of {stack.pages} pages is read as a pair for each page; pages {train + 1} to {stack.pages} "
        f"are for validation{left_out}; pages of one volume are similar, so the scores will be too high"
    )
    remedy = "put another volume and its mask beside it, for validation"
    return folder, notes, Fault("one-volume", "warning", 1, what, remedy, (str(stack.image), str(stack.mask)))


def _common_prefix_length(one: str, other: str) -> int:
    """Return the length of the common beginning of two names."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
