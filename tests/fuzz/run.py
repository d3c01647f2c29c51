"""Fuzz MaskPencil, or replay a finding.

    python tests/fuzz/run.py hunt --minutes 60 [--targets models images] [--first 0] [--out runs/fuzz]
    python tests/fuzz/run.py replay runs/fuzz/images-000123.zip

A case is a damaged input that follows from the target and a number. It must be done or refused with a MaskPencilError,
within `SECONDS` and `MEGABYTES`. What is not is a finding: a zip file that holds the input, what was done with it and
what came of it.
"""

import argparse
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent
TARGETS = ("models", "images", "videos", "annotations", "archives")

SECONDS = 20.0
"""Of the processor that a case may take; a case that waits may take three times as long by the clock."""

MEGABYTES = 2000
"""By which a case may make the process grow."""

START_SECONDS = 400.0
CASES_A_WORKER = 400
KEPT_OF_A_KIND = 3


class Worker:
    """A process that runs cases; a context manager that ends it."""

    def __init__(self, target: str, scratch: Path, *, seconds: float = SECONDS) -> None:
        self.target, self.cases, self._seconds = target, 0, seconds
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        scratch.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, HERE / "worker.py", target, scratch]
        # a command's `main` in this process sets it, and the worker imports what lies beside it
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, env=environment
        )
        self._answers = selectors.DefaultSelector()
        assert self._process.stdout
        self._answers.register(self._process.stdout, selectors.EVENT_READ)
        ready = self._answer(START_SECONDS)
        if not ready.get("ready"):
            said = self.said()
            self.__exit__(None, None, None)
            raise RuntimeError(f"the worker of {target} does not start: {ready} {said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._answers.close()
        self._said.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, **asked: Any) -> dict[str, Any]:
        """Run a case and return the verdict, also if the process died."""
        assert self._process.stdin
        self.cases += 1
        self._said.seek(0, os.SEEK_END)
        start = self._said.tell()
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._answer(self._seconds)
        if answer["verdict"] in ("hang", "crash"):
            answer["trace"] = self.said(start)[-8000:]
        elif answer["growth"] > MEGABYTES and answer["verdict"] in ("done", "refused"):
            answer["message"] = f"grew by {answer['growth']:.0f} MiB ({answer['verdict']}: {answer['message']})"
            answer["verdict"] = "memory"
        return answer

    def said(self, start: int = 0) -> str:
        self._said.seek(start)
        return self._said.read().decode(errors="replace")

    def _answer(self, seconds: float) -> dict[str, Any]:
        began, used = time.monotonic(), self._used()
        while True:
            if self._answers.select(timeout=0.5):
                assert self._process.stdout
                line = self._process.stdout.readline()
                if line:
                    return dict(json.loads(line))
                code = self._process.wait()
                name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return {"verdict": "crash", "message": name, "seconds": time.monotonic() - began, "growth": 0.0}
            passed = time.monotonic() - began
            if passed > 3 * seconds or (passed > seconds and self._used() - used > seconds):
                self._process.send_signal(signal.SIGUSR1)  # it prints where its threads stand
                time.sleep(1)
                self._process.kill()
                self._process.wait()
                message = (
                    f"{passed:.0f} s, {self._used() - used:.0f} s of the processor" if self.alive else f"{passed:.0f} s"
                )
                return {"verdict": "hang", "message": message, "seconds": passed, "growth": 0.0}

    def _used(self) -> float:
        """Seconds of the processor that the process has used."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Tally:
    """The results of the cases of one target."""

    cases: int = 0
    seconds: float = 0.0
    next_number: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    slowest: float = 0.0
    growth: float = 0.0
    slow: list[tuple[int, float]] = field(default_factory=list)
    """Cases that took more than a quarter of the seconds of the processor that they may, and how many."""

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "verdicts": dict(self.verdicts)}


def hunt(
    targets: list[str], *, minutes: float, first: int, cases: int | None, out: Path, scratch: Path
) -> dict[str, Tally]:
    """Run cases of each target for its share of the time, or `cases` cases of each; write the findings to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tallies = {target: Tally(next_number=first) for target in targets}
    rounds = 1 if cases else max(1, round(minutes / len(targets) / 3))
    for _ in range(rounds):
        for target in targets:
            end = time.monotonic() + minutes * 60 / len(targets) / rounds
            _hunt_one(target, tallies[target], end=end, cases=cases, out=out, scratch=scratch)
            facts = {name: tally.to_dict() for name, tally in tallies.items()}
            (out / "tally.json").write_text(json.dumps(facts, indent=1))
            print(f"{target}: {_line(tallies[target])}", flush=True)
    return tallies


