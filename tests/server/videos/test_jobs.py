"""A video over HTTP: from the file that is sent to its results, its end, and what is refused."""

import errno
import json
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.server.clients import Brightness, encoded, png, until

from maskpencil.inference.options import PredictOptions, VideoOptions
from maskpencil.inference.predict import predict
from maskpencil.inference.video.writers import RegionLines
from maskpencil.server.videos import jobs, work


class Patient(Brightness):
    """A model that takes a moment for each frame."""

    def predict_batch(self, images, **asked):
        threading.Event().wait(0.02)
        return super().predict_batch(images, **asked)


class Faulty(Brightness):
    def predict_batch(self, *_, **__):
        raise RuntimeError("a bug in /home/secret/model.bin")


def frames(path) -> np.ndarray:
    with av.open(str(path)) as video:
        return np.array([frame.to_ndarray() for frame in video.decode(video=0)])


def sent(server, content, query="") -> str:
    """The path of a video that is sent to a server."""
    reply = server.ask(f"/v1/videos{query}", content)
    assert (reply.status, reply.json["state"]) == (202, "waiting")
    assert reply.headers["location"] == f"/v1/videos/{reply.json['id']}"
    return reply.headers["location"]


def ended(server, content, query="") -> dict:
    """The final state of a video that is sent to a server."""
    return server.follow(f"{sent(server, content, query)}/events")[-1]


def kept_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_a_video_is_segmented_as_by_predict(start, make_video, tmp_path):
    source = make_video(pts=(0, 1, 2, 5, 6, 9), sound="aac")
    options = PredictOptions(video=VideoOptions(masks="video"))
    predict(Brightness(), [str(source)], out=tmp_path / "out", options=options)
    (tmp_path / "server").mkdir()
    server = start(video_folder=tmp_path / "server")
    path = sent(server, source.read_bytes())
    states = server.follow(f"{path}/events")
    assert states[-1] == {
        **states[0],
        "state": "done",
        "model": "model",
        "frames": 6,
        "total": 6,
        "error": None,
        "warnings": [],
        "files": ["overlay.mp4", "masks.mkv", "regions.jsonl"],
    }
    assert [each["frames"] for each in states] == sorted(each["frames"] for each in states)
    assert server.ask(path).json == states[-1]
    for name, kind in work.RESULTS.items():
        reply = server.ask(f"{path}/{name}")
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, kind)
        (tmp_path / name).write_bytes(reply.content)
    assert np.array_equal(frames(tmp_path / "masks.mkv"), frames(tmp_path / "out/masks/video.mkv"))
    assert (tmp_path / "overlay.mp4").read_bytes() == (tmp_path / "out/overlays/video.mp4").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "regions.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [round(12 * line["time"]) for line in lines] == [0, 1, 2, 5, 6, 9]
    for line, mask in zip(lines, frames(tmp_path / "masks.mkv"), strict=True):
        areas = {
            name: sum(each["area"] for each in line["regions"] if each["class"] == name)
            for name in Brightness.classes.names
        }
        assert areas == {"dark": (mask == 0).sum(), "bright": (mask == 1).sum()}
        assert all(each["polygons"] for each in line["regions"])
    assert kept_files(tmp_path / "server") == sorted(work.RESULTS)  # the video itself is not kept


def test_small_regions_are_left_out(start, make_video):
    server = start()
    path = sent(server, make_video(pts=(0, 1)).read_bytes(), "?min_area=100000")
    assert server.follow(f"{path}/events")[-1]["state"] == "done"
    lines = server.ask(f"{path}/regions.jsonl").content.splitlines()
    assert [json.loads(line)["regions"] for line in lines] == [[], []]


def test_the_model_is_chosen_by_name(start, make_video):
    one, other = Brightness(), Brightness()
    server = start({"one": one, "other": other})
    assert ended(server, make_video(pts=(0, 1)).read_bytes(), "?model=other")["model"] == "other"
    assert (len(one.seen), len(other.seen)) == (0, 2)
    assert server.ask("/v1/videos?model=third", b"x").status == 400


