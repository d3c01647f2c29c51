"""Find pairs in folders with unknown names, by the contents of the files."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, permutations, product
from pathlib import Path

from maskpencil.data.drawing import MaskSource
from maskpencil.data.layout.choice import CANDIDATE_SHARE, Choice, choose, show_same_regions
from maskpencil.data.layout.pairs import Found, Pair, Pairing, image_files, longer_names, pair_names
from maskpencil.data.layout.splits import SPLIT_ALIASES, split_in
from maskpencil.data.layout.views import View, views_of
from maskpencil.data.masks.encoding import as_numbers, is_flat
from maskpencil.errors import ImageError
from maskpencil.images import IMAGE_SUFFIXES, read_image

MASK_WORDS = re.compile(
    r"(?:^|[^a-z])(?:masks?|labels?|labelids|gt|gts|groundtruth|truth|segmentations?|semantic|seg|annot|annotations?|annots|"
    r"targets?|mattes?|y)(?:$|[^a-z])"
)
"""Words in lower-case names that suggest masks."""

SAMPLE = 6
"""The number of files of each folder that are examined."""

MAX_COMPARED_FOLDERS = 8
"""The largest number of folders that are compared with each other if no name has a word for masks."""

MIN_EVENNESS_GAP = 0.15
"""The smallest difference in evenness (see `evenness`) between masks and images."""

MIN_CERTAIN_EVENNESS_GAP = 0.25
"""The smallest difference in evenness if the images are as even as masks, as X-ray images with a black background
are."""

MIN_MASK_EVENNESS = 0.6
"""The smallest evenness of masks."""


MAX_NAMED = 3
"""The largest number of folders that a note on a rule names."""

MAX_RULES = 8
"""The largest number of notes on rules that hold in some folders only."""


def search_pairs(root: Path, split: str = "") -> Found:
    """Pair images with masks in `root` and in its subfolders, which do not have known names.

    `split` is the split of the files in `root`, or "" if it is unknown.

    At each level the search tries, in order:

    - files in one folder, where masks have longer names or another suffix;
    - folders with the same file names, if the names of some folders suggest masks;
    - each subfolder separately;
    - the remaining folders with the same file names.

    Masks are recognized by words in the names, or else by their larger `evenness`. A folder that is named after a split
    assigns all files below it to this split.
    """
    search = _Search()
    search.look(root, "", split)
    search.found.rules = _with_folders(root, search.rules)
    return search.found


class _Search:
    """A search, with the pairs that it has found, and for each rule the folders in which the rule paired files."""

    def __init__(self) -> None:
        self.found = Found()
        self.rules: dict[str, dict[Path, None]] = defaultdict(dict)

    def look(self, folder: Path, prefix: str, split: str) -> bool:
        """Pair the files in a folder and its subfolders, and return whether pairs were found.

        `prefix` is put before the names of the pairs; `split` is the split that a folder above names, or "".
        """
        if self._within(folder, prefix, split):
            return True
        folders = {below.name: files for below in _folders(folder) if (files := image_files(below, strict=False))}
        if any(map(_is_called_mask, folders)):
            if self._across(folder, folders, prefix, split):
                return True
            if not self.found.complaint and self._deeper(folder, folders, prefix, split):
                return True
        alone = {name: files for name, files in folders.items() if not self._look_into(folder / name, prefix, split)}
        return self._across(folder, alone, prefix, split) or len(alone) < len(folders)

    def _look_into(self, folder: Path, prefix: str, split: str) -> bool:
        own = split_in(folder.name)
        called_split = own and folder.name.lower() in SPLIT_ALIASES[own]
        return self.look(folder, prefix if called_split else f"{prefix}{folder.name}/", own or split)

    def _within(self, folder: Path, prefix: str, split: str) -> bool:
        """Pair the files in the folder itself, and return whether pairs were found."""
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        ways = []
        for split_files in filter(None, (_split_by_suffix(files), _split_by_addition(files))):
            images, masks = ({path.stem: path for path in side} for side in split_files)
            ways.append((pair_names(images, masks), images, masks))
        if not ways:
            return False
        pairing, images, masks = max(ways, key=lambda way: len(way[0].masks))
        sides = {*images.values(), *masks.values()}
        self.found.images_alone += [path for path in files if path not in sides]
        views = views_of("", images, masks)
        if len(views) > 1 or any(len(files) > 1 for view in views for files in view.masks.values()):
            choice = choose(views, where=str(folder))
            return self._add_chosen(choice, folder, images, prefix, split, "images and masks lie in one folder")
        rule = pairing.rule or f"an image's mask has the suffix {next(iter(masks.values())).suffix}"
        self._add(pairing, folder, images, masks, prefix, split, f"images and masks lie in one folder; {rule}")
        return True

    def _across(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair the files of subfolders with the same file names, split by split; return whether pairs were found.

        `folders` has the files of each subfolder by their names.
        """
        by_split: dict[str, dict[str, Mapping[str, Path]]] = {}
        for name, files in folders.items():
            by_split.setdefault(split_in(name), {})[name] = files
        paired = [self._pair_folders(folder, group, prefix, own or split) for own, group in by_split.items()]
        return any(paired)

    def _deeper(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair a folder of images with the masks in subfolders of another folder, such as `GT/LABELS/`.

        Return whether pairs were found. The result is False unless exactly one folder has a name for masks, such as
        `GT/`, and exactly one other folder holds images of which nearly all have masks in that folder of masks.
        """
        called = [name for name in folders if _is_called_mask(name)]
        if len(called) != 1:
            return False
        (masks,) = called
        others = {name: views_of("", folders[name], folders[masks]) for name in folders if name != masks}
        least = {name: CANDIDATE_SHARE * len(folders[name]) for name in others}
        fitting = [name for name, views in others.items() if any(len(view.masks) >= least[name] for view in views)]
        if len(fitting) != 1:
            return False
        (images,) = fitting
        views = [replace(view, name=f"{masks}/{view.name.removesuffix('/IMAGE')}") for view in others[images]]
        choice = choose(views, where=str(folder), are_folders=True)
        rule = f"images are in {images}/, masks in {masks}/"
        return self._add_chosen(choice, folder, folders[images], prefix, split, rule)

    def _pair_folders(self, folder: Path, folders: Mapping[str, Mapping[str, Path]], prefix: str, split: str) -> bool:
        """Pair folders of images with folders of masks; the two folders with the most pairs are paired first.

        If folders have equally many pairs, those whose names have the longest common beginning are paired first. Return
        whether pairs were found.
        """
        pairings = {
            (one, other): pairing
            for one, other in _candidate_pairs(list(folders))
            if (pairing := pair_names(folders[one], folders[other])).masks
        }
        if not pairings:
            return False
        has_masks = _hold_masks({name: folders[name] for couple in pairings for name in couple})
        fitting = [couple for couple in pairings if has_masks.get(couple[1]) and not has_masks.get(couple[0])]
        if not fitting:
            self.found.complaint = _neither_looks_like_masks(folder, next(iter(pairings)))
            return False
        same = [couple for couple in fitting if show_same_regions(self._views_of(folders, pairings, couple))]
        if same and len(same) == len(fitting):
            one, other = same[0]
            self.found.complaint = (
                f"{folder}: {one} and {other} hold the same masks in two forms, and no images; say where the images "
                f"are: --images FOLDER --masks {other}"
            )
            return False
        fitting = [couple for couple in fitting if couple not in same]
        fitting.sort(key=lambda couple: (-len(pairings[couple].masks), -_common_prefix_length(*couple), couple))
        taken: dict[str, str] = {}  # the image folder of each mask folder
        flat: list[str] = []
        for images, masks in fitting:
            free, rival = images not in taken.values(), taken.get(masks)
            if free and rival and len(pairings[images, masks].masks) == len(pairings[rival, masks].masks):
                even = [name for name in (rival, images) if self._are_even(folders[name])]
                if len(even) == 1:  # only masks are so even
                    taken[masks] = images if even == [rival] else rival
                    flat += even
                    continue
                self.found.complaint = (
                    f"{folder}: {rival} and {images} both hold images with the names of the masks in {masks}; "
                    f"choose one of these folders, as with --images {rival} --masks {masks}, or move the other away"
                )
                return False
            if free and not rival:
                taken[masks] = images
        for masks, images in taken.items():
            pairing = pairings[images, masks]
            least = CANDIDATE_SHARE * len(pairing.masks)
            own = {m: pairings[i, m] for i, m in fitting if i == images and m not in taken}
            own |= {name: pair_names(folders[images], folders[name]) for name in flat}
            others = [name for name, each in own.items() if len(each.masks) >= least]
            rest = prefix if len(taken) == 1 else f"{prefix}{images}/"
            where = f"images are in {images}/, masks in {masks}/"
            if not others:
                self._add(pairing, folder, folders[images], folders[masks], rest, split, where, pairing.rule)
                continue
            choice = choose(
                [_view(name, pairing if name == masks else own[name], folders[name]) for name in (masks, *others)],
                where=str(folder),
                are_folders=True,
            )
            if not self._add_chosen(choice, folder, folders[images], rest, split, f"images are in {images}/"):
                return False
        return True

    def _views_of(
        self,
        folders: Mapping[str, Mapping[str, Path]],
        pairings: Mapping[tuple[str, str], Pairing],
        couple: tuple[str, str],
    ) -> list[View]:
        """Return the paired files of the two folders in `couple` as two views of the same images."""
        one, other = couple
        masks = pairings[couple].masks
        return [
            View(one, {("", name): (folders[one][name],) for name in masks}),
            View(other, {("", name): (folders[other][mask],) for name, mask in masks.items()}),
        ]

    def _are_even(self, files: Mapping[str, Path]) -> bool:
        return evenness(sorted(files.values())) >= MIN_MASK_EVENNESS

    def _add_chosen(
        self, choice: Choice, folder: Path, images: Mapping[str, Path], prefix: str, split: str, rule: str
    ) -> bool:
        """Add the pairs of a choice, or keep its error message; return whether pairs were added."""
        if choice.complaint:
            self.found.complaint = choice.complaint
            return False
        for (_, name), mask in choice.masks.items():
            self._add_pair(name, images[name], mask, prefix, split)
        chosen = {name for _, name in choice.masks}
        self.found.images_alone += [path for name, path in images.items() if name not in chosen]
        self.found.classes = self.found.classes or choice.classes
        self._add_rules(folder, rule, *choice.notes)
        return True

    def _add(
        self,
        pairing: Pairing,
        folder: Path,
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        prefix: str,
        split: str,
        *rules: str | None,
    ) -> None:
        for name, mask in pairing.masks.items():
            self._add_pair(name, images[name], masks[mask], prefix, split)
        paired = {*pairing.masks.values()}
        self.found.images_alone += [path for name, path in images.items() if name not in pairing.masks]
        self.found.masks_alone += [path for name, path in masks.items() if name not in paired]
        self._add_rules(folder, *rules)

    def _add_rules(self, folder: Path, *rules: str | None) -> None:
        for rule in filter(None, rules):
            self.rules[rule][folder] = None

    def _add_pair(self, name: str, image: Path, mask: MaskSource, prefix: str, split: str) -> None:
        first, _, rest = name.partition("/")
        inner = split_in(first) if rest else ""
        plain = inner and first.lower() in SPLIT_ALIASES[inner]  # other names, such as train_a/, distinguish images
        self.found.add(split or inner, Pair(prefix + (rest if plain else name), image, mask))


def _with_folders(root: Path, rules: Mapping[str, Iterable[Path]]) -> list[str]:
    """Return notes on the rules by which pairs were found.

    Each note begins with the folders in which its rules hold, unless all rules hold in the same folders.

    Args:
        root: the folder of all pairs.
        rules: the folders in which each rule holds.
    """
    groups: dict[tuple[Path, ...], list[str]] = defaultdict(list)
    for rule, folders in rules.items():
        groups[tuple(folders)].append(rule)
    if len(groups) < 2:
        return list(rules)
    notes = []
    for folders, of_group in sorted(groups.items()):
        named = [f"{folder.relative_to(root).as_posix()}/" for folder in folders]
        shown = ", ".join(named[:MAX_NAMED]) + (f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else "")
        notes.append(f"{shown}: {'; '.join(of_group)}")
    if len(notes) > MAX_RULES:
        notes[MAX_RULES:] = [f"{len(notes) - MAX_RULES} more rules like these for other folders"]
    return notes


def _view(name: str, pairing: Pairing, masks: Mapping[str, Path]) -> View:
    return View(name, {("", image): (masks[mask],) for image, mask in pairing.masks.items()}, pairing.rule)


def evenness(paths: Sequence[Path]) -> float:
    """Return the evenness of a sample of files: the share of pixels equal to their neighbors, close to 1 for masks.

    Unreadable files are skipped here; the later reading of all files reports them.
    """
    step = max(1, len(paths) // SAMPLE)
    shares = []
    for path in paths[::step][:SAMPLE]:
        with suppress(ImageError):
            image = read_image(path)
            shares.append(float(is_flat(as_numbers(image, None)).mean()) if min(image.shape[:2]) > 2 else 0.0)
    return sum(shares) / max(1, len(shares))


def look_like_masks(files: Sequence[Path], images: Sequence[Path]) -> bool:
    """Return whether files are much more even than images of the same scenes, as masks are."""
    even = evenness(files)
    return even >= MIN_MASK_EVENNESS and even - evenness(images) > MIN_EVENNESS_GAP


def has_own_pairs(files: Mapping[str, Path]) -> bool:
    """Return whether most files in a folder are pairs of an image and a mask, as in a complete data set."""
    sides = _split_by_addition(sorted(files.values()))
    if sides is None:
        return False
    images, masks = sides
    pairs = pair_names([path.stem for path in images], [path.stem for path in masks]).masks
    return 4 * len(pairs) > len(files) and evenness(masks) - evenness(images) > MIN_EVENNESS_GAP


def _split_by_suffix(files: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Split files by suffix into images and masks: the masks are the files with the larger `evenness`.

    Return None if no name occurs with two suffixes.
    """
    suffixes: dict[str, list[Path]] = {}
    for path in files:
        suffixes.setdefault(path.suffix.lower(), []).append(path)
    stems = {suffix: {path.stem for path in paths} for suffix, paths in suffixes.items()}
    shared = {(one, other): stems[one] & stems[other] for one, other in combinations(sorted(stems), 2)}
    most = max(map(len, shared.values()), default=0)
    if not most:
        return None
    even = {
        couple: [evenness([path for path in suffixes[suffix] if path.stem in names]) for suffix in couple]
        for couple, names in shared.items()
        if len(names) == most
    }
    (one, other), (of_one, of_other) = max(even.items(), key=lambda entry: abs(entry[1][0] - entry[1][1]))
    images, masks = (one, other) if of_one <= of_other else (other, one)
    return suffixes[images], suffixes[masks]


def _split_by_addition(files: Sequence[Path]) -> tuple[list[Path], list[Path]] | None:
    """Split the files of a folder into images and masks, by words such as mask, or by names that extend other names.

    Return None if neither words nor longer names identify the masks.
    """
    called = [path for path in files if _is_called_mask(path.stem)]
    if called and len(called) < len(files):
        called_set = set(called)
        images = [path for path in files if path not in called_set]
        if pair_names([path.stem for path in images], [path.stem for path in called]).masks:
            return images, called
    by_stem = {path.stem: path for path in files}
    first, *others = longer_names(by_stem) or [{}]
    if len(first) < 2:
        return None
    least = evenness([by_stem[stem] for stem in first]) + MIN_EVENNESS_GAP
    if evenness([by_stem[stem] for stem in first.values()]) <= least:
        return None
    masks = {*first.values()}
    for longer in others:  # masks by other annotators, or of other classes
        more = [by_stem[stem] for stem in longer.values() if stem not in masks and stem not in first]
        if len(more) >= CANDIDATE_SHARE * len(first) and evenness(more) > least:
            masks |= {path.stem for path in more}
    return [path for stem, path in by_stem.items() if stem not in masks], [by_stem[stem] for stem in sorted(masks)]


def _candidate_pairs(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Return the possible pairs (folder of images, folder of masks)."""
    called = [name for name in names if _is_called_mask(name)]
    if called:
        return product([name for name in names if name not in called], called)
    return permutations(names, 2) if len(names) <= MAX_COMPARED_FOLDERS else ()


def _hold_masks(folders: Mapping[str, Mapping[str, Path]]) -> dict[str, bool]:
    """Return {folder: whether it holds masks}; {} if it is unclear which folders hold masks."""
    called = {name: _is_called_mask(name) for name in folders}
    if len({*called.values()}) == 2:
        return called
    even = {name: evenness(sorted(files.values())) for name, files in folders.items()}
    least = min(even.values())
    more = MIN_EVENNESS_GAP if least < MIN_MASK_EVENNESS else MIN_CERTAIN_EVENNESS_GAP
    has_masks = {name: share >= MIN_MASK_EVENNESS and share - least > more for name, share in even.items()}
    return has_masks if any(has_masks.values()) else {}


def _common_prefix_length(one: str, other: str) -> int:
    """Return the length of the common beginning of two names."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _neither_looks_like_masks(folder: Path, couple: tuple[str, str]) -> str:
    one, other = sorted(couple)
    return (
        f"{folder}: {one} and {other} hold files of the same names, but neither looks like masks; rename the "
        "folder of images to images and the other one to masks"
    )


def _folders(folder: Path) -> Iterable[Path]:
    """Return the subfolders of a folder, except hidden folders and links to a parent folder."""
    above = {folder.resolve(), *folder.resolve().parents}
    inside = (path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    return sorted(path for path in inside if path.resolve() not in above)


def _is_called_mask(name: str) -> bool:
    return bool(MASK_WORDS.search(name.lower()))