def _hunt_one(target: str, tally: Tally, *, end: float, cases: int | None, out: Path, scratch: Path) -> None:
    began, left = time.monotonic(), cases
    while time.monotonic() < end and left != 0:
        with Worker(target, scratch / target) as worker:
            while worker.alive and worker.cases < CASES_A_WORKER and time.monotonic() < end and left != 0:
                with tempfile.TemporaryDirectory(dir=scratch) as place:
                    folder = Path(place) / "case"
                    number, tally.next_number = tally.next_number, tally.next_number + 1
                    answer = worker.ask(folder=str(folder), number=number)
                    _note(tally, answer, target, number, folder, out)
                left = None if left is None else left - 1
                if answer.get("resident", 0) > 3000:
                    break
    tally.seconds += time.monotonic() - began


def _note(tally: Tally, answer: dict[str, Any], target: str, number: int, folder: Path, out: Path) -> None:
    tally.cases += 1
    tally.verdicts[answer["verdict"]] += 1
    tally.slowest, tally.growth = max(tally.slowest, answer["seconds"]), max(tally.growth, answer["growth"])
    if answer["seconds"] > SECONDS / 4:
        tally.slow.append((number, round(answer["seconds"], 1)))
    if answer["verdict"] in ("done", "refused"):
        return
    files = tally.kinds.setdefault(_kind(answer), [])
    if len(files) < KEPT_OF_A_KIND:
        name = f"{target}-{number:06}.zip"
        _keep(out / name, folder, {"target": target, "number": number, **answer})
        files.append(name)
        print(f"{name}: {_kind(answer)}", flush=True)


def _kind(answer: dict[str, Any]) -> str:
    """Return what findings of one cause share: the verdict, the last line in our code and the last line of all."""
    places = re.findall(r'File "([^"]+)", line (\d+) in (\S+)|File "([^"]+)", line (\d+), in (\S+)', answer["trace"])
    frames = [
        f"{Path(one or other).name}:{line or number}:{name or called}"
        for one, line, name, other, number, called in places
    ]
    own = [frame for frame, place in zip(frames, places, strict=True) if "maskpencil" in (place[0] or place[3])]
    message = re.sub(r"[0-9]+|/\S+|'[^']*'", "_", answer["message"])[:80] if not own else ""
    return " ".join([answer["verdict"], *own[-1:], *frames[-1:], message]).strip()


def _keep(path: Path, folder: Path, facts: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("finding.json", json.dumps(facts, indent=1))
        for file in sorted([folder / "plan.json", *(folder / "input").rglob("*")]):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())


def replay(path: Path, scratch: Path) -> dict[str, Any]:
    """Run a finding again in a separate process."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        folder = Path(place) / "case"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        target = json.loads((folder / "finding.json").read_text())["target"]
        (folder / "finding.json").unlink()
        with Worker(target, scratch / target) as worker:
            return worker.ask(folder=str(folder))


def _line(tally: Tally) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in tally.verdicts.most_common())
    most = f"slowest {tally.slowest:.1f} s, most {tally.growth:.0f} MiB"
    return f"{tally.cases} cases in {tally.seconds:.0f} s: {counts}; {most}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words = parser.add_subparsers(dest="command", required=True)
    hunting = words.add_parser("hunt")
    hunting.add_argument("--minutes", type=float, default=60)
    hunting.add_argument("--targets", nargs="+", choices=[*TARGETS, "broken"], default=list(TARGETS))
    hunting.add_argument("--first", type=int, default=0, help="the number of the first case")
    hunting.add_argument("--cases", type=int, help="the number of cases of each target, in place of a time")
    hunting.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    hunting.add_argument(
        "--scratch", type=Path, default=Path("runs/fuzz/scratch"), help="a folder for what is made once"
    )
    replaying = words.add_parser("replay")
    replaying.add_argument("file", type=Path)
    replaying.add_argument("--scratch", type=Path, default=Path("runs/fuzz/scratch"))
    given = parser.parse_args()
    given.scratch = given.scratch.absolute()
    given.scratch.mkdir(parents=True, exist_ok=True)
    if given.command == "replay":
        answer = replay(given.file, given.scratch)
        print(f"{answer['verdict']}: {answer['message']} ({answer['seconds']:.1f} s, {answer['growth']:.0f} MiB)")
        print(answer["trace"], end="")
        return answer["verdict"] not in ("done", "refused")
    tallies = hunt(
        given.targets,
        minutes=given.minutes,
        first=given.first,
        cases=given.cases,
        out=given.out,
        scratch=given.scratch,
    )
    for target, tally in tallies.items():
        for kind, files in tally.kinds.items():
            print(f"{target}: {kind}: {', '.join(files)}")
    return any(tally.kinds for tally in tallies.values())


if __name__ == "__main__":
    sys.exit(main())
