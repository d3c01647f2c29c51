"""Find pairs of images and masks and their splits."""

import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskpencil.data.faults import Fault
from maskpencil.data.layout.choice import CANDIDATE_SHARE, Choice, choose
from maskpencil.data.layout.leftovers import EXPECTED, explain_no_pairs, report_broken_links, report_leftovers
from maskpencil.data.layout.pairs import Found, Pair, files_below, find_image, image_files, unusable_files
from maskpencil.data.layout.search import has_own_pairs, search_pairs
from maskpencil.data.layout.splits import (
    SPLIT_ALIASES,
    SPLITS,
    find_lists,
    listed_pairs,
    names_pairs,
    split_by_file,
    split_in,
    split_pairs,
    unlisted,
)
from maskpencil.data.layout.views import View, merged, views_of
from maskpencil.errors import DataError
from maskpencil.parsing import read_optional_path
from maskpencil.plain_text import worded

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
    "report_broken_links",
    "unusable_files",
]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "segmentationclass", "annotations")  # VOC has boxes in the last
MASK_ENDINGS = ("_masks", "_mask", "_labels", "_label", "annot", "_annot")
"""Endings by which the name of a split's folder of masks differs from that of its folder of images: `train/ +
trainannot/`."""

_NO_MASKS = ("images", "imgs", "img", "image", "jpegimages", "photos", "overlays", "overlay")
"""Names of folders that never hold masks."""


