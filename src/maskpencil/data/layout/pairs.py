"""Find image files, and pair images and masks by their names."""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

from maskpencil.data.drawing import MaskSource
from maskpencil.data.faults import Fault, fault
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES


def image_files(folder: Path, *, strict: bool = True) -> dict[str, Path]:
    """Return the images below `folder` as {relative path without suffix: path}, except hidden files and folders.

    Args:
        folder: the folder to search.
        strict: whether two files that differ only in their suffix are an error; if not, the first file is used.

    Raises:
        DataError: two files differ only in their suffix, and `strict` is set.
    """
    files: dict[str, Path] = {}
    for path in sorted(files_below(folder, IMAGE_SUFFIXES)):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in files:
            files[name] = path
        elif strict:
            raise DataError(f"{path}: has the same name as {files[name].name}; rename or remove one of them")
    return files


@dataclass
class Unusable:
    """The files below a folder that readers skip: named pipes, devices and sockets, and links to missing files."""

    special: list[Path] = field(default_factory=list)
    broken_links: list[Path] = field(default_factory=list)


def unusable_files(folder: Path) -> Unusable:
    """Find the files below a folder that readers skip, sorted, except hidden files.

    Links are followed, except links to a parent folder and further links to the same folder.
    """
    found, places, linked = Unusable(), [str(folder)], set[str]()
    while places:
        place = places.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.is_file(follow_symlinks=False):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
                    elif (mode := _mode(entry.path)) is None:
                        found.broken_links.append(Path(entry.path))
                    elif stat.S_ISDIR(mode):
                        real = os.path.realpath(entry.path)
                        if real not in linked and not Path(os.path.realpath(place)).is_relative_to(real):
                            linked.add(real)
                            places.append(entry.path)
                    elif not stat.S_ISREG(mode):
                        found.special.append(Path(entry.path))
        except PermissionError:  # reported when the folder is read
            continue
    return Unusable(sorted(found.special), sorted(found.broken_links))


def _mode(path: str) -> int | None:
    """Return the mode of a file or of the target of a link; None if it does not exist.

    An inaccessible target counts as a regular file: reading it reports the reason.
    """
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - three times as fast
    except PermissionError:
        return stat.S_IFREG
    except OSError:
        return None


def files_below(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the files with one of the lower-case `suffixes`, folder by folder, except hidden files and folders.

    Links are followed, except links to a parent folder.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        above = {os.path.realpath(place), *map(str, Path(os.path.realpath(place)).parents)}
        inside = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in inside if os.path.realpath(Path(place, name)) not in above)
        here = Path(place)
        for name in sorted(files):
            fits = not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122 - 5 times
            if fits and os.path.isfile(path := here / name):  # noqa: PTH113 - as fast as pathlib
                yield path


def find_image(root: Path, folders: Sequence[Path], name: str, *, source: Path) -> Path | None:
    r"""Find the image that the file `source` calls `name` in `folders` below `root`; None if it is missing.

    Tools write paths of the machine on which the annotations were made, so only the last parts of a path count: for
    `C:\work\images\1.jpg` the function looks for `work/images/1.jpg`, then `images/1.jpg`, then `1.jpg`. Files outside
    the folders are never returned.

    Raises:
        DataError: the name leads out of `root` by "..", and no file in `folders` has this name.
    """
    path = PureWindowsPath(name)  # accepts both kinds of slashes
    parts = [part for part in path.parts if part != path.anchor]
    inside = parts[max((place + 1 for place, part in enumerate(parts) if part == ".."), default=0) :]
    for start in range(len(inside)):
        for folder in folders:
            found = folder.joinpath(*inside[start:])
            if os.path.isfile(found):  # noqa: PTH113 - false for names that no file can have, such as too long ones
                return found
    if (
        ".." in parts
        and "\0" not in name
        and not (source.parent / Path(*parts)).resolve().is_relative_to(root.resolve())
    ):
        raise DataError(f"{source}: names the image {name!r}, which is outside {root}; move the image into this folder")
    return None


