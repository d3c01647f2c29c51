"""Show progress on standard error: a bar on a terminal, plain lines elsewhere."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from maskpencil import terminal
from maskpencil.plain_text import visible

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines, which are printed if there is no terminal."""


class ProgressBar:
    """A progress bar for a job of `total` steps, as a context manager.

    `update` shows the number of steps done so far and a few words, with the time left.
    """

    def __init__(self, title: str, total: int, *, console: Console | None = None) -> None:
        self.title, self.total, self.done, self.words = visible(title), max(1, total), 0.0, ""
        self.console = console or Console(stderr=True)
        self._shown = time.monotonic()
        self._first: tuple[float, float] | None = None  # time of the first update, and the steps done by then
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[words]}", markup=False),
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
            with suppress(OSError):
                self._bar.stop()

    def update(self, done: float, words: str = "") -> None:
        """Show that `done` steps are done, followed by `words`."""
        done = min(done, self.total)  # a job may take more steps than planned
        self._first = self._first or (time.monotonic(), done)
        self.done, self.words = done, visible(words)
        if self._bar:
            self._bar.update(self._task, completed=done, words=self.words)
        elif time.monotonic() - self._shown > PLAIN_SECONDS:
            self._shown = time.monotonic()
            self.say(" ".join(filter(None, (self.title, f"{done:.0f}/{self.total}", self.words, self._time_left()))))

    def update_of(self, done: int, total: int) -> None:
        """Set the total number of steps, and show that `done` steps are done."""
        if total != self.total:
            self.total = total
            if self._bar:
                self._bar.update(self._task, total=total)
        self.update(done)

    def say(self, line: str) -> None:
        """Write a permanent line above the bar."""
        with suppress(OSError):  # a closed terminal does not end the work
            if self._bar:
                self.console.print(Text(visible(line)), soft_wrap=True)
            else:
                terminal.say(line, file=cast(TextIO, self.console.file))

    def _time_left(self) -> str:
        if self._first is None or self.done <= self._first[1]:
            return ""  # nothing to estimate from
        seconds_a_step = (time.monotonic() - self._first[0]) / (self.done - self._first[1])
        return f"{_clock(seconds_a_step * (self.total - self.done))} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
