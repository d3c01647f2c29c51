"""The server as a command: what it prints, how it ends, and what it refuses."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.server.clients import png, until

from maskpencil.cli import main
from maskpencil.runtimes.export import add_graph

ROOT = Path(__file__).parents[2]

WITHOUT_TORCH = """
import sys
from maskpencil.cli import main
code = main(sys.argv[1:])
sys.exit(99 if "torch" in sys.modules else code)
"""


@pytest.fixture(scope="module")
def served(model):
    """A model folder that needs no torch."""
    add_graph(model, warn=pytest.fail)
    return model


class Process:
    """A server as a process of its own, which ends with 99 if it imported torch."""

    def __init__(self, *words: object, cwd: Path) -> None:
        command = [sys.executable, "-c", WITHOUT_TORCH, "serve", *map(str, words), "--port", "0", "--device", "cpu"]
        self.process = subprocess.Popen(
            [*command, "--precision", "fp32"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
        )
        self.line = self.process.stdout.readline()
        self.url = self.line.split(" ")[0]

    def end(self, number: int, *, wait: float = 20) -> tuple[int, str]:
        """Send a signal: the exit code, and what was printed to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=wait)
        return self.process.returncode, errors


@pytest.fixture
def start(tmp_path):
    started = []

    def process(*words):
        started.append(Process(*words, cwd=tmp_path))
        return started[-1]

    yield process
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