_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Pairing:
    """Pairs as {name of the image: name of the mask}, and a description of the rule if the names differ."""

    masks: Mapping[str, str]
    rule: str | None = None


def pair_names(images: Collection[str], masks: Collection[str]) -> Pairing:
    """Pair the names of images and masks: paths below their folders without suffix.

    The rule that yields the most pairs is used for all files; of rules that yield equally many, the first:

    1. the names are equal;
    2. the names differ only in upper and lower case;
    3. the masks add text before or after the image's name, such as `_mask`; the most frequent addition is used if
       several people have drawn masks of each image;
    4. the names are equal after removing the beginning and the end that all images share, and those that all masks
       share, such as `21_training` and `21_manual1`;
    5. each name contains one number, and these numbers are equal.

    No name is in two pairs.
    """
    of_masks = set(masks)
    same = Pairing({name: name for name in images if name in of_masks})
    if 2 * len(same.masks) > min(len(images), len(masks)):  # no other rule can make more pairs
        return same
    others = (_by_case(images, masks), _by_addition(images, masks), _by_rest(images, masks), _by_number(images, masks))
    return max((same, *(pairing for pairing in others if pairing)), key=lambda pairing: len(pairing.masks))


def longer_names(names: Collection[str]) -> list[Mapping[str, str]]:
    """Find names that extend other names, such as `1_mask` if there is `1`.

    Returns {name: extended name} for each addition, the most frequent addition first.
    """
    return sorted(additions(names, names).values(), key=len, reverse=True)


def _by_case(images: Collection[str], masks: Collection[str]) -> Pairing | None:
    lower, lower_masks = ({name.casefold(): name for name in names} for names in (images, masks))
    if len(lower) < len(images) or len(lower_masks) < len(masks):  # some names differ only in case
        return None
    pairs = {image: lower_masks[name] for name, image in lower.items() if name in lower_masks}
    return Pairing(pairs, "the names of images and masks differ in upper and lower case") if pairs else None