def test_a_part_of_a_result_is_sent(start, make_video):
    server = start()
    path = sent(server, make_video(pts=(0, 1)).read_bytes()) + "/overlay.mp4"
    server.follow(path.replace("overlay.mp4", "events"))
    whole = server.ask(path)
    size = len(whole.content)
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, part in {"5-9": slice(5, 10), "5-": slice(5, None), "-7": slice(-7, None), "0-0": slice(0, 1)}.items():
        reply = server.ask(path, Range=f"bytes={asked}")
        assert (reply.status, reply.content) == (206, whole.content[part])
    assert server.ask(path, Range="bytes=5-9").headers["content-range"] == f"bytes 5-9/{size}"
    for asked in (f"bytes={size}-", "bytes=-0"):
        reply = server.ask(path, Range=asked)
        assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{size}")
        assert reply.json == {
            "error": f"the file has {size} bytes, none of them in the range; ask for a range within the file"
        }
    for asked in ("bytes=9-5", "bytes=a-b", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=-"):
        reply = server.ask(path, Range=asked)
        assert (reply.status, len(reply.content)) == (200, size), asked


def test_videos_are_computed_one_after_the_other_and_counted(start, make_video):
    server = start()
    server.predictor.may_run.clear()
    content = make_video(pts=(0, 1)).read_bytes()
    paths = [sent(server, content) for _ in range(3)]
    until(lambda: server.ask(paths[0]).json["state"] == "running")
    assert [server.ask(path).json["state"] for path in paths[1:]] == ["waiting", "waiting"]
    assert (
        server.metric('maskpencil_videos{state="waiting"}'),
        server.metric('maskpencil_videos{state="running"}'),
    ) == (2, 1)
    assert server.ask(f"{paths[0]}/masks.mkv").json["error"].endswith("the state of the video is: running")
    server.predictor.may_run.set()
    assert [server.follow(f"{path}/events")[-1]["state"] for path in paths] == ["done"] * 3
    assert server.metric('maskpencil_videos_total{state="done"}') == 3


def test_a_video_that_is_deleted_ends_and_leaves_nothing(start, make_video, tmp_path):
    content = make_video(pts=tuple(range(500))).read_bytes()
    (tmp_path / "server").mkdir()
    server = start(Patient(), video_folder=tmp_path / "server")
    first, second = (sent(server, content) for _ in range(2))
    states: list = []
    reading = threading.Thread(target=lambda: states.extend(server.follow(f"{first}/events")))
    reading.start()
    until(lambda: server.ask(first).json["frames"] > 2)
    assert [server.ask(path, method="DELETE").status for path in (second, first)] == [204, 204]
    assert [server.ask(path, method="DELETE").status for path in (second, first)] == [404, 404]
    reading.join(10)
    assert states[-1]["state"] == "canceled"
    until(lambda: kept_files(tmp_path / "server") == [])
    assert len(server.predictor.seen) < 400
    assert ended(server, make_video(pts=(0, 1)).read_bytes())["state"] == "done"
    assert server.metric('maskpencil_videos_total{state="canceled"}') == 2


def test_results_are_deleted_some_time_after_the_end(start, make_video, tmp_path):
    (tmp_path / "server").mkdir()
    server = start(keep=1, video_folder=tmp_path / "server")
    path = sent(server, make_video(pts=(0, 1)).read_bytes())
    assert server.follow(f"{path}/events")[-1]["state"] == "done"
    until(lambda: server.ask(path).status == 404)
    until(lambda: kept_files(tmp_path / "server") == [])


def test_clients_that_stop_reading_events_cost_nothing(start, make_video):
    server = start()
    server.predictor.may_run.clear()
    path = sent(server, make_video(pts=(0, 1)).read_bytes())
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(f"GET {path}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(9) == b"HTTP/1.1 "
    server.predictor.may_run.set()
    assert server.follow(f"{path}/events")[-1]["state"] == "done"


@pytest.mark.parametrize("name", ["x", "%2e%2e", "A" * 22, "x%00", "..%2f..%2fetc"])
def test_videos_that_do_not_exist_are_not_found(name, server):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/masks.mkv"), ("GET", "/video")):
        reply = server.ask(f"/v1/videos/{name}{path}", method=method)
        assert reply.status == 404
        assert reply.json["error"].startswith("there is no such")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just a text\n" * 100, "the video: is damaged, cut short or not a video"),
        (b"\0" * 5000, "the video: is damaged"),
        (png(), "the file is an image; send it to /v1/mask"),
        (encoded(Image.new("RGB", (60, 80)), "JPEG"), "the file is an image; send it to /v1/mask"),
        (encoded(Image.new("RGB", (60, 80)), "BMP"), "the video: is damaged or not a video"),
    ],
)
def test_what_is_no_video_fails_with_the_reason(content, message, server):
    state = ended(server, content)
    assert (state["state"], state["files"]) == ("failed", [])
    assert state["error"].startswith(message)
    assert "maskpencil-videos" not in state["error"]


def test_a_network_that_fails_says_nothing_of_the_machine(start, make_video, capsys):
    server = start(Faulty())
    state = ended(server, make_video().read_bytes())
    assert (state["state"], state["error"]) == ("failed", "the server failed; its error output names the reason")
    assert "error: a video failed: RuntimeError: a bug in /home/secret/model.bin" in capsys.readouterr().err


def test_frames_beyond_the_limit_are_refused(start, make_video):
    state = ended(start(max_pixels=3000), make_video(size=(48, 64)).read_bytes())
    assert state["error"].startswith("the frames of the video have 64 x 48 pixels, but this server takes at most 3000")


