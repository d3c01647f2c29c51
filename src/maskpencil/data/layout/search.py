"""Pairs in folders whose names say nothing: what is an image and what a mask is seen from the files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations, permutations, product
from pathlib import Path

from maskpencil.data.layout.files import image_files
from maskpencil.data.layout.pairs import Found, Pair, Pairing, longer_names, pair_names
from maskpencil.data.masks.facts import as_numbers, is_flat
from maskpencil.data.splits import SPLIT_ALIASES, split_in
from maskpencil.errors import ImageError
from maskpencil.images import IMAGE_SUFFIXES, read_image

MASK_WORDS = re.compile(
    r"(?:^|[^a-z])(?:masks?|labels?|labelids|gt|gts|groundtruth|truth|segmentations?|semantic|seg|annot|annotations?|annots|"
    r"targets?|mattes?|y)(?:$|[^a-z])"
)
"""What masks are called, in names in lower case."""

SAMPLE = 6
"""So many files of each side are looked at."""

MOST_FOLDERS = 8
"""Of more folders, none of them called masks, not every one is compared with every other."""

CLEARLY = 0.15
"""By so much more of masks is even than of their images."""

BEYOND_DOUBT = 0.25
"""And so much more where the images are as even as masks, as X-rays are on black."""

MOSTLY = 0.6
"""So much of masks is even at least."""


def search_pairs(root: Path) -> Found:
    """Pair the images below `root` that names of folders did not pair.

    At each level: files beside each other, of which those are masks whose names add something, or that have another
    suffix; else folders whose files are named alike, if some are called masks; else what the folders below hold, each
    on its own; and at last those folders without pairs of their own whose files are named alike. Which side is the
    masks' is told by words in the names, and else by the larger part of even areas. Folders called after a split put
    all below them into it.
    """
    search = _Search()
    search.look(root, "", "")
    return search.found


class _Search:
    """Pairs so far."""

    def __init__(self) -> None:
        self.found = Found()

    def look(self, folder: Path, prefix: str, split: str) -> bool:
        """Pair what is in a folder, if anything; `prefix` comes before the names."""
        if self._within(folder, prefix, split):
            return True
        folders = {below.name: files for below in _folders(folder) if (files := image_files(below, strict=False))}
        if any(map(_is_called_mask, folders)) and self._across(folder, folders, prefix, split):
            return True
        alone = {name: files for name, files in folders.items() if not self._look_into(folder / name, prefix, split)}
        return self._across(folder, alone, prefix, split) or len(alone) < len(folders)

    def _look_into(self, folder: Path, prefix: str, split: str) -> bool:
        own = split_in(folder.name)
        called_split = own and folder.name.lower() in SPLIT_ALIASES[own]
        return self.look(folder, prefix if called_split else f"{prefix}{folder.name}/", own or split)

    def _within(self, folder: Path, prefix: str, split: str) -> bool:
        """Pair the files that lie in the folder itself."""
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        ways = []
        for sides in filter(None, (_sides_by_suffix(files), _sides_by_addition(files))):
            images, masks = ({path.stem: path for path in side} for side in sides)
            ways.append((pair_names(images, masks), images, masks))
        if not ways:
            return False
        pairing, images, masks = max(ways, key=lambda way: len(way[0].masks))
        rule = pairing.rule or f"an image's mask has the suffix {next(iter(masks.values())).suffix}"
        self._add(pairing, images, masks, prefix, split, f"images and masks lie in one folder; {rule}")
        return True

    def _across(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair the files of folders beside each other: of those that are named alike, of each split."""
        by_split: dict[str, dict[str, Mapping[str, Path]]] = {}
        for name, files in folders.items():
            by_split.setdefault(split_in(name), {})[name] = files
        paired = [self._pair_folders(folder, group, prefix, own or split) for own, group in by_split.items()]
        return any(paired)

    def _pair_folders(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair folders in twos: those first that make the most pairs, of equal ones those that are named alike."""
        pairings = {
            (one, other): pairing
            for one, other in _couples(list(folders))
            if (pairing := pair_names(folders[one], folders[other])).masks
        }
        if not pairings:
            return False
        has_masks = _which_have_masks({name: folders[name] for couple in pairings for name in couple})
        fitting = [couple for couple in pairings if has_masks.get(couple[1]) and not has_masks.get(couple[0])]
        if not fitting:
            self.found.complaint = _neither_looks_like_masks(folder, next(iter(pairings)))
            return False
        fitting.sort(key=lambda couple: (-len(pairings[couple].masks), -_alike(*couple), couple))
        taken: dict[str, str] = {}  # the image folder of each mask folder
        for images, masks in fitting:
            free, rival = images not in taken.values(), taken.get(masks)
            if free and rival and len(pairings[images, masks].masks) == len(pairings[rival, masks].masks):
                self.found.complaint = (
                    f"{folder}: {rival} and {images} both hold images named as the masks in {masks}; say which are "
                    f"meant with --images {rival} --masks {masks}, or move the others away"
                )
                return False
            if free and not rival:
                taken[masks] = images
        for masks, images in taken.items():
            others = [m for i, m in fitting if i == images and m not in taken]
            left_out = f"{', '.join(others)} hold masks of the same images and are left out" if others else None
            where = f"images are in {images}/, masks in {masks}/"
            rest = prefix if len(taken) == 1 else f"{prefix}{images}/"
            rules = (where, pairings[images, masks].rule, left_out)
            self._add(pairings[images, masks], folders[images], folders[masks], rest, split, *rules)
        return True

    def _add(
        self,
        pairing: Pairing,
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        prefix: str,
        split: str,
        *rules: str | None,
    ) -> None:
        for name, mask in pairing.masks.items():
            first, _, rest = name.partition("/")
            inner = split_in(first) if rest else ""
            plain = inner and first.lower() in SPLIT_ALIASES[inner]  # else it tells images apart, as train_a/ does
            self.found.add(split or inner, Pair(prefix + (rest if plain else name), images[name], masks[mask]))
        paired = {*pairing.masks.values()}
        self.found.images_alone += [path for name, path in images.items() if name not in pairing.masks]
        self.found.masks_alone += [path for name, path in masks.items() if name not in paired]
        self.found.rules += [rule for rule in rules if rule and rule not in self.found.rules]


def evenness(paths: Sequence[Path]) -> float:
    """The part of the pixels that are like their neighbors, 0..1, over some of the files: nearly all in masks.

    Files that cannot be read are left out; they are told of when all are read.
    """
    step = max(1, len(paths) // SAMPLE)
    shares = []
    for path in paths[::step][:SAMPLE]:
        with suppress(ImageError):
            image = read_image(path)
            shares.append(float(is_flat(as_numbers(image, None)).mean()) if min(image.shape[:2]) > 2 else 0.0)
    return sum(shares) / max(1, len(shares))


def _sides_by_suffix(files: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Images and masks of equal names: two suffixes, of which the one with the more even images is the masks'."""
    suffixes: dict[str, list[Path]] = {}
    for path in files:
        suffixes.setdefault(path.suffix.lower(), []).append(path)
    stems = {suffix: {path.stem for path in paths} for suffix, paths in suffixes.items()}
    shared = {(one, other): stems[one] & stems[other] for one, other in combinations(sorted(stems), 2)}
    couple = max(shared, key=lambda couple: len(shared[couple]), default=None)
    if couple is None or not shared[couple]:
        return None
    even = {suffix: evenness([path for path in suffixes[suffix] if path.stem in shared[couple]]) for suffix in couple}
    images, masks = sorted(couple, key=even.__getitem__)
    return suffixes[images], suffixes[masks]


def _sides_by_addition(files: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Images and masks of one folder: masks are called so, or their names are those of images with an addition."""
    called = [path for path in files if _is_called_mask(path.stem)]
    if called and len(called) < len(files):
        called_set = set(called)
        images = [path for path in files if path not in called_set]
        if pair_names([path.stem for path in images], [path.stem for path in called]).masks:
            return images, called
    by_stem = {path.stem: path for path in files}
    longer = longer_names(by_stem)
    if len(longer) < 2:
        return None
    images = [path for stem, path in by_stem.items() if stem not in longer]
    masks = [path for stem, path in by_stem.items() if stem in longer]
    return (images, masks) if evenness(masks) - evenness(images) > CLEARLY else None


def _couples(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Which folders may be those of images and of masks: (images, masks)."""
    called = [name for name in names if _is_called_mask(name)]
    if called:
        return product([name for name in names if name not in called], called)
    return permutations(names, 2) if len(names) <= MOST_FOLDERS else ()


def _which_have_masks(folders: Mapping[str, Mapping[str, Path]]) -> dict[str, bool]:
    """Which of the folders hold masks; empty where that cannot be told."""
    called = {name: _is_called_mask(name) for name in folders}
    if len({*called.values()}) == 2:
        return called
    even = {name: evenness(sorted(files.values())) for name, files in folders.items()}
    least = min(even.values())
    more = CLEARLY if least < MOSTLY else BEYOND_DOUBT
    has_masks = {name: share >= MOSTLY and share - least > more for name, share in even.items()}
    return has_masks if any(has_masks.values()) else {}


def _alike(one: str, other: str) -> int:
    """How many characters two names have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _neither_looks_like_masks(folder: Path, couple: tuple[str, str]) -> str:
    one, other = sorted(couple)
    return (
        f"{folder}: {one} and {other} hold files of the same names, but neither looks like masks; name the one with "
        "the images images and the other masks"
    )


def _folders(folder: Path) -> Iterable[Path]:
    """The folders in a folder; not hidden ones, and no links that lead back up."""
    above = {folder.resolve(), *folder.resolve().parents}
    inside = (path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    return sorted(path for path in inside if path.resolve() not in above)


def _is_called_mask(name: str) -> bool:
    return bool(MASK_WORDS.search(name.lower()))
