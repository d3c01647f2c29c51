import asyncio
import re
import threading
import time
from contextlib import contextmanager, suppress
from threading import Event

import pytest
from tests.server.clients import SICK, Brightness, png, until

from maskpencil.server import turns as turns_module
from maskpencil.server.refusals import BusyError
from maskpencil.server.turns import CanceledError, Turns


def turned(scenario, **settings):
    """Run a coroutine with turns: one worker, room for two calls."""

    async def run():
        return await scenario(turns)

    turns = Turns(**({"workers": 1, "depth": 2, "seconds": 10} | settings))
    try:
        return asyncio.run(asyncio.wait_for(run(), 20))
    finally:
        for pool in turns.pools:
            pool.shutdown()


def test_calls_run_in_their_order_and_a_full_queue_refuses():
    gate, order = Event(), []

    def call(name):
        assert gate.wait(10)
        order.append(name)
        return name

    async def scenario(turns):
        calls = [asyncio.create_task(turns.run(lambda name=name: call(name))) for name in "abc"]
        await asyncio.sleep(0)
        assert (turns.running, turns.waiting) == (1, 2)
        with pytest.raises(BusyError, match="2 images wait for their turn") as caught:
            await turns.run(lambda: call("d"))
        assert caught.value.headers == {"Retry-After": "2"}
        gate.set()
        results = await asyncio.gather(*calls)
        await asyncio.sleep(0.01)
        return results, turns.running, turns.waiting

    assert turned(scenario) == (["a", "b", "c"], 0, 0)
    assert order == ["a", "b", "c"]


def test_as_many_run_at_once_as_there_are_workers():
    gate = Event()

    async def scenario(turns):
        calls = [asyncio.create_task(turns.run(lambda: gate.wait(10))) for _ in range(5)]
        await asyncio.sleep(0)
        running = turns.running
        gate.set()
        await asyncio.gather(*calls)
        return running

    assert turned(scenario, workers=3) == 3


