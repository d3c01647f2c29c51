"""Images with their masks, as they are being found."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from maskpencil.data.drawing import MaskSource
from maskpencil.data.layout.pairing import pair_names
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.regular_files import special_kind


@dataclass(frozen=True)
class Pair:
    """An image and its mask; `name` is their common path below the split, without suffix."""

    name: str
    image: Path
    mask: MaskSource


@dataclass
class Found:
    """Pairs so far by split ("" while there is none), the rules that made them, and what stood alone.

    `complaint` says what kept others from being found, for the case that there are none.
    """

    splits: dict[str, dict[str, Pair]] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    complaint: str = ""

    def add(self, split: str, pair: Pair) -> None:
        """Add a pair that is known to be one; its name gets its folder before it where another image has it."""
        pairs = self.splits.setdefault(split, {})
        for folder in pair.image.parents:
            if pair.name not in pairs or pairs[pair.name].image == pair.image:
                break
            pair = replace(pair, name=f"{folder.name}/{pair.name}")
        pairs[pair.name] = pair

    def match(self, split: str, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
        """Pair images and masks by their names, see `pairing.pair_names`, and keep the others as left alone."""
        pairing = pair_names(images, masks)
        pairs = {name: Pair(name, images[name], masks[mask]) for name, mask in pairing.masks.items()}
        self.splits.setdefault(split, {}).update(pairs)
        if pairing.rule and pairing.rule not in self.rules:
            self.rules.append(pairing.rule)
        paired = set(pairing.masks.values())
        self.images_alone += [path for name, path in images.items() if name not in pairs]
        self.masks_alone += [path for name, path in masks.items() if name not in paired]

    def __bool__(self) -> bool:
        return any(self.splits.values())


def image_files(folder: Path, *, strict: bool = True) -> dict[str, Path]:
    """Images below `folder` by their relative path without suffix, hidden files and folders left out.

    Raises:
        DataError: two files differ in nothing but their suffix; unless `strict` the first of them is taken.
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
    """Find the named pipes, devices and sockets below a folder, hidden ones left out; no reader takes them."""
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
        except PermissionError:  # which those who read it tell of
            continue
    return sorted(found)


def files_below(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """The files whose suffix, in lower case, is one of `suffixes`, by folder; hidden files and folders are left out.

    Links are followed, but no loops.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        above = {os.path.realpath(place), *map(str, Path(os.path.realpath(place)).parents)}
        inside = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in inside if os.path.realpath(Path(place, name)) not in above)
        paths = (Path(place, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in suffixes and path.is_file())
