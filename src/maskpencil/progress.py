"""Progress for people: a bar on a terminal, plain lines elsewhere, always on standard error."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0
"""How often a plain line is written where there is no terminal."""


class ProgressBar:
    """Counts `total` steps of one job; a context manager.

    `update` takes what is done so far and a few words; both are shown with the time left.
    """

    def __init__(self, title: str, total: int, *, console: Console | None = None) -> None:
        self.title, self.total, self.done, self.words = title, max(1, total), 0.0, ""
        self.console = console or Console(stderr=True)
        self._started = self._shown = time.monotonic()
        self._at_start: float | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[words]}"),
                console=self.console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, words="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: float, words: str = "") -> None:
        """Show that `done` of the steps are done."""
        if self._at_start is None:
            self._at_start = done
        self.done, self.words = done, words
        if self._bar:
            self._bar.update(self._task, completed=done, words=words)
        elif time.monotonic() - self._shown > PLAIN_SECONDS:
            self._shown = time.monotonic()
            left = self._seconds_left()
            self.console.print(
                f"{self.title} {done:.0f}/{self.total} {words} {_clock(left)} left".replace("  ", " "),
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def update_of(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are done, where the total is known only now."""
        if total != self.total:
            self.total = total
            if self._bar:
                self._bar.update(self._task, total=total)
        self.update(done)

    def say(self, line: str) -> None:
        """Write a line that stays, above the bar."""
        console = self._bar.console if self._bar else self.console
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _seconds_left(self) -> float:
        done = self.done - (self._at_start or 0)
        return (time.monotonic() - self._started) / max(1e-3, done) * (self.total - self.done)


def say(line: str) -> None:
    """Write a line to standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is what the user reads


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
