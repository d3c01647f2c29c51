import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from maskpencil import pipeline
from maskpencil.errors import StalledError
from maskpencil.pipeline import WriteBehind, equal_groups, in_parallel, is_ending, read_ahead


def our_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(("read-ahead", "write-behind", "in-parallel"))]


def test_all_items_are_yielded_in_order() -> None:
    assert list(read_ahead(range(50), depth=3)) == list(range(50))
    assert list(read_ahead([], depth=3)) == []


def test_reading_stays_at_most_the_depth_ahead() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        while made < 100:
            made += 1
            yield made

    ahead = [made - item for item in read_ahead(items(), depth=4)]
    assert max(ahead) <= 4


def test_an_error_while_reading_is_raised_in_place_of_the_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    ahead = read_ahead(items(), depth=3)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="unplugged"):
        next(ahead)
    assert our_threads() == []


def test_an_early_end_stops_the_reading_thread() -> None:
    with closing(read_ahead(iter(int, 1), depth=3)) as endless:
        next(endless)
    assert our_threads() == []


def test_patience_yields_none_while_there_is_no_item() -> None:
    go = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        go.wait()
        yield 2

    with closing(read_ahead(items(), depth=3, patience=0.01)) as ahead:
        assert next(ahead) == 1
        assert [next(ahead), next(ahead)] == [None, None]
        go.set()
        assert [item for item in ahead if item is not None] == [2]
    assert our_threads() == []


def test_calls_run_in_order_and_are_done_at_the_end_of_the_block() -> None:
    done: list[int] = []
    with WriteBehind(depth=2) as behind:
        for i in range(20):
            behind.submit(done.append, i)
    assert done == list(range(20))
    assert our_threads() == []


def test_writing_stays_at_most_the_depth_behind() -> None:
    go, done = threading.Semaphore(0), []

    def write(i: int) -> None:
        go.acquire()
        done.append(i)

    with WriteBehind(depth=2) as behind:
        for i in range(10):
            if i >= 2:
                assert len(done) >= i - 2
                go.release()
            behind.submit(write, i)
        go.release(2)
    assert len(done) == 10


def test_an_error_while_writing_is_raised_by_the_block() -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(depth=2) as behind:
        behind.submit(fail)
    assert our_threads() == []


def test_an_interruption_drops_what_has_not_begun() -> None:
    started, go = threading.Event(), threading.Event()
    done: list[int] = []

    def slow() -> None:
        started.set()
        go.wait()
        done.append(0)

    with pytest.raises(KeyboardInterrupt), WriteBehind(depth=5) as behind:  # noqa: PT012
        behind.submit(slow)
        behind.submit(done.append, 1)
        started.wait()
        threading.Timer(0.05, go.set).start()
        raise KeyboardInterrupt
    assert done == [0]
    assert our_threads() == []


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_parallel_results_are_yielded_in_order(workers: int) -> None:
    together = threading.Barrier(workers, timeout=20)

    def square(number: int) -> int:
        together.wait()
        return number**2

    assert list(in_parallel(square, range(12), workers=workers)) == [number**2 for number in range(12)]
    assert our_threads() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_parallel_is_raised_in_place_of_the_result(workers: int) -> None:
    results = in_parallel(lambda number: 1 / number, [1, 2, 0, 4], workers=workers)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert our_threads() == []


