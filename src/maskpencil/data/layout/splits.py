"""Split a data set: names of splits, the default split into training and validation, and list files."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from maskpencil.data.copies import find_copies
from maskpencil.data.faults import EXAMPLES
from maskpencil.data.layout.pairs import Found, Pair, find_image
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.plain_text import worded
from maskpencil.regular_files import read_lines

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""The names of the splits in folder and file names."""

VAL_SHARE = 0.2


def split_in(name: str) -> str:
    """Return the split named by a word in a file name, such as train in `instances_train2017`; "" if no word does."""
    words = re.findall("[a-z]+", name.lower())
    return next((split for split, aliases in SPLIT_ALIASES.items() if any(alias in words for alias in aliases)), "")


def split_of_file(root: Path, path: Path, *, by_name: bool = True) -> str:
    """Return the split named by a file name, or else by the nearest of its folders below `root`; "" if none is named.

    Without `by_name` only the folders count.
    """
    folders = [folder.name for folder in path.parents if folder.is_relative_to(root) and folder != root]
    return next(filter(None, map(split_in, [path.stem, *folders] if by_name else folders)), "")


def split_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split names into training and validation: one in five, at least one and never all, is for validation.

    The choice depends only on the SHA-256 of the names, so it is the same for every command and machine, and adding or
    removing an image moves few other images. Returns (train, val), each in the order of `names`.
    """
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    val = set(by_hash[: min(len(names) - 1, max(1, round(len(names) * VAL_SHARE)))])
    return tuple(n for n in names if n not in val), tuple(n for n in names if n in val)


def split_pairs(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Split pairs into training and validation by their names, see `split_names`.

    Byte-for-byte copies of an image count as one image, with the name of the copy whose name comes first. If all images
    are copies of one image, each name counts. Returns (train, val), each in the order of `pairs`.
    """
    image_of = {pair.name: pair.image for pair in sorted(pairs, key=lambda pair: pair.name, reverse=True)}
    first = {image: name for name, image in image_of.items()}  # of an image with several masks, the first name counts
    for group in find_copies(first):
        first |= dict.fromkeys(group, min(first[image] for image in group))
    if len({*first.values()}) < 2:
        names = {name: name for name in image_of}
    else:
        names = {name: first[image] for name, image in image_of.items()}
    val = {*split_names([*dict.fromkeys(names.values())])[1]}
    return tuple(p for p in pairs if names[p.name] not in val), tuple(p for p in pairs if names[p.name] in val)


