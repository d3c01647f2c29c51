"""Which image a Label Studio task is about: the file, by the name that the task has for it."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from maskpencil.data.formats.entry import Entry
from maskpencil.data.layout import IMAGE_FOLDERS
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES

PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the names of uploaded files, so that no two are the same."""


def image_name(task: Entry) -> str | None:
    """The path of the image in a task, with "/" between folders; None where it names none.

    Taken is what ends like an image: of `/data/upload/1/1a2b3c4d-photo.jpg` and web addresses the path, of
    `/data/local-files/?d=photos/photo.jpg` that after `d=`. The field is called as the project says, often `image`.
    """
    data = task.inside("data").fields if isinstance(task.fields.get("data"), dict) else task.fields
    texts = [value for _, value in sorted(data.items(), key=lambda item: item[0] != "image") if isinstance(value, str)]
    names = map(_path, texts)
    return next((name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES), None)


class Images:
    """The images below a folder, but for hidden ones, by their names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] = {}
        self._by_plain_name: dict[str, list[Path]] = {}
        self._names: dict[str, Path] = {}
        for path in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
                self._by_name.setdefault(path.name, []).append(path)
                self._by_plain_name.setdefault(_plain(path.name), []).append(path)

    def __iter__(self) -> Iterator[Path]:
        return (path for paths in self._by_name.values() for path in paths)

    def find(self, name: str, task: Entry) -> Path | None:
        """The image of that name, or of that name but for Label Studio's changes; None where there is none.

        Of several the one counts that shares the most folders with the name.

        Raises:
            DataError: two share as many.
        """
        parts = PurePosixPath(name).parts
        candidates = self._by_name.get(parts[-1]) or self._by_plain_name.get(_plain(parts[-1]), [])
        shared = {path: _shared(path.relative_to(self._root).parts[:-1], parts[:-1]) for path in candidates}
        best = [path for path in candidates if shared[path] == max(shared.values())]
        if len(best) > 1:
            one, other = (path.relative_to(self._root) for path in best[:2])
            raise DataError(f"{task}: the image {name!r} may be {one} or {other}; rename or remove one of them")
        return best[0] if best else None

    def short_name(self, path: Path) -> str:
        """The path below the folder of images, without suffix.

        Raises:
            DataError: another image has it.
        """
        below = path.relative_to(self._root).with_suffix("")
        name = PurePosixPath(
            *below.parts[below.parts[0].lower() in IMAGE_FOLDERS and len(below.parts) > 1 :]
        ).as_posix()
        if self._names.setdefault(name, path) != path:
            raise DataError(f"{path}: has the same name as {self._names[name]}; rename or remove one of them")
        return name


def _path(text: str) -> str:
    text, _, query = text.strip().partition("?")
    if query.startswith("d="):
        text = query[2:].partition("&")[0]
    return PureWindowsPath(unquote(text)).as_posix()


def _plain(name: str) -> str:
    """The name without prefix, and with the spaces as Label Studio writes them."""
    return PREFIX.sub("", name.replace(" ", "_"), count=1)


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """The number of equal parts at the end."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
