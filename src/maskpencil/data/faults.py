"""Faults of a data set: what is wrong, in which files, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from maskpencil.plain_text import worded

Severity = Literal["error", "warning", "note"]

EXAMPLES = 5
"""The largest number of files named on a line of text; the JSON report names all files."""


@dataclass(frozen=True)
class Fault:
    """A problem of a data set: what was found, in which files, and what to do.

    `kind` is an identifier for programs. An error prevents training; a warning makes the network or its scores worse; a
    note is for information. `count` is the number of affected files, or of other affected entries, such as classes; it
    is 1 if the data set as a whole is affected.

    Example:
        >>> for fault in mp.check("street").faults:
        ...     print(fault.severity, fault.count, fault.kind)
        warning 4 ...
        note 12 ...
    """

    kind: str
    severity: Severity
    count: int
    what: str
    remedy: str
    files: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The fault on one line: severity, what was found, files, remedy."""
        few = ", ".join(self.files[:EXAMPLES]) + (", ..." if len(self.files) > EXAMPLES else "")
        return f"{self.severity}: {self.what}{f' ({few})' if few else ''}; {self.remedy}"


def fault(kind: str, severity: Severity, files: Sequence[object], what: str, remedy: str) -> list[Fault]:
    """Return a list with one fault that names `files`, or [] if `files` is empty.

    The entries of `files` may also be other texts, such as names of classes. In `what`, `{n}` becomes the number of
    entries, and `{mask|masks}` the singular or the plural, see `worded`.
    """
    names = tuple(map(str, files))
    return [Fault(kind, severity, len(names), worded(what, len(names)), remedy, names)] if names else []
