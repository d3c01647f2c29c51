import time
from contextlib import suppress

import pytest
from tests.server.clients import png, received, until

from maskpencil.server import app, body, protocol
from maskpencil.server.body import Memory
from maskpencil.server.refusals import BusyError


def head(length: int | None, *more: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join(("POST /v1/mask HTTP/1.1", "Host: localhost", size, *more, "", "")).encode()


def test_a_declared_size_beyond_the_limit_is_refused_before_the_body(start):
    server = start(max_body=1000)
    with server.connect() as connection:
        connection.sendall(head(1001))
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(
        b'{"error": "the body is larger than 1000 bytes, the most that this server reads; send a smaller file"}\n'
    )


def test_an_endless_body_in_chunks_is_refused_and_the_answer_arrives(start, monkeypatch):
    monkeypatch.setattr(protocol, "CLOSING_SECONDS", 0.2)
    server = start(max_body=100_000)
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    begun = time.monotonic()
    with server.connect() as connection, pytest.raises(ConnectionError):  # noqa: PT012
        connection.sendall(head(None))
        while time.monotonic() < begun + 10:
            connection.sendall(chunk)
    with server.connect() as connection:  # a client that reads the answer when it comes
        connection.sendall(head(None) + 4 * chunk)
        assert received(connection).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_read(server):
    content = png((40, 60))
    parts = [content[place : place + 17] for place in range(0, len(content), 17)]
    assert server.ask("/v1/mask", iter(parts)).status == 200


def test_a_body_that_drips_is_refused(start, monkeypatch):
    monkeypatch.setattr(body, "START_SECONDS", 0.3)
    server = start()
    begun = time.monotonic()
    with server.connect() as connection:
        connection.sendall(head(1000))
        connection.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() < begun + 5:
            connection.sendall(b"x")
            with suppress(TimeoutError):
                answer = received(connection)
    assert 0.25 < time.monotonic() - begun < 3
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"bytes in 0 s); expected at least 16 KiB per second" in answer


def test_a_body_has_a_longest_time_whatever_its_rate(start, monkeypatch):
    monkeypatch.setattr(body, "START_SECONDS", 60.0)
    monkeypatch.setattr(body, "BODY_SECONDS", 0.2)
    with start().connect() as connection:
        connection.sendall(head(1000) + b"x")
        assert received(connection).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("content", "headers", "status", "message"),
    [
        (b"", {}, 400, "the body is empty; expected an image file"),
        (png(), {"Content_Encoding": "gzip"}, 415, "Content-Encoding is not supported"),
        (b"<html>", {}, 422, "the image: is a web page (HTML), not an image"),
        (b"\0" * 9, {}, 422, "the image: begins with 9 zero bytes"),
        (b"%PDF-1.7", {}, 422, "the image: is a PDF"),
    ],
)
def test_a_body_that_is_no_image_is_refused(content, headers, status, message, server):
    reply = server.ask("/v1/mask", content, **headers)
    assert reply.status == status
    assert reply.json["error"].startswith(message)


def test_the_bodies_of_all_clients_have_a_common_limit(start, monkeypatch):
    monkeypatch.setattr(app, "MIN_MEMORY", 1)
    server = start(max_body=1000)  # the limit of all bodies is four times as much
    first = [server.connect() for _ in range(4)]
    for connection in first:
        connection.sendall(head(1000) + bytes(999))
    until(lambda: server.ask("/v1/mask", png()).status == 503)
    for connection in first:
        connection.close()
    until(lambda: server.ask("/v1/mask", png()).status == 200)


def test_memory_is_free_again_after_a_block():
    memory = Memory(10)
    with memory.share() as one:
        one.grow(6)
        with memory.share() as other, pytest.raises(BusyError):
            other.grow(5)
        with memory.share() as other:
            other.grow(4)
            assert memory.used == 10
    assert memory.used == 0


def test_a_client_that_leaves_in_the_middle_takes_nothing_with_it(start):
    server = start()
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(head(5000) + bytes(2500))
    assert server.ask("/v1/mask", png()).status == 200
    assert server.predictor.seen == [(8, 12, 3)]
