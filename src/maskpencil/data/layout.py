"""Which file is whose mask, and which split it belongs to, seen from folder and file names alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.data.pairing import pair_names
from maskpencil.data.splits import SPLITS, split_names
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentationclass")
MASK_ENDINGS = ("_masks", "_mask", "_labels", "_label", "annot", "_annot")
"""What the folder of a split's masks adds to the name of that of its pictures, as in `train/ + trainannot/`."""

LIST_FOLDERS = (".", "splits", "ImageSets/Segmentation")
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
EXPECTED = "expected images/ and masks/ with files of the same names, with or without train/ val/ test/ inside"


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; `name` is their common path below the split, without suffix."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """Pairs by split, and how they were found in words."""

    root: Path
    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...]


@dataclass
class Found:
    """Pairs so far by split ("" while there is none), the rules that made them, and what stood alone."""

    splits: dict[str, dict[str, Pair]] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)

    def match(self, split: str, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
        """Pair pictures and masks by their names, see `pairing.pair_names`, and keep the others as left alone."""
        pairing = pair_names(images, masks)
        pairs = {name: Pair(name, images[name], masks[mask]) for name, mask in pairing.masks.items()}
        self.splits.setdefault(split, {}).update(pairs)
        if pairing.rule and pairing.rule not in self.rules:
            self.rules.append(pairing.rule)
        paired = set(pairing.masks.values())
        self.images_alone += [path for name, path in images.items() if name not in pairs]
        self.masks_alone += [path for name, path in masks.items() if name not in paired]


def find_layout(root: Path) -> Layout:
    """Pair the files below `root`.

    Masks are named as their pictures, or alike by one of the rules of `pairing.pair_names`, which then is told.
    Understood are `images/ + masks/` (Pascal VOC's `JPEGImages/ + SegmentationClass/`) with splits inside either or
    both, `train/images + train/masks`, `train/ + train_labels/`, and list files (`train.txt`, `val.txt`, `test.txt`, in
    `root`, `splits/` or `ImageSets/Segmentation/`): a name a line, or picture and mask path.
    Without a split for validation one in five pairs is set aside for it, see `splits.split_names`. Folders may be
    named in upper case; hidden files and folders are left out.

    Raises:
        DataError: no folder, no pairs, or a list that names what is not there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; {EXPECTED}")
    return layout_of(root, _find_pairs(root))


def layout_of(root: Path, found: Found) -> Layout:
    """Share out what was found below `root`: by list files, where there are, and with some pairs for validation.

    Raises:
        DataError: no pairs, or a list that names what is not there.
    """
    lists = {split: path for split in SPLITS if (path := _list_file(root, split))}
    if lists:
        listed = {split: _listed(root, path, split, found) for split, path in lists.items()}
        splits = {split: pairs for split, pairs in listed.items() if pairs}
        notes = [f"splits from {', '.join(path.name for path in lists.values())}"]
    else:
        splits = {split: tuple(pairs.values()) for split, pairs in found.splits.items() if pairs}
        notes = []
    notes += found.rules
    if not any(splits.values()):
        raise DataError(_nothing_found(root, found))
    notes += _leftovers(found, listed=bool(lists))
    return Layout(root, *_with_validation(splits, root, notes))


def _find_pairs(root: Path) -> Found:
    found = Found()
    images, masks = _subfolder(root, IMAGE_FOLDERS), _subfolder(root, MASK_FOLDERS)
    if images and masks:
        for split, image_folder, mask_folder in _split_folders(images, masks):
            found.match(split, picture_files(image_folder), picture_files(mask_folder))
        _forget_paired(found)
    for split, aliases in SPLIT_FOLDERS.items():
        folder = _subfolder(root, aliases)
        if not folder:
            continue
        if (images := _subfolder(folder, IMAGE_FOLDERS)) and (masks := _subfolder(folder, MASK_FOLDERS)):
            found.match(split, picture_files(images), picture_files(masks))
        elif masks := _subfolder(root, [folder.name.lower() + ending for ending in MASK_ENDINGS]):
            found.match(split, picture_files(folder), picture_files(masks))
    return found


def _split_folders(images: Path, masks: Path) -> Iterable[tuple[str, Path, Path]]:
    """(split, image folder, mask folder): where one side has no splits, its one folder serves them all."""
    any_split = False
    for split, aliases in SPLIT_FOLDERS.items():
        image_split, mask_split = _subfolder(images, aliases), _subfolder(masks, aliases)
        if image_split or mask_split:
            any_split = True
            yield split, image_split or images, mask_split or masks
    if not any_split:
        yield "", images, masks


def _forget_paired(found: Found) -> None:
    """Where one folder serves several splits, a file left over in one split may be paired in another."""
    pairs = [pair for split in found.splits.values() for pair in split.values()]
    images, masks = {pair.image for pair in pairs}, {pair.mask for pair in pairs}
    found.images_alone = sorted({path for path in found.images_alone if path not in images})
    found.masks_alone = sorted({path for path in found.masks_alone if path not in masks})


def picture_files(folder: Path) -> dict[str, Path]:
    """Pictures below `folder` by their relative path without suffix, hidden files and folders left out.

    Raises:
        DataError: two files differ in nothing but their suffix.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            below = path.relative_to(folder)
            if any(part.startswith(".") for part in below.parts):
                continue
            name = below.with_suffix("").as_posix()
            if name in files:
                raise DataError(f"{path}: has the same name as {files[name].name}; rename or remove one of them")
            files[name] = path
    return files


def _listed(root: Path, path: Path, split: str, found: Found) -> tuple[Pair, ...]:
    by_name: dict[str, Pair] = {}
    by_path: dict[str, Pair] = {}
    # of pairs of one name in several splits the list's own split comes first, then train, which gives up some for val
    for other in sorted(found.splits, key=lambda other: (other != split, other != "train")):
        for name, pair in found.splits[other].items():
            by_name.setdefault(name, pair)
            by_path[pair.image.relative_to(root).with_suffix("").as_posix()] = pair
    pairs = []
    for number, line in _lines(path):
        name = Path(line).with_suffix("").as_posix() if Path(line).suffix.lower() in IMAGE_SUFFIXES else line
        pairs.append(by_name.get(name) or by_path.get(name) or _two_paths(root, path, number, line))
    return tuple(pairs)


def _two_paths(root: Path, path: Path, number: int, line: str) -> Pair:
    """The pair of a line that names picture and mask, both relative to `root`."""
    entries = line.split()
    if len(entries) != 2:
        raise DataError(
            f"{path}: line {number} names {line!r}, but no picture with a mask has that name; "
            "correct or remove the line"
        )
    image, mask = (root / entry for entry in entries)
    absent = next((file for file in (image, mask) if not file.is_file()), None)
    if absent:
        raise DataError(f"{path}: line {number} names {absent}, which is not there; correct or remove the line")
    return Pair(Path(entries[0]).with_suffix("").as_posix(), image, mask)


def _with_validation(
    splits: dict[str, tuple[Pair, ...]], root: Path, notes: list[str]
) -> tuple[dict[str, tuple[Pair, ...]], tuple[str, ...]]:
    """Take pairs without a split for training, and set some aside for validation where the folder has none."""
    if "" in splits:
        if "train" in splits:
            raise DataError(
                f"{root}: has pictures both in train/ and outside of any split; keep one of the two, or name the "
                "pictures of each split in train.txt and val.txt"
            )
        splits = {"train": splits.pop(""), **splits}
    if "val" in splits or "train" not in splits:
        return splits, tuple(notes)
    pairs = {pair.name: pair for pair in splits.pop("train")}
    if len(pairs) < 2:
        raise DataError(
            f"{root}: has one pair of picture and mask; at least 2 are needed, one to train, one to validate"
        )
    train, val = split_names(list(pairs))
    notes.append(f"no validation pictures: {len(val)} of {len(pairs)} set aside by the hash of their names")
    own = {"train": tuple(pairs[name] for name in train), "val": tuple(pairs[name] for name in val)}
    return {**own, **splits}, tuple(notes)


def _leftovers(found: Found, *, listed: bool) -> list[str]:
    if listed:
        return []
    notes = []
    for alone, lacking in (
        (found.images_alone, "pictures without a mask"),
        (found.masks_alone, "masks without a picture"),
    ):
        if alone:
            names = ", ".join(path.name for path in alone[:3]) + (", ..." if len(alone) > 3 else "")
            notes.append(f"{len(alone)} {lacking} left out ({names})")
    return notes


def _nothing_found(root: Path, found: Found) -> str:
    if found.images_alone or found.masks_alone:
        examples = " and ".join(path.name for path in (*found.images_alone[:1], *found.masks_alone[:1]))
        return (
            f"{root}: has {len(found.images_alone)} pictures and {len(found.masks_alone)} masks, but no two that are "
            f"named alike ({examples}); rename them, or list pairs in train.txt"
        )
    inside = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())[:5]
    return f"{root}: has no pairs of pictures and masks (found {', '.join(inside) or 'nothing'}); {EXPECTED}"


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows editors begin files with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected one name a line") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _list_file(root: Path, split: str) -> Path | None:
    return next((p for folder in LIST_FOLDERS if (p := root / folder / f"{split}.txt").is_file()), None)


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """The subfolder whose name comes first in `names`; upper and lower case are alike, as on Windows and macOS."""
    found = {p.name.lower(): p for p in sorted(p for p in folder.iterdir() if p.name.lower() in names and p.is_dir())}
    return next((found[name] for name in names if name in found), None)
