"""Sources of videos on 127.0.0.1, for the tests: each a context manager that gives its address."""

import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import av
from PIL import Image
from tests.helpers import draw_image


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that leaves is no error here."""


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler, int], None], name: str) -> Iterator[str]:
    """`answer` gets each request and its number, from 1."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, next(numbers))

        def log_message(self, *_: object) -> None:
            pass

    with _Quiet(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{name}"
        finally:
            server.shutdown()
            thread.join()


def file_server(path: Path, *, break_at: Callable[[int], float | None] = lambda _: None):
    """Serve a file; the connection of request number n ends after the share `break_at(n)` of it."""
    data = path.read_bytes()

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        share = break_at(number)
        handler.wfile.write(data if share is None else data[: round(share * len(data))])

    return http_server(answer, path.name)


def camera_server(*, frame_seconds: float = 0.02):
    """An endless video of JPEG images without times, as network cameras send it."""

    def answer(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--next")
        handler.end_headers()
        for i in count():
            buffer = io.BytesIO()
            Image.fromarray(draw_image((48, 64), i)).save(buffer, "JPEG")
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {buffer.tell()}\r\n\r\n"
            handler.wfile.write(head.encode() + buffer.getvalue() + b"\r\n")
            time.sleep(frame_seconds)

    return http_server(answer, "camera")


class _Sends(io.RawIOBase):
    """A file whose every write is a packet."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self._send(bytes(data))
        return len(data)


@contextmanager
def rtsp_server(path: Path) -> Iterator[str]:
    """Play an H.264 video with its settings at each key frame, as .ts does, to one client: RTP within RTSP."""
    listening = socket.create_server(("127.0.0.1", 0))
    sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:v\r\n"
    answers = {
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n",
    }

    def play(client: socket.socket) -> None:
        def send(packet: bytes) -> None:
            is_report = 200 <= packet[1] <= 204
            client.sendall(struct.pack(">cBH", b"$", is_report, len(packet)) + packet)

        with av.open(str(path)) as video, av.open(_Sends(send), "w", format="rtp") as sent:
            stream = sent.add_stream_from_template(video.streams.video[0])
            for packet in video.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    sent.mux(packet)

    def serve() -> None:
        client, _ = listening.accept()
        with client, client.makefile("r", newline="\r\n") as requests:
            method = ""
            while method != "PLAY":
                method = requests.readline().split()[0]
                lines = iter(requests.readline, "\r\n")
                number = next(line for line in list(lines) if line.lower().startswith("cseq"))
                answer = answers.get(method, "\r\n")
                client.sendall(f"RTSP/1.0 200 OK\r\n{number}{answer}".encode())
            play(client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listening:
        yield f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live"
    thread.join()


@contextmanager
def tcp_server(data: bytes, *, times: int) -> Iterator[str]:
    """Send the data to each of `clients` clients, closing the connection after each, then listen no more."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def serve() -> None:
        with listening:
            for _ in range(times):
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        listening.close()
