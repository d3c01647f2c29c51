from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright
from tests.browser.opened import CLASSES, FLAGS, Open, Opened
from tests.helpers import add_smallest_backbone, chromium, page_assets

from maskpencil.classes import ClassSet
from maskpencil.model_folder import ModelParts, write_model_folder
from maskpencil.models import FCNConfig, build_fcn
from maskpencil.page import write, write_page
from maskpencil.preprocessing import Preprocessing
from maskpencil.segmenter import Segmenter


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


@contextmanager
def with_backbone() -> Iterator[str]:
    """Add the smallest backbone for the block only, since other tests list the backbones."""
    with pytest.MonkeyPatch.context() as patch:
        yield add_smallest_backbone(patch)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with with_backbone() as backbone:
        return build_model(tmp_path_factory.mktemp("model") / "street" / "model", CLASSES, backbone)


@pytest.fixture(scope="session")
def network(model: Path) -> bytes:
    page_assets()
    with with_backbone():
        return write._network(model, "fp16")


@pytest.fixture(scope="session")
def road(model: Path, network: bytes) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_network", lambda *_: network)  # it takes seconds, and several pages need it
        return write_page(model, model.parent / "road.html", title="Road").path


@pytest.fixture(scope="session")
def segmenter(model: Path) -> Segmenter:
    with with_backbone():
        return Segmenter.from_pretrained(model, runtime="torch", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def opened(browser: Browser, road: Path) -> Iterator[Opened]:
    """The page of the model, which most tests share: its network takes seconds to start."""
    opened = Opened(browser, road.as_uri())
    yield opened
    opened.page.context.close()


@pytest.fixture
def on_road(opened: Opened) -> Opened:
    """The shared page with its settings as they are at first, and nothing that went wrong."""
    opened.faults.clear()
    opened.page.bring_to_front()
    opened.page.evaluate(
        """() => {
          for (const each of document.querySelectorAll(".problem button")) each.click();
          document.getElementById("all").click();
          for (const [id, value] of [["opacity", "60"], ["split", "0"]]) {
            document.getElementById(id).value = value;
            document.getElementById(id).dispatchEvent(new Event("input"));
          }
          document.getElementById("live").textContent = "";
        }"""
    )
    return opened


@pytest.fixture
def opens(browser: Browser) -> Iterator[Open]:
    """Open pages, which are closed after the test."""
    pages: list[Opened] = []

    def opened(page: Path | str, *, by: Browser = browser, part: str = "", **options: object) -> Opened:
        address = page if isinstance(page, str) else page.as_uri() + part
        pages.append(Opened(by, address, **options))
        return pages[-1]

    yield opened
    for each in pages:
        each.page.context.close()
