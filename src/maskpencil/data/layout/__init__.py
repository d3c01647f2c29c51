"""Find pairs of images and masks and their splits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from maskpencil.data.faults import Fault, fault
from maskpencil.data.layout.pairs import Found, Pair, files_below, find_image, image_files, special_files
from maskpencil.data.layout.search import search_pairs
from maskpencil.data.layout.splits import SPLIT_ALIASES, find_lists, listed_pairs, split_by_file, split_names
from maskpencil.errors import DataError
from maskpencil.parsing import read_optional_path

__all__ = [
    "ANYWHERE",
    "IMAGE_FOLDERS",
    "MASK_FOLDERS",
    "Found",
    "Layout",
    "Pair",
    "Places",
    "files_below",
    "find_image",
    "find_layout",
    "image_files",
    "layout_of",
    "special_files",
]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "segmentationclass", "annotations")  # VOC has boxes in the last
MASK_ENDINGS = ("_masks", "_mask", "_labels", "_label", "annot", "_annot")
"""Endings that turn the name of a split's image folder into that of its masks, as in `train/ + trainannot/`."""

UNREAD_MASKS = (".mat", ".npy", ".npz", ".nii", ".gz", ".dcm", ".seg", ".h5")
"""Endings of mask files that are not read."""

MOST_FILES = 10_000
"""The most files that are examined to explain an error."""

EXPECTED = "expected images/ and masks/ with files of the same names, with or without train/ val/ test/ inside"


@dataclass(frozen=True)
class Layout:
    """Pairs by split, notes on how they were found, and warnings of what was left out or read by a guess."""

    root: Path
    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Places:
    """Places given by the user: the folder of images, the folder of masks, a file of splits.

    Folders are paths, or names below the data folder. A line of the split file is the name of an image and its split.

    Example:
        >>> places = mp.Places(images="images/train", masks="masks/train")
        >>> dict(mp.check("street", places=places).splits)
        {'train': ..., 'val': ...}

    Raises:
        ConfigError: one is no path.
    """

    images: Path | None = None
    masks: Path | None = None
    split_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("images", "masks", "split_file"):
            object.__setattr__(self, name, read_optional_path(name, getattr(self, name)))


ANYWHERE = Places()
"""No place is given."""


def find_layout(root: Path, places: Places = ANYWHERE) -> Layout:
    """Pair the files below `root`.

    Masks have the names of their images, or match them by one of the rules of `pairs.pair_names`, which is then noted.
    Supported are `images/ + masks/` (Pascal VOC's `JPEGImages/ + SegmentationClass/`) with splits inside either or
    both, `train/images + train/masks`, `train/ + train_labels/`, and what `search.search_pairs` finds in folders
    with other names or in one folder. List files (see `lists.find_lists`) assign images to splits.
    Without a validation split one in five pairs is set aside, see `splits.split_names`. The names of folders may be in
    upper case; hidden files and folders are left out.

    Raises:
        DataError: there is no folder, it has no pairs, or a list names a missing file.
    """
    if not root.is_dir():
        found_file = "is a file, not a folder" if root.exists() else "there is no such folder"
        raise DataError(f"{root}: {found_file}; {EXPECTED}")
    found = _placed_pairs(root, places) if places.images or places.masks else _named_pairs(root)
    if not found and not (found.images_alone and found.masks_alone):
        found = search_pairs(root)
    return layout_of(root, found, split_file=_placed_file(root, places.split_file))


def layout_of(root: Path, found: Found, *, split_file: Path | None = None, use_lists: bool = True) -> Layout:
    """Assign the pairs found below `root` to splits, by list files if there are any, and set some aside for val.

    Args:
        root: the data folder.
        found: the pairs.
        split_file: a file of splits, used instead of list files.
        use_lists: whether list files count.

    Raises:
        DataError: there are no pairs, or a list names a missing file.
    """
    lists = find_lists(root) if use_lists and not split_file else {}
    if split_file:
        splits = split_by_file(split_file, found)
        notes = [f"splits from {split_file.name}"]
        left_out = sum(map(len, found.splits.values())) - sum(map(len, splits.values()))
        notes += [f"{left_out} pairs that it does not name are left out"] if left_out else []
    elif lists:
        listed = {split: listed_pairs(root, path, split, found) for split, path in lists.items()}
        splits = {split: pairs for split, pairs in listed.items() if pairs}
        notes = [f"splits from {', '.join(path.name for path in lists.values())}"]
    else:
        splits = {split: tuple(pairs.values()) for split, pairs in found.splits.items() if pairs}
        notes = []
    notes += found.rules
    if not any(splits.values()):
        raise DataError(_nothing_found(root, found))
    faults = found.faults
    if not lists and not split_file:  # otherwise files that are not listed are left out on purpose
        faults = [*_leftovers(root, found), *faults]
    return Layout(root, *_with_validation(splits, root, notes), tuple(faults))


def _named_pairs(root: Path) -> Found:
    """Pair the files in folders with known names."""
    found = Found()
    images, masks = _subfolder(root, IMAGE_FOLDERS), _subfolder(root, MASK_FOLDERS)
    if images and masks:
        _match_folders(found, images, masks)
    for split, aliases in SPLIT_ALIASES.items():
        folder = _subfolder(root, aliases)
        if not folder:
            continue
        if (images := _subfolder(folder, IMAGE_FOLDERS)) and (masks := _subfolder(folder, MASK_FOLDERS)):
            found.match(split, image_files(images), image_files(masks))
        elif masks := _subfolder(root, [folder.name.lower() + ending for ending in MASK_ENDINGS]):
            found.match(split, image_files(folder), image_files(masks))
    return found


