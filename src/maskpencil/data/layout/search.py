"""Pairs in folders whose names say nothing: what is a picture and what a mask is seen from the files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import combinations, permutations, product
from pathlib import Path

from maskpencil.data.layout.pairing import Pairing, longer_names, pair_names
from maskpencil.data.layout.pairs import Found, Pair, picture_files
from maskpencil.data.masks.facts import as_numbers, is_flat
from maskpencil.data.splits import split_in
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
"""By so much more of masks is even than of their pictures."""


def search_pairs(root: Path) -> Found:
    """Pair the pictures below `root` that names of folders did not pair.

    At each level: files beside each other, of which those are masks whose names add something, or that have another
    suffix; else two folders whose files are named alike; else what the folders below hold, each on its own. Which side
    is the masks' is told by words in the names, and else by the larger part of even areas. Folders called after a split
    put all below them into it.
    """
    search = _Search()
    search.look(root, "", "")
    return search.found


class _Search:
    """Pairs so far."""

    def __init__(self) -> None:
        self.found = Found()

    def look(self, folder: Path, prefix: str, split: str) -> None:
        """Pair what is in a folder; `prefix` comes before the names."""
        if self._within(folder, prefix, split):
            return
        folders = {below.name: files for below in _folders(folder) if (files := picture_files(below, strict=False))}
        if self._across(folder, folders, prefix, split):
            return
        for name in folders:
            own = split_in(name)
            self.look(folder / name, prefix if own else f"{prefix}{name}/", own or split)

    def _within(self, folder: Path, prefix: str, split: str) -> bool:
        """Pair the files that lie in the folder itself."""
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        sides = _sides_by_suffix(files) or _sides_by_addition(files)
        if not sides:
            return False
        images, masks = ({path.stem: path for path in side} for side in sides)
        pairing = pair_names(images, masks)
        rule = pairing.rule or f"a picture's mask has the suffix {sides[1][0].suffix}"
        self._add(pairing, images, masks, prefix, split, f"pictures and masks lie in one folder; {rule}")
        return True

    def _across(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair the files of folders beside each other: of those that are named alike the most, of each split."""
        by_split: dict[str, dict[str, Mapping[str, Path]]] = {}
        for name, files in folders.items():
            by_split.setdefault(split_in(name), {})[name] = files
        paired = [self._pair_two(folder, group, prefix, own or split) for own, group in by_split.items()]
        return any(paired)

    def _pair_two(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        pairings = {
            (one, other): pairing
            for one, other in _couples(list(folders))
            if (pairing := pair_names(folders[one], folders[other])).masks
        }
        if not pairings:
            return False
        most = max(len(pairing.masks) for pairing in pairings.values())
        alike = sorted(couple for couple, pairing in pairings.items() if 2 * len(pairing.masks) > most)
        has_masks = _which_have_masks({name: folders[name] for couple in alike for name in couple})
        if not has_masks:
            self.found.complaint = (
                f"{folder}: {' and '.join(alike[0])} hold files of the same names, but neither looks like masks; name "
                "the one with the pictures images and the other masks"
            )
            return False
        images, masks = next(couple for couple in alike if has_masks[couple[1]] and not has_masks[couple[0]])
        pairing = pairings[images, masks]
        rules = [f"pictures are in {images}/, masks in {masks}/", pairing.rule]
        others = [name for name, has in has_masks.items() if has and name != masks]
        rules.append(f"{', '.join(others)} hold masks of the same pictures and are left out" if others else None)
        self._add(pairing, folders[images], folders[masks], prefix, split, *rules)
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
            self.found.add(split or inner, Pair(prefix + (rest if inner else name), images[name], masks[mask]))
        paired = {*pairing.masks.values()}
        self.found.images_alone += [path for name, path in images.items() if name not in pairing.masks]
        self.found.masks_alone += [path for name, path in masks.items() if name not in paired]
        self.found.rules += [rule for rule in rules if rule and rule not in self.found.rules]


def evenness(paths: Sequence[Path]) -> float:
    """The part of the pixels that are like their neighbours, 0..1, over some of the files: nearly all in masks.

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
    """Pictures and masks of equal names: two suffixes, of which the one with the more even pictures is the masks'."""
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
    """Pictures and masks of one folder: masks are called so, or their names are those of pictures with an addition."""
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
    """Which folders may be those of pictures and of masks: (pictures, masks)."""
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
    return (
        {name: share - least > CLEARLY for name, share in even.items()} if max(even.values()) - least > CLEARLY else {}
    )


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    )


def _is_called_mask(name: str) -> bool:
    return bool(MASK_WORDS.search(name.lower()))
