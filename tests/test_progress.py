import io
import re

import pytest
from rich.console import Console

from maskpencil import progress
from maskpencil.progress import ProgressBar
from maskpencil.terminal import say


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def page() -> Console:
    """A console that is no terminal."""
    return Console(file=io.StringIO(), width=40)


def lines(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def test_without_a_terminal_a_line_comes_every_ten_seconds(clock: Clock, page: Console) -> None:
    with ProgressBar("training", 100, console=page) as bar:
        for step in range(1, 31):
            clock.now += 1
            bar.update(step, f"epoch 1/3 · loss {step / 100:.3f} · and words wider than the page")
    assert [line.split(" · ")[0] for line in lines(page)] == ["training 11/100 epoch 1/3", "training 22/100 epoch 1/3"]
    assert lines(page)[0].endswith(" 1:29 left")
    assert lines(page)[1].endswith(" 1:18 left")


def test_the_time_left_leaves_out_what_an_earlier_run_did(clock: Clock, page: Console) -> None:
    with ProgressBar("training", 10_000, console=page) as bar:
        clock.now += 60  # loading
        bar.update(9_000)
        clock.now += 100
        bar.update(9_100)
    assert lines(page) == ["training 9000/10000", "training 9100/10000 15:00 left"]


def test_hours_are_shown_as_hours(clock: Clock, page: Console) -> None:
    with ProgressBar("training", 100, console=page) as bar:
        bar.update(0)
        clock.now += 100
        bar.update(1)
    assert lines(page) == ["training 1/100 2:45:00 left"]


def test_the_total_may_come_late(clock: Clock, page: Console) -> None:
    with ProgressBar("reading", 1, console=page) as bar:
        bar.update_of(0, 50)
        clock.now += 20
        bar.update_of(25, 50)
    assert lines(page) == ["reading 25/50 0:20 left"]


def test_permanent_lines_keep_brackets_and_numbers(page: Console) -> None:
    with ProgressBar("training", 10, console=page) as bar:
        bar.say("epoch [1/3]: loss 0.5, a line that is quite a bit longer than the page is wide")
    assert lines(page) == ["epoch [1/3]: loss 0.5, a line that is quite a bit longer than the page is wide"]


def test_on_a_terminal_a_bar_is_drawn_and_goes_away() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with ProgressBar("training", 4, console=terminal) as bar:
        bar.update(1, "loss 0.5")
        bar.update_of(2, 8)
        bar._bar.refresh()
        bar.say("epoch 1/2: done")
    text = terminal.file.getvalue()
    assert re.search(r"training .* 25%", text)
    assert "epoch 1/2: done\n" in re.sub(r"\x1b\[[0-9;?]*\w", "", text)
    assert text.endswith("\x1b[2K"), "the bar's line is erased"


def test_an_error_within_the_block_is_not_changed_by_the_bar() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    with pytest.raises(ZeroDivisionError), ProgressBar("training", 4, console=terminal):
        raise ZeroDivisionError
    assert "\x1b[?25h" in terminal.file.getvalue(), "the cursor is shown again"


def test_everything_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("a plain line")
    with ProgressBar("training", 1) as bar:
        bar.say("a line of the bar")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a plain line\na line of the bar\n"


def test_more_than_all_is_never_shown_and_no_time_below_zero(clock: Clock, page: Console) -> None:
    with ProgressBar("training", 60, console=page) as bar:
        for seconds in (0, 11, 104, 150):
            clock.now = 1000 + seconds
            bar.update(float(seconds))
    shown = page.file.getvalue()
    assert "60/60" in shown
    assert "104" not in shown
    assert "-" not in shown


def test_a_terminal_shows_no_time_below_zero() -> None:
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True)
    with ProgressBar("training", 60, console=terminal) as bar:
        bar.update(1)
        bar.update(104)
    assert not re.search(r"-\d", re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", terminal.file.getvalue()))


def test_work_goes_on_after_the_terminal_is_closed() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    with ProgressBar("training", 60, console=Console(file=Closed())) as bar:
        bar.say("a line")
        bar.update(1)
