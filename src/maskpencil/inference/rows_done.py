"""Rows of a large result that are done, kept until all are: an interrupted run goes on where it stood."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.errors import OutputError
from maskpencil.files import remove_leftovers, written_whole

FACTS = "facts.json"

Rows = dict[str, npt.NDArray[np.uint8]]
"""Some rows of each of the result's images, (rows, W)."""


class RowsDone:
    """Bands of whole rows from the uppermost down, one file each, in a folder that has one writer at a time.

    Args:
        folder: where they are kept.
        facts: all that the result follows from, as plain values: what an earlier run has done is taken over where its
            facts were the same. None where they are not known: then nothing is.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """

    def __init__(self, folder: Path, facts: Mapping[str, object] | None) -> None:
        self.folder = folder
        described = "" if facts is None else json.dumps(facts, sort_keys=True)
        known = folder / FACTS
        if not known.is_file() and folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise OutputError(f"{folder}: holds no rows of an earlier run; move it away, or give another --out")
        if not described or not known.is_file() or known.read_text(encoding="utf-8") != described:
            self.remove()
            with written_whole(known) as temporary:
                temporary.write_text(described, encoding="utf-8")
        remove_leftovers(folder)
        self._files = sorted(folder.glob("*.npz"))

    @property
    def count(self) -> int:
        """How many rows are done."""
        return int(self._files[-1].stem) if self._files else 0

    def add(self, rows: Rows) -> None:
        """Keep the rows that follow those done.

        Raises:
            OutputError: they cannot be written.
        """
        height = len(next(iter(rows.values())))
        path = self.folder / f"{self.count + height:09}.npz"
        arrays: dict[str, Any] = dict(rows)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        self._files.append(path)

    def __iter__(self) -> Iterator[Rows]:
        for path in self._files:
            with np.load(path) as rows:
                yield dict(rows)

    def remove(self) -> None:
        """Remove the folder."""
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be removed ({error.strerror}); remove it") from error
