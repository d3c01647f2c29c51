"""Requests are sent again while a server is away or busy; what no maskpencil server sends ends the run."""

import json
import re
import socket
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from tests.helpers import noise
from tests.server.clients import Probable

from maskpencil.array_files import npz_bytes
from maskpencil.errors import ConfigError, ImageError, ModelError
from maskpencil.pipeline import in_parallel
from maskpencil.remote import RemoteSegmenter, retries
from maskpencil.server import ServeOptions, serve

IMAGE = noise(20, 30)


def closes_at_once(_, __):
    pass


def closes_in_the_middle(client, good):
    client.sendall(good[: len(good) - 10])


def closes_in_the_headers(client, good):
    client.sendall(good[:30])


def resets(client, _):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # with RST


def busy(client, _, *, after="0", status=503):
    content = json.dumps({"error": "64 images wait"}).encode()
    head = f"HTTP/1.1 {status} Busy\r\nRetry-After: {after}\r\nContent-Length: {len(content)}\r\n\r\n"
    client.sendall(head.encode() + content)


def page_of_a_proxy(client, _):
    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>nginx</html>" + b" " * 40_000)


def not_kept(client, good):
    client.sendall(good.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))


def without_a_length(client, good):
    head, _, content = good.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    client.sendall(b"\r\n".join(lines).replace(b"1.1", b"1.0") + b"\r\n\r\n" + content)


@pytest.mark.parametrize("way", [not_kept, without_a_length])
def test_answers_after_which_the_connection_ends_are_read(way, stand_in, remote):
    stand_in.faults = [way] * 3
    for _ in range(4):
        assert remote.predict(IMAGE).label_map.shape == (20, 30)
    assert (remote.retries, stand_in.faults) == (0, [])


LOST = [closes_at_once, closes_in_the_middle, closes_in_the_headers, resets, busy, page_of_a_proxy]


@pytest.mark.parametrize("fault", LOST)
def test_a_request_without_an_answer_is_sent_again_and_told_once(fault, stand_in, remote, told):
    stand_in.faults = [fault] * 4
    (prediction,) = remote.predict_batch([IMAGE], confidence=True)
    (expected,) = Probable().predict_batch([IMAGE], confidence=True)
    np.testing.assert_array_equal(prediction.label_map, expected.label_map)
    np.testing.assert_array_equal(prediction.confidence, expected.confidence)
    assert stand_in.faults == []
    of_kept = fault in (closes_at_once, resets)  # the connection of the first request may have ended while it was idle
    assert remote.retries == len([path for path in stand_in.requests if "mask" in path]) - 1 - of_kept
    assert len(told) == 2
    assert re.fullmatch(rf"{stand_in.url}: .*; waiting up to 120 s for the server", told[0])
    assert told[1] == f"{stand_in.url}: answers again"


def test_a_server_that_is_restarted_is_waited_for(told):
    with ExitStack() as second:
        with serve(Probable(), options=ServeOptions(port=0)) as first:
            segmenter, port = RemoteSegmenter(first.url), int(first.url.rpartition(":")[2])

            def tell(line):
                told.append(line)
                if "waiting" in line:
                    second.enter_context(serve(Probable(), options=ServeOptions(port=port)))

            segmenter.tell_to(tell)
            assert segmenter.predict(IMAGE).label_map.shape == (20, 30)
        assert segmenter.predict(IMAGE).label_map.shape == (20, 30)
    assert told == [
        f"{first.url}: the connection was refused; waiting up to 120 s for the server",
        f"{first.url}: answers again",
    ]


def test_the_pause_grows_to_a_limit_and_is_at_least_what_the_server_asks_for(stand_in, remote, monkeypatch):
    pauses = []
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(retries, "LAST_PAUSE", 5.0)
    monkeypatch.setattr(retries, "_sleep", pauses.append)
    stand_in.faults = [closes_at_once] * 9
    remote.predict(IMAGE)
    for number, pause in enumerate(pauses):
        most = min(0.1 * 2**number, 5.0)
        assert most / 2 <= pause <= most
    pauses.clear()
    for after, expected in (("7", 7), ("99999", retries.LONGEST_AFTER)):
        stand_in.faults = [partial(busy, after=after)]
        remote.predict(IMAGE)
        assert pauses.pop() == expected
    for after in ("-1", "soon", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"):
        stand_in.faults = [partial(busy, after=after)]
        remote.predict(IMAGE)
        assert pauses.pop() <= 0.1


def test_a_server_that_stays_away_ends_the_run_with_the_remedy(stand_in, remote, monkeypatch):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.2)
    stand_in.close()
    with pytest.raises(
        ModelError, match=r"^http://\S+: the connection was refused, for 0 s; start the server.* --resume"
    ):
        remote.predict(IMAGE)


