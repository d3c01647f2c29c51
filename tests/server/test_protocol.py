import re
import socket
import time
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from tests.server.clients import encoded, png, received, until

from maskpencil.server import protocol

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def dripping(connection, parts, most=5.0):
    """Send parts with pauses until the server closes the connection: the answer, and the seconds it took."""
    begun, answer = time.monotonic(), b""
    connection.settimeout(0.05)
    while time.monotonic() < begun + most:
        try:
            connection.sendall(parts)
            part = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        answer += part
        if not part:
            break
    return answer, time.monotonic() - begun


@pytest.mark.parametrize(
    ("first", "parts"),
    [(GET, b"X: y\r\n"), (b"G", b"E"), (b"", b"\r\n")],
    ids=["header lines", "letters of the method", "empty lines"],
)
def test_headers_that_drip_are_cut_off(first, parts, start, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "CLOSING_SECONDS", 0.1)
    with start().connect() as connection:
        connection.sendall(first)
        answer, seconds = dripping(connection, parts)
    assert seconds < 3
    assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))


def test_a_silent_client_is_cut_off(start, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with start().connect() as connection:
        assert received(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("parts", [b"X: y\r\n", b"\r\n"], ids=["header lines", "empty lines"])
def test_the_second_request_of_a_connection_has_the_same_deadline(parts, start, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "CLOSING_SECONDS", 0.1)
    with start().connect() as connection:
        connection.sendall(GET + b"\r\n")
        first = b""
        while not first.endswith(b"ok\n"):
            first += connection.recv(65536)
        connection.sendall(GET if parts != b"\r\n" else b"")
        answer, seconds = dripping(connection, parts)
    assert seconds < 3
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_headers_that_flood_are_refused(start):
    with start().connect() as connection:
        connection.sendall(GET)
        answer, _ = dripping(connection, b"X: " + b"y" * 9000 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_trailers_that_flood_are_cut_off_and_not_kept(start, monkeypatch):
    monkeypatch.setattr(protocol, "CLOSING_SECONDS", 0.1)
    server = start(max_body=1000)  # on the wire a request may have 1 MiB more than twice as much
    with server.connect() as connection:
        connection.sendall(b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        sent = 0
        try:
            while sent < 2**24:
                connection.sendall(b"X: " + b"y" * 9000 + b"\r\n")
                sent += 9005
        except ConnectionError:
            pass
    assert 2**20 < sent < 2**24
    assert server.ask("/v1/mask", png()).status == 200


def test_a_body_that_nobody_reads_does_not_hold_the_connection(start, monkeypatch):
    monkeypatch.setattr(protocol, "CLOSING_SECONDS", 0.2)
    for path in ("/nowhere", "/healthz"):
        with start().connect() as connection:
            connection.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n" % path.encode())
            answer, seconds = dripping(connection, b"x")
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
        assert seconds < 3


def test_a_client_that_never_reads_is_cut_off(start, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.3)
    server = start()
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server.connect() as connection, pytest.raises(ConnectionError):  # noqa: PT012
        end = time.monotonic() + 20  # the buffers of the system take megabytes first
        while time.monotonic() < end:
            connection.sendall(request)


@pytest.mark.slow
@pytest.mark.parametrize("header", ["", "Connection: close\r\n"])
def test_a_client_that_reads_slowly_gets_all_of_its_answer(header, start, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.15)
    server = start()
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)
    body = encoded(Image.fromarray(noise), "BMP")
    head = f"POST /v1/mask?out=overlay HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: {len(body)}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        connection.connect(server.address)
        connection.settimeout(20)
        connection.sendall(head.encode() + body)
        answer = connection.recv(2**16)
        length = int(re.search(rb"content-length: (\d+)", answer)[1])
        begun = time.monotonic()
        while len(answer.partition(b"\r\n\r\n")[2]) < length:
            part = connection.recv(2**16)
            assert part, "the connection was closed before the end of the answer"
            answer += part
            time.sleep(0.01)
    assert length > 2**21
    assert time.monotonic() - begun > 0.4


def test_connections_beyond_the_limit_are_closed_and_the_others_stay(start, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 20)
    server = start()
    held = [server.connect() for _ in range(20)]
    with server.connect() as connection, suppress(ConnectionError):
        assert connection.recv(10) == b""
    held[0].sendall(GET + b"\r\n")
    assert held[0].recv(65536).startswith(b"HTTP/1.1 200 ")
    for each in held:
        each.close()
    until(lambda: server.ask("/healthz").status == 200)


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x02\0\x01\0", b"GET\r\n\r\n", b"GET http://[ HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_refused(request_, server):
    with server.connect() as connection:
        connection.sendall(request_)
        assert received(connection).startswith(b"HTTP/1.1 4")
    assert server.ask("/healthz").status == 200


def test_a_request_to_become_a_web_socket_is_an_ordinary_one(server):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert server.ask("/healthz", **upgrade).status == 200
