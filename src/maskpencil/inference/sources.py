"""What the user typed -> the pictures and films to predict."""

import glob
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""File name endings, in lower case, that are taken for films."""

Kind = Literal["picture", "video"]

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+")  # two letters at least: C:/ is a drive of Windows
_EXPECTED = "expected a picture (.jpg, .png, ...) or a film (.mp4, .mov, ...)"


@dataclass(frozen=True)
class Source:
    """One picture or film.

    `stem` names its results: the path below the folder or pattern it was found by, without suffix, with / between
    folders. No two sources of one kind share a stem.
    """

    kind: Kind
    path: Path
    stem: str


@dataclass(frozen=True)
class _Found:
    path: Path
    relative: Path  # below the folder or the fixed part of the pattern

    @property
    def kind(self) -> Kind:
        return "picture" if self.path.suffix.lower() in IMAGE_SUFFIXES else "video"


def find_sources(arguments: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Find the pictures and films that files, folders and glob patterns stand for.

    Folders are searched through all their subfolders, without hidden files; what a folder or pattern holds is sorted as
    people count (2 before 10). A file that is named twice is taken once.

    Raises:
        DataError: a path does not exist, a file is neither picture nor film, a folder or pattern yields neither, or an
            argument is an address or a camera number, which cannot be read yet.
    """
    found: dict[Path, _Found] = {}
    for argument in arguments:
        for item in _find(os.fspath(argument)):
            found.setdefault(item.path.resolve(), item)
    items = list(found.values())
    return [Source(item.kind, item.path, stem) for item, stem in zip(items, _stems(items), strict=True)]


def _find(argument: str) -> list[_Found]:
    path = Path(argument)
    if path.is_dir():
        items = _in_order(_Found(file, file.relative_to(path)) for file in _files_below(path))
        if not items:
            raise DataError(f"{argument}: holds no pictures and no films; {_EXPECTED} in it or in its subfolders")
        return items
    if path.is_file():
        if not _is_known(path):
            raise DataError(f"{argument}: ends in {path.suffix or 'no suffix'!r}; {_EXPECTED}; convert it first")
        return [_Found(path, Path(path.name))]
    if glob.has_magic(argument):
        return _match(argument)
    if _ADDRESS.match(argument):
        raise DataError(f"{argument}: addresses and streams cannot be read yet; download it and give the file's path")
    if argument.isdecimal() or path.exists():
        raise DataError(f"{argument}: is not a file, and cameras cannot be read yet; record a film and give its path")
    raise DataError(f"{argument}: there is no such file or folder; check the path")


def _match(pattern: str) -> list[_Found]:
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    try:
        matched = list(fixed.glob(str(Path(pattern).relative_to(fixed))))
    except ValueError:  # "**" beside other letters, which Python 3.13 takes for "*"
        matched = []
    if not matched:
        raise DataError(f"{pattern}: nothing matches this pattern; check it, and that it is quoted")
    below = [file for path in matched for file in (_files_below(path) if path.is_dir() else [path])]
    files = [file for file in below if _is_known(file) and not file.name.startswith(".")]
    if not files:
        raise DataError(f"{pattern}: matches no pictures and no films; {_EXPECTED}")
    return _in_order(_Found(file, file.relative_to(fixed)) for file in files)


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and _is_known(Path(name)):
                yield Path(parent, name)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be searched ({error.strerror}); check its permissions") from error


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def _in_order(items: Iterable[_Found]) -> list[_Found]:
    return sorted(items, key=lambda item: [_natural(part) for part in item.relative.parts])


def _natural(text: str) -> list[tuple[int, str]]:
    """Compare runs of digits as numbers; text sorts after numbers."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [(int(piece), piece) if piece[0] in "0123456789" else (10**30, piece) for piece in pieces]


def _stems(items: Sequence[_Found]) -> list[str]:
    """Name every source, first by its stem; those that would overwrite each other by more and more of their path."""
    stems = [item.relative.with_suffix("").as_posix() for item in items]
    for longer in _LONGER:
        for clash in _clashes(items, stems):
            renamed = [longer(items[i]) for i in clash]
            if len({stem.casefold() for stem in renamed}) == len(clash):
                for i, stem in zip(clash, renamed, strict=True):
                    stems[i] = stem
    while clashes := _clashes(items, stems):
        for clash in clashes:
            for number, i in enumerate(clash[1:], start=2):
                stems[i] = f"{stems[i]}-{number}"
    return stems


_LONGER: tuple[Callable[[_Found], str], ...] = (
    lambda item: item.relative.as_posix(),  # a.jpg, a.png
    lambda item: Path(*item.path.resolve().parts[-len(item.relative.parts) - 1 :]).with_suffix("").as_posix(),
)


def _clashes(items: Sequence[_Found], stems: Sequence[str]) -> list[list[int]]:
    """Give the indices of sources whose results would get one name, on file systems that ignore case too."""
    same: dict[tuple[Kind, str], list[int]] = defaultdict(list)
    for i, (item, stem) in enumerate(zip(items, stems, strict=True)):
        same[item.kind, stem.casefold()].append(i)
    return [indices for indices in same.values() if len(indices) > 1]
