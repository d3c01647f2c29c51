"""The page in Chromium: opened from a file, it segments as a segmenter does, without any request."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Download, Page, sync_playwright
from tests.helpers import add_smallest_backbone, chromium, page_assets
from tests.report.encoded import HOSTILE

from maskpencil.classes import ClassSet
from maskpencil.images import RGBImage, scaled
from maskpencil.label_maps import LabelMap
from maskpencil.model_folder import ModelParts, write_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.page import write, write_page
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CLASSES = ClassSet(("sky", "road", "car", "tree", "</script><script>alert(1)</script>"))

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

EQUAL = 0.9999
"""The share of pixels that must have the label of the segmenter."""


def build_model(folder: Path, classes: ClassSet, backbone: str) -> Path:
    """Write a small network of random weights, which float16 holds exactly, that gives every class somewhere."""
    torch.manual_seed(0)
    network = build_fcn(FCNConfig(len(classes), backbone), weights="none")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("score") or (name.startswith("upscore") and parameter.requires_grad):
                torch.nn.init.normal_(parameter, std=0.1)
            parameter.copy_(parameter.half().float())
    write_model_folder(folder, ModelParts(network, classes, Preprocessing((0.5, 0.4, 0.3), (0.2, 0.25, 0.2))))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        smallest = add_smallest_backbone(patch)
        yield build_model(tmp_path_factory.mktemp("model") / "street" / "model", CLASSES, smallest)


@pytest.fixture(scope="module")
def network(model: Path) -> bytes:
    page_assets()
    return write.onnx_of(model)


@pytest.fixture(scope="module")
def road(model: Path, network: bytes) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "onnx_of", lambda _: network)  # it takes seconds, and several pages need it
        return write_page(model, model.parent / "road.html", title="Road").path


@pytest.fixture(scope="module")
def segmenter(model: Path) -> Segmenter:
    return Segmenter.from_pretrained(model, runtime="torch", device="cpu", precision="fp32")


def launched(*flags: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *flags])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched()


class Opened:
    """A page that was opened from its file, with what it requested and what went wrong."""

    def __init__(self, browser: Browser, file: Path, *, script: str = "", part: str = "", **context: object) -> None:
        self.file, self.requests, self.faults = file, [], []
        size = {"width": 1200, "height": 900}
        self.page: Page = browser.new_context(**{"viewport": size, **context}).new_page()  # type: ignore[arg-type]
        if script:
            self.page.add_init_script(script)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.goto(file.as_uri() + part, wait_until="load")
        self.page.bring_to_front()

    def choose(self, *files: Path) -> None:
        self.page.set_input_files("#file", files)

    def wait(self, text: str) -> None:
        """Wait until the page says a text to users of screen readers."""
        self.page.locator("#live", has_text=text).wait_for(state="attached")

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
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [self.file.as_uri()]
        assert not self.faults


Open = Callable[..., Opened]


@pytest.fixture
def opens(browser: Browser) -> Iterator[Open]:
    """Open pages, which are closed after the test."""
    pages: list[Opened] = []

    def opened(file: Path, *, by: Browser = browser, **options: object) -> Opened:
        pages.append(Opened(by, file, **options))
        return pages[-1]

    yield opened
    for each in pages:
        each.page.context.close()


def draw(height: int, width: int, seed: int = 0) -> RGBImage:
    """An image of soft spots, so that every class is somewhere."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return scaled(coarse, (height, width))


def save_image(path: Path, image: RGBImage, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)  # type: ignore[arg-type]
    return path


def agreement(mask: Image.Image, expected: LabelMap) -> float:
    values: npt.NDArray[np.uint8] = np.array(mask)
    assert values.shape == expected.shape
    return float((values == expected).mean())


