"""Define the files of a training run, and the fingerprint of its data, which reveals later changes."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskpencil.data.drawing import MaskSource
from maskpencil.data.folder import DataFolder
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError, OutputError
from maskpencil.files import numbered_folder, written_whole
from maskpencil.models.backbones.origin import Origin
from maskpencil.plain_text import counted, is_utf8
from maskpencil.regular_files import mapping, parse_json, read_json, read_regular, text

SOURCE = frozenset(("data", "images", "masks", "split_file"))
"""The entries of data.json."""

FINGERPRINT_VERSION = 1

MAX_FINGERPRINT_BYTES = 2**29
"""The largest size of a fingerprint file, enough for two million images."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, `runs/train/NAME/`, and the paths in it."""

    path: Path

    @property
    def config(self) -> Path:
        """The YAML file of the resolved settings."""
        return self.path / "config.yaml"

    @property
    def finetuning(self) -> Path:
        """A YAML file with the settings given for a second run, which fine-tunes the network.

        The file is removed as soon as the second run has begun.
        """
        return self.path / "finetuning.yaml"

    @property
    def data(self) -> Path:
        """A JSON file with the path of the training data, and of images, masks and splits, if given."""
        return self.path / "data.json"

    def read_source(self) -> dict[str, str]:
        """Return the recorded paths: `data` for the training data, and `images`, `masks` and `split_file` if given.

        Raises:
            DataError: the file is missing or damaged.
        """
        remedy = "start a new run"
        source = read_json(self.data, error=DataError, remedy=remedy, any_text=True)
        try:
            known = {name: text(path, name, 2**15) for name, path in mapping(source, "the source").items()}
            if "data" not in known or not SOURCE.issuperset(known):
                raise ValueError(f"expected the entry 'data', and no entries except {', '.join(sorted(SOURCE))}")
        except ValueError as error:
            raise DataError(f"{self.data}: does not name the training data ({error}); {remedy}") from error
        return known

    @property
    def origin(self) -> Path:
        """A JSON file that says where the pretrained weights came from, if the run started from pretrained weights."""
        return self.path / "weights.json"

    def read_origin(self) -> Origin | None:
        """Return where the pretrained weights came from.

        Return None if the run had no pretrained weights, or if an early version, which did not record it, made the run.

        Raises:
            DataError: the file is damaged.
        """
        if not self.origin.is_file():
            return None
        entries = read_json(self.origin, error=DataError, remedy="remove it to resume without that record")
        return Origin.from_dict(entries if isinstance(entries, dict) else {})

    @property
    def metrics(self) -> Path:
        """A CSV file with one row per epoch."""
        return self.path / "metrics.csv"

    @property
    def log(self) -> Path:
        """A text file with the lines that were printed."""
        return self.path / "train.log"

    @property
    def preview(self) -> Path:
        """A folder with one sheet per validation, with images, targets and predictions."""
        return self.path / "preview"

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint to resume from."""
        return self.path / "checkpoints" / "last"

    @property
    def fingerprint(self) -> Path:
        """The file with the fingerprint of the data at the start of the run."""
        return self.path / "fingerprint.json"

    @property
    def rehearsal(self) -> Path:
        """A temporary folder in which a run with a time budget measures how long writing takes."""
        return self.path / ".rehearsal"

    @property
    def model(self) -> Path:
        """The best model so far, a model folder."""
        return self.path / "model"

    @property
    def scores(self) -> Path:
        """A JSON file with the best model's scores on the validation images."""
        return self.path / "scores.json"

    @property
    def splits(self) -> Path:
        """A folder with list files of the training and validation images."""
        return self.path / "splits"


def new_run(path: Path) -> RunFolder:
    """Create a run folder; if the folder exists, a number is appended to the name.

    Raises:
        OutputError: the folder cannot be created, or TensorBoard cannot write there.
    """
    if not is_utf8(str(path)):
        raise OutputError(f"{path}: its name is not valid UTF-8, which TensorBoard needs; give another --out")
    return RunFolder(numbered_folder(path))


def existing_run(path: Path) -> RunFolder:
    """Open a run folder to resume.

    Raises:
        DataError: the folder is not a training run.
    """
    run = RunFolder(path)
    absent = next((file.name for file in (run.config, run.data) if not file.is_file()), None)
    if absent:
        raise DataError(f"{path}: is not a training run ({absent} is missing); expected a folder like runs/train/NAME")
    return run