def test_a_server_that_never_answers_is_given_up_in_time(stand_in, remote, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(retries, "ANSWER_SECONDS", 0.3)
    stand_in.faults = [lambda *_: ended.wait(20)]
    with pytest.raises(ModelError, match=r": it did not answer in time, for 0 s;"):
        remote.predict(IMAGE)
    ended.set()


def plain(client, content, head=b""):
    client.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(content), content))


def a_page(client, _):
    plain(client, b"<!doctype html><title>Welcome</title>", b"Content-Type: text/html\r\n")


def garbage(client, _):
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def other_shape(client, _):
    plain(client, npz_bytes({"label_map": np.zeros((30, 20), np.uint8), "confidence": np.zeros((30, 20), np.float32)}))


def no_class(client, _):
    plain(
        client, npz_bytes({"label_map": np.full((20, 30), 7, np.uint8), "confidence": np.zeros((20, 30), np.float32)})
    )


def not_a_number(client, _):
    plain(
        client,
        npz_bytes({"label_map": np.zeros((20, 30), np.uint8), "confidence": np.full((20, 30), np.nan, np.float32)}),
    )


def pickled(client, _):
    content = BytesIO()
    np.savez(content, label_map=np.array([print], dtype=object), confidence=np.zeros(3))
    plain(client, content.getvalue())


def endless(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        client.sendall(bytes(2**16))


def endless_headers(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


def endless_continue(client, _):
    while True:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_chunks(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        client.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")


def announces_much(client, _):
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")


def unknown_status(client, _):
    client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")


UNFIT = {
    a_page: r"its answer cannot be used \(it is not a complete .npz file",
    garbage: r"its answer is not HTTP \(BadStatusLine\)",
    other_shape: r"its answer cannot be used \(label_map.npy is uint8 of the shape \(30, 20\); expected uint8",
    no_class: r"its answer cannot be used \(label_map holds 7, which is not a class\)",
    not_a_number: r"its answer cannot be used \(confidence holds values outside of 0 to 1\)",
    pickled: r"its answer cannot be used \(label_map.npy is object of the shape \(1,\); expected uint8",
    endless: r"its answer is larger than",
    endless_headers: r"its answer is not HTTP \(HTTPException\)|its answer is larger than",
    endless_continue: r"its answer is larger than expected",
    endless_chunks: r"its answer is larger than",
    announces_much: r"its answer is larger than",
    unknown_status: r"it answers with the status 404",
}


@pytest.mark.parametrize("fault", UNFIT)
def test_an_answer_of_no_maskpencil_server_is_asked_for_thrice_and_ends_the_run(fault, stand_in, remote):
    stand_in.faults = [fault] * 5
    with pytest.raises(ModelError, match=UNFIT[fault]) as caught:
        remote.predict(IMAGE)
    assert str(caught.value).endswith("check that this is the address of maskpencil serve, and of the same version")
    assert len(stand_in.faults) == 5 - retries.UNFIT_TRIES
    stand_in.faults = [fault]
    assert remote.predict(IMAGE).label_map.shape == (20, 30)


def test_an_image_that_the_server_refuses_is_an_error_of_this_image(stand_in, remote):
    statuses = (413, 422, 500)
    stand_in.faults = [partial(busy, status=status) for status in statuses]
    for status in statuses:
        with pytest.raises(ImageError, match=rf"^the server at {stand_in.url} refuses the image \({status}: 64 images"):
            remote.predict(IMAGE)
    assert remote.retries == 0


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, r"refuses the request \(400: 64 images wait\)$"),
        (401, "demands a token, but the token is missing or wrong; give the file"),
        (403, r"refuses this client \(403: 64 images wait\); check the address"),
        (421, r"refuses this client \(421: 64"),
        (301, r"answers with a redirect \(301\), which is not followed"),
        (308, r"answers with a redirect \(308\)"),
    ],
)
def test_a_server_that_refuses_the_client_ends_the_run(status, message, stand_in, remote):
    stand_in.faults = [partial(busy, status=status)]
    with pytest.raises(ConfigError, match=message):
        remote.predict(IMAGE)
    assert len(stand_in.requests) == 2


def test_a_wait_ends_soon_when_the_results_are_not_wanted_any_more(stand_in, remote):
    ended, asked = threading.Event(), threading.Event()

    def silent(*_):
        asked.set()
        ended.wait(20)

    stand_in.faults = [silent] * 4
    images = iter([IMAGE] * 4)

    def until_asked():
        yield from images
        assert asked.wait(20)
        raise KeyboardInterrupt

    def call(image):
        with pytest.raises(ModelError, match="not awaited any more"):
            remote.predict(image)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), closing(in_parallel(call, until_asked(), workers=4)) as found:
        list(found)
    assert time.monotonic() - began < 10
    ended.set()