def test_the_labels_of_the_page_are_those_of_the_segmenter(
    opens: Open, road: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    opened = opens(road)
    for number, (height, width) in enumerate([(120, 160), (97, 203), (33, 47)]):
        image = draw(height, width, number)
        opened.choose(save_image(tmp_path / f"image {number}.png", image))
        opened.wait(f"image {number}.png is segmented")
        mask = opened.mask()
        expected = segmenter.predict(image).label_map
        assert agreement(mask, expected) >= EQUAL
        assert mask.mode == "P"
        assert mask.getpalette()[: 3 * len(CLASSES)] == CLASSES.colors.ravel().tolist()
        assert opened.name == f"image {number}_mask.png"
        assert f"{width} × {height} pixels, computed at this size" in opened.text("facts")
    shares = [float(text.rstrip(" %")) for text in opened.page.locator("#legend .share").all_inner_texts()]
    counts = np.bincount(expected.ravel(), minlength=len(CLASSES)) / expected.size * 100
    np.testing.assert_allclose(shares, counts, atol=0.11)
    assert re.fullmatch(r"processor, one thread: .* an image of 47 × 33", opened.text("processor"))
    assert opened.page.locator("#strip button").count() == 3
    opened.page.get_by_role("button", name="image 1.png").click()
    opened.wait("image 1.png is segmented")
    assert opened.mask().size == (203, 97)
    opened.assert_sound()


def test_a_large_image_is_scaled_down_for_the_network_and_the_page_says_so(
    opens: Open, road: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = draw(1000, 1300)
    opened = opens(road)
    opened.choose(save_image(tmp_path / "large.png", image))
    opened.wait("large.png is segmented")
    found = re.search(r"1300 × 1000 pixels, computed at (\d+) × (\d+) and scaled back", opened.text("facts"))
    assert found
    size = int(found[2]), int(found[1])
    assert 1_030_000 < size[0] * size[1] <= 2**20
    small = segmenter.predict(scaled(image, size)).label_map
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(image.shape[:2], size, strict=True))
    assert agreement(opened.mask(), small[rows][:, columns]) >= EQUAL


def test_an_image_is_turned_upright_by_exif(opens: Open, road: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = save_image(tmp_path / "turned.jpg", draw(90, 150), quality=100, subsampling=0, exif=exif)
    opened = opens(road)
    opened.choose(path)
    opened.wait("turned.jpg is segmented")
    assert "90 × 150 pixels" in opened.text("facts")
    assert agreement(opened.mask(), segmenter.predict(path).label_map) >= EQUAL


def test_classes_are_hidden_and_the_overlay_is_saved_as_it_looks(
    opens: Open, road: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = draw(60, 80)
    opened = opens(road)
    opened.choose(save_image(tmp_path / "image.png", image))
    opened.wait("is segmented")
    opened.page.locator("#opacity").fill("100")
    opened.page.get_by_role("button", name="Hide all").click()
    assert np.array_equal(np.array(Image.open(BytesIO(opened.saved("Save overlay"))).convert("RGB")), image)
    opened.page.get_by_label("road").check()
    overlay = np.array(Image.open(BytesIO(opened.saved("Save overlay"))).convert("RGB"))
    is_road = np.array(opened.mask()) == 1
    assert 0 < is_road.mean() < 1
    assert np.array_equal(overlay, np.where(is_road[..., None], CLASSES.colors[1], image))


def test_hostile_names_run_nothing(
    opens: Open, model: Path, network: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ClassSet(HOSTILE[: len(CLASSES)])
    shutil.copytree(model, tmp_path / "five")
    config = json.loads((tmp_path / "five" / "config.json").read_text())
    (tmp_path / "five" / "config.json").write_text(json.dumps({**config, "classes": names.to_dict()}))
    monkeypatch.setattr(write, "onnx_of", lambda _: network)
    hostile = "</title></script><img src=x onerror=alert(1)>{{script}}"
    file = write_page(tmp_path / "five", tmp_path / "hostile.html", title=hostile).path
    opened = opens(file)
    name = "<img src=x onerror=alert(1)>&'\".png"
    opened.choose(save_image(tmp_path / name, draw(40, 50)))
    opened.wait(f"{name} is segmented")
    assert opened.text("name") == name
    assert opened.page.locator("h1").inner_text() == hostile
    assert opened.page.locator("#legend bdi").first.inner_text() == HOSTILE[0]
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is wider than the window"
    )
    assert opened.page.locator("img").count() == 1, "the image in the row of images"
    opened.assert_sound()


def damaged_files(folder: Path) -> dict[Path, str]:
    """Files that cannot be segmented, each with a part of what the page says about it."""
    image, video = BytesIO(), BytesIO()
    Image.fromarray(draw(200, 300)).save(image, "JPEG")
    with av.open(video, "w", "mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 48000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    contents = {
        "empty.png": (b"", "the file has 0 bytes"),
        "cut.jpg": (image.getvalue()[:600], "is damaged or cut off"),
        "noise.jpg": (b"\xff\xd8\xff" + bytes(range(256)) * 4, "is damaged or cut off"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC image"),
        "song.mp3": (b"ID3" + bytes(500), "holds sound and no image"),
        "sound.mp4": (video.getvalue(), "holds no video that can be read"),
        "cut.mp4": (video.getvalue()[:60], "it is cut off"),
        "noise.mp4": (bytes(range(256)), "is damaged or not an MP4"),
        "scan.tif": (b"II*\0" + bytes(100), "is a TIFF image"),
        "notes.txt": (b"hello", "is neither an image nor a video"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    Image.new("L", (9000, 6000)).save(folder / "huge.png", compress_level=1)
    return {folder / name: part for name, (_, part) in {**contents, "huge.png": (b"", "has 54 megapixels")}.items()}


def test_a_file_that_cannot_be_segmented_is_named_with_what_to_do(opens: Open, road: Path, tmp_path: Path) -> None:
    opened = opens(road)
    for file, part in damaged_files(tmp_path).items():
        opened.choose(file)
        problem = opened.page.locator(".problem span", has_text=file.name)
        problem.wait_for()
        assert part in problem.inner_text()
        assert problem.inner_text().endswith(".")
    assert opened.page.locator(".problem").count() == 1, "those before are gone"
    opened.page.get_by_role("button", name="Close").click()
    opened.choose(tmp_path / "empty.png", save_image(tmp_path / "sound.png", draw(30, 40)))
    opened.wait("sound.png is segmented")
    assert "empty.png" in opened.text("problems")
    opened.assert_sound()


def test_the_camera_runs_and_stops(opens: Open, road: Path) -> None:
    opened = opens(road)
    opened.page.get_by_role("button", name="Use the camera").click()
    opened.wait("The camera runs, computed at")
    facts = opened.page.locator("#facts", has_text="frames a second").inner_text()
    assert re.match(r"640 × 480 pixels, computed at \d+ × \d+ so that it keeps up; \d+ ms a frame", facts)
    assert opened.mask().size == (640, 480)
    assert opened.name == "camera_mask.png"
    opened.page.get_by_role("button", name="Stop the camera").click()
    opened.wait("The camera is off")
    opened.page.get_by_role("button", name="Use the camera").wait_for()
    opened.assert_sound()


def write_clip(path: Path, times: list[int]) -> Path:
    """Write a video whose frames have the times, in 1/1000 s."""
    from fractions import Fraction

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


def frames_of(path: Path) -> list[RGBImage]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def correlation(one: RGBImage, other: RGBImage) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def test_a_video_is_saved_with_the_same_frames_at_the_same_times(
    opens: Open, road: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "drive.mp4", [40 * number + (number > 11) * 200 for number in range(30)])
    opened = opens(road)
    opened.choose(save_image(tmp_path / "image.png", draw(30, 40)))
    opened.wait("is segmented")
    opened.page.locator("#opacity").fill("100")
    opened.choose(clip)
    opened.wait("drive.mp4 is done: 30 frames")
    opened.saved("Save MP4")
    assert opened.name == "drive_overlay.mp4"
    (tmp_path / "saved.mp4").write_bytes(opened.saved("Save MP4"))
    np.testing.assert_allclose(times_of(tmp_path / "saved.mp4"), times_of(clip), atol=1e-4)
    frames = frames_of(tmp_path / "saved.mp4")
    assert frames[0].shape == (96, 128, 3)
    for frame, image in zip(frames, frames_of(clip), strict=True):
        colors = CLASSES.colors[segmenter.predict(image).label_map]
        assert correlation(frame, colors) > 0.5 > 0.3 > abs(correlation(frame, image)), "opaque colors of the classes"
    opened.assert_sound()


def test_everything_is_done_by_keyboard(opens: Open, road: Path, tmp_path: Path) -> None:
    opened = opens(road)
    page = opened.page
    page.locator("#processor", has_text="ready").wait_for()
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(save_image(tmp_path / "image.png", draw(30, 40)))
    opened.wait("image.png is segmented")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"camera", "save-mask", "save-overlay", "all", "none", "opacity", "checkbox"} <= {*reached}
    page.locator("#legend input").first.focus()
    page.keyboard.press("Space")
    assert not page.locator("#legend input").first.is_checked()
    page.locator("#opacity").focus()
    page.keyboard.press("End")
    assert opened.text("opacity-value") == "100 %"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360)])
def test_the_page_is_accessible(opens: Open, road: Path, tmp_path: Path, scheme: str, width: int) -> None:
    opened = opens(road, color_scheme=scheme, viewport={"width": width, "height": 800})
    opened.page.locator("summary").click()
    before = Axe().run(opened.page)
    assert before.violations_count == 0, before.generate_report()
    (tmp_path / "empty.png").write_bytes(b"")
    opened.choose(
        save_image(tmp_path / "one.png", draw(300, 400)),
        save_image(tmp_path / "two.png", draw(30, 40)),
        tmp_path / "empty.png",
    )
    opened.wait("two.png is segmented")
    opened.page.locator(".problem").wait_for()
    found = Axe().run(opened.page)
    assert found.violations_count == 0, found.generate_report()
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is wider than the window"
    )


@pytest.fixture(scope="module")
def software_gpu(browser: Browser) -> Iterator[Browser]:
    """A browser with WebGPU by software."""
    other = browser.browser_type.launch(
        executable_path=chromium(), args=[*FLAGS, "--enable-unsafe-webgpu", "--enable-unsafe-swiftshader"]
    )
    yield other
    other.close()


KEEP_DEVICE = """
const Plain = Blob;
Blob = class extends Plain {
  constructor(parts, options) {
    super(options?.type === "text/javascript" ? [`
      const request = GPUAdapter.prototype.requestDevice;
      GPUAdapter.prototype.requestDevice = async function (...all) {
        return (self.device = await request.apply(this, all));
      };`, ...parts] : parts, options);
  }
};
"""
"""What makes the device of the worker reachable, so that a test can destroy it."""


def test_webgpu_by_software_is_not_used(opens: Open, software_gpu: Browser, road: Path) -> None:
    opened = opens(road, by=software_gpu)
    ready = opened.page.locator("#processor", has_text="processor, one thread: ready")
    ready.wait_for()
    assert "WebGPU is only software here" in ready.inner_text()


def test_a_lost_graphics_card_is_replaced_by_the_processor(
    opens: Open, software_gpu: Browser, road: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = draw(40, 56)
    path = save_image(tmp_path / "image.png", image)
    opened = opens(road, by=software_gpu, script=KEEP_DEVICE, part="#processor=webgpu")
    opened.page.locator("#processor", has_text="WebGPU").wait_for()
    opened.choose(path)
    opened.wait("image.png is segmented")
    assert agreement(opened.mask(), segmenter.predict(image).label_map) >= EQUAL
    (worker,) = opened.page.workers
    worker.evaluate("device.destroy()")
    line = opened.page.locator("#processor", has_text="processor, one thread")
    line.wait_for()
    assert "WebGPU failed" in line.inner_text()
    opened.choose(save_image(tmp_path / "after.png", image))
    opened.wait("after.png is segmented")
    assert agreement(opened.mask(), segmenter.predict(image).label_map) >= EQUAL