def test_an_early_end_drops_what_is_not_begun() -> None:
    with closing(in_parallel(str, itertools.count(), workers=2)) as results:
        assert [next(results) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert our_threads() == []


@pytest.mark.slow
def test_few_results_wait_for_a_slow_one_before_them() -> None:
    go, taken = threading.Event(), 0

    def items() -> Iterator[int]:
        nonlocal taken
        for taken in range(100):
            if taken == 50:
                go.set()
            yield taken

    results = in_parallel(lambda number: go.wait(20) if number == 0 else number, items(), workers=2)
    threading.Timer(1, go.set).start()
    assert next(results) is True
    assert taken == 8
    assert list(results) == list(range(1, 100))


def test_quick_results_do_not_keep_workers_idle() -> None:
    together = threading.Barrier(2, timeout=20)
    heavy = in_parallel(lambda number: number % 3 or (together.wait() and 0), range(30), workers=2)
    assert list(heavy) == [number % 3 for number in range(30)]


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let steps count as stalled after 0.2 s; yields the event that stalled threads wait for, set at the end."""
    monkeypatch.setattr(pipeline, "PATIENCE", 0.2)
    monkeypatch.setattr(pipeline, "POLL", 0.05)
    go = threading.Event()
    yield go
    go.set()


def stuck_items(go: threading.Event) -> Iterator[int]:
    yield 1
    go.wait(60)


def test_stalled_reading_is_an_error_that_says_where(little_patience: threading.Event) -> None:
    with closing(read_ahead(stuck_items(little_patience), depth=2, step="reading images")) as ahead:
        assert next(ahead) == 1
        with pytest.raises(StalledError, match=r"reading images: no result .* in wait \(threading.py, line \d+\)"):
            next(ahead)


def test_stalled_reading_is_an_error_with_a_short_patience_too(little_patience: threading.Event) -> None:
    ahead = read_ahead(stuck_items(little_patience), depth=2, step="reading frames", patience=0.01)
    with closing(ahead), pytest.raises(StalledError, match="reading frames"):
        assert set(itertools.islice(ahead, 10_000)) == {1, None}


@pytest.mark.slow
def test_a_stream_may_be_silent_as_long_as_it_likes(little_patience: threading.Event) -> None:
    threading.Timer(1, little_patience.set).start()
    assert list(read_ahead(stuck_items(little_patience), depth=2, step=None)) == [1]


def test_a_computation_that_stalls_is_an_error(little_patience: threading.Event) -> None:
    def stuck(number: int) -> int:
        if number == 3:
            little_patience.wait(60)
        return number

    with closing(in_parallel(stuck, range(100), workers=2, step="running the network")) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(StalledError, match="running the network"):
            next(results)


@pytest.mark.slow
def test_a_long_computation_does_not_count_as_stalled(little_patience: threading.Event) -> None:
    def busy(number: int) -> int:
        began = time.process_time()
        while time.process_time() - began < 0.8:
            sum(range(1000))
        return number

    assert list(in_parallel(busy, range(2), workers=2)) == [0, 1]


def test_writing_that_stalls_is_an_error(little_patience: threading.Event) -> None:
    with pytest.raises(StalledError, match="writing masks"), WriteBehind(depth=2, step="writing masks") as behind:
        behind.submit(little_patience.wait, 60)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_paused_process_has_not_stalled() -> None:
    """As after Ctrl-Z and fg: much time has passed at once, without a chance to compute."""
    script = (
        "import time, maskpencil.pipeline as p; p.PATIENCE, p.POLL = 1.0, 0.1\n"
        "def items():\n    print('at work', flush=True); time.sleep(0.5); yield 1\n"
        "print(list(p.read_ahead(items(), depth=1)), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "[1]\n"


def test_a_command_that_stalled_ends_though_its_thread_does_not() -> None:
    script = (
        "import sys, threading, types, maskpencil.pipeline as p; p.PATIENCE, p.POLL = 0.2, 0.05\n"
        "import maskpencil.cli as cli\n"
        "def run(*_):\n"
        "    return list(p.in_parallel(lambda _: threading.Event().wait(), [1], workers=2, step='predicting'))\n"
        "cli._run = run\n"
        "sys.exit(cli.main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: predicting: no result for")
    assert len(done.stderr.splitlines()) == 1


def test_groups_may_be_as_large_as_their_first_item_says() -> None:
    groups = equal_groups("aaabbbbbcc", size=lambda letter: {"a": 2, "b": 4}.get(letter, 1), alike=str.__eq__)
    assert ["".join(group) for group in groups] == ["aa", "a", "bbbb", "b", "c", "c"]


def test_calls_in_threads_notice_that_their_results_are_not_wanted_any_more():
    begun, noticed = threading.Semaphore(0), []

    def call(_):
        begun.release()
        for _ in range(2000):
            if is_ending():
                noticed.append(True)
                return
            time.sleep(0.01)

    def items():
        yield from range(2)
        for _ in range(2):
            assert begun.acquire(timeout=20)
        raise KeyboardInterrupt

    assert not is_ending()
    with pytest.raises(KeyboardInterrupt), closing(in_parallel(call, items(), workers=2)) as found:
        list(found)
    assert noticed == [True, True]
    assert not is_ending()
