"""`Remarks`: what a user should be told of how image files were read, a line for each kind and not for each file."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Remarks:
    """Collects what is said of files.

    Attributes:
        names: the files by what is said of them.
        levels: the ways in which their numbers became 0 to 255, in words.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    levels: set[str] = field(default_factory=set)

    def add(self, name: str, texts: Sequence[str], levels: str = "") -> None:
        """Add what is said of a file.

        Args:
            name: what lines call the file.
            texts: ends of sentences about it.
            levels: the one of them that says how its numbers became 0 to 255, if any.
        """
        for text in texts:
            self.names.setdefault(text, []).append(name)
        self.levels |= {levels} - {""}

    @property
    def lines(self) -> list[str]:
        """A line for each text, with the first file and the number of others."""
        return [
            f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {text}"
            for text, names in self.names.items()
        ]

    @property
    def warnings(self) -> list[str]:
        """A line where numbers became 0 to 255 in several ways."""
        if len(self.levels) < 2:
            return []
        ways = "; ".join(sorted(self.levels))
        line = (
            f"the numbers of these files became 0 to 255 in {len(self.levels)} ways ({ways}); where they belong "
            "together give them one scale: gdal_edit.py -scale FACTOR FILE.tif"
        )
        return [line]
