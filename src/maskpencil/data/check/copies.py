"""Images of validation or test that are also in train, found by their files alone: what is scored was trained on."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from maskpencil.data.check.faults import Fault, fault
from maskpencil.data.layout.pairs import Pair

HEAD = 2**16
"""Bytes that are compared before whole files are: of other images they differ."""


def check_copies(splits: Mapping[str, Sequence[Pair]]) -> list[Fault]:
    """The fault of each split whose images are also in train, byte for byte, under the same or other names.

    Files are read only where one of train and one of another split have the same size.
    """
    found = []
    for split, pairs in splits.items():
        if split != "train" and (copies := _copies(pairs, splits.get("train", ()))):
            share = f"{len(copies)} of {len(pairs)}"
            found += fault(
                "copies-of-train",
                "warning",
                [f"{split}/{pair.name} = train/{other.name}" for pair, other in copies],
                f"images of {split} that are also in train, so that what is scored was trained on: {share}",
                "maskpencil check DATA --fix CLEAN writes a copy of the data without them",
            )
    return found


def leaves_train(copies: int, train: int) -> bool:
    """Whether copies that train shares with other splits are to leave train, and not the others.

    What is scored then stays as it was, unless most of train would go.
    """
    return 2 * copies <= train


def _copies(pairs: Iterable[Pair], train: Iterable[Pair]) -> list[tuple[Pair, Pair]]:
    """The pairs whose image is also one of train, with that one."""
    by_size: dict[int, list[Pair]] = defaultdict(list)
    for pair in train:
        with suppress(OSError):  # what cannot be read is an error elsewhere
            by_size[pair.image.stat().st_size].append(pair)
    digests: dict[tuple[Path, int | None], bytes] = {}

    def digest(pair: Pair, length: int | None) -> bytes:
        if (pair.image, length) not in digests:
            with pair.image.open("rb") as file:
                digests[pair.image, length] = hashlib.blake2b(file.read(length or -1), digest_size=16).digest()
        return digests[pair.image, length]

    found = []
    for pair in pairs:
        with suppress(OSError):
            others = by_size.get(pair.image.stat().st_size, [])
            alike = [other for other in others if digest(pair, HEAD) == digest(other, HEAD)]
            same = [other for other in alike if digest(pair, None) == digest(other, None)]
            if same:
                found.append((pair, next((other for other in same if other.name == pair.name), same[0])))
    return found
