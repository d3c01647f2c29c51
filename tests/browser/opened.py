"""A page that was opened in a browser, images for it, and a server on this machine."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Dialog, Download, Page

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage, scaled
from maskpencil.label_maps import LabelMap

CLASSES = ClassSet(("sky", "road", "car", "tree", "</script><script>alert(1)</script>"))

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

EQUAL = 0.9999
"""The share of pixels that must have the label of the segmenter."""


class Opened:
    """A page that was opened, with what it requested and what went wrong."""

    def __init__(self, browser: Browser, address: str, *, script: str = "", **context: object) -> None:
        self.address, self.requests, self.faults = address, [], []
        size = {"width": 1200, "height": 900}
        self.page: Page = browser.new_context(**{"viewport": size, **context}).new_page()  # type: ignore[arg-type]
        if script:
            self.page.add_init_script(script)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self._answer)
        self.page.goto(address, wait_until="load")
        self.page.bring_to_front()

    def _answer(self, dialog: Dialog) -> None:
        """Leave the page if it asks about that; any other dialog is a fault."""
        if dialog.type == "beforeunload":
            dialog.accept()
        else:
            self.faults.append(dialog.message)
            dialog.dismiss()

    def choose(self, *files: Path) -> None:
        self.page.set_input_files("#file", files)

    def wait(self, text: str, *, seconds: float = 30) -> None:
        """Wait until the page says a text to users of screen readers."""
        self.page.locator("#live", has_text=text).wait_for(state="attached", timeout=1000 * seconds)

    def text(self, part: str) -> str:
        return self.page.locator(f"#{part}").inner_text()

    def saved(self, button: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=button).click()
        download: Download = waiting.value
        self.name = download.suggested_filename
        return download.path().read_bytes()

    def mask(self) -> Image.Image:
        return Image.open(BytesIO(self.saved("Save mask")))

    def assert_sound(self) -> None:
        """Check that nothing but the file itself was requested, and that nothing went wrong."""
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [self.address]
        assert not self.faults


Open = Callable[..., Opened]


def accessible(page: Page) -> None:
    """Check a page in its present state: light, dark, and in a narrow window."""
    width = page.viewport_size["width"]  # type: ignore[index]
    for scheme, present, options in (
        ("light", width, {"resultTypes": ["violations"]}),
        ("dark", width, {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}),
        ("light", 360, {"resultTypes": ["violations"]}),
    ):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size({"width": present, "height": 900})
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(reduced_motion="no-preference")


def draw(height: int, width: int, seed: int = 0) -> RGBImage:
    """An image of soft spots, so that every class is somewhere."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return scaled(coarse, (height, width))


def save_image(path: Path, image: RGBImage, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)  # type: ignore[arg-type]
    return path


def write_clip(path: Path, times: list[int]) -> Path:
    """Write a video whose frames have the times, in 1/1000 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(96, 128, number % 3), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def agreement(mask: Image.Image, expected: LabelMap) -> float:
    values: npt.NDArray[np.uint8] = np.array(mask)
    assert values.shape == expected.shape
    return float((values == expected).mean())


@contextmanager
def served(folder: Path, headers: Mapping[str, str]) -> Iterator[str]:
    """Serve a folder with additional headers, and yield its address."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
