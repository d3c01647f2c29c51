"""Report the files in no pair, such as images without a mask, and explain why a folder has no pairs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from shlex import quote

from maskpencil.data.drawing import Drawing
from maskpencil.data.faults import Fault, fault
from maskpencil.data.layout.choice import CANDIDATE_SHARE
from maskpencil.data.layout.pairs import Found, additions, unusable_files
from maskpencil.data.layout.search import look_like_masks
from maskpencil.plain_text import counted

MAX_ADDITIONS = 8
"""The largest number of additions to the names of images, such as `_mask`, by which masks are searched for."""

MIN_NAMED_ALIKE = 3
"""The smallest number of files with the same addition to the names of images that is not a coincidence."""

UNREAD_MASKS = (".mat", ".npy", ".npz", ".nii", ".gz", ".dcm", ".seg", ".h5")
"""Suffixes of mask files in formats that cannot be read."""

MAX_EXAMINED_FILES = 10_000
"""The largest number of files that are examined to explain an error."""

EXPECTED = "expected images/ and masks/ with files of the same names, with or without train/ val/ test/ inside"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")


def report_leftovers(root: Path, found: Found) -> list[Fault]:
    """Return the faults of the files that are in no pair, with paths relative to `root`.

    `found.images_alone` may hold masks as well, since readers of annotations list all image files that they do not use.
    Such masks are recognized by their names, which are those of paired images, and by their contents.
    """
    masks, copies = _named_after_images(found)
    others = {*masks, *copies}
    images = [path for path in found.images_alone if path not in others]
    annotated = any(isinstance(pair.mask, Drawing) for pairs in found.splits.values() for pair in pairs.values())
    missing = "add the missing files, or remove the files without a counterpart"
    alone = _below(root, images), _below(root, found.masks_alone)
    return [
        *fault("images-without-mask", "warning", alone[0], "{n} {image|images} without a mask left out", missing),
        *fault("masks-without-image", "warning", alone[1], "{n} {mask|masks} without an image left out", missing),
        *fault(
            "masks-not-read",
            "note",
            _below(root, masks),
            "{n} {mask file is|mask files are} not read, since {its image has|their images have} "
            f"{'annotations' if annotated else 'other masks'}",
            _how_to_read(masks) if annotated else "remove the files that are not needed",
        ),
        *fault(
            "images-not-read",
            "warning",
            _below(root, copies),
            "{n} {file|files} named after {another image|other images} left out",
            "if they are images to learn from, add their masks",
        ),
    ]


LINKS = "{n} symbolic {link points to a file that does not exist|links point to files that do not exist}"
RESTORE = "restore the files, or remove the links"


def report_broken_links(root: Path, links: Sequence[Path]) -> list[Fault]:
    """Return a warning about `links` whose targets do not exist, with paths relative to `root`."""
    return fault("broken-links", "warning", _below(root, links), LINKS, RESTORE)


def describe_broken_links(root: Path) -> str:
    """Return a text for an error message on the links below `root` whose targets do not exist; "" without links."""
    faults = report_broken_links(root, unusable_files(root).broken_links)
    return faults[0].line.removeprefix("warning: ") if faults else ""


def _below(root: Path, files: Sequence[Path]) -> list[Path]:
    return [path.relative_to(root) if path.is_relative_to(root) else path for path in files]


def _how_to_read(masks: Sequence[Path]) -> str:
    """Return a remedy for a message: how to read `masks` instead of the annotations."""
    folders = {path.parent for path in masks}
    if len(folders) > 1:
        return "to read them, move the annotations away"
    folder = quote(str(*folders))
    return f"to read them: --images {folder} --masks {folder}"


def _named_after_images(found: Found) -> tuple[list[Path], list[Path]]:
    """Return the files among the images without a mask that are named after an image with a mask: (masks, others).

    A file is named after an image in the same folder if it has the same name, perhaps with an addition such as `_mask`.
    Masks are recognized by their contents.
    """
    paired: dict[Path, list[Path]] = defaultdict(list)
    for pairs in found.splits.values() if found.images_alone else ():
        for pair in pairs.values():
            paired[pair.image.parent].append(pair.image)
    alone: dict[Path, list[Path]] = defaultdict(list)
    for path in found.images_alone:
        alone[path.parent].append(path)
    masks: list[Path] = []
    copies: list[Path] = []
    for folder in alone.keys() & paired.keys():
        images, files = {path.stem: path for path in paired[folder]}, alone[folder]
        for group, is_likely in _groups(images, files):
            if look_like_masks(group, sorted(images.values())):
                masks += group
            elif is_likely:
                copies += group
    return sorted(masks), sorted(copies)


def _groups(images: Mapping[str, Path], files: Sequence[Path]) -> Iterable[tuple[list[Path], bool]]:
    """Yield groups of files in a folder that are named alike after its images, and whether this is not a coincidence.

    Args:
        images: the images with masks by their stems.
        files: the other image files.
    """
    suffixes = {path.suffix.lower() for path in images.values()}
    stems = {path.stem for path in files if path.suffix.lower() in suffixes} | images.keys()
    same: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        if path.stem in images or (path.suffix.lower() not in suffixes and path.stem in stems):
            same[path.suffix.lower()].append(path)
    for group in same.values():
        if any(path.stem in images for path in group):
            yield group, True
    taken = {path for group in same.values() for path in group}
    rest = {path.stem: path for path in files if path not in taken}
    by_addition = sorted(additions(images, rest).values(), key=len, reverse=True)
    for named in by_addition[:MAX_ADDITIONS]:
        group = [rest.pop(stem) for stem in named.values() if stem in rest]
        if len(group) > 1:
            yield group, len(group) >= max(MIN_NAMED_ALIKE, CANDIDATE_SHARE * len(images))


def explain_no_pairs(root: Path, found: Found) -> str:
    """Return the error message for a folder without pairs."""
    links = describe_broken_links(root)
    also = f"; {links}" if links else ""
    if found.complaint:
        return found.complaint + also
    if found.images_alone or found.masks_alone:
        examples = " and ".join(path.name for path in (*found.images_alone[:1], *found.masks_alone[:1]))
        return (
            f"{root}: has {counted(len(found.images_alone), 'image')} and "
            f"{counted(len(found.masks_alone), 'mask')}, but no mask with the "
            f"name of an image ({examples}); rename them, or list pairs in train.txt{also}"
        )
    inside = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())[:5]
    suffixes = Counter(path.suffix.lower() for path in islice(root.rglob("*"), MAX_EXAMINED_FILES) if path.is_file())
    packed = [name for name in inside if name.lower().endswith(ARCHIVES)]
    strange = [suffix for suffix in UNREAD_MASKS if suffixes[suffix] and not packed]
    hint = f"; {', '.join(strange)} files are not read, save them as PNG" if strange else ""
    hint = f"; unpack {' and '.join(packed)}" if packed else hint
    if links and not hint:
        return f"{root}: has no pairs of images and masks: {links}"
    return f"{root}: has no pairs of images and masks (found {', '.join(inside) or 'nothing'}); {EXPECTED}{hint}{also}"
