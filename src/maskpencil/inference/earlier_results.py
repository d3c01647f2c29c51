"""Which files below a source are results of earlier runs, and no images to predict."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from maskpencil.results import Results, find_results

RUNS = "runs"
RUN_NAMES = re.compile(r"(?:benchmark|check|convert|demo|heatmap|import|predict|train)(?:-[0-9]+)?")
"""The folders in `RUNS` that the commands write to when no other place is named."""

RUN_FILES = ("config.yaml", "data.json")
"""What every run folder of training holds."""

FEW = 3
"""The number of folders that a line names."""


def without_results(root: Path, files: Iterable[Path], *, out: Path | None, tell: Callable[[str], None]) -> list[Path]:
    """Leave out of the files below a folder what earlier runs have written there, and tell of it in one line.

    Where nothing is left, what `root` itself records as results is taken, unless `root` is `out`: who names a folder of
    results means these.
    """
    tree = _Tree(root)
    kept: list[Path] = []
    own: list[Path] = []
    others: dict[Path, int] = {}
    for file in files:
        writer = tree.writer_of(file)
        if writer is None:
            kept.append(file)
        elif writer == root:
            own.append(file)
        else:
            others[writer] = others.get(writer, 0) + 1
    if own and not kept and not others and not (out is not None and out.resolve() == root.resolve()):
        return own
    if own:
        others[root] = len(own)
    if others:
        count = sum(others.values())
        shown = ", ".join(map(str, list(others)[:FEW])) + (", ..." if len(others) > FEW else "")
        tell(f"{root}: {count} file{'s' * (count > 1)} that earlier runs have written are left out (in {shown})")
    return kept


@dataclass(frozen=True)
class _Place:
    """A folder: in which run's folder it is, if in any, and the records that may name its files."""

    run: Path | None
    results: tuple[Results, ...]


@dataclass
class _Tree:
    """The folders below a root, looked at once."""

    root: Path
    places: dict[Path, _Place] = field(default_factory=dict)

    def writer_of(self, file: Path) -> Path | None:
        """Return the folder of the run that has written a file; None for a file of the user."""
        place = self._place(file.parent)
        return place.run or next((results.folder for results in place.results if results.names(file)), None)

    def _place(self, folder: Path) -> _Place:
        if folder not in self.places:
            results = find_results(folder)
            own = () if results is None else (results,)
            if folder == self.root or folder.parent == folder:
                self.places[folder] = _Place(None, own)
            else:
                above = self._place(folder.parent)
                run = above.run or (folder if _is_run(folder) else None)
                self.places[folder] = _Place(run, (*above.results, *own))
        return self.places[folder]


def _is_run(folder: Path) -> bool:
    if folder.parent.name == RUNS and RUN_NAMES.fullmatch(folder.name):
        return True
    return all(os.path.isfile(folder / name) for name in RUN_FILES)  # noqa: PTH113 - false for names of any length
