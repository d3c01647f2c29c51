import socket
import threading
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.server.clients import Brightness, png, received, until

from maskpencil.errors import ConfigError, ModelError, StalledError
from maskpencil.server import ServeOptions, running, serve

REQUEST = b"POST /v1/mask?out=json HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(png()), png())


def test_what_was_received_is_answered_at_the_end_and_nothing_else():
    predictor = Brightness()
    predictor.may_run.clear()
    with serve(predictor, options=ServeOptions(port=0)) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        connections = [socket.create_connection(address, timeout=20) for _ in range(3)]
        for connection in connections[:2]:
            connection.sendall(REQUEST)
        until(lambda: predictor.seen)
        threading.Timer(0.3, predictor.may_run.set).start()
    answers = [received(connection) for connection in connections]
    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b""]
    assert server.count() == 2
    for connection in connections:
        connection.close()
    with pytest.raises(URLError):
        urlopen(f"{server.url}/healthz")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskpencil")]


def test_what_cannot_be_answered_in_time_is_refused_at_the_end(monkeypatch):
    monkeypatch.setattr(running, "FINISH_SECONDS", 0.1)
    predictor = Brightness()
    predictor.may_run.clear()
    with serve(predictor, options=ServeOptions(port=0)) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        connections = [socket.create_connection(address, timeout=20) for _ in range(2)]
        for connection in connections:
            connection.sendall(REQUEST)
            until(lambda: predictor.seen)
        time.sleep(0.1)
        threading.Timer(0.6, predictor.may_run.set).start()
    assert received(connections[0]).startswith(b"HTTP/1.1 200 OK")
    refused = received(connections[1])
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert refused.endswith(b'{"error": "the server is stopping"}\n')
    for connection in connections:
        connection.close()


def test_a_body_that_is_still_coming_at_the_end_is_refused(monkeypatch):
    monkeypatch.setattr(running, "FINISH_SECONDS", 0.1)
    monkeypatch.setattr(running, "STOP_SECONDS", 0.2)
    with serve(Brightness(), options=ServeOptions(port=0)) as server:
        connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20)
        connection.sendall(REQUEST[:-10])
        time.sleep(0.2)
        answers = []
        reading = threading.Thread(target=lambda: answers.append(received(connection)))
        reading.start()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    reading.join()
    assert answers[0].startswith(b"HTTP/1.1 503 ")
    connection.close()


def test_a_prediction_that_never_ends_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "FINISH_SECONDS", 0.1)
    monkeypatch.setattr(running, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(running, "END_SECONDS", 0.5)
    predictor = Brightness()
    predictor.may_run.clear()
    with (  # noqa: PT012
        pytest.raises(StalledError, match="a prediction did not end in time"),
        serve(predictor, options=ServeOptions(port=0, video_folder=tmp_path)) as server,
    ):
        connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20)
        connection.sendall(REQUEST)
        until(lambda: predictor.seen)
    assert received(connection).startswith(b"HTTP/1.1 503 ")
    connection.close()
    assert list(tmp_path.iterdir()) == []
    predictor.may_run.set()


def test_two_servers_of_one_model_run_beside_each_other():
    predictor = Brightness()
    with serve(predictor, options=ServeOptions(port=0)) as one, serve(predictor, options=ServeOptions(port=0)) as other:
        assert one.url != other.url
        for server in (one, other):
            with urlopen(f"{server.url}/healthz") as answer:
                assert answer.read() == b"ok\n"


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no such model folder"), serve(tmp_path / "nowhere"):
        pass
    with pytest.raises(ConfigError, match="must be a Segmenter or a model folder"), serve(3):
        pass


def test_an_error_in_the_block_ends_the_server():
    with pytest.raises(ZeroDivisionError), serve(Brightness(), options=ServeOptions(port=0)):
        raise ZeroDivisionError
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskpencil")]


@pytest.mark.slow
def test_a_segmenter_gives_the_masks_of_predictions(make_segmenter, tmp_path):
    segmenter = make_segmenter(image_size=(64, 64))
    segmenter.predict(png((40, 60))).save(tmp_path / "mask.png")
    with serve(segmenter, options=ServeOptions(port=0)) as server:
        with urlopen(f"{server.url}/v1/mask", png((40, 60))) as answer:
            assert answer.read() == (tmp_path / "mask.png").read_bytes()
        with urlopen(f"{server.url}/v1/models") as answer:
            assert b'"image_size": [64, 64]' in answer.read()


def test_a_server_that_breaks_is_noticed(monkeypatch):
    async def breaks(self, counter):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), serve(Brightness(), options=ServeOptions(port=0)) as server:  # noqa: PT012
        assert server.is_running()
        monkeypatch.setattr(running.uvicorn.Server, "on_tick", breaks)
        until(lambda: not server.is_running())
