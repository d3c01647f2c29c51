"""Names of splits, and the default split into training and validation."""

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
"""The names of the splits in folder and file names."""

VAL_SHARE = 0.2


def split_in(name: str) -> str:
    """Return the split named by a word of a file name such as `instances_train2017`; "" where there is none."""
    words = re.findall("[a-z]+", name.lower())
    return next((split for split, aliases in SPLIT_ALIASES.items() if any(alias in words for alias in aliases)), "")


def split_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set one in five names aside for validation, at least one and never all.

    The choice depends only on the SHA-256 of the names, so every command and machine makes the same one, and adding or
    removing an image moves few others. Returns (train, val), each in the order of `names`.
    """
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    val = set(by_hash[: min(len(names) - 1, max(1, round(len(names) * VAL_SHARE)))])
    return tuple(n for n in names if n not in val), tuple(n for n in names if n in val)


def write_splits(folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write one list file per split, such as `train.txt`, with one name per line; `find_layout` reads it beside images.

    Raises:
        OutputError: a file cannot be written.
    """
    for split, names in splits.items():
        with written_whole(folder / f"{split}.txt") as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
