"""The only way to standard output and standard error: lines of plain text, whatever stands in them.

Results go to standard output by `show`, everything else to standard error by `say`. Text of users, files and models can
forge no line and reaches no terminal as a command, see `plain_text.visible`. Streams that are closed, full or no longer
read end no work.
"""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from maskpencil.plain_text import visible

Swatch = tuple[int, int, int]
"""A color (red, green, blue) that is drawn as two spaces where the terminal shows colors."""

Line = str | Sequence[str | Swatch]


class Results:
    """Standard output, as a file for text; once it takes no more, `failure` says why and the rest is dropped."""

    def __init__(self) -> None:
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:
        """How text is encoded."""
        return sys.stdout.encoding or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return sys.stdout.isatty()

    def fileno(self) -> int:
        """The file descriptor."""
        return sys.stdout.fileno()

    def write(self, text: str) -> int:
        """Write text that is harmless already."""
        try:
            return sys.stdout.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            sys.stdout.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = error
        _drop_rest(sys.stdout)


RESULTS = Results()


def show(*lines: Line) -> None:
    """Write lines to standard output, each of plain text, or of parts, some of them colors."""
    for line in lines:
        parts = [line] if isinstance(line, str) else line
        RESULTS.write("".join(_part(part) for part in parts) + "\n")


def say(line: str, *, file: TextIO | None = None) -> None:
    """Write a line to standard error, or to another terminal or log; one that takes no more is ignored."""
    file = file or sys.stderr
    try:
        file.write(_encodable(visible(line), file.encoding) + "\n")
        file.flush()
    except OSError:
        if file is sys.stderr:
            _drop_rest(file)


def finish(code: int) -> int:
    """Write what is buffered; returns the exit code of a command that ends with `code`.

    Whoever reads only a part of the results has no error; where they cannot be written, for instance on a full disk,
    that is said and the code is not 0.
    """
    RESULTS.flush()
    failure, RESULTS.failure = RESULTS.failure, None
    if failure is None or isinstance(failure, BrokenPipeError):
        return code
    say(f"error: standard output: cannot be written ({failure.strerror}); free some space or choose another place")
    return code or 1


def open_closed_streams() -> None:
    """Open the null device in place of standard streams that were closed, lest another file gets their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, name, os.fdopen(opened, "w" if number else "r"))


def _drop_rest(stream: TextIO) -> None:
    """Lead a standard stream nowhere; else what is buffered fails again at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _part(part: str | Swatch) -> str:
    if isinstance(part, str):
        return _encodable(visible(part), RESULTS.encoding)
    if not RESULTS.isatty() or os.environ.get("NO_COLOR"):
        return "  "
    red, green, blue = part
    return f"\x1b[48;2;{red};{green};{blue}m  \x1b[0m"


def _encodable(text: str, encoding: str | None) -> str:
    """The text without characters that the stream cannot write."""
    return text if encoding is None else text.encode(encoding, "backslashreplace").decode(encoding)
