"""Write lines of plain text to standard output and standard error; nothing else in the package writes there.

Results go to standard output by `show`, everything else to standard error by `say`. Text from users, files and models
cannot forge lines or control the terminal, see `plain_text.visible`. Work continues if a stream is closed, full or no
longer read.
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
    """Standard output as a text file; if writing fails, `failure` is the error and all further text is dropped."""

    def __init__(self) -> None:
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:
        """The character encoding of standard output, such as utf-8."""
        return sys.stdout.encoding or "utf-8"

    def isatty(self) -> bool:
        """Return whether standard output is a terminal."""
        return sys.stdout.isatty()

    def fileno(self) -> int:
        """Return the file descriptor of standard output."""
        return sys.stdout.fileno()

    def write(self, text: str) -> int:
        """Write text that is already safe for a terminal."""
        try:
            return sys.stdout.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write buffered text."""
        try:
            sys.stdout.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = error
        _drop_rest(sys.stdout)


RESULTS = Results()


def show(*lines: Line) -> None:
    """Write lines to standard output; each line is a string, or a sequence of strings and colors."""
    for line in lines:
        parts = [line] if isinstance(line, str) else line
        RESULTS.write("".join(_part(part) for part in parts) + "\n")


def say(line: str, *, file: TextIO | None = None) -> None:
    """Write a line to standard error, or to `file`, such as another terminal or a log; ignore errors of writing."""
    file = file or sys.stderr
    try:
        file.write(_encodable(visible(line), file.encoding) + "\n")
        file.flush()
    except OSError:
        if file is sys.stderr:
            _drop_rest(file)


def finish(code: int) -> int:
    """Write buffered results and return the exit code of a command that ends with `code`.

    A reader that closes the pipe early is not an error. If the results cannot be written, for example on a full disk,
    an error is printed and the exit code is not 0.
    """
    RESULTS.flush()
    failure, RESULTS.failure = RESULTS.failure, None
    if failure is None or isinstance(failure, BrokenPipeError):
        return code
    say(f"error: standard output: cannot be written ({failure.strerror}); free some space, or redirect it elsewhere")
    return code or 1


def open_closed_streams() -> None:
    """Open the null device in place of closed standard streams, so that no other file gets their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
            setattr(sys, name, os.fdopen(opened, "w" if number else "r"))


def _drop_rest(stream: TextIO) -> None:
    """Redirect a standard stream to the null device, since writing its buffer would fail again at exit."""
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
    """Return the text with escapes in place of characters that the encoding does not have."""
    return text if encoding is None else text.encode(encoding, "backslashreplace").decode(encoding)