def test_a_damaged_video_is_segmented_as_far_as_possible_and_says_so(start, make_video):
    content = make_video("video.mkv", pts=tuple(range(60))).read_bytes()
    state = ended(start(), content[: len(content) * 2 // 3])
    assert (state["state"], 0 < state["frames"] < 60) == ("done", True)
    assert state["warnings"][0].startswith("the video: is damaged or cut short from second")


REFERENCES = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{url}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na={url}\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT9S"><Period>'
    '<AdaptationSet><Representation id="1" bandwidth="9"><BaseURL>{url}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "smil": '<smil><body><video src="{url}"/></body></smil>',
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "text": "{url}\n",
}


@pytest.mark.parametrize("form", REFERENCES)
def test_files_that_name_others_are_never_followed(form, server, tmp_path, make_video):
    secret = make_video("secret.mp4")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(0)
        urls = [f"http://127.0.0.1:{port}/a.ts", f"file://{secret}", str(secret), "file:///etc/passwd", "/etc/passwd"]
        paths = [sent(server, REFERENCES[form].format(url=url, port=port).encode()) for url in urls]
        for path in paths:
            state = server.follow(f"{path}/events")[-1]
            assert state["state"] == "failed"
            assert "not a video" in state["error"]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_video_is_received_in_chunks_and_the_empty_is_refused(start, make_video):
    server = start()
    content = make_video(pts=(0, 1)).read_bytes()
    assert ended(server, iter([content[:100], content[100:]]))["state"] == "done"
    reply = server.ask("/v1/videos", b"")
    assert (reply.status, reply.json["error"][:44]) == (400, "the body is empty; expected a video file: cu")


def test_a_video_beyond_the_largest_size_is_refused(start, tmp_path):
    server = start(max_video=1000, video_folder=tmp_path)
    assert server.ask("/v1/models").json["max_video"] == 1000
    assert server.ask("/v1/videos", bytes(1001)).status == 413
    with suppress(ConnectionError):
        assert server.ask("/v1/videos", iter([bytes(600)] * 9)).status == 413
    until(lambda: kept_files(tmp_path) == [])


def test_a_client_that_leaves_while_it_sends_leaves_nothing(start, tmp_path):
    server = start(video_folder=tmp_path)
    with server.connect() as connection:
        connection.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n" + bytes(500))
        until(lambda: kept_files(tmp_path) == ["video"])
    until(lambda: kept_files(tmp_path) == [])
    assert server.metric('maskpencil_videos{state="waiting"}') == 0


def test_videos_beyond_the_queue_are_refused(start, make_video, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_WAITING", 1)
    server = start()
    server.predictor.may_run.clear()
    content = make_video(pts=(0, 1)).read_bytes()
    first = sent(server, content)
    until(lambda: server.ask(first).json["state"] == "running")
    sent(server, content)
    reply = server.ask("/v1/videos", content)
    assert (reply.status, reply.headers["retry-after"]) == (503, "60")
    assert reply.json["error"] == "1 videos wait for their turn; send this one again later"
    assert server.ask("/v1/mask", b"").status == 400  # images have their own queue


def test_results_beyond_the_quota_fail_and_leave_the_room_to_others(start, make_video, tmp_path):
    content = make_video().read_bytes()
    (tmp_path / "server").mkdir()
    server = start(video_quota=len(content) + 500, video_folder=tmp_path / "server")
    for _ in range(2):
        state = ended(server, content)
        assert (state["state"], state["error"]) == (
            "failed",
            "the results have no room on this server; delete other videos, or send a shorter video",
        )
    until(lambda: kept_files(tmp_path / "server") == [])


def test_a_video_that_the_quota_has_no_room_for_is_refused_until_another_is_deleted(start, make_video, monkeypatch):
    content = make_video().read_bytes()
    server = start(video_quota=10 * len(content))
    path = sent(server, content)
    assert server.follow(f"{path}/events")[-1]["state"] == "done"
    for body in (bytes(9 * len(content)), iter([bytes(9 * len(content))])):
        reply = server.ask("/v1/videos", body)
        assert (reply.status, reply.headers["retry-after"]) == (503, "60")
        assert reply.json["error"].startswith("the videos on this server leave no room for this one; delete some")
    server.ask(path, method="DELETE")
    assert ended(server, bytes(9 * len(content)))["state"] == "failed"  # it has room, but is no video


def test_a_full_disk_refuses_a_video_and_nothing_else(start, make_video, monkeypatch, tmp_path):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "server").mkdir()
    server, content = start(video_folder=tmp_path / "server"), make_video(pts=(0, 1)).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "_write_all", no_room)
        reply = server.ask("/v1/videos", content)
    assert (reply.status, reply.headers["retry-after"]) == (503, "60")
    assert reply.json["error"] == "the disk of the server is full; send the video again later"
    with monkeypatch.context() as patched:
        patched.setattr(RegionLines, "write", no_room)
        state = ended(server, content)
        assert server.ask("/v1/mask", png()).status == 200
    assert (state["state"], state["error"]) == (
        "failed",
        "the results cannot be written on the server (no space left on device)",
    )
    until(lambda: kept_files(tmp_path / "server") == [])
    assert ended(server, content)["state"] == "done"
