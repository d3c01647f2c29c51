"""A server that is killed and started again while images are sent to it: nothing is lost, and nothing differs."""

import hashlib
import json
import random
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.helpers import COMMAND, environment

pytestmark = pytest.mark.stress

KILLS = 5


class Server:
    """A server at one port, which can be killed and started again."""

    def __init__(self, model: Path) -> None:
        self._model = model
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [COMMAND, "serve", str(self._model), "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(self._model.parent.parent / "cache"),
        )
        assert self._process.stdout
        assert self._process.stdout.readline().startswith(b"http://127.0.0.1:")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


def test_every_mask_is_there_and_right_though_the_server_is_killed(model: Path, many: Path, tmp_path: Path) -> None:
    count, chance = len(list(many.iterdir())), random.Random(0)
    words = ["--regions", "json", "--confidence"]
    began = time.monotonic()
    finish(predict(model, model, many, tmp_path / "local", words))
    alone = time.monotonic() - began
    server, done = Server(model), threading.Event()
    try:
        out, began = tmp_path / "remote", time.monotonic()
        process = predict(model, f"http://127.0.0.1:{server.port}", many, out, words)
        places = sorted(chance.randrange(count // 20, count * 9 // 10) for _ in range(KILLS))
        for place in places:
            least = max(place, masks(out) + 5)  # the client has found the server again
            while masks(out) < least and process.poll() is None and time.monotonic() - began < 1200:
                done.wait(0.005)
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            server.kill()
            server.start()
        said = finish(process)
        seconds = time.monotonic() - began
    finally:
        server.kill()
    outages = len(re.findall(r"waiting up to 120 s for the server$", said, flags=re.MULTILINE))
    figures = {"images": count, "alone": round(alone, 1), "killed": round(seconds, 1), "outages": outages}
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    assert outages == KILLS
    assert len(re.findall(r"answers again$", said, flags=re.MULTILINE)) == outages
    assert masks(out) == count
    assert contents(out) == contents(tmp_path / "local")


def test_a_killed_client_continues_where_it_was(model: Path, many: Path, tmp_path: Path) -> None:
    count, server, waiting = len(list(many.iterdir())), Server(model), threading.Event()
    out, words = tmp_path / "remote", ["--resume"]
    try:
        for place in (count // 5, count // 2):
            began = time.monotonic()
            process = predict(model, f"http://127.0.0.1:{server.port}", many, out, words)
            while masks(out) < place and process.poll() is None and time.monotonic() - began < 600:
                waiting.wait(0.005)
            process.kill()
            process.communicate(timeout=60)
        said = finish(predict(model, f"http://127.0.0.1:{server.port}", many, out, words))
    finally:
        server.kill()
    kept = re.search(r"^(\d+) images done by an earlier run and kept$", said, flags=re.MULTILINE)
    assert kept
    assert count // 2 - 10 <= int(kept[1]) < count
    finish(predict(model, model, many, tmp_path / "local", []))
    assert contents(out) == contents(tmp_path / "local")


def predict(model: Path, by: object, images: Path, out: Path, words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "predict", str(by), str(images), "--out", str(out), *words],
        env=environment(model.parent.parent / "cache"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    """Wait for a command that succeeds, and return what it wrote to standard error."""
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors.decode()
    return errors.decode()


def masks(out: Path) -> int:
    return sum(1 for path in (out / "masks").glob("*.png") if not path.name.startswith("."))


def contents(folder: Path) -> dict[str, str]:
    """The hash of every file that is not hidden, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
