"""Damaged inputs of every kind: each is done or refused, in good time and memory; what is found can be replayed.

A short form runs with all tests. `make fuzz MINUTES=60` runs for that time; `run.py` says how to replay.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskpencil.data.folder import open_folder

from .run import TARGETS, Worker, replay

HERE = Path(__file__).parent
CASES = {"models": 6, "images": 60, "videos": 30, "annotations": 40, "archives": 40}
DATA_SETS = sorted([*(HERE / "seeds" / "annotations").iterdir(), *(HERE / "seeds" / "archives").iterdir()])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_done_or_refused(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUZZ_INT8", "0")
    hunt(target, "--cases", CASES[target], "--out", tmp_path / "found", "--scratch", tmp_path / "scratch")


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_done_or_refused_for_a_long_time(target: str) -> None:
    minutes = float(os.environ.get("MASKPENCIL_FUZZ_MINUTES", "60")) / len(TARGETS)
    first = os.environ.get("MASKPENCIL_FUZZ_FIRST", "0")
    hunt(target, "--minutes", minutes, "--first", first, "--out", f"runs/fuzz/{target}")


@pytest.mark.parametrize("path", DATA_SETS, ids=lambda path: path.name)
def test_what_fuzzing_begins_with_is_sound(path: Path) -> None:
    data = open_folder(path)
    data.check_images()
    assert sum(map(len, data.splits.values())) == 3
    assert len(data.classes) >= 3


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def worker(scratch: Path) -> Iterator[Worker]:
    with Worker("broken", scratch) as worker:
        yield worker


def case(folder: Path, fault: str) -> str:
    """A case of the target that has every fault."""
    (folder / "input").mkdir(parents=True)
    (folder / "input" / "x").write_text("x")
    (folder / "plan.json").write_text(json.dumps({"fault": fault}))
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "verdict", "expected"),
    [
        ("none", "done", ""),
        ("refusal", "refused", "no image"),
        ("error", "ValueError", "odd"),
        ("lines", "message", "no\\nimage"),
        ("memory", "memory", "MiB"),
        ("change", "changed", "input"),
        ("result", "WrongResultError", "wrong"),
    ],
)
def test_every_kind_of_fault_is_seen(fault: str, verdict: str, expected: str, worker: Worker, tmp_path: Path) -> None:
    answer = worker.ask(folder=case(tmp_path / "case", fault))
    assert answer["verdict"] == verdict
    assert expected in answer["message"] + answer["trace"]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "expected"), [("crash", "SIGSEGV"), ("hang", "targets.py")])
def test_a_process_that_does_not_live_to_answer_is_seen(
    fault: str, expected: str, scratch: Path, tmp_path: Path
) -> None:
    with Worker("broken", scratch, seconds=0.5) as worker:
        answer = worker.ask(folder=case(tmp_path / "case", fault))
    assert answer["verdict"] == fault
    assert expected in answer["message"] + answer["trace"]


@pytest.mark.slow
def test_a_finding_is_kept_and_replayed(scratch: Path, tmp_path: Path) -> None:
    command = [sys.executable, HERE / "run.py", "hunt", "--targets", "broken", "--cases", "2"]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "found"), "--scratch", str(tmp_path / "scratch")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "2 cases" in done.stdout
    (kept, *_) = sorted((tmp_path / "found").glob("broken-*.zip"))
    answer = replay(kept, tmp_path / "scratch")
    assert (answer["verdict"], answer["message"]) == ("ValueError", "odd")


def hunt(target: str, *options: object) -> None:
    """Run `run.py hunt`; fails with what it found."""
    command = [sys.executable, HERE / "run.py", "hunt", "--targets", target, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