def test_a_call_whose_caller_is_gone_never_runs_and_leaves_its_place():
    gate, ran = Event(), []

    async def scenario(turns):
        first = asyncio.create_task(turns.run(lambda: gate.wait(10)))
        gone = asyncio.create_task(turns.run(lambda: ran.append("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert turns.waiting == 0
        last = asyncio.create_task(turns.run(lambda: ran.append("last")))
        gate.set()
        await asyncio.gather(first, last)

    turned(scenario)
    assert ran == ["last"]


def test_a_call_that_runs_keeps_its_thread_when_its_caller_is_gone():
    gate = Event()

    async def scenario(turns):
        first = asyncio.create_task(turns.run(lambda: gate.wait(10)))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.02)
        assert turns.running == 1
        second = asyncio.create_task(turns.run(lambda: 2))
        await asyncio.sleep(0.02)
        assert turns.waiting == 1
        gate.set()
        return await second

    assert turned(scenario) == 2


def test_a_turn_that_does_not_come_in_time_is_refused():
    gate = Event()

    async def scenario(turns):
        first = asyncio.create_task(turns.run(lambda: gate.wait(10)))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match=r"the image waited 0\.1 s for its turn; send it again later"):
            await turns.run(lambda: 2)
        gate.set()
        await first
        return await turns.run(lambda: 3)

    assert turned(scenario, seconds=0.1) == 3


def test_an_error_of_a_call_is_its_callers_alone():
    async def scenario(turns):
        with pytest.raises(ZeroDivisionError):
            await turns.run(lambda: 1 / 0)
        return await turns.run(lambda: 2)

    assert turned(scenario) == 2


def test_after_closing_nothing_waits_or_begins():
    gate = Event()

    async def scenario(turns):
        first, second = (asyncio.create_task(turns.run(lambda: gate.wait(10))) for _ in range(2))
        await asyncio.sleep(0)
        turns.close()
        with pytest.raises(BusyError, match="the server is stopping"):
            await second
        with pytest.raises(BusyError, match="the server is stopping"):
            await turns.run(lambda: 3)
        gate.set()
        return await first

    assert turned(scenario) is True


def test_a_full_server_refuses_images_and_says_so(start):
    server = start(Brightness(), queue=1)
    server.predictor.may_run.clear()
    body = png()
    waiting = [server.connect() for _ in range(2)]
    for number, connection in enumerate(waiting):
        connection.sendall(
            b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        until(lambda number=number: (len(server.predictor.seen), waiting_images(server)) == (1, number))
    reply = server.ask("/v1/mask", body)
    assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "2", "close")
    assert server.ask("/readyz").status == 503
    assert server.ask("/healthz").status == 200
    waiting[1].close()  # its image is not computed
    until(lambda: waiting_images(server) == 0)
    server.predictor.may_run.set()
    assert waiting[0].recv(65536).startswith(b"HTTP/1.1 200 ")
    assert server.ask("/v1/mask", png((9, 9))).status == 200
    assert server.predictor.seen == [(8, 12, 3), (9, 9, 3)]
    waiting[0].close()


def test_images_beside_one_that_fails_are_answered(start):
    server = start(Brightness(workers=3))
    server.predictor.may_run.clear()
    connections = []
    for size in ((8, 12), SICK, (9, 9)):
        body = png(size)
        connections.append(server.connect())
        connections[-1].sendall(
            b"POST /v1/mask HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
    until(lambda: len(server.predictor.seen) == 3)
    server.predictor.may_run.set()
    assert [connection.recv(65536)[9:12] for connection in connections] == [b"200", b"500", b"200"]
    for connection in connections:
        connection.close()


def waiting_images(server) -> int:
    (number,) = re.findall(rb"^maskpencil_images_waiting (\d+)$", server.ask("/metrics").content, flags=re.MULTILINE)
    return int(number)


@contextmanager
def frames(turns, stop, seen, gate):
    """A thread that computes frames one after the other, each of which waits for `gate`."""

    def work():
        with suppress(CanceledError):
            while True:
                with turns.frame(loop, stop):
                    seen.append("frame")
                    assert gate.wait(10)

    loop = asyncio.get_running_loop()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        gate.set()
        stop.set()
        thread.join()


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_frame_takes_the_place_of_an_image_and_images_come_before_the_next(monkeypatch):
    monkeypatch.setattr(turns_module, "PAUSE_SECONDS", 60.0)
    seen, gate, stop = [], Event(), Event()

    async def scenario(turns):
        with frames(turns, stop, seen, gate):
            await eventually(lambda: seen == ["frame"])
            images = [asyncio.create_task(turns.run(lambda: seen.append("image"))) for _ in range(3)]
            await asyncio.sleep(0.02)
            assert (turns.running, turns.waiting, seen) == (0, 3, ["frame"])
            gate.set()
            await asyncio.gather(*images)
            await eventually(lambda: seen.count("frame") > 1)
        assert seen[:5] == ["frame", "image", "image", "image", "frame"]

    turned(scenario, depth=3)


def test_a_video_moves_even_if_images_never_end(monkeypatch):
    monkeypatch.setattr(turns_module, "PAUSE_SECONDS", 0.1)
    seen, gate, stop = [], Event(), Event()
    gate.set()

    async def images(turns):
        while seen.count("frame") < 4:
            await turns.run(lambda: (seen.append("image"), Event().wait(0.01)))

    async def scenario(turns):
        many = [asyncio.create_task(images(turns)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with frames(turns, stop, seen, gate):
            await asyncio.gather(*many)
        assert seen.count("image") > 4 * seen.count("frame")

    turned(scenario, depth=3)


def test_a_frame_that_waits_is_canceled_and_leaves_its_place(monkeypatch):
    monkeypatch.setattr(turns_module, "PAUSE_SECONDS", 60.0)
    seen, gate, stop, running = [], Event(), Event(), Event()

    async def scenario(turns):
        with frames(turns, Event(), seen, gate):
            await eventually(lambda: seen == ["frame"])
            with frames(turns, stop, seen, running):
                await asyncio.sleep(0.02)
                stop.set()
            gate.set()
            assert await turns.run(lambda: 7) == 7

    turned(scenario)


def test_after_an_image_frames_run_one_at_a_time(monkeypatch):
    monkeypatch.setattr(turns_module, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(turns_module, "IDLE_SECONDS", 0.3)
    seen, gate = [], Event()

    async def scenario(turns):
        await turns.run(lambda: None)
        begun = time.monotonic()
        with frames(turns, Event(), seen, gate), frames(turns, Event(), seen, gate):
            await eventually(lambda: len(seen) == 1)
            assert await turns.run(lambda: 7) == 7  # the other place was left to images
            await eventually(lambda: len(seen) == 2)
            assert time.monotonic() - begun > 0.3

    turned(scenario, workers=2)


def test_two_frames_run_beside_each_other_if_there_are_no_images():
    seen, gate = [], Event()

    async def scenario(turns):
        with frames(turns, Event(), seen, gate), frames(turns, Event(), seen, gate):
            await eventually(lambda: len(seen) == 2)
            assert turns.running == 0

    turned(scenario, workers=2)
