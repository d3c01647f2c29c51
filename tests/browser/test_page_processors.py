"""What computes in the page: graphics cards that are imitated or lost, and threads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.browser.opened import EQUAL, FLAGS, Open, agreement, draw, save_image, served
from tests.helpers import chromium

from maskpencil.page import write, write_site
from maskpencil.segmenter import Segmenter

pytestmark = [pytest.mark.browser, pytest.mark.slow]


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


@pytest.mark.parametrize("is_isolated", [True, False])
def test_a_site_uses_threads_if_the_server_sends_the_headers_that_its_readme_names(
    is_isolated: bool,
    opens: Open,
    model: Path,
    network: bytes,
    segmenter: Segmenter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write, "_network", lambda *_: network)
    site = write_site(model, tmp_path / "site").path
    headers = dict(re.findall(r"^ +(Cross[\w-]+): (\S+)$", (site / "README.md").read_text(), flags=re.MULTILINE))
    assert len(headers) == 2
    image = draw(97, 203)
    with served(site, headers if is_isolated else {}) as address:
        opened = opens(address)
        opened.choose(save_image(tmp_path / "image.png", image))
        opened.wait("image.png is segmented")
        assert agreement(opened.mask(), segmenter.predict(image).label_map) >= EQUAL
        threads = r"processor, \d threads: " if is_isolated else "processor, one thread: "
        assert re.match(threads, opened.text("processor"))
        opened.page.context.close()
    asked = {url.removeprefix(address) for url in opened.requests if not url.startswith(("data:", "blob:"))}
    assert asked <= {"", *(path.name for path in site.iterdir())}
    assert not opened.faults
