"""Which pairs train and which validate when the folder does not say."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskpencil.files import written_whole

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""How the splits are called in folder and file names."""

VAL_SHARE = 0.2


def split_in(name: str) -> str:
    """The split that a name speaks of as one of its words, such as `instances_train2017`; "" where it does not."""
    words = re.findall("[a-z]+", name.lower())
    return next((split for split, aliases in SPLIT_ALIASES.items() if any(alias in words for alias in aliases)), "")


def split_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set one in five names aside for validation, at least one and never all.

    The choice follows from the names alone, through their SHA-256, so that every command and every machine makes the
    same, and an image more or less moves few others. Returns (train, val), each in the order of `names`.
    """
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    val = set(by_hash[: min(len(names) - 1, max(1, round(len(names) * VAL_SHARE)))])
    return tuple(n for n in names if n not in val), tuple(n for n in names if n in val)


def write_splits(folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write one list file a split, `train.txt` and so on, a name a line; put beside the images, it is read again.

    Raises:
        OutputError: a file cannot be written.
    """
    for split, names in splits.items():
        with written_whole(folder / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
