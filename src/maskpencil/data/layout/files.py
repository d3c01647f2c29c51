"""Find files below a folder, and the images that lists and annotations name."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.regular_files import special_kind


def image_files(folder: Path, *, strict: bool = True) -> dict[str, Path]:
    """Find the images below `folder` by their relative path without suffix, except hidden files and folders.

    Args:
        folder: where to look.
        strict: whether two files that differ only in their suffix are an error; otherwise the first one is used.

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


def special_files(folder: Path) -> list[Path]:
    """Find the named pipes, devices and sockets below a folder, except hidden ones; no reader opens them."""
    found, places = [], [folder]
    while places:
        try:
            with os.scandir(places.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        places.append(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False) and special_kind(entry.path):
                        found.append(Path(entry.path))
        except PermissionError:  # reported by those who read it
            continue
    return sorted(found)


def files_below(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Find the files with one of the lower-case `suffixes`, by folder, except hidden files and folders.

    Links are followed, except those to a folder above.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        above = {os.path.realpath(place), *map(str, Path(os.path.realpath(place)).parents)}
        inside = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in inside if os.path.realpath(Path(place, name)) not in above)
        paths = (Path(place, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in suffixes and path.is_file())


def find_image(root: Path, folders: Sequence[Path], name: str, *, source: Path) -> Path | None:
    r"""Find the image that the file `source` calls `name` in `folders` below `root`; None where it is not there.

    Tools write paths of the machine on which the annotations were made, so the last parts of a path count: for
    `C:\work\images\1.jpg` the function looks for `work/images/1.jpg`, then `images/1.jpg`, then `1.jpg`. Files outside
    of the folders are never returned.

    Raises:
        DataError: the name leads out of `root` by "..", and `folders` have no such file either.
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
        raise DataError(f"{source}: names the image {name!r}, which is not below {root}; put it there")
    return None
