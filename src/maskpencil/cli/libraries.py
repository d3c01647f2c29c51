"""What other packages warn of and log, as lines of plain text."""

import logging
import warnings
from typing import TextIO

from maskpencil.plain_text import visible
from maskpencil.terminal import say


def as_plain_lines(*, quiet: bool) -> None:
    """Let warnings, and log records that nobody handles, come out as plain lines; `quiet` leaves out Pillow's."""
    if quiet:  # what Pillow warns of is told in our own words, or of no use
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.showwarning = _show_warning
    if logging.lastResort:
        logging.lastResort.setFormatter(_PlainFormatter())


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,  # noqa: ARG001 - that of the source, for which there is no room
) -> None:
    say(f"warning: {message} ({category.__name__} in {filename}, line {lineno})", file=file)
