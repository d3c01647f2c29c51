"""Measure `maskpencil serve` beside `maskpencil predict`, and what slow, endless and damaged requests do to it.

python benchmarks/server.py MODEL IMAGES [--requests 2000] [--at-once 50]
"""

import argparse
import asyncio
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

DRIPPING, HALF_OPEN, PROBES, DAMAGED = 200, 500, 500, 2000
"""The number of clients that send a byte a second, of clients that send nothing, of hostile requests, and of damaged
images."""


class Server:
    """A server process at a free port."""

    path, kind = "/v1/mask", "application/octet-stream"

    def __init__(self, model: Path, *words: str) -> None:
        begun = time.monotonic()
        command = [sys.executable, "-m", "maskpencil", "serve", str(model), "--port", "0", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout
        host, _, port = self.process.stdout.readline().split(" ")[0].removeprefix("http://").rpartition(":")
        self.address = (host, int(port))
        self.start = time.monotonic() - begun

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def stop(self) -> tuple[int, float]:
        """The exit code after SIGTERM, and the seconds that it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - begun


async def ask(server: Server, body: bytes) -> tuple[int, float, bytes]:
    """Post an image on a connection of its own: the status, the seconds, the answer."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(*server.address)
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: {server.kind}\r\nConnection: close\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer[9:12] or 0), time.monotonic() - begun, answer.partition(b"\r\n\r\n")[2]


async def load(server: Server, bodies: list[bytes], count: int, at_once: int) -> tuple[Counter, list[float], float]:
    """Post images, `at_once` at the same time: the statuses, the seconds of each, the seconds of all."""
    statuses: Counter = Counter()
    seconds: list[float] = []
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            status, took, _ = await ask(server, bodies[number % len(bodies)])
            statuses[status] += 1
            seconds.append(took)

    begun = time.monotonic()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return statuses, seconds, time.monotonic() - begun


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.99)]
    return f"p50 {at[0]:.0f} ms, p99 {at[1]:.0f} ms"


def rate_of_predict(model: Path, images: Path) -> str:
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "maskpencil",
            "predict",
            model,
            images,
            "--no-overlays",
            "--out",
            f"{place}/out",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.search(r"at ([\d.]+) per second", done.stdout)[1]


async def dripping(server: Server, clients: int, first: bytes) -> list[float]:
    """Clients that send `first`, and then a byte a second: the seconds until each is cut off."""

    async def drip() -> float:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            writer.write(first)
            while time.monotonic() < begun + 60:
                writer.write(b"x")
                await writer.drain()
                try:
                    if not await asyncio.wait_for(reader.read(4096), 1):
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        finally:
            writer.close()
        return time.monotonic() - begun

    return await asyncio.gather(*(drip() for _ in range(clients)))


