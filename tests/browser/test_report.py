"""The report in Chromium: it opens from a file without any request, is accessible, and its controls work."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from tests.browser.opened import accessible
from tests.report.encoded import HOSTILE, Encoded, images, squares

from maskpencil.classes import ClassSet, write_classes
from maskpencil.report import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = ("ground", "box", "ball")


@pytest.fixture(scope="module")
def report(save_files_in, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    maps = squares(40)
    wrong = {name: m.copy() for name, m in maps.items()}
    wrong[next(iter(maps))][:6, :6] = 2
    folder = save_files_in(root / "data", {**images(maps, wrong), "classes.yaml": "names: [ground, box, ball]"})
    write_report([Encoded(NAMES), Encoded(NAMES, np.zeros_like)], folder, root / "report.html")
    return root / "report.html"


@pytest.fixture
def hostile(save_files, tmp_path: Path) -> Path:
    maps = squares(12, classes=len(HOSTILE))
    files = dict(zip((f"{i}<img src=x onerror=alert(1)>&'\"" for i in range(12)), maps.values(), strict=True))
    first = next(iter(files))
    wrong = files | {first: np.where(files[first] == 4, 0, files[first]).astype(np.uint8)}
    folder = save_files(images(files, wrong))
    write_classes(folder / "classes.yaml", ClassSet(HOSTILE))
    write_report(Encoded(HOSTILE), folder, tmp_path / "hostile.html")
    return tmp_path / "hostile.html"


def opened(browser: Browser, file: Path, **context: str) -> tuple[Page, list[str], list[str]]:
    """Open a page; return it, the addresses that it requested, and its errors and dialogs."""
    page = browser.new_context(viewport={"width": 1200, "height": 900}, **context).new_page()
    requests: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.goto(file.as_uri(), wait_until="load")
    return page, requests, faults


def test_a_report_opens_offline_and_is_accessible(browser: Browser, report: Path) -> None:
    page, requests, faults = opened(browser, report)
    assert [address for address in requests if not address.startswith("data:")] == [report.as_uri()]
    assert not faults
    accessible(page)


def test_hostile_names_change_nothing(browser: Browser, hostile: Path) -> None:
    page, requests, faults = opened(browser, hostile)
    assert [address for address in requests if not address.startswith("data:")] == [hostile.as_uri()]
    assert not faults, "no script of a name ran"
    assert page.locator("h1").inner_text() == "Report on the model"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
    assert page.get_by_text("<script>alert(1)</script>").count() > 0


def test_the_table_is_sorted_by_the_pressed_heading(browser: Browser, report: Path) -> None:
    page, *_ = opened(browser, report)
    table = page.locator("#comparison table").last
    heading = table.get_by_role("button", name="IoU, points")

    def values() -> list[float]:
        return [float(cell.inner_text()) for cell in table.locator("tbody td:nth-child(2)").all()]

    heading.click()
    assert values() == sorted(values(), reverse=True)
    heading.click()
    assert values() == sorted(values())
    assert table.locator("th[aria-sort]").count() == 1


def test_images_are_filtered_by_group_and_class(browser: Browser, report: Path) -> None:
    page, *_ = opened(browser, report)
    items = page.locator("#image-list > li")
    shown = items.locator("visible=true")
    everything = items.count()
    page.get_by_label("Images:").select_option("worst")
    assert 0 < shown.count() < everything
    assert page.locator(".tools output").inner_text() == f"{shown.count()} shown"
    page.get_by_label("Images:").select_option("")
    page.get_by_label("Class:").select_option("2")
    assert shown.count() == everything, "the ball is in every image"


def test_images_are_enlarged_and_turned_over_by_keys(browser: Browser, report: Path) -> None:
    page, *_ = opened(browser, report)
    page.locator("#image-list .panels button").first.press("Enter")
    viewer = page.locator("dialog")
    first = viewer.locator("p").inner_text()
    assert first.endswith(": image")
    viewer.press("ArrowRight")
    assert viewer.locator("p").inner_text().endswith(": mask, ignored pixels untinted")
    viewer.press("ArrowLeft")
    assert viewer.locator("p").inner_text() == first
    page.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_the_name_of_a_file_is_copied(browser: Browser, report: Path) -> None:
    page, *_ = opened(browser, report)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("#image-list .copy").first
    button.click()
    page.get_by_text("copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-name")
