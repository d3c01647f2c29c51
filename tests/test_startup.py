"""What is set before anything is imported: nothing in the current folder is run, and threads wait for a short time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("maskpencil")

MODULES = [
    "numpy",
    "typing",
    "enum",
    "re",
    "struct",
    "pickle",
    "socket",
    "tempfile",
    "multiprocessing",
    "logging",
    "json",
    "cyclopts",
    "rich",
    "yaml",
    "PIL",
    "cv2",
]


@pytest.fixture
def stranger(tmp_path):
    """Make a folder of files named as modules; each leaves a trace when it is run."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open('../ran-{name}', 'w'); raise SystemExit('ran {name}')")
    return folder


def run(words, folder, **environment):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | environment
    return subprocess.run([*map(str, words)], cwd=folder, env=clean, capture_output=True, text=True)


WAYS = {
    "command": [COMMAND],
    "module": [sys.executable, "-m", "maskpencil"],
    "module in one word": [sys.executable, "-mmaskpencil"],
    "module after options": [sys.executable, "-u", "-X", "utf8", "-m", "maskpencil"],
    "safe": [sys.executable, "-P", "-m", "maskpencil"],
}


@pytest.mark.parametrize(
    "way", [way if way == "command" else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_files_named_as_modules_are_not_run(way, stranger, tiny_folder):
    done = run([*WAYS[way], "check", tiny_folder, "--out", "seen"], stranger)
    assert list(stranger.parent.glob("ran-*")) == []
    assert done.returncode == 0, done.stderr


STARTER = """
import sys

if __name__ == "__main__":
    import maskpencil.data.check.inspect as inspect
    from maskpencil.cli import main

    inspect.MAX_PAIRS_WITHOUT_PROCESSES = 1  # else a few files are read without other processes
    sys.exit(main(["check", sys.argv[1], "--processes", "2", "--out", "seen"]))
"""


@pytest.mark.slow
def test_processes_that_read_files_run_no_such_file_either(stranger, tiny_folder):
    starter = stranger.parent / "start.py"
    starter.write_text(STARTER)
    done = run([sys.executable, starter, tiny_folder], stranger)
    assert list(stranger.parent.glob("ran-*")) == []
    assert done.returncode == 0, done.stderr


def test_the_paths_of_other_programs_stay_as_they_are(stranger):
    for path in stranger.iterdir():
        path.unlink()
    (stranger / "tool.py").write_text("import sys, os, maskpencil; print(sys.path[0] == os.getcwd())")
    assert run([sys.executable, "-m", "tool"], stranger).stdout == "True\n"
    (stranger / "tools").mkdir()
    (stranger / "tools/__init__.py").write_text("import maskpencil")
    (stranger / "tools/maskpencil.py").write_text("import sys, os; print(sys.path[0] == os.getcwd())")
    assert run([sys.executable, "-m", "tools.maskpencil"], stranger).stdout == "True\n"


def test_paths_set_by_the_user_are_kept(stranger, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/numpy.py").write_text("raise SystemExit('my own')")
    done = run([sys.executable, "-m", "maskpencil", "info", "x"], stranger, PYTHONPATH=str(tmp_path / "mine"))
    assert "my own" in done.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_threads_wait_in_a_short_loop_unless_the_user_says_otherwise(given: dict[str, str], expected: str) -> None:
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    program = "import os, maskpencil; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected}\n"
