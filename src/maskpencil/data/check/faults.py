"""`Fault`: something that is wrong with a data set, or may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

EXAMPLES = 5
"""So many files are named in a line; the JSON names all."""


@dataclass(frozen=True)
class Fault:
    """What was found, in which files, and what to do.

    `kind` is a word for programs. An error keeps a network from being trained; a warning makes it worse, or scores
    wrong; a note is for the eye.
    """

    kind: str
    severity: Severity
    count: int
    what: str
    remedy: str
    files: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The fault as one line."""
        few = ", ".join(self.files[:EXAMPLES]) + (", ..." if len(self.files) > EXAMPLES else "")
        return f"{self.severity}: {self.what}{f' ({few})' if few else ''}; {self.remedy}"


def fault(kind: str, severity: Severity, files: Sequence[object], what: str, remedy: str) -> list[Fault]:
    """The fault that these files have, or none where there are none; `{n}` in `what` is their number."""
    names = tuple(map(str, files))
    return [Fault(kind, severity, len(names), what.replace("{n}", str(len(names))), remedy, names)] if names else []
