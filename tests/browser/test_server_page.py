"""The page of the server in Chromium: files go to the server and come back as masks, whatever happens on the way."""

import base64
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from tests.browser.opened import Opened, accessible, save_image
from tests.report.encoded import Encoded, squares
from tests.server.clients import Served, until

import maskpencil as mp
from maskpencil.server import ServeOptions, refusals, serve

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = ("ground", "box", "ball", "</script><script>alert(1)</script>", "tree")

PLAYS = "document.getElementById('player').currentTime > 0"

Start = Callable[..., Served]


class Gated(Encoded):
    """A predictor that reads its prediction from the image, as often as it may."""

    def __init__(self, turns: int = 10_000) -> None:
        super().__init__(NAMES, lambda label_map: np.minimum(label_map, len(NAMES) - 1))
        self.turns = Semaphore(turns)

    def predict_batch(self, images: Sequence[Any], **options: Any) -> list[mp.Prediction]:
        assert self.turns.acquire(timeout=30)
        return super().predict_batch(images, **options)


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start servers, which stop after the tests of this module."""
    with ExitStack() as stack:

        def started(predictor: Any = None, *, more: Any = None, **settings: Any) -> Served:
            predictor = predictor or Gated()
            models = {"street": predictor, **(more or {})}
            server = stack.enter_context(serve(models, options=ServeOptions(port=0, **settings)))
            return Served(predictor, server.url, server.count)

        yield started


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Open pages of servers; after the test, no other origin was asked and no script has failed."""
    visited: list[Opened] = []

    def opened(server: Served, **context: object) -> Opened:
        visited.append(Opened(browser, f"{server.url}/", **context))
        return visited[-1]

    yield opened
    for each in visited:
        others = [url for url in each.requests if not url.startswith((each.address, "data:", f"blob:{each.address}"))]
        faults = [text for text in each.faults if not text.startswith("Failed to load resource")]
        each.page.context.close()
        assert not others
        assert not faults


def write_images(folder: Path, count: int, *, side: int = 40) -> list[Path]:
    """Write images from which `Gated` reads its predictions."""
    maps = squares(count, len(NAMES), side=side)
    files = []
    for name, label_map in maps.items():
        image = np.full((*label_map.shape, 3), 250, np.uint8)
        image[..., 0] = label_map * 8
        files.append(save_image(folder / f"{name}.png", image))
    return files


