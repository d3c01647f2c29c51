"""SIGTERM and SIGHUP end a command with their own exit codes and leave no half-written file."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from maskpencil.cli import main
from maskpencil.files import written_whole
from maskpencil.signals import ENDING, ended_by_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals to itself")

CODES = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]


@pytest.fixture(autouse=True)
def handlers_stay():
    before = [signal.getsignal(number) for number in (*ENDING, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (*ENDING, signal.SIGINT)] == before


@pytest.mark.parametrize(("number", "code"), CODES)
def test_check_ends_with_the_code_of_its_signal_and_cleans_up(number, code, tiny_folder, tmp_path, monkeypatch, capsys):
    write = Image.Image.save

    def save_and_signal(self, path, *arguments, **settings):
        write(self, path, *arguments, **settings)
        signal.raise_signal(number)

    monkeypatch.setattr(Image.Image, "save", save_and_signal)
    assert main(["check", str(tiny_folder), "--out", str(tmp_path / "out"), "--processes", "1"]) == code
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    name = {signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP", signal.SIGINT: "interrupted"}
    assert capsys.readouterr().err.endswith(f"{name[number]}\n")


@pytest.mark.parametrize(("number", "code"), CODES)
def test_convert_leaves_whole_files_only(number, code, tiny_folder, tmp_path, monkeypatch):
    calls, replace = [], Path.replace

    def replace_and_signal(self, target):
        calls.append(target)
        if len(calls) == 3:
            signal.raise_signal(number)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_and_signal)
    out = tmp_path / "out"
    assert main(["convert", str(tiny_folder), "--to", "folder", "--out", str(out)]) == code
    left = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in left if path.name.startswith(".")]
    for path in left:
        if path.suffix in (".png", ".jpg"):
            Image.open(path).load()


def test_a_signal_that_is_turned_into_another_error_keeps_its_code(monkeypatch, tiny_folder, capsys):
    def convert(*_, **__):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("go on with the same command") from None

    monkeypatch.setattr("maskpencil.data.convert.convert", convert)
    assert main(["convert", str(tiny_folder), "--to", "voc", "--out", str(tiny_folder.parent / "none")]) == 143
    assert capsys.readouterr().err.endswith("ended by SIGTERM; go on with the same command\n")


def test_a_second_signal_does_not_disturb_the_cleaning_up(tmp_path):
    def clean_up():
        with written_whole(tmp_path / "file.txt") as temporary:
            temporary.write_text("half")
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)

    with pytest.raises(KeyboardInterrupt), ended_by_signals() as ended:
        clean_up()
    assert ended.number == signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_a_signal_that_nohup_has_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals() as ended:
            signal.raise_signal(signal.SIGHUP)
        assert ended.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_commands_work_without_signals(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["info"])))
    thread.start()
    thread.join()
    assert codes == [0]


DRIVER = """
import signal, sys
from maskpencil.training.trainer import GradientDescent
step, made = GradientDescent.step, []
def stopping(*arguments):
    made.append(1)
    if len(made) == 2:
        signal.raise_signal(int(sys.argv[1]))
    return step(*arguments)
GradientDescent.step = stopping
from maskpencil.cli import main
sys.exit(main(sys.argv[2:]))
"""


def training(data, *, epochs, out):
    """The words of a command that trains a small network."""
    network = ["--weights", "none", "--backbone", "test_resnet", "--stride", "8", "--crop-size", "32x32"]
    return ["train", data, *network, "--epochs", epochs, "--batch-size", "2", "--device", "cpu", "--out", out]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), CODES)
def test_an_ended_training_says_how_to_resume_and_has_its_own_exit_code(forks, number, code, tiny_folder, tmp_path):
    words = training(tiny_folder, epochs=3, out=tmp_path / "run")
    done = forks.run(DRIVER, int(number), *words)
    assert done.returncode == code
    assert f"continue with maskpencil train --resume {tmp_path / 'run'}" in done.stdout + done.stderr
    assert (tmp_path / "run/checkpoints/last/state.pt").is_file()


@pytest.mark.slow
def test_a_closed_terminal_loses_no_step_of_a_training(tiny_folder, tmp_path):
    """The terminal's other end is closed, so every print would fail; the checkpoint is written all the same."""
    import pty

    master, slave = pty.openpty()
    words = training(tiny_folder, epochs=9999, out=tmp_path / "run")
    command = [sys.executable, "-m", "maskpencil", *map(str, words)]
    run = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True)
    os.close(slave)
    reader = threading.Thread(target=_drain, args=(master, stop := threading.Event()))
    reader.start()
    checkpoint = tmp_path / "run/checkpoints/last/state.pt"
    until = time.monotonic() + 240
    while not checkpoint.exists() and time.monotonic() < until and run.poll() is None:
        time.sleep(0.05)
    assert checkpoint.exists()
    stop.set()
    reader.join()
    os.close(master)
    os.kill(run.pid, signal.SIGHUP)
    assert run.wait(timeout=120) == 129
    import torch

    assert torch.load(checkpoint, weights_only=True)["progress"]["step"] > 0


def _drain(descriptor: int, stop: threading.Event) -> None:
    """Read all output until the stop event is set."""
    import select

    while not stop.is_set():
        if select.select([descriptor], [], [], 0.1)[0]:
            os.read(descriptor, 65536)