def write_json(path: Path, entries: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def read_metrics(path: Path, *, before: int) -> list[dict[str, str]]:
    """Read the rows of metrics.csv up to epoch `before`; return [] if the file is missing.

    A resumed run repeats later epochs, which were logged after the last checkpoint.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["epoch"]) <= before]


def write_metrics(path: Path, rows: list[dict[str, str]]) -> None:
    """Write metrics.csv, whole or not at all."""
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@dataclass(frozen=True)
class PairPrint:
    """The fingerprint of an image and its mask, computed without decoding the image.

    Args:
        content: a digest of four facts: the number of bytes of the image file, the number of bytes of the mask file,
            the mask's size in pixels, and the number of its pixels of each class.
        dates: the modification times of the image file and of the mask file, in nanoseconds.

    A mask that is drawn from shapes, such as polygons, has no mask file; the facts about this file are then left out.
    """

    content: str
    dates: tuple[int, ...]


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a data set: class names, the class of each color or number in masks, and pairs by split."""

    names: tuple[str, ...]
    codes: Mapping[str, int]
    splits: Mapping[str, Mapping[str, PairPrint]]

    @property
    def pairs(self) -> Mapping[tuple[str, str], PairPrint]:
        """The fingerprints of all pairs by (split, name)."""
        return {(split, name): pair for split, pairs in self.splits.items() for name, pair in pairs.items()}

    @classmethod
    def of(cls, data: DataFolder) -> "Fingerprint":
        """Compute the fingerprint of the splits that a run uses, train and val, with one stat call per file."""
        splits = {}
        for split in ("train", "val"):
            counts = data.class_counts(split)
            splits[split] = {
                pair.name: _pair_print(pair.image, pair.mask, data.facts[pair.mask].size, count)
                for pair, count in zip(data.pairs(split), counts, strict=True)
            }
        return cls(data.classes.names, _codes(data.encoding), splits)

    def write(self, path: Path) -> None:
        """Write the fingerprint as JSON.

        Raises:
            OutputError: the file cannot be written.
        """
        splits = {
            split: {name: [pair.content, *pair.dates] for name, pair in pairs.items()}
            for split, pairs in self.splits.items()
        }
        write_json(
            path,
            {"version": FINGERPRINT_VERSION, "classes": list(self.names), "codes": dict(self.codes), "splits": splits},
        )


def read_fingerprint(path: Path) -> Fingerprint | None:
    """Read a fingerprint from a JSON file; return None if the file is missing, as in runs of early versions.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        entries: dict[str, Any] = parse_json(read_regular(path, limit=MAX_FINGERPRINT_BYTES), any_text=True)
        splits = {
            split: {name: PairPrint(str(content), tuple(map(int, dates))) for name, (content, *dates) in pairs.items()}
            for split, pairs in entries["splits"].items()
        }
        return Fingerprint(tuple(map(str, entries["classes"])), dict(entries["codes"]), splits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is damaged ({type(error).__name__}), so the data cannot be checked for changes since the start; "
            "remove the file to resume without that check"
        ) from error


def refuse_other_classes(before: Fingerprint, now: Fingerprint, *, run: Path, data: Path) -> None:
    """Check that the classes have not changed since the start of a run.

    Raises:
        DataError: the names, their order, or their colors or numbers in the masks have changed.
    """
    if before.names != now.names:
        raise DataError(
            f"{data}: has the classes {', '.join(now.names)}, but the run {run} was started with "
            f"{', '.join(before.names)}; to resume, restore the class file; or start a new run"
        )
    for code in sorted(before.codes.keys() & now.codes.keys()):
        if before.codes[code] != now.codes[code]:
            raise DataError(
                f"{data}: {code} in the masks now stands for {now.names[now.codes[code]]}, but stood for "
                f"{before.names[before.codes[code]]} when the run {run} was started; to resume, restore the class "
                "file; or start a new run"
            )


def changes(before: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    """Return warnings that describe how the images differ between two fingerprints; () if nothing has changed."""
    old, new = before.pairs, now.pairs
    gone, added = old.keys() - new.keys(), new.keys() - old.keys()
    # an image with the same name and content in another split was moved
    lost = {(name, old[split, name].content) for split, name in gone}
    moved = {(split, name) for split, name in added if (name, new[split, name].content) in lost}
    both = [(old[key], new[key]) for key in old.keys() & new.keys()]
    counts = {
        "added": len(added) - len(moved),
        "gone": len(gone) - len(moved),
        "changed": sum(one.content != other.content for one, other in both),
        "moved to another split": len(moved),
    }
    lines = []
    words = [f"{number} {what}" for what, number in counts.items() if number]
    if words:
        lines.append(
            f"warning: the data have changed since the run began (images: {', '.join(words)}): training continues, but "
            "this is not an exact continuation"
        )
    if redated := sum(one.content == other.content and one.dates != other.dates for one, other in both):
        lines.append(
            f"warning: the files of {counted(redated, 'image')} have another date, but the same size: if they were "
            "edited and not just copied, this is not an exact continuation"
        )
    return tuple(lines)


def _pair_print(image: Path, mask: MaskSource, size: tuple[int, int], counts: np.ndarray[Any, Any]) -> PairPrint:
    files = [path.stat() for path in (image, mask) if isinstance(path, Path)]
    facts = [*(file.st_size for file in files), *size, *counts.tolist()]
    digest = hashlib.blake2b(" ".join(map(str, facts)).encode(), digest_size=8).hexdigest()
    return PairPrint(digest, tuple(file.st_mtime_ns for file in files))


def _codes(encoding: MaskEncoding) -> dict[str, int]:
    """Map each color or number in masks to its class; return {} if masks hold the class numbers."""
    if encoding.kind == "index" and encoding.codes is None:
        return {}
    shown = "#{:06x}" if encoding.kind == "color" else "{}"
    return {shown.format(value): index for value, index in encoding.table.items() if index < len(encoding.classes)}