def write_clip(path: Path, frames: int = 12) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(frames):
            image = np.full((48, 64, 3), 8 * (number % len(NAMES)), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def drop(page: Page, files: Sequence[Path]) -> None:
    """Drop files on the page, as a file manager does."""
    contents = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    page.evaluate(
        """(files) => {
          const dataTransfer = new DataTransfer();
          for (const [name, content] of files) {
            dataTransfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
          }
          document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }""",
        contents,
    )


def row(page: Page, name: str) -> Any:
    return page.locator("#rows li").filter(has=page.get_by_text(name, exact=True))


def counted(page: Page, text: str) -> None:
    page.get_by_text(text, exact=True).wait_for()


def test_many_files_become_the_masks_of_predict(visit: Any, start: Start, tmp_path: Path) -> None:
    server = start()
    files = write_images(tmp_path, 29)
    files[1] = files[1].rename(tmp_path / "<img src=x onerror=alert(1)>&'.png")
    Image.open(files[0]).save(tmp_path / "scan.tif")
    damaged = b"\xff\xd8\xff" + bytes(100)
    (tmp_path / "cut.jpg").write_bytes(damaged)
    (tmp_path / "empty.png").write_bytes(b"")
    files += [tmp_path / "scan.tif"]
    opened = visit(server)
    page = opened.page
    page.locator("#chips li").nth(4).wait_for()
    accessible(page)
    drop(page, [*files, files[0], tmp_path / "cut.jpg", tmp_path / "empty.png"])
    counted(page, "31 of 33 done, 2 failed")
    assert row(page, "cut.jpg").locator(".note").inner_text() == server.ask("/v1/mask", damaged).json["error"]
    assert "has 0 bytes" in row(page, "empty.png").inner_text()
    accessible(page)

    mp.predict(Gated(), files, out=tmp_path / "out")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out" / "masks").iterdir()}
    twice = {f"{files[0].stem} (2).png": expected[f"{files[0].stem}.png"]}
    with zipfile.ZipFile(BytesIO(opened.saved("Save all masks"))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == expected | twice

    name = files[7].name
    row(page, name).get_by_role("button").click()
    page.locator("#facts", has_text="40 × 40 pixels").wait_for()
    assert opened.text("name") == name
    assert opened.saved("Save mask") == expected[name]
    assert opened.name == f"{files[7].stem}_mask.png"
    label_map = np.array(Image.open(BytesIO(expected[name])))
    shares = [float(text.rstrip(" %")) for text in page.locator("#legend .share").all_inner_texts()]
    np.testing.assert_allclose(shares, np.bincount(label_map.ravel(), minlength=5) / 16, atol=0.06)
    page.locator("#opacity").fill("100")
    page.get_by_role("button", name="Hide all").click()
    page.locator("#legend").get_by_label("ball").check()
    overlay = np.array(Image.open(BytesIO(opened.saved("Save overlay"))).convert("RGB"))
    colors = Gated().classes.colors
    image = np.array(Image.open(files[7]))
    assert np.array_equal(overlay, np.where((label_map == 2)[..., None], colors[2], image))
    page.locator("#split").fill("40")
    assert page.locator("#edge").is_visible()
    assert page.locator("#colors").evaluate("each => getComputedStyle(each).clipPath") == "inset(0px 0px 0px 40%)"

    row(page, "scan.tif").get_by_role("button").click()
    page.locator("#facts", has_text="This browser cannot show the file").wait_for()
    assert page.locator("#opacity").is_disabled()
    assert opened.saved("Save overlay") == server.ask("/v1/mask?out=overlay", files[-1].read_bytes()).content
    assert opened.saved("Save mask") == expected["scan.png"]
    page.get_by_role("button", name="Clear list").click()
    assert page.locator("#rows li").count() == 0


def test_busy_servers_are_asked_again_and_files_are_canceled(
    visit: Any, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "RETRY_SECONDS", 1)
    predictor = Gated(turns=0)
    server = start(predictor, queue=1)
    files = write_images(tmp_path, 8)
    others = [Thread(target=server.ask, args=("/v1/mask", files[0].read_bytes())) for _ in range(2)]
    for other in others:
        other.start()
    until(lambda: "maskpencil_images_waiting 1" in server.ask("/metrics").content.decode())
    opened = visit(server)
    page = opened.page
    drop(page, files)
    first = row(page, files[0].name)
    first.locator(".note", has_text="1 images wait for their turn").wait_for()
    row(page, files[7].name).get_by_role("button", name="Cancel").click()
    counted(page, "0 of 8 done, 1 canceled")
    predictor.turns.release(3)
    counted(page, "1 of 8 done, 1 canceled")
    page.get_by_role("button", name="Cancel all").click()
    counted(page, "1 of 8 done, 7 canceled")
    assert "canceled" in opened.text("live")
    predictor.turns.release(100)
    row(page, files[7].name).get_by_role("button", name="Try again").press("Enter")
    counted(page, "2 of 8 done, 6 canceled")
    for other in others:
        other.join(20)


def test_nothing_is_lost_while_the_server_is_started_again(visit: Any, tmp_path: Path) -> None:
    predictor = Gated(turns=4)
    files = write_images(tmp_path, 12)
    with serve(predictor, options=ServeOptions(port=0)) as running:
        server = Served(predictor, running.url, running.count)
        opened = visit(server)
        page = opened.page
        drop(page, files)
        counted(page, "4 of 12 done")
        drop(page, [write_clip(tmp_path / "drive.mp4", frames=200)])
        row(page, "drive.mp4").locator(".note", has_text=re.compile("turn|frame")).wait_for()
        predictor.turns.release(100)
    page.locator("#away").wait_for()
    accessible(page)
    assert int(opened.text("count").split()[0]) < 13
    with serve(Gated(), options=ServeOptions(port=server.address[1])):
        counted(page, "13 of 13 done")
        assert not page.locator("#away").is_visible()
        with zipfile.ZipFile(BytesIO(opened.saved("Save all masks"))) as archive:
            assert len(archive.namelist()) == 12
        row(page, "drive.mp4").get_by_role("button").click()
        until(lambda: page.evaluate(PLAYS))


def test_the_token_is_asked_for_and_kept_in_the_tab_alone(visit: Any, start: Start, tmp_path: Path) -> None:
    token = "0123456789abcdef"
    (tmp_path / "token").write_text(token)
    server = start(token_file=tmp_path / "token")
    opened = visit(server)
    page = opened.page
    field = page.get_by_role("textbox", name="Token")
    field.fill("not the token")
    field.press("Enter")
    page.get_by_text("and no spaces").wait_for()
    field.fill("not-the-token-at-all")
    field.press("Enter")
    page.get_by_text("The server does not accept this token.").wait_for()
    accessible(page)
    field.fill(token)
    field.press("Enter")
    page.locator("#chips li").first.wait_for()
    page.reload()
    page.locator("#chips li").first.wait_for()
    opened.choose(*write_images(tmp_path, 1), write_clip(tmp_path / "drive.mp4"))
    counted(page, "2 of 2 done")
    row(page, "drive.mp4").get_by_role("button").click()
    until(lambda: page.evaluate(PLAYS))
    assert opened.saved("Save regions").count(b"\n") >= 12
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert token not in " ".join(opened.requests)


def test_a_model_is_chosen_and_gets_files_and_the_camera(visit: Any, start: Start, tmp_path: Path) -> None:
    opened = visit(start(more={"flat": Encoded(("low", "high"), np.ones_like)}))
    page = opened.page
    page.get_by_label("Model").select_option("flat")
    page.locator("#chips li", has_text="high").wait_for()
    assert opened.text("title") == "flat"
    opened.choose(*write_images(tmp_path, 1))
    counted(page, "1 of 1 done")
    assert page.locator("#legend bdi").all_inner_texts() == ["low", "high"]
    assert np.array_equal(np.array(opened.mask()), np.ones((40, 40)))
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#facts", has_text="frames a second").wait_for()
    assert "640 × 480 pixels" in opened.text("facts")
    mask = opened.mask()
    assert mask.size == (640, 480)
    assert mask.getextrema() == (1, 1)
    page.get_by_role("button", name="Stop the camera").click()
    opened.wait("The camera is off")


def test_videos_are_followed_played_saved_and_kept_over_a_reload(visit: Any, start: Start, tmp_path: Path) -> None:
    predictor = Gated(turns=12)
    server = start(predictor)
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)))
    drive, second = (write_clip(tmp_path / f"{name}.mp4") for name in ("drive", "second"))
    opened = visit(server)
    page = opened.page
    opened.choose(drive)
    counted(page, "1 of 1 done")
    until(lambda: page.evaluate(PLAYS))
    assert row(page, "drive.mp4").locator(".note").inner_text() == "12 frames"

    predictor.turns.release(3)
    opened.choose(second)
    row(page, "second.mp4").locator(".note", has_text="frame 3 of 12").wait_for()
    page.reload()
    counted(page, "1 of 2 done")
    row(page, "second.mp4").get_by_role("button", name="Cancel").click()
    counted(page, "1 of 2 done, 1 canceled")
    predictor.turns.release(100)
    opened.choose(tmp_path / "noise.mp4")
    failed = row(page, "noise.mp4").locator(".note")
    counted(page, "1 of 3 done, 1 failed, 1 canceled")
    assert "damaged" in failed.inner_text()
    row(page, "drive.mp4").get_by_role("button").click()
    accessible(page)
    (tmp_path / "saved.mp4").write_bytes(opened.saved("Save video"))
    assert opened.name == "drive_overlay.mp4"
    with av.open(str(tmp_path / "saved.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    assert opened.saved("Save regions").count(b"\n") >= 12
    assert opened.name == "drive_regions.jsonl"
    assert len(opened.saved("Save masks")) > 0

    kept = page.evaluate("JSON.parse(sessionStorage.getItem('maskpencil-videos')).map(({ id }) => id)")
    assert server.ask(f"/v1/videos/{kept[0]}", method="DELETE").status == 204, "as after some time"
    row(page, "drive.mp4").get_by_role("button").click()
    page.locator(".problem", has_text="The server no longer has this video").wait_for()
    assert opened.text("name") == "No result"
    page.get_by_role("button", name="Clear list").click()
    assert page.evaluate("JSON.parse(sessionStorage.getItem('maskpencil-videos') ?? '[]').length") == 0
    page.reload()
    page.locator("#chips li").first.wait_for()
    assert not page.locator("#queue").is_visible()
