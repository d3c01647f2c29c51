"""Find data sets in subfolders, and folders whose images are all unused."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from maskpencil.data.drawing import files_of
from maskpencil.data.formats import Recognized, recognize
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS, Layout, files_below, find_layout
from maskpencil.data.layout.splits import split_in
from maskpencil.data.packed import without_wrapping
from maskpencil.data.packed.hugging_face import find_shards
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.plain_text import counted

MAX_DEPTH = 3
"""The number of levels of subfolders that are searched for data sets."""

MAX_SUBFOLDERS = 20
"""The largest number of subfolders of a folder that are searched for data sets."""

MAX_SEARCHED = 60
"""The largest number of folders that are searched for data sets in all."""

MAX_NAMED_FOLDERS = 4
"""The largest number of folders named in a line."""


def recognize_folder(root: Path) -> Recognized | None:
    """Recognize the format of a folder, or of the only folder inside it; return None if neither is in `formats`."""
    recognized = recognize(root)
    if recognized is None and (inside := without_wrapping(root)) != root:
        recognized = recognize(inside)
    return recognized


def refuse_collection(root: Path) -> None:
    """Raise an error if at least two subfolders of a folder are data sets in formats of `formats`.

    There is no error for a folder that holds images, or a subfolder that is named like images, masks or a split: it is
    a single data set.

    Raises:
        DataError: the folder holds several data sets; the message names them.
    """
    if not root.is_dir():
        return
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in root.iterdir()):
        return
    names = [path.name.lower() for path in root.iterdir() if path.is_dir()]
    if any(name in IMAGE_FOLDERS or name in MASK_FOLDERS or split_in(name) for name in names):
        return
    found = _data_sets_below(root, plain=False)
    if len(found) > 1:
        raise DataError(_choice(root, found))


def choice_of_data_sets(root: Path) -> str:
    """Return an error message that names the data sets in the subfolders of `root`; "" if there are none."""
    found = _data_sets_below(root, plain=True) if root.is_dir() else {}
    return _choice(root, found) if found else ""


def _choice(root: Path, found: dict[Path, str]) -> str:
    named = [f"{path.relative_to(root).as_posix()}/ ({kind})" for path, kind in found.items()]
    sets = "a data set" if len(found) == 1 else counted(len(found), "data set")
    return f"{root}: holds {sets}, {_listed(named)}; give the folder of a single data set: {next(iter(found))}"


def _data_sets_below(root: Path, *, plain: bool) -> dict[Path, str]:
    """Return {folder: format} for the data sets below `root`, except data sets inside another data set.

    `plain` is whether folders of images and masks without a format count as data sets.
    """
    found: dict[Path, str] = {}
    level, searched = [root], 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for place in level:
            inside = [path for path in sorted(place.iterdir()) if not path.name.startswith(".")]
            folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
            below += folders if len(folders) <= MAX_SUBFOLDERS else ()
        below = below[: MAX_SEARCHED - searched]
        searched += len(below)
        found |= {folder: kind for folder in below if (kind := _kind(folder, plain=plain))}
        level = [folder for folder in below if folder not in found]
    return dict(sorted(found.items()))


def _kind(folder: Path, *, plain: bool) -> str:
    """Return the format of a data set; "images and masks" if it has none and `plain` is set; "" for other folders."""
    with suppress(DataError):
        if recognized := recognize_folder(folder):
            return recognized.name
        if find_shards(folder):
            return "Hugging Face"
        if plain and find_layout(folder):
            return "images and masks"
    return ""


def unused_folders(layout: Layout) -> tuple[str, ...]:
    """Return a tuple with one note on the folders whose images are all unused, or () if there are no such folders.

    The note does not repeat folders that another note of the layout already calls left out.
    """
    root = layout.root
    used = {path for pairs in layout.splits.values() for pair in pairs for path in (pair.image, *files_of(pair.mask))}
    named_in_faults = {root / file for each in layout.faults for file in each.files}
    busy = {root, *(folder for path in used | named_in_faults for folder in path.parents)}
    found: Counter[Path] = Counter()
    for path in files_below(root, IMAGE_SUFFIXES):
        if path.parent not in busy:
            unused = [folder for folder in path.parents if folder.is_relative_to(root) and folder not in busy]
            found[unused[-1]] += 1  # the highest folder without a file that is used
    said = [note for note in layout.notes if "left out" in note]
    places = [path.relative_to(root) for path in sorted(found)]
    silent = [place for place in places if not any(_mentions(note, place) for note in said)]
    if not silent:
        return ()
    counts = [f"{place.as_posix()}/ ({counted(found[root / place], 'image')})" for place in silent]
    return (f"not used: {_listed(counts)}",)


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:MAX_NAMED_FOLDERS]) + (", ..." if len(texts) > MAX_NAMED_FOLDERS else "")


def _mentions(note: str, place: Path) -> bool:
    """Return whether a note names a folder, by its path or by its last part."""
    names = (place.as_posix(), place.name)
    return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", note) for name in names)
