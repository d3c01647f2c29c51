import re

import pytest
from tests.server.clients import SICK, Brightness, png

from maskpencil.server.guard import STRICT_HEADERS


def test_the_model_is_described(start):
    facts = start(Brightness(workers=3), max_body=1000).ask("/v1/models").json
    assert (facts["max_body"], facts["at_once"]) == (1000, 3)
    (model,) = facts["models"]
    assert [(each["index"], each["name"]) for each in model["classes"]] == [(0, "dark"), (1, "bright")]
    assert model["classes"][1]["color"] == [250, 240, 230]
    assert (model["name"], model["ignore_index"], model["image_size"], model["runs"]) == ("model", 255, None, "by eye")


def test_health_and_readiness_are_told_apart(server):
    assert (server.ask("/healthz").content, server.ask("/readyz").content) == (b"ok\n", b"ready\n")


def test_a_network_that_fails_fails_alone_and_says_nothing_of_the_machine(server, capsys):
    reply = server.ask("/v1/mask", png(SICK))
    assert (reply.status, reply.json) == (500, {"error": "the server failed; its error output names the reason"})
    assert "error: a request failed: RuntimeError: a bug in /home/secret/model.bin" in capsys.readouterr().err
    assert server.ask("/v1/mask", png()).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/index.html", 404, "there is no such path; /openapi.json lists all"),
        ("POST", "/v1/masks", 404, "there is no such path"),
        ("GET", "/v1/mask/", 404, "there is no such path"),
        ("GET", "/v1/../../etc/passwd", 404, "there is no such path"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "there is no such path"),
        ("GET", "//etc/passwd", 404, "there is no such path"),
        ("GET", "/v1/mask", 405, "this path does not allow GET; use POST"),
        ("DELETE", "/v1/models", 405, "this path does not allow DELETE"),
        ("OPTIONS", "/v1/mask", 405, "this path does not allow OPTIONS; use POST"),
        ("TRACE", "/healthz", 405, "this path does not allow TRACE"),
        ("OPTIONS", "/v1/videos/x", 405, "this path does not allow OPTIONS; use DELETE, GET, HEAD"),
    ],
)
def test_what_does_not_exist_is_refused(method, path, status, message, server):
    reply = server.ask(path, method=method)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json["error"].startswith(message)


def test_every_answer_has_strict_headers_and_none_names_the_software(server):
    replies = [server.ask("/healthz"), server.ask("/nowhere"), server.ask("/v1/mask", b"no image")]
    replies += [server.ask("/v1/mask", png()), server.ask("/v1/mask", png(SICK)), server.ask("/", Host="example.org")]
    assert [reply.status for reply in replies] == [200, 404, 422, 200, 500, 421]
    for reply in replies:
        assert {name: reply.headers[name.lower()] for name in STRICT_HEADERS} == STRICT_HEADERS
        assert "server" not in reply.headers


def test_the_metrics_count_what_was_sent(start):
    server = start()
    for path, body in (("/v1/mask", png()), ("/v1/mask", png()), ("/v1/mask", b"damaged"), ("/nowhere", None)):
        server.ask(path, body)
    text = server.ask("/metrics").content.decode()
    assert dict(re.findall(r'^maskpencil_answers_total\{status="(\d+)"\} (\d+)$', text, flags=re.MULTILINE)) == {
        "200": "2",
        "404": "1",
        "422": "1",
    }
    for name, number in (("total", 2), ("waiting", 0), ("running", 0)):
        assert f"maskpencil_images_{name} {number}\n" in text
    assert server.count() == 2


def test_images_are_answered_one_after_the_other_on_one_connection(server):
    body = png()
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(
                b"POST /v1/mask?out=json HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            with connection.makefile("rb") as file:
                assert file.readline() == b"HTTP/1.1 200 OK\r\n"
                length = 0
                while (line := file.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                assert file.read(length).startswith(b'{"size": [8, 12]')
