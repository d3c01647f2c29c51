"""The files of a training run."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskpencil.errors import DataError, OutputError
from maskpencil.files import numbered_folder, written_whole
from maskpencil.plain_text import is_utf8
from maskpencil.regular_files import mapping, read_json, text

SOURCE = frozenset(("data", "images", "masks", "split_file"))
"""The entries of data.json."""


@dataclass(frozen=True)
class RunFolder:
    """`runs/train/NAME/` and the paths in it."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        """The path of the training data, and of images, masks and splits where they were given."""
        return self.path / "data.json"

    def read_source(self) -> dict[str, str]:
        """Read the path of the training data as `data`, and those of images, masks and splits where they were given.

        Raises:
            DataError: the file is missing or damaged.
        """
        remedy = "start a new run"
        source = read_json(self.data, error=DataError, remedy=remedy, any_text=True)
        try:
            known = {name: text(path, name, 2**15) for name, path in mapping(source, "the source").items()}
            if "data" not in known or not SOURCE.issuperset(known):
                raise ValueError(f"expected data and no others than {', '.join(sorted(SOURCE))}")
        except ValueError as error:
            raise DataError(f"{self.data}: does not say what the run trains on ({error}); {remedy}") from error
        return known

    @property
    def metrics(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    @property
    def log(self) -> Path:
        """The lines that were printed."""
        return self.path / "train.log"

    @property
    def preview(self) -> Path:
        """One image per validation, of images, targets and predictions."""
        return self.path / "preview"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last"

    @property
    def fingerprint(self) -> Path:
        """The fingerprint of the data that the run began with."""
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
        """The best model's scores on the validation images."""
        return self.path / "scores.json"

    @property
    def splits(self) -> Path:
        """List files of the images that trained and validated."""
        return self.path / "splits"


def new_run(path: Path) -> RunFolder:
    """Make a run folder; a number is added when the name is taken.

    Raises:
        OutputError: it cannot be made, or TensorBoard cannot write there.
    """
    if not is_utf8(str(path)):
        raise OutputError(f"{path}: its name is not valid UTF-8, which TensorBoard needs; choose another with --out")
    return RunFolder(numbered_folder(path))


def existing_run(path: Path) -> RunFolder:
    """Open a run folder to resume.

    Raises:
        DataError: the folder is no training run.
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
    """Read the rows of metrics.csv of the epochs up to `before`; later ones belong to work that was lost."""
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
