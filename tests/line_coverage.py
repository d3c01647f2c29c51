"""Count the lines of src that the tests run, in all processes of pytest-xdist: MASKPENCIL_COVERAGE=95 pytest.

The number is the percentage of lines below which the run fails. slipcover counts in 5 % more time; before Python 3.12
the tracer of coverage.py needs 60 % more.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

LEAST = float(os.environ.get("MASKPENCIL_COVERAGE", 0))

NEVER = 2**31 - 1
"""After how many runs of a line slipcover stops counting it. It then reads the local variables of every running
function, which would change what `openvino.convert_model` gets from `locals()`."""

_counts: list[dict[str, Any]] = []

if LEAST:
    import slipcover

    _counter = slipcover.Slipcover(source=["src"], d_miss_threshold=NEVER, exclude_also=["if TYPE_CHECKING:"])
    # before conftest.py, which imports this module first, imports maskpencil
    slipcover.ImportManager(_counter, slipcover.FileMatcher(sources=["src"])).__enter__()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests marked `compiles` in a process of their own: torch cannot compile slipcover's probes in bytecode."""
    if not pyfuncitem.get_closest_marker("compiles") or sys.version_info >= (3, 12):
        return None
    environment = {name: value for name, value in os.environ.items() if name != "MASKPENCIL_COVERAGE"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a process that has ended."""
    if counts := getattr(node, "workeroutput", {}).get("lines"):
        _counts.append(json.loads(counts))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts to the main process; there, add them up, and fail if they are too few."""
    counts = _counter.get_coverage()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lines"] = json.dumps(counts)
        return
    for other in _counts:
        slipcover.merge_coverage(counts, other)
    _counts[:] = [counts]
    if counts["summary"]["percent_covered"] < LEAST and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print which lines were not run."""
    slipcover.print_coverage(_counts[0], outfile=terminalreporter, skip_covered=True)
    found = _counts[0]["summary"]["percent_covered"]
    terminalreporter.write_line(f"{found:.2f} % of the lines were run; at least {LEAST:g} % are required")