@dataclass(frozen=True)
class Layout:
    """Pairs by split, notes on how the pairs were found, and warnings about what was left out or guessed.

    If each class has its own mask files, `classes` are the names of the classes, without the background.
    """

    root: Path
    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Locations given by the user: the folder of images, the folder of masks, and the split file.

    Folders are given as paths, or as names of folders in the data folder. A line of the split file has the name of an
    image and its split.

    Example:
        >>> places = mp.Places(images="images/train", masks="masks/train")
        >>> dict(mp.check("street", places=places).splits)
        {'train': ..., 'val': ...}

    Raises:
        ConfigError: a value is not a path.
    """

    images: Path | None = None
    masks: Path | None = None
    split_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("images", "masks", "split_file"):
            object.__setattr__(self, name, read_optional_path(name, getattr(self, name)))


ANYWHERE = Places()
"""The default: all locations are found automatically."""


def find_layout(root: Path, places: Places = ANYWHERE) -> Layout:
    """Find pairs of images and masks below `root`, and their splits.

    A mask has the name of its image, or matches this name by one of the rules of `pairs.pair_names`; a note then names
    the rule. Supported are `images/ + masks/` (or Pascal VOC's `JPEGImages/ + SegmentationClass/`), with splits inside
    one of the folders or both folders, `train/images + train/masks`, `train/ + train_labels/`, and all that
    `search.search_pairs` finds in folders with other names or in one folder. List files (see `splits.find_lists`)
    assign images to splits. Without a validation split, one in five pairs is set aside for validation, see
    `splits.split_pairs`. The case of folder names does not matter; hidden files and folders are left out.

    Raises:
        DataError: the folder is missing, it has no pairs, or a list names a missing file.
    """
    if not root.is_dir():
        found_file = "is a file, not a folder" if root.exists() else "there is no such folder"
        if root.is_symlink() and not root.exists():
            found_file = f"is a symbolic link to {root.readlink()}, which does not exist"
        raise DataError(f"{root}: {found_file}; {EXPECTED}")
    found = _pairs_in_given_folders(root, places) if places.images or places.masks else _named_pairs(root)
    if not found and not found.complaint and not (found.images_alone and found.masks_alone):
        found = search_pairs(root)
    return layout_of(root, found, split_file=_given_file(root, places.split_file), masks_in_lists=True)


def layout_of(
    root: Path,
    found: Found,
    *,
    split_file: Path | None = None,
    use_lists: bool = True,
    masks_in_lists: bool = False,
) -> Layout:
    """Assign the pairs found below `root` to splits by list files, if any, and choose pairs for val if val is empty.

    Args:
        root: the data folder.
        found: the pairs.
        split_file: a file that names the split of each image, used instead of list files.
        use_lists: whether list files are read.
        masks_in_lists: whether a line of a list file may hold the paths of an image and a mask, even if `found` does
            not have this pair.

    Raises:
        DataError: there are no pairs, or a list names a missing file.
    """
    lists = find_lists(root) if use_lists and not split_file else {}
    if split_file:
        splits = split_by_file(split_file, found)
        notes = [f"splits from {split_file.name}"]
        left_out = sum(map(len, found.splits.values())) - sum(map(len, splits.values()))
        what = f"{{n}} {{pair|pairs}} that {split_file.name} does not name {{is|are}} left out"
        notes += [worded(what, left_out)] if left_out else []
    elif lists and (found or (masks_in_lists and any(map(names_pairs, lists.values())))):
        listed = {
            split: listed_pairs(root, path, split, found, with_masks=masks_in_lists) for split, path in lists.items()
        }
        splits = {split: pairs for split, pairs in listed.items() if pairs}
        taken = {pair.image for pairs in splits.values() for pair in pairs}
        others = [pair.name for pairs in found.splits.values() for pair in pairs.values() if pair.image not in taken]
        notes = [f"splits from {', '.join(path.name for path in lists.values())}", *unlisted(others)]
    else:
        splits = {split: tuple(pairs.values()) for split, pairs in found.splits.items() if pairs}
        notes = []
    notes += found.rules
    if not any(splits.values()):
        raise DataError(explain_no_pairs(root, found))
    _refuse_own_masks(splits)
    faults = found.faults
    if not lists and not split_file:  # lists may leave out files on purpose
        faults = [*report_leftovers(root, found), *faults]
    return Layout(root, *_with_validation(splits, root, notes), tuple(faults), found.classes)


def _refuse_own_masks(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Raise an error if an image file is also its own mask.

    Masks that are links to their images are recognized only if the first pair of a split has such a mask.
    """
    own = [pair.image for pairs in splits.values() for pair in pairs if pair.mask == pair.image]
    for first in (pairs[0] for pairs in splits.values() if pairs and not own):
        same = isinstance(first.mask, Path) and first.mask.exists() and first.mask.samefile(first.image)
        own += [first.image] if same else []
    if own:
        raise DataError(
            f"{own[0]}: is found both as an image and as its mask; expected masks in files of their own; say where the "
            "images and the masks are: --images FOLDER --masks FOLDER"
        )


Files = dict[str, dict[str, Path]]
"""Files by split ("" for files without a split) and by name, a path without suffix."""


@dataclass(frozen=True)
class _ImagesAndMasks:
    """Images by split, and masks that may belong to them, by folder and split.

    The most likely folder of masks comes first. If some files are in folders of splits, `unsplit` holds the images and
    the masks that are not.
    """

    images: Files
    masks: Mapping[str, Files]
    unsplit: tuple[Sequence[Path], Sequence[Path]] = ((), ())


def _named_pairs(root: Path) -> Found:
    """Pair the files in folders with known names, such as images/ and masks/."""
    images, masks = _subfolder(root, IMAGE_FOLDERS), _subfolder(root, MASK_FOLDERS)
    arrangements = [
        _of_two_folders(images, masks, _other_mask_folders(images, masks)) if images and masks else None,
        _of_split_folders(root),
    ]
    if not any(arrangements):
        arrangements = [_of_image_folders(root)]
    found = Found()
    for files in filter(None, arrangements):
        found.join(_match(root, files))
    return found


def _of_two_folders(images: Path, masks: Path, others: Sequence[Path] = ()) -> _ImagesAndMasks:
    """Return the files of a folder of images and of folders of masks, by split if they have splits.

    `others` are further folders of masks. A folder may be inside another folder. If only the images or only the masks
    have splits, the files without splits are used in all splits.
    """
    found = _by_split(_outside(images, masks))
    groups = {folder.name: _by_split(_outside(folder, images)) for folder in (masks, *others)}
    named = {split for files in (found, *groups.values()) for split in files}
    splits = [split for split in SPLITS if split in named] or [""]
    loose, loose_masks = (
        files[""].values() if "" in files and len(files) > 1 else () for files in (found, groups[masks.name])
    )
    return _ImagesAndMasks(
        {split: found.get(split) or found.get("", {}) for split in splits},
        {name: {split: files.get(split) or files.get("", {}) for split in splits} for name, files in groups.items()},
        (tuple(loose), tuple(loose_masks)),
    )


def _by_split(files: Mapping[str, Path]) -> Files:
    """Group files by split, without the folder that names the split: `train/a/1` becomes `a/1` in train.

    Files outside such folders get the split "".
    """
    split_of = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
    found: Files = {}
    for name, path in files.items():
        *folders, last = name.split("/")
        place = next((n for n, folder in enumerate(folders) if folder.lower() in split_of), None)
        split = "" if place is None else split_of[folders.pop(place).lower()]
        found.setdefault(split, {})["/".join((*folders, last))] = path
    return found


def _of_split_folders(root: Path) -> _ImagesAndMasks | None:
    """Return the files in folders such as `train/images + train/masks` or `train/ + train_labels/` of all splits.

    Return None if no split has such folders.
    """
    images: Files = {}
    masks: dict[str, Files] = {}
    for split, aliases in SPLIT_ALIASES.items():
        folder = _subfolder(root, aliases)
        if not folder:
            continue
        inside, beside = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
        if inside and beside:
            images[split] = image_files(inside)
            for group in (beside, *_other_mask_folders(inside, beside)):
                masks.setdefault(group.name, {})[split] = image_files(group)
        elif named := _subfolder(root, [folder.name.lower() + ending for ending in MASK_ENDINGS]):
            images[split] = image_files(folder)
            masks.setdefault("masks", {})[split] = image_files(named)
    return _ImagesAndMasks(images, masks) if images else None


def _of_image_folders(root: Path) -> _ImagesAndMasks | None:
    """Return the files in folders that each hold one image and its masks, `ID/images/ID.png + ID/masks/HASH.png`.

    Return None if there are no such folders, or if an `images` folder does not hold exactly one image.
    """
    images: Files = {}
    masks: Files = {}
    holders: dict[str, Path | None] = {split: _subfolder(root, names) for split, names in SPLIT_ALIASES.items()}
    holders[""] = root
    for split, holder in holders.items():
        for folder in sorted(path for path in holder.iterdir() if path.is_dir()) if holder else ():
            inside, beside = _subfolder(folder, IMAGE_FOLDERS), _subfolder(folder, MASK_FOLDERS)
            if not inside:
                continue
            own = list(image_files(inside, strict=False).values())
            if len(own) != 1:
                return None
            images.setdefault(split, {})[folder.name] = own[0]
            for name, path in image_files(beside, strict=False).items() if beside else ():
                masks.setdefault(split, {})[f"{folder.name}/{name}"] = path
    return _ImagesAndMasks(images, {"masks": masks}) if images and masks else None


def _other_mask_folders(images: Path, masks: Path) -> list[Path]:
    """Return the folders beside a folder of masks that may hold masks as well."""
    beside = sorted(path for path in masks.parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for path in beside if path not in (images, masks) and path.name.lower() not in _NO_MASKS]


def _pairs_in_given_folders(root: Path, places: Places) -> Found:
    """Pair the files in the folders given by the user.

    If each split has its own folder, such as `train/images` and `val/images`, the name `images` stands for all of them.
    If no folder of images is given, a folder beside the masks with a usual name for images is used, or else the data
    folder. If no folder of masks is given, the data folder is used.
    """
    image_folders, mask_folders = (_given_folders(root, path) for path in (places.images, places.masks))
    if len(image_folders) == len(mask_folders) == 1:
        (images,), (masks,) = image_folders, mask_folders
        if places.images is None:
            images = _subfolder(root if masks.samefile(root) else masks.parent, IMAGE_FOLDERS) or root
        return _of_one_folder(images) if images.samefile(masks) else _match(root, _of_two_folders(images, masks))
    found = Found()
    images_of: Files = {}
    masks_of: Files = {}
    for folder in mask_folders if len(mask_folders) > 1 else image_folders:
        split = next((split_in(part) for part in folder.relative_to(root).parts if split_in(part)), "")
        if len(mask_folders) == 1:
            images, masks = folder, mask_folders[0]
        else:
            near = next((other for other in image_folders if other.parent == folder.parent), image_folders[0])
            named = _subfolder(folder.parent, IMAGE_FOLDERS) if places.images is None else None
            images, masks = named or near, folder
        if images.samefile(masks):
            found.join(_of_one_folder(images, split))
            continue
        images_of.setdefault(split, {}).update(_outside(images, masks))
        masks_of.setdefault(split, {}).update(_outside(masks, images))
    if images_of:
        found.join(_match(root, _ImagesAndMasks(images_of, {"masks": masks_of})))
    return found


def _of_one_folder(folder: Path, split: str = "") -> Found:
    """Pair the files in a folder that the user gave as the folder of the images and of the masks."""
    found = search_pairs(folder, split)
    if not found and not found.complaint:
        found.complaint = (
            f"{folder}: is given as the folder of images and of masks, but its files cannot be told apart; "
            "name the masks like their images, with an addition such as _mask, or move them into a folder of their own"
        )
    return found


def _given_folders(root: Path, path: Path | None) -> list[Path]:
    """Return the folder at `path`, which may be relative to `root`, or else all folders below `root` with this name.

    There are several folders if each split has its own. Return [root] if `path` is None.

    Raises:
        DataError: there is no such folder.
    """
    if path is None:
        return [root]
    folder = next((folder for folder in (path, root / path) if folder.is_dir()), None)
    if folder:
        return [folder]
    if path.is_absolute():
        raise DataError(f"{path}: there is no such folder; correct the path, or name a folder in {root}")
    pattern = glob.escape(path.as_posix())
    named = sorted(found for found in root.rglob(pattern) if found.is_dir()) if path.parts else []
    if not named:
        raise DataError(
            f"{path}: there is no such folder, neither in the current folder nor in {root}; correct the path"
        )
    return named


def _given_file(root: Path, path: Path | None) -> Path | None:
    return path if path is None or path.is_file() or not (root / path).is_file() else root / path


def _match(root: Path, group: _ImagesAndMasks) -> Found:
    """Pair images with their masks.

    If there are several folders of masks, or an image has several masks, `choice.choose` decides which masks to read.

    Raises:
        DataError: an image has several masks, and nothing shows which mask to read.
    """
    found = Found({split: {} for split in group.images})
    images = {(split, name): path for split, files in group.images.items() for name, path in files.items()}
    views_by_folder = {
        folder: merged(
            [view for split, files in by_split.items() for view in views_of(split, group.images[split], files)], root
        )
        for folder, by_split in group.masks.items()
    }
    candidates = _candidates(views_by_folder)
    chosen, rules = Choice(), list[str]()
    for folder in candidates[1:]:
        if any(map(has_own_pairs, group.masks[folder].values())):
            candidates.remove(folder)
            rules.append(f"{folder}/ left out: it holds images with masks of their own")
    if len(candidates) > 1:
        files = {
            folder: View(folder, {image: view.masks[image] for view in views_by_folder[folder] for image in view.masks})
            for folder in candidates
        }
        decision = choose(list(files.values()), where=str(root), are_folders=True)
        if decision.complaint:
            raise DataError(decision.complaint)
        rules += decision.notes
        candidates = [folder for folder in candidates if decision.source == folder] or candidates[:1]
    if candidates:
        chosen = choose(views_by_folder[candidates[0]], where=str(root))
        if chosen.complaint:
            raise DataError(chosen.complaint)
    for (split, name), mask in chosen.masks.items():
        found.splits[split][name] = Pair(name, images[split, name], mask)
    found.rules, found.classes = [*rules, *chosen.notes], chosen.classes
    main = candidates[0] if candidates else next(iter(group.masks), "")
    used = {path for view in views_by_folder.get(main, ()) for files_of in view.masks.values() for path in files_of}
    every = {path for files_of in group.masks.get(main, {}).values() for path in files_of.values()}
    paired = {pair.image for pairs in found.splits.values() for pair in pairs.values()}
    found.images_alone = sorted({*images.values(), *group.unsplit[0]} - paired)
    found.masks_alone = sorted({*every, *group.unsplit[1]} - used)
    return found


def _candidates(views_by_folder: Mapping[str, Sequence[View]]) -> list[str]:
    """Return the folders that have masks for nearly as many images of some split as the folder with the most.

    `CANDIDATE_SHARE` of that number of images is enough.
    """
    covered = {
        folder: Counter(split for split, _ in {image for view in views for image in view.masks})
        for folder, views in views_by_folder.items()
    }
    most = {split: max(count[split] for count in covered.values()) for count in covered.values() for split in count}
    return [
        folder
        for folder, count in covered.items()
        if any(count[split] and count[split] >= CANDIDATE_SHARE * most[split] for split in count)
    ]


def _outside(folder: Path, other: Path) -> dict[str, Path]:
    """Return the images of a folder, except the images in `other`, a folder inside it."""
    files = image_files(folder, strict=not other.is_relative_to(folder))
    return {name: path for name, path in files.items() if folder == other or not path.is_relative_to(other)}


def _with_validation(
    splits: dict[str, tuple[Pair, ...]], root: Path, notes: list[str]
) -> tuple[dict[str, tuple[Pair, ...]], tuple[str, ...]]:
    """Add the pairs without a split to train; if val is missing, move some pairs of train to val.

    Return the splits and the notes.
    """
    if "" in splits:
        if "train" in splits:
            raise DataError(
                f"{root}: has images both in train/ and outside of all splits; keep one of the two groups, or list the "
                "images of each split in train.txt and val.txt"
            )
        splits = {"train": splits.pop(""), **splits}
    if "val" in splits or "train" not in splits:
        return splits, tuple(notes)
    pairs = {pair.name: pair for pair in splits.pop("train")}
    if len(pairs) < 2:
        raise DataError(
            f"{root}: has one pair of image and mask; at least 2 are needed, one to train, one to validate; add more "
            "images and their masks"
        )
    train, val = split_pairs(list(pairs.values()))
    notes.append(f"no validation images: {len(val)} of {len(pairs)} set aside by the hash of their names")
    return {"train": train, "val": val, **splits}, tuple(notes)


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the subfolder of `folder` whose name comes first in `names`, ignoring case as on Windows and macOS.

    Return None if no subfolder has one of the names.
    """
    found = {p.name.lower(): p for p in sorted(p for p in folder.iterdir() if p.name.lower() in names and p.is_dir())}
    return next((found[name] for name in names if name in found), None)