async def endless(server: Server, size: int) -> tuple[int, int]:
    """A body in chunks of `size` bytes in all: the bytes that were sent, and the status."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent, chunk = 0, b"10000\r\n" + bytes(0x10000) + b"\r\n"
    answer = asyncio.ensure_future(reader.read(4096))
    try:
        while sent < size and not answer.done():
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)
        status = int((await answer)[9:12] or 0)
    except ConnectionError:
        status = 0
    writer.close()
    return sent, status


async def damaged(server: Server, bodies: list[bytes], count: int) -> tuple[Counter, float]:
    """Images with bytes changed, cut out or cut off: the statuses, and the longest time of a refusal."""
    chance, statuses, longest = random.Random(0), Counter(), 0.0
    for number in range(count):
        content = bytearray(bodies[number % len(bodies)])
        for _ in range(chance.randint(1, 20)):
            content[chance.randrange(min(len(content), 2000))] = chance.randrange(256)
        if number % 3 == 0:
            del content[chance.randrange(len(content)) :]
        status, took, _ = await ask(server, bytes(content) or b"x")
        statuses[status] += 1
        longest = max(longest, took if status != 200 else 0)
    return statuses, longest


async def half_open(server: Server, clients: int) -> float:
    """Clients that connect and send nothing, or half a request line: the seconds until the last is cut off."""

    async def wait(number: int) -> float:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"POST /v1/ma" if number % 2 else b"")
        with suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(4096), 60):  # TimeoutError: it is never cut off
                pass
        writer.close()
        return time.monotonic() - begun

    return max(await asyncio.gather(*(wait(number) for number in range(clients))))


PATHS = (
    *("/../../../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%00"),
    *("/v1/videos/../../../etc/passwd", "/v1/videos/%2e%2e%2f%2e%2e/overlay.mp4", "/v1/videos/x/..%5c..%5cboot.ini"),
    *("/v1/mask?model=../../etc/passwd", "/v1/mask?out=/etc/passwd", "/v1/mask?model=http://127.0.0.1/", "/etc/passwd"),
    *("http://127.0.0.1/etc/passwd", "file:///etc/passwd", "/.git/config", "/v1/videos/\xe2\x80\xae", "/" + "a" * 3000),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "PROPFIND")
HOSTS = (
    *("localhost", "127.0.0.1", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil"),
    *("", "[::1", "localhost:8000:1", "localhost\r\nHost: evil.example"),
)
ORIGINS = (
    "",
    "null",
    "http://evil.example",
    "http://localhost.evil.example",
    "http://localhost:1",
)
TOKENS = ("", "Bearer ", "Bearer wrong", "Basic d3Jvbmc6", "bearer")
"""What probes ask for, by what method, at what host, from what page, with what token."""


async def probes(server: Server, body: bytes, count: int) -> tuple[Counter, int]:
    """Hostile requests: their statuses, 0 if the connection was closed, and the number of answers that are wrong.

    Half of them want a file of the machine; the others post an image to `/v1/mask` as the page of another site or,
    where the server demands a token, without it.
    """
    chance, statuses, wrong = random.Random(0), Counter(), 0
    for number in range(count):
        path, method, host = chance.choice(PATHS), chance.choice(METHODS), chance.choice(HOSTS)
        origin, token = chance.choice(ORIGINS), chance.choice(TOKENS)
        if number % 2:
            path, method, origin = "/v1/mask", "POST", origin or "http://evil.example"
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"Origin: {origin}"] * bool(origin) + [f"Authorization: {token}"] * bool(token)
        reader, writer = await asyncio.open_connection(*server.address)
        answer = b""
        with suppress(ConnectionError):
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 20)  # TimeoutError: it hangs
        writer.close()
        status = int(answer[9:12] or 0)
        statuses[status] += 1
        wrong += (
            not (status == 0 or 400 <= status < 500) or b"root:" in answer or b"access-control-allow" in answer.lower()
        )
    return statuses, wrong


async def measure(model: Path, images: Path, count: int, at_once: int) -> None:
    bodies = [path.read_bytes() for path in sorted(images.iterdir()) if path.suffix in (".jpg", ".png")]
    for turn in (1, 2):
        print(f"predict, turn {turn}: {rate_of_predict(model, images)} images/s", flush=True)
        server = Server(model, "--queue", "200", "--timeout", "10m")
        await ask(server, bodies[0])
        if turn == 1:
            print(f"ready after {server.start:.1f} s; memory {server.memory:.0f} MiB")
        statuses, seconds, took = await load(server, bodies, 200, at_once)
        print(f"serve, turn {turn}: {200 / took:.2f} images/s, {at_once} at once, {spread(seconds)}, {dict(statuses)}")
        print(f"  memory after 200: {server.memory:.0f} MiB", flush=True)
        if turn == 1:
            server.stop()
    statuses, seconds, took = await load(server, bodies, count - 200, at_once)
    print(f"serve: {(count - 200) / took:.2f} images/s, {spread(seconds)}, {dict(statuses)}")
    print(f"  memory after {count}: {server.memory:.0f} MiB", flush=True)
    print("stop:", server.stop(), flush=True)

    server = Server(model)
    await load(server, bodies, 20, 2)
    _, quiet, _ = await load(server, bodies, 60, 2)
    for name, first in (
        ("headers", b"GET /healthz HTTP/1.1\r\nX: "),
        ("bodies", b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"),
    ):
        drips = asyncio.ensure_future(dripping(server, DRIPPING, first))
        _, beside, _ = await load(server, bodies, 60, 2)
        held = await drips
        print(f"{DRIPPING} dripping {name}: cut off after {min(held):.1f} to {max(held):.1f} s; 2 others meanwhile:")
        print(f"  {spread(beside)}; before: {spread(quiet)}", flush=True)
    waiting = asyncio.ensure_future(half_open(server, HALF_OPEN))
    _, beside, _ = await load(server, bodies, 60, 2)
    print(
        f"{HALF_OPEN} half-open connections: cut off after {await waiting:.1f} s; 2 others: {spread(beside)}",
        flush=True,
    )
    statuses, wrong = await probes(server, bodies[0], PROBES)
    print(f"{PROBES} probes: {dict(statuses)}, wrongly answered: {wrong}", flush=True)
    with tempfile.NamedTemporaryFile("w") as token:
        token.write("a-token-of-twenty-characters\n")
        token.flush()
        guarded = Server(model, "--token-file", token.name)
        statuses, wrong = await probes(guarded, bodies[0], PROBES)
        print(f"{PROBES} probes where a token is needed: {dict(statuses)}, wrongly answered: {wrong}", guarded.stop())
    before = server.memory
    sent, status = await endless(server, 10 * 2**30)
    print(f"10 GiB in chunks: {status} after {sent / 2**20:.0f} MiB; memory {before:.0f} -> {server.memory:.0f} MiB")
    statuses, longest = await damaged(server, bodies, DAMAGED)
    print(f"{DAMAGED} damaged images: {dict(statuses)}, the longest refusal {longest:.2f} s")
    full = Server(model, "--queue", "4")
    statuses, seconds, _ = await load(full, bodies, 200, 50)
    print(f"a queue of 4 with 50 at once: {dict(statuses)}")
    print("stop:", server.stop(), full.stop())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=50)
    given = parser.parse_args()
    asyncio.run(measure(given.model, given.images, given.requests, given.at_once))
