"""Failures that are caused neither by the data nor by a setting give one line with the place of the traceback."""

import errno
import subprocess
import sys

import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.cli.failures import memory_refused
from maskpencil.errors import DataError

REFUSALS = [
    MemoryError("Unable to allocate 2.00 GiB for an array with shape (1,)"),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeError("Exception from src/plugins/x.cpp:1:\nbad allocation\n"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    ),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("can't start new thread"),
    RuntimeError("Can not create file mapping for 4, err=Cannot allocate memory"),
    RuntimeError("Failed to allocate 633110528 bytes of memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


def fail_with(error):
    def command(*_: str) -> None:
        raise error

    return command


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_memory_that_is_refused_is_one_line_with_what_was_asked_and_what_to_do(error, monkeypatch, capsys):
    monkeypatch.setattr("maskpencil.cli.info.command", fail_with(error))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: there is not enough memory (")
    assert said.endswith(("or close other programs\n", "; close other programs\n"))
    assert said.count("\n") == 1


def test_a_memory_error_is_reported_even_if_it_was_wrapped_in_an_error_of_a_file():
    error = DataError("a.png: is damaged")
    error.__cause__ = MemoryError("of an image")
    assert memory_refused(error) == "of an image"


def test_a_circle_of_causes_between_errors_ends():
    error, other = DataError("a.yaml: is damaged"), ValueError("odd")
    error.__cause__ = error
    assert memory_refused(error) == ""
    error.__cause__, other.__context__ = other, error
    assert memory_refused(error) == ""


def test_check_reports_a_class_file_of_another_tool_that_is_not_yaml(tmp_path, capsys):
    (tmp_path / "data.yaml").write_text('"path": ".", "train": "images"\n')
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            Image.new("L", (8, 8)).save(tmp_path / kind / f"{number}.png")
    assert main(["check", str(tmp_path)]) == 1
    assert "data.yaml: is not valid YAML" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file", "out of memory.png"),
        DataError("cannot allocate memory.png: is damaged"),
        ValueError("bad_alloc.png"),
        RuntimeError("shapes differ"),
    ],
    ids=str,
)
def test_no_other_error_is_taken_for_a_memory_error(error):
    assert memory_refused(error) == ""


def test_a_limit_on_memory_is_named(tmp_path):
    pytest.importorskip("resource")
    script = (
        "import sys, resource; import maskpencil.cli.info as info; from maskpencil.cli import main\n"
        "def command(*words): bytearray(10**12)\n"
        "info.command = command; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))\n"
        "sys.exit(main(['info']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: there is not enough memory (MemoryError); raise the limit of 3.0 GiB that is set for this process "
        "(ulimit), or use smaller images or a smaller model, or close other programs\n"
    )


def test_a_bug_is_reported_in_one_line_and_its_traceback_is_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("maskpencil.cli.info.command", fail_with(ZeroDivisionError("\x1b[31m")))
    assert main(["info"]) == 1
    said = capsys.readouterr().err
    kept = tmp_path / "cache/maskpencil/errors/traceback.txt"
    assert said.startswith(r"error: ZeroDivisionError: \x1b[31m (test_failures.py, line ")
    assert f"please report it with {kept}" in said
    assert said.count("\n") == 1
    assert kept.read_text().startswith("Traceback (most recent call last):\n")

    assert main(["info", "--debug"]) == 1
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_a_bug_is_reported_with_debug_as_the_remedy_if_no_file_can_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setattr("maskpencil.cli.info.command", fail_with(ZeroDivisionError("zero")))
    assert main(["info"]) == 1
    assert capsys.readouterr().err.endswith("please report it with the output of the same command with --debug\n")