def _placed_pairs(root: Path, places: Places) -> Found:
    """Pair the files in the folders given by the user; a folder that is not given is the data folder."""
    found = Found()
    images, masks = (_placed(root, path) for path in (places.images, places.masks))
    _match_folders(found, images, masks)
    return found


def _placed(root: Path, path: Path | None) -> Path:
    folders = [root] if path is None else [path, root / path]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise DataError(f"{path}: there is no such folder, neither here nor in {root}")
    return folder


def _placed_file(root: Path, path: Path | None) -> Path | None:
    return path if path is None or path.is_file() or not (root / path).is_file() else root / path


def _match_folders(found: Found, images: Path, masks: Path) -> None:
    """Pair the images of one folder with the masks of another, by splits where either has them."""
    looked_at: set[Path] = set()
    for split, image_folder, mask_folder in _split_folders(images, masks):
        sources, targets = _outside(image_folder, masks), _outside(mask_folder, images)
        found.match(split, sources, targets)
        looked_at |= {*sources.values(), *targets.values()}
    found.images_alone += [path for path in image_files(images, strict=False).values() if path not in looked_at]
    found.masks_alone += [path for path in image_files(masks, strict=False).values() if path not in looked_at]
    _drop_paired(found)


def _outside(folder: Path, other: Path) -> dict[str, Path]:
    """Return the images of a folder, except those in `other` inside it."""
    files = image_files(folder, strict=not other.is_relative_to(folder))
    return {name: path for name, path in files.items() if folder == other or not path.is_relative_to(other)}


def _split_folders(images: Path, masks: Path) -> Iterable[tuple[str, Path, Path]]:
    """Yield (split, image folder, mask folder); where one side has no splits, its folder serves all of them."""
    any_split = False
    for split, aliases in SPLIT_ALIASES.items():
        image_split, mask_split = _subfolder(images, aliases), _subfolder(masks, aliases)
        if image_split or mask_split:
            any_split = True
            yield split, image_split or images, mask_split or masks
    if not any_split:
        yield "", images, masks


def _drop_paired(found: Found) -> None:
    """Remove files from the lists of files alone that are paired in another split of the same folder."""
    pairs = [pair for split in found.splits.values() for pair in split.values()]
    images, masks = {pair.image for pair in pairs}, {pair.mask for pair in pairs}
    found.images_alone = sorted({path for path in found.images_alone if path not in images})
    found.masks_alone = sorted({path for path in found.masks_alone if path not in masks})


def _with_validation(
    splits: dict[str, tuple[Pair, ...]], root: Path, notes: list[str]
) -> tuple[dict[str, tuple[Pair, ...]], tuple[str, ...]]:
    """Use pairs without a split for training, and set some aside where there is no validation split."""
    if "" in splits:
        if "train" in splits:
            raise DataError(
                f"{root}: has images both in train/ and outside of any split; keep one of the two, or name the "
                "images of each split in train.txt and val.txt"
            )
        splits = {"train": splits.pop(""), **splits}
    if "val" in splits or "train" not in splits:
        return splits, tuple(notes)
    pairs = {pair.name: pair for pair in splits.pop("train")}
    if len(pairs) < 2:
        raise DataError(f"{root}: has one pair of image and mask; at least 2 are needed, one to train, one to validate")
    train, val = split_names(list(pairs))
    notes.append(f"no validation images: {len(val)} of {len(pairs)} set aside by the hash of their names")
    own = {"train": tuple(pairs[name] for name in train), "val": tuple(pairs[name] for name in val)}
    return {**own, **splits}, tuple(notes)


def _leftovers(root: Path, found: Found) -> list[Fault]:
    images, masks = (
        [path.relative_to(root) if path.is_relative_to(root) else path for path in files]
        for files in (found.images_alone, found.masks_alone)
    )
    remedy = "add the missing files, or remove these"
    return [
        *fault("images-without-mask", "warning", images, "{n} images without a mask left out", remedy),
        *fault("masks-without-image", "warning", masks, "{n} masks without an image left out", remedy),
    ]


def _nothing_found(root: Path, found: Found) -> str:
    if found.complaint:
        return found.complaint
    if found.images_alone or found.masks_alone:
        examples = " and ".join(path.name for path in (*found.images_alone[:1], *found.masks_alone[:1]))
        return (
            f"{root}: has {len(found.images_alone)} images and {len(found.masks_alone)} masks, but no two that are "
            f"named alike ({examples}); rename them, or list pairs in train.txt"
        )
    inside = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())[:5]
    suffixes = Counter(path.suffix.lower() for path in islice(root.rglob("*"), MOST_FILES) if path.is_file())
    strange = [suffix for suffix in UNREAD_MASKS if suffixes[suffix]]
    hint = f"; {', '.join(strange)} files are not read, save them as PNG" if strange else ""
    return f"{root}: has no pairs of images and masks (found {', '.join(inside) or 'nothing'}); {EXPECTED}{hint}"


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the subfolder whose name comes first in `names`, ignoring case as on Windows and macOS."""
    found = {p.name.lower(): p for p in sorted(p for p in folder.iterdir() if p.name.lower() in names and p.is_dir())}
    return next((found[name] for name in names if name in found), None)