def write_splits(folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write one list file per split, such as `train.txt`, with one image name per line, as `find_layout` reads it.

    Raises:
        OutputError: a file cannot be written.
    """
    for split, names in splits.items():
        with written_whole(folder / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")


LIST_FOLDERS = (".", "splits", "ImageSets/Segmentation")
SUFFIXES = (".txt", ".csv", ".lst")
HEADINGS = {"image", "images", "img", "file", "filename", "name", "mask", "masks", "label", "annotation", "split"}


def find_lists(root: Path, folders: Sequence[str] = LIST_FOLDERS) -> dict[str, Path]:
    """Find the list files, such as `train.txt`, `splits/valid.txt` or `train_list.csv`, and return {split: path}."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        files = sorted(path for path in (root / folder).iterdir() if path.suffix.lower() in SUFFIXES)
        for split, aliases in SPLIT_ALIASES.items():
            names = re.compile(rf"(?:{'|'.join(aliases)})(?:_(?:list|pairs|files|set|images))?", re.IGNORECASE)
            path = next((path for path in files if names.fullmatch(path.stem) and path.is_file()), None)
            if path and split not in found:
                found[split] = path
    return found


def listed_pairs(root: Path, path: Path, split: str, found: Found, *, with_masks: bool) -> tuple[Pair, ...]:
    """Return the pairs that a list names, by the name of a found pair or by the paths of image and mask.

    Only the last parts of a path such as `/home/me/data/images/1.png` count, since the list may come from another
    machine. With `with_masks`, lines may also pair an image with a mask; without it, they only select pairs in `found`.

    Raises:
        DataError: the list cannot be read, or names a missing file.
    """
    by_name: dict[str, Pair] = {}
    # if several splits have a name, the split of the list comes first, then train, from which val is taken
    for other in sorted(found.splits, key=lambda other: (other != split, other != "train")):
        for name, pair in found.splits[other].items():
            by_name.setdefault(name, pair)
            by_name.setdefault(f"{other}/{name}", pair)
            if pair.image.is_relative_to(root):
                by_name.setdefault(pair.image.relative_to(root).with_suffix("").as_posix(), pair)
    numbers: dict[str, int] = {}
    for number, line in _lines(path):
        numbers.setdefault(line, number)  # a line that is repeated is looked up once
    by_image = {} if with_masks else {pair.image: pair for pairs in found.splits.values() for pair in pairs.values()}

    def at_paths(number: int, line: str) -> Pair:
        image = None if with_masks else find_image(root, [root], _entries(line)[0], source=path)
        known = by_image.get(image) if image else None
        return known or _two_paths(root, path, number, line, with_masks=with_masks)

    pairs = (
        by_name.get(_without_suffix(line)) or by_name.get(line) or at_paths(number, line)
        for line, number in numbers.items()
    )
    return tuple({pair.image: pair for pair in pairs}.values())


def unlisted(names: Collection[str]) -> list[str]:
    """Return a list with one note on the pairs `names` that no list file names, or [] if there are no such pairs."""
    few = ", ".join(sorted(names)[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
    return [worded("{n} {pair|pairs} that no list names {is|are} left out", len(names)) + f" ({few})"] if names else []


def split_by_file(path: Path, found: Found) -> dict[str, tuple[Pair, ...]]:
    """Assign the pairs to splits by a file of lines "NAME SPLIT", separated by spaces, tabs or commas.

    Images that are not in the file are left out.

    Raises:
        DataError: the file cannot be read, or a line does not end with a split or does not name an image.
    """
    pairs: dict[str, Pair] = {}
    for split, of_split in found.splits.items():
        pairs |= {f"{split}/{name}": pair for name, pair in of_split.items()} | of_split
    splits: dict[str, list[Pair]] = {}
    for number, line in _lines(path):
        name, *words = _entries(line)
        split = split_in(" ".join(words))
        if not split:
            raise DataError(f"{path}: line {number} is {line!r}; expected an image's name and train, val or test")
        if _without_suffix(name) not in pairs:
            raise DataError(
                f"{path}: line {number} names {name!r}, but no image with a mask has that name; correct or remove the "
                "line"
            )
        splits.setdefault(split, []).append(pairs[_without_suffix(name)])
    return {split: tuple(splits[split]) for split in SPLITS if split in splits}


def names_pairs(path: Path) -> bool:
    """Return whether the first line of a list has two entries, such as the paths of an image and its mask."""
    return any(len(_entries(line)) == 2 for _, line in _lines(path)[:1])


def _two_paths(root: Path, path: Path, number: int, line: str, *, with_masks: bool) -> Pair:
    entries = _entries(line)
    if len(entries) != 2 or not with_masks:
        raise DataError(
            f"{path}: line {number} names {line!r}, but no image with a mask has that name; correct or remove the line"
        )
    files = [find_image(root, [root], entry, source=path) for entry in entries]
    image, mask = files
    if image is None or mask is None:
        absent = root / entries[0 if image is None else 1]
        raise DataError(f"{path}: line {number} names {absent}, which is missing; correct or remove the line")
    if image == mask:
        raise DataError(f"{path}: line {number} names {image} as an image and as its mask; name the mask's file")
    return Pair(image.relative_to(root).with_suffix("").as_posix(), image, mask)


def _entries(line: str) -> list[str]:
    """Split a line into columns at commas, semicolons or tabs, or else at spaces."""
    columns = re.split(r"[,;\t]", line) if re.search(r"[,;\t]", line.rstrip(",;")) else line.rstrip(",;").split()
    return [entry for column in columns if (entry := column.strip(" \"'"))]


def _without_suffix(name: str) -> str:
    return Path(name).with_suffix("").as_posix() if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list file with their line numbers, counted from 1, without empty lines and the header."""
    lines = read_lines(path, "one name per line")
    return lines[1:] if lines and {entry.lower() for entry in _entries(lines[0][1])} <= HEADINGS else lines
