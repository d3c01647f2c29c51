"""Processes that begin with everything imported: forks of one that has imported it, which takes seconds each time."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SERVER = """
import contextlib, importlib, json, os, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
print(flush=True)


def received():
    # The task of a fork: every line of standard input starts one or waits for one, and a fork alone returns.
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
        elif (child := os.fork()) == 0:
            return asked
        else:
            print(child, flush=True)
    os._exit(0)


task = received()
for number, path in enumerate([os.devnull, task["out"], task["err"]]):
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(opened, number)
    os.close(opened)
sys.stdin = open(0, closefd=False)
sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))
sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
os.chdir(task["folder"])
os.environ.clear()
os.environ.update(task["environment"])
sys.argv = ["-c", *task["arguments"]]
exec(compile(task["code"], "<string>", "exec"), {"__name__": "__main__"})
"""

TRAINING = (
    *("accelerate", "cyclopts", "maskpencil.cli.train", "maskpencil.training.train", "openvino", "rich"),
    *("timm", "torch", "torch.utils.tensorboard"),
)
"""What a training imports, the part of it that takes long."""


@dataclass(frozen=True)
class Fork:
    """A process that `Forks.start` has started; what it prints is in files."""

    pid: int
    out: Path
    err: Path


class Forks:
    """A process that has imported modules and forks for each piece of work; a context manager that ends it.

    A fork runs `code` as `python -c` does, up to the end of the interpreter. It has no thread of another's work.
    """

    def __init__(
        self, scratch: Path, modules: Sequence[str] = TRAINING, *, python: str | Path = sys.executable
    ) -> None:
        self._scratch, self._count = scratch, 0
        scratch.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [str(python or sys.executable), "-c", SERVER, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers = selectors.DefaultSelector()
        assert self._process.stdout
        self._answers.register(self._process.stdout, selectors.EVENT_READ)
        self._answer(120)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._answers.close()

    def start(
        self,
        code: str,
        *arguments: object,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Fork:
        """Start a process, in this one's folder and environment, and what `environment` adds."""
        self._count += 1
        out, err = (self._scratch / f"{self._count}.{name}" for name in ("out", "err"))
        task = {"code": code, "arguments": [str(argument) for argument in arguments], "out": str(out), "err": str(err)}
        task |= {"folder": str(folder or Path.cwd()), "environment": {**os.environ, **(environment or {})}}
        return Fork(int(self._asked(task, 60)), out, err)

    def wait(self, fork: Fork, *, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for the end of a process; what it printed and its exit code, negative after a signal."""
        try:
            code = int(self._asked({"wait": fork.pid}, seconds))
        except TimeoutError:
            os.kill(fork.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess([], code, fork.out.read_text(), fork.err.read_text())

    def run(
        self, code: str, *arguments: object, seconds: float = 300, **started: Any
    ) -> subprocess.CompletedProcess[str]:
        """Start a process and wait for its end; see `start` and `wait`."""
        return self.wait(self.start(code, *arguments, **started), seconds=seconds)

    def _asked(self, asked: dict[str, Any], seconds: float) -> str:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer(seconds)

    def _answer(self, seconds: float) -> str:
        assert self._process.stdout
        if not self._answers.select(timeout=seconds):
            raise TimeoutError(f"no answer in {seconds} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that forks has ended")
        return line
