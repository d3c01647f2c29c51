"""Text files of one entry a line."""

from pathlib import Path

from maskpencil.errors import DataError
from maskpencil.regular_files import refuse_special


def read_lines(path: Path, expected: str) -> list[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers from 1; `expected` says in errors what it should hold.

    Raises:
        DataError: it cannot be read.
    """
    refuse_special(path)
    try:
        return numbered_lines(path.read_text(encoding="utf-8-sig"))  # Windows editors begin files with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {expected}") from error


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers from 1."""
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
