"""The files that lists and annotations name, found where they lie now."""

import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from maskpencil.errors import DataError


def find_image(root: Path, folders: Sequence[Path], name: str, *, source: Path) -> Path | None:
    r"""The image that the file `source` calls `name`, looked for in `folders` below `root`.

    Tools write names as they stood where the annotations were made, so that the last parts of a path count: of
    `C:\work\images\1.jpg` first `work/images/1.jpg` is looked for, then `images/1.jpg`, then `1.jpg`. What is outside
    of the folders is never taken.

    Raises:
        DataError: the name leads out of `root` by "..", and `folders` have no such file either.
    """
    path = PureWindowsPath(name)  # takes both kinds of slashes
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
