"""Pictures with their masks, as they are being found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.data.drawing import MaskSource
from maskpencil.data.layout.pairing import pair_names
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; `name` is their common path below the split, without suffix."""

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
        """Add a pair that is known to be one."""
        self.splits.setdefault(split, {})[pair.name] = pair

    def match(self, split: str, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
        """Pair pictures and masks by their names, see `pairing.pair_names`, and keep the others as left alone."""
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


def picture_files(folder: Path, *, strict: bool = True) -> dict[str, Path]:
    """Pictures below `folder` by their relative path without suffix, hidden files and folders left out.

    Raises:
        DataError: two files differ in nothing but their suffix; unless `strict` the first of them is taken.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
            continue
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts):
            continue
        name = below.with_suffix("").as_posix()
        if name not in files:
            files[name] = path
        elif strict:
            raise DataError(f"{path}: has the same name as {files[name].name}; rename or remove one of them")
    return files