def _by_addition(images: Collection[str], masks: Collection[str]) -> Pairing | None:
    found = additions(images, masks)
    if not found:
        return None
    (before, after), pairs = min(found.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    others = len({mask for pairs in found.values() for mask in pairs.values()}) - len(pairs)
    more = f"; {others} masks with other additions are left out" if others else ""
    return Pairing(pairs, f"an image's mask is named {before}IMAGE{after}{more}")


def additions(images: Collection[str], masks: Collection[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Find the text that mask names add before and after the names of images in the same folder.

    Returns (before, after) -> {image: mask}.
    """
    names = set(images)
    lengths = {len(_split(name)[1]) for name in names}
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for mask in masks:
        folder, last = _split(mask)
        places = ((start, start + length) for length in lengths for start in range(len(last) - length + 1))
        for start, end in places:
            if end - start == len(last) or _within_number(last, start) or _within_number(last, end):
                continue
            if (image := folder + last[start:end]) in names:
                found[last[:start], last[end:]][image] = mask
    return found


def _by_rest(images: Collection[str], masks: Collection[str]) -> Pairing | None:
    of_images, of_masks = _common_ends(images), _common_ends(masks)
    by_rest = {rest: mask for mask, rest in _without_ends(masks, of_masks).items()}
    pairs = {image: by_rest[rest] for image, rest in _without_ends(images, of_images).items() if rest in by_rest}
    if not pairs:
        return None
    return Pairing(pairs, f"the image {'NAME'.join(of_images)} has the mask {'NAME'.join(of_masks)}")


def _by_number(images: Collection[str], masks: Collection[str]) -> Pairing | None:
    by_number = {number: mask for mask, number in _numbers(masks).items()}
    pairs = {image: by_number[number] for image, number in _numbers(images).items() if number in by_number}
    return Pairing(pairs, "an image and its mask have the same number") if pairs else None


def _split(name: str) -> tuple[str, str]:
    """Split a name into its folder, with the slash, and its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash, last


def _within_number(text: str, place: int) -> bool:
    """Return whether a cut at `place` would split a number, as a cut after `img_1` would split `img_10`."""
    return 0 < place < len(text) and text[place - 1].isdigit() and text[place].isdigit()


def _common_ends(names: Collection[str]) -> tuple[str, str]:
    """Return the beginning and the end that all names share, without their folders.

    Digits beside the part that differs are left out: for `img_10` and `img_11` the result is ("img_", "").
    """
    lasts = [_split(name)[1] for name in names]
    if len(set(lasts)) < 2:
        return "", ""
    beginning = _common_beginning(lasts).rstrip("0123456789")
    end = _common_beginning([last[len(beginning) :][::-1] for last in lasts])[::-1].lstrip("0123456789")
    return beginning, end


def _common_beginning(texts: Collection[str]) -> str:
    first, last = min(texts), max(texts)  # all texts sorted between these two share their common beginning
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def _without_ends(names: Collection[str], ends: tuple[str, str]) -> dict[str, str]:
    beginning, end = ends
    rests = {}
    for name in names:
        folder, last = _split(name)
        rests[name] = folder + last[len(beginning) : len(last) - len(end)]
    return rests


def _numbers(names: Collection[str]) -> dict[str, tuple[str, int]]:
    """Return the folder and the number of each name that contains one number.

    A name is left out if another name in its folder has the same number.
    """
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in names:
        folder, last = _split(name)
        numbers = _NUMBER.findall(last)
        if len(numbers) == 1:
            found[folder, int(numbers[0])].append(name)
    return {only[0]: key for key, only in found.items() if len(only) == 1}


@dataclass(frozen=True)
class Pair:
    """An image and its mask; `name` is their common path below the split, without suffix."""

    name: str
    image: Path
    mask: MaskSource


@dataclass
class Found:
    """The pairs found so far, notes on how they were found, and what was left out.

    Attributes:
        splits: the pairs by split and by name; the split is "" for pairs without a split.
        rules: notes on how the pairs were found.
        images_alone: images without a mask.
        masks_alone: masks without an image.
        faults: warnings about everything else that was left out or guessed.
        classes: the names of the classes, without the background, if each class has its own mask files.
        complaint: the error message to use if no pairs are found.
    """

    splits: dict[str, dict[str, Pair]] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    complaint: str = ""

    def add(self, split: str, pair: Pair) -> None:
        """Add a pair; if another image has the same name, prepend the image's folder to the name."""
        pairs = self.splits.setdefault(split, {})
        for folder in pair.image.parents:
            if pair.name not in pairs or pairs[pair.name].image == pair.image:
                break
            pair = replace(pair, name=f"{folder.name}/{pair.name}")
        pairs[pair.name] = pair

    def match(self, split: str, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
        """Pair images and masks by their names, see `pair_names`, and list the remaining files as unpaired."""
        pairing = pair_names(images, masks)
        pairs = {name: Pair(name, images[name], masks[mask]) for name, mask in pairing.masks.items()}
        self.splits.setdefault(split, {}).update(pairs)
        if pairing.rule and pairing.rule not in self.rules:
            self.rules.append(pairing.rule)
        paired = set(pairing.masks.values())
        self.images_alone += [path for name, path in images.items() if name not in pairs]
        self.masks_alone += [path for name, path in masks.items() if name not in paired]

    def join(self, other: "Found") -> None:
        """Add the results of another search."""
        for split, pairs in other.splits.items():
            self.splits.setdefault(split, {}).update(pairs)
        self.rules += [rule for rule in other.rules if rule not in self.rules]
        self.images_alone += other.images_alone
        self.masks_alone += other.masks_alone
        self.faults += other.faults
        self.classes = self.classes or other.classes
        self.complaint = self.complaint or other.complaint

    def warn(self, kind: str, entries: Sequence[object], what: str, remedy: str) -> None:
        """Add a warning about `entries`, if there are any; `faults.fault` describes the arguments."""
        self.faults += fault(kind, "warning", entries, what, remedy)

    def __bool__(self) -> bool:
        return any(self.splits.values())
