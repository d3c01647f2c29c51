"""Standard streams that are full, closed or no longer read cause no traceback."""

import os
import subprocess
import sys

import pytest

COMMANDS = {"help": "--help", "version": "--version", "a command's help": "train --help", "results": "info recipes"}

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110


def shell(line: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = line.replace("maskpencil", f"'{sys.executable}' -m maskpencil")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("unbuffered", ["", pytest.param("PYTHONUNBUFFERED=1 ", marks=pytest.mark.slow)])
def test_a_reader_that_closes_the_pipe_early_causes_no_error(kind, unbuffered):
    done = shell(f"{unbuffered}maskpencil {COMMANDS[kind]} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("unbuffered", ["", pytest.param("PYTHONUNBUFFERED=1 ", marks=pytest.mark.slow)])
def test_a_full_disk_behind_standard_output_is_reported_in_one_line(kind, unbuffered):
    done = shell(f"{unbuffered}maskpencil {COMMANDS[kind]} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output: cannot be written (No space left on device); ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2> >(true)", "1>&- 2>&-", "<&- >&- 2>&-"])
def test_an_error_that_cannot_be_written_leaves_the_exit_code(redirection):
    assert shell(f"maskpencil nothing {redirection}").returncode == 2


@pytest.mark.slow
@needs_full
def test_the_work_is_done_although_its_results_cannot_be_written(tiny_folder, tmp_path):
    done = shell(
        f"cd {tmp_path}; maskpencil check {tiny_folder} --processes 1 --json a.json --fix b --out c >/dev/full"
    )
    assert done.returncode == 1
    assert (tmp_path / "a.json").is_file()
    assert (tmp_path / "b/classes.yaml").is_file()


def test_closed_streams_are_not_taken_for_other_files(tmp_path):
    script = (
        "import sys; from maskpencil.cli import main; main(['--version']); handle = open(sys.argv[1], 'w'); "
        "handle.write(str(handle.fileno()))"
    )
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -c \"{script}\" {tmp_path}/number <&- >&- 2>&-"], capture_output=True
    )
    assert done.returncode == 0
    assert int((tmp_path / "number").read_text()) > 2
