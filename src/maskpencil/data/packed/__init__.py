"""Unpack packed data sets into a cache once, and then read them like any folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS
from maskpencil.data.layout.splits import SPLIT_ALIASES
from maskpencil.data.packed.archives import is_archive, unpack_archive
from maskpencil.data.packed.cache import made_once
from maskpencil.data.packed.hugging_face import class_files, find_shards, write_images


@dataclass(frozen=True)
class Unpacked:
    """A folder to read, and notes on its source."""

    folder: Path
    notes: tuple[str, ...] = ()


def unpacked(root: Path) -> Unpacked:
    """Return the folder to read for `root`: the folder itself, or the cache with its unpacked content.

    An archive (`.zip`, `.tar`, `.tar.gz`) is unpacked. A Hugging Face data set, in `.parquet` files or as written by
    `save_to_disk`, is converted to image files. Both go to a folder in `files.cache_folder`, which is written
    completely or not at all, and again only if the packed files change. Any other path is returned unchanged, whether
    it exists or not.

    Raises:
        DataError: the packed data is damaged, has no images and masks, or is malicious.
        OutputError: the cache cannot be written.
    """
    folder = root
    notes: tuple[str, ...] = ()
    if is_archive(root):
        folder, notes = made_once(root, [root], partial(unpack_archive, root))
        folder = without_wrapping(folder)
    shards = find_shards(folder)
    if shards:
        packed = [shard.path for shard in shards] + class_files(folder)
        folder, more = made_once(folder, packed, partial(write_images, folder, shards))
        notes = (*notes, *more)
    return Unpacked(folder, notes)


HIDDEN = (".", "__MACOSX")
DOCUMENTS = ("readme", "license", "licence", "copying", "citation", "changelog")
"""The names, in lower case and without suffix, of files that describe a data set."""


def without_wrapping(folder: Path) -> Path:
    """Return the innermost of the folders that wrap all files of `folder`, as in many archives; else `folder`.

    A folder wraps all files if it is the only entry of the folder around it, except for files such as README.md and
    hidden files, and is not called images, masks, train or the like. If `folder` holds other files or several folders,
    or is not a folder, it is returned itself.
    """
    while folder.is_dir():
        inside = [path for path in folder.iterdir() if not path.name.startswith(HIDDEN)]
        inside = [path for path in inside if path.is_dir() or path.stem.lower() not in DOCUMENTS]
        if len(inside) != 1 or not inside[0].is_dir():
            return folder
        name = inside[0].name.lower()
        if name in (*IMAGE_FOLDERS, *MASK_FOLDERS) or any(name in aliases for aliases in SPLIT_ALIASES.values()):
            return folder
        folder = inside[0]
    return folder
