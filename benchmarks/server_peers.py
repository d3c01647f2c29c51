"""Measure `maskpencil serve` beside LitServe and BentoML: one network, one machine, the same JPEGs, in turns.

    maskpencil export MODEL --to openvino --out FILES
    python benchmarks/server_peers.py MODEL FILES/model.xml IMAGES --litserve PYTHON --bentoml PYTHON [--turns 3]

PYTHON is the interpreter of an environment with litserve and python-multipart, or with bentoml, and openvino, numpy
and pillow. The programs in `benchmarks/peers` are what a user writes for them; the answers of all are compared with
those of `maskpencil serve`.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import time
from pathlib import Path

import psutil

from server import Server, ask, load, spread

PEERS = Path(__file__).parent / "peers"
BOUNDARY = "2f6ab8f5"


class Peer(Server):
    """A server of another library; images are sent as forms, as it expects them."""

    path, kind = "/predict", f"multipart/form-data; boundary={BOUNDARY}"

    def __init__(self, command: list[str], field: str, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.field, self.address = field, ("127.0.0.1", port)
        words = [word.replace("PORT", str(port)) for word in command]
        given = os.environ | environment | {"PORT": str(port)}
        self.process = subprocess.Popen(
            words, env=given, cwd=PEERS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def form(self, body: bytes) -> bytes:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{self.field}"; filename="image.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        return head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def memory(server: Server) -> float:
    """The resident memory of a server and its processes, in MiB."""
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


async def answered(server: Server, body: bytes) -> bytes:
    """Wait until the server answers an image, for two minutes at most."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            status, _, answer = await ask(server, body)
            if status == 200:
                return answer
        except ConnectionError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit(f"{server.address}: no answer")


def started(name: str, given: argparse.Namespace) -> Server:
    environment = {"MODEL": str(given.file.resolve()), "BENTOML_DO_NOT_TRACK": "True"}
    if name == "litserve":
        return Peer([str(given.litserve), "litserve_server.py"], "request", environment)
    if name == "bentoml":
        command = [str(given.bentoml), "-m", "bentoml", "serve", "bentoml_server:Masks"]
        return Peer([*command, "--host", "127.0.0.1", "--port", "PORT"], "image", environment)
    return Server(given.model, "--queue", "200", "--timeout", "10m")


async def measure(given: argparse.Namespace) -> None:
    images = [path.read_bytes() for path in sorted(given.images.iterdir()) if path.suffix == ".jpg"]
    expected: bytes = b""
    for turn in range(1, given.turns + 1):
        for name in ("maskpencil", *(peer for peer in ("litserve", "bentoml") if getattr(given, peer))):
            begun = time.monotonic()
            server = started(name, given)
            try:
                bodies = [server.form(image) for image in images] if isinstance(server, Peer) else images
                first = await answered(server, bodies[0])
                ready = time.monotonic() - begun
                expected = expected or first
                statuses, seconds, took = await load(server, bodies, given.requests, given.at_once)
                print(
                    f"turn {turn}, {name:10}: {given.requests / took:6.2f} images/s, {spread(seconds)}, "
                    f"{dict(statuses)}, first answer after {ready:.1f} s, {memory(server):.0f} MiB, "
                    f"{'the same mask' if first == expected else 'another mask'}",
                    flush=True,
                )
            finally:
                children = psutil.Process(server.process.pid).children(recursive=True)
                server.stop()
                for child in children:  # those that their parent left behind
                    if child.is_running():
                        child.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path, help="the model as an OpenVINO file")
    parser.add_argument("images", type=Path)
    parser.add_argument("--litserve", type=Path)
    parser.add_argument("--bentoml", type=Path)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--turns", type=int, default=3)
    asyncio.run(measure(parser.parse_args()))