@pytest.mark.slow
def test_masks_are_those_of_predict_byte_for_byte(served, tiny_folder, start, tmp_path):
    server = start(served)
    assert server.line.startswith("http://127.0.0.1:")
    assert "POST /v1/mask?out=png|overlay|json" in server.line
    images = sorted((tiny_folder / "images").rglob("*.png"))
    words = ["predict", str(served), *map(str, images), "--device", "cpu", "--precision", "fp32"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    for image in images:
        for form, kind in (("png", "masks"), ("overlay", "overlays")):
            with urlopen(Request(f"{server.url}/v1/mask?out={form}", image.read_bytes())) as answer:
                found = [path.read_bytes() for path in (tmp_path / "out" / kind).rglob(f"{image.stem}.*")]
                assert answer.read() in found
    code, errors = server.end(signal.SIGTERM)
    assert code == 0
    first, second, *others = errors.splitlines()
    assert re.fullmatch(r"\w+: cpu by openvino in fp32", first)
    assert re.fullmatch(r"\d+ images? at the same time; Ctrl-C stops the server", second)
    assert others == ["stopping; images that were received are answered first", "stopped; 18 images segmented"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_are_under_way_are_answered_when_it_stops(served, tiny_folder, start, number):
    server = start(served)
    host, port = server.url.removeprefix("http://").split(":")
    body = (tiny_folder / "images/val/0.png").read_bytes()
    head = f"POST /v1/mask HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    clients = [socket.create_connection((host, int(port)), timeout=20) for _ in range(12)]
    for client in clients:
        client.sendall(head.encode())
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    begun = time.monotonic()
    server.process.send_signal(number)
    time.sleep(0.3)
    for client in clients:
        client.sendall(body)
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()
    _, errors = server.process.communicate(timeout=20)
    assert (server.process.returncode, time.monotonic() - begun < 10) == (0, True)
    assert errors.splitlines()[-1] == "stopped; 12 images segmented"


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(served, start):
    server = start(served)
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        code, _ = server.end(signal.SIGINT, wait=10)
    assert code == 130


BY_EYE = """
import sys, threading
from maskpencil.cli import main, serve
from maskpencil.server import running
from tests.server.clients import Brightness

class Slow(Brightness):
    def predict_batch(self, images, **asked):
        threading.Event().wait(%s)
        return super().predict_batch(images, **asked)

if %s is None:
    running.FINISH_SECONDS, running.STOP_SECONDS, running.END_SECONDS = 0.2, 0.4, 0.8
serve.load_predictor = lambda *_, **__: Slow()
sys.exit(main(["serve", "MODEL", "--port", "0", "--video-folder", sys.argv[1]]))
"""


class ByEye(Process):
    """A server without a network that takes some seconds for an image, or hangs."""

    def __init__(self, folder: Path, seconds: float | None) -> None:
        command = [sys.executable, "-c", BY_EYE % (seconds, seconds), folder]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.url = self.process.stdout.readline().split(" ")[0]

    def post(self, path: str, content: bytes) -> socket.socket:
        """Send a request, and do not wait for its answer."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=20)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        return connection

    def await_metric(self, line: str) -> None:
        """Wait until a line stands in the metrics."""

        def is_there() -> bool:
            with urlopen(f"{self.url}/metrics", timeout=20) as answer:
                return line in answer.read().decode().splitlines()

        until(is_there)


@pytest.fixture
def start_by_eye(tmp_path):
    started = []
    (tmp_path / "videos").mkdir()

    def process(seconds):
        started.append(ByEye(tmp_path / "videos", seconds))
        return started[-1]

    yield process
    for each in started:
        each.process.kill()
        each.process.communicate()


RUNNING = 'maskpencil_videos{state="running"} 1'


@pytest.mark.slow
def test_the_files_of_a_server_that_was_killed_are_removed_by_the_next(start_by_eye, make_video, tmp_path):
    folder = tmp_path / "videos"
    killed, other = start_by_eye(1), start_by_eye(1)
    with killed.post("/v1/videos", make_video().read_bytes()):
        killed.await_metric(RUNNING)
        killed.end(signal.SIGKILL)
    assert len(list(folder.glob("*/*/video"))) == 1
    after = start_by_eye(1)
    assert len(list(folder.iterdir())) == 2  # of the two that run
    assert list(folder.glob("*/*/video")) == []
    for each in (other, after):
        assert each.end(signal.SIGTERM)[0] == 0
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_video_is_canceled_when_it_stops(start_by_eye, make_video, tmp_path):
    server = start_by_eye(0.1)
    with server.post("/v1/videos", make_video(pts=tuple(range(500))).read_bytes()):
        server.await_metric(RUNNING)
        begun = time.monotonic()
        code, errors = server.end(signal.SIGTERM)
    assert (code, time.monotonic() - begun < 10) == (0, True)
    assert errors.splitlines()[-1] == "stopped; 0 images segmented"
    assert list((tmp_path / "videos").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "line"), [("/v1/mask", "maskpencil_images_running 1"), ("/v1/videos", RUNNING)], ids=["image", "video"]
)
def test_a_prediction_that_never_ends_does_not_keep_the_process(path, line, start_by_eye, make_video, tmp_path):
    server = start_by_eye(None)
    with server.post(path, make_video().read_bytes() if path == "/v1/videos" else png()):
        server.await_metric(line)
        code, errors = server.end(signal.SIGTERM)
    assert code == 1
    assert errors.splitlines()[-1] == "error: a prediction did not end in time, so the server was stopped without it"
    assert list((tmp_path / "videos").iterdir()) == []


@pytest.mark.slow
def test_an_exported_file_is_served(served, tiny_folder, start, tmp_path):
    from maskpencil.export import ExportOptions, export_model

    export_model(served, tmp_path / "files", options=ExportOptions(to=("openvino",)))
    command = [sys.executable, "-m", "maskpencil", "serve", tmp_path / "files" / "model.xml", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = process.stdout.readline().split(" ")[0]
        with urlopen(Request(f"{url}/v1/mask", (tiny_folder / "images/val/0.png").read_bytes())) as answer:
            assert answer.read(4) == b"\x89PNG"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "serve needs MODEL: maskpencil serve MODEL"),
        (["nowhere"], 1, "nowhere: there is no such model folder"),
        (["IMAGES"], 1, "is a folder of images; expected a model before it"),
        (
            ["MODEL", "--host", "0.0.0.0"],
            2,
            "--host 0.0.0.0 lets other computers use the server; give --token-file FILE",
        ),
        (
            ["MODEL", "--token-file", "nowhere"],
            2,
            "nowhere: the token cannot be read (No such file or directory); write",
        ),
        (["MODEL", "--max-body", "much"], 2, "--max-body must be an amount such as 2GiB or 512MiB, but got 'much'"),
        (["MODEL", "--timeout", "soon"], 2, "--timeout must be a time such as 90"),
        (["MODEL", "--port", "70000"], 2, "--port must be a whole number from 0 to 65535, but got 70000"),
        (["MODEL", "--workers", "2"], 2, "serve has no option --workers"),
        (["MODEL", "--api-key", "x"], 2, "serve has no option --api-key; use --token-file"),
        (
            ["MODEL", "other/MODEL"],
            2,
            "other/MODEL: has the same name as MODEL, MODEL; give one of them another name: OTHER=",
        ),
        (["a b=MODEL"], 2, "a model's name must be 1 to 100 letters, digits and the signs . _ - and begin with"),
        (["street="], 2, "street=: has no path after the =; give that of a model: street=runs/train/NAME"),
        (["street=nowhere"], 1, "nowhere: there is no such model folder"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(words, code, message, tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MODEL").mkdir()
    names = {"IMAGES": str(tiny_folder / "images" / "val")}
    assert main(["serve", *(names.get(word, word) for word in words)]) == code
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert captured.out == ""


@pytest.mark.slow
def test_a_port_in_use_is_refused(served, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(served), "--port", str(port), "--device", "cpu"]) == 2
    assert f"error: port {port} of 127.0.0.1 is in use by another program" in capsys.readouterr().err
