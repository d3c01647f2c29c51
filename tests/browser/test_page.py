"""The page in Chromium: opened from a file, it segments as a segmenter does, without any request."""

import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.browser.opened import CLASSES, EQUAL, Open, Opened, accessible, agreement, draw, save_image
from tests.report.encoded import HOSTILE

from maskpencil.classes import ClassSet
from maskpencil.images import scaled
from maskpencil.page import write, write_page
from maskpencil.segmenter import Segmenter

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_labels_of_the_page_are_those_of_the_segmenter(
    on_road: Opened, segmenter: Segmenter, tmp_path: Path
) -> None:
    opened = on_road
    before = opened.page.locator("#strip button").count()
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
    assert opened.page.locator("#strip button").count() == before + 3
    opened.page.get_by_role("button", name="image 1.png").click()
    opened.wait("image 1.png is segmented")
    assert opened.mask().size == (203, 97)
    opened.assert_sound()


def test_a_large_image_is_scaled_down_for_the_network_and_the_page_says_so(
    on_road: Opened, segmenter: Segmenter, tmp_path: Path
) -> None:
    image = draw(1000, 1300)
    opened = on_road
    opened.choose(save_image(tmp_path / "large.png", image))
    opened.wait("large.png is segmented")
    found = re.search(r"1300 × 1000 pixels, computed at (\d+) × (\d+) and scaled back", opened.text("facts"))
    assert found
    size = int(found[2]), int(found[1])
    assert 1_030_000 < size[0] * size[1] <= 2**20
    small = segmenter.predict(scaled(image, size)).label_map
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(image.shape[:2], size, strict=True))
    assert agreement(opened.mask(), small[rows][:, columns]) >= EQUAL


def test_an_image_is_turned_upright_by_exif(on_road: Opened, segmenter: Segmenter, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = save_image(tmp_path / "turned.jpg", draw(90, 150), quality=100, subsampling=0, exif=exif)
    opened = on_road
    opened.choose(path)
    opened.wait("turned.jpg is segmented")
    assert "90 × 150 pixels" in opened.text("facts")
    assert agreement(opened.mask(), segmenter.predict(path).label_map) >= EQUAL


def test_classes_are_hidden_and_the_overlay_is_saved_as_it_looks(on_road: Opened, tmp_path: Path) -> None:
    image = draw(60, 80)
    opened = on_road
    opened.choose(save_image(tmp_path / "hidden.png", image))
    opened.wait("hidden.png is segmented")
    opened.page.locator("#opacity").fill("100")
    opened.page.get_by_role("button", name="Hide all").click()
    assert np.array_equal(np.array(Image.open(BytesIO(opened.saved("Save overlay"))).convert("RGB")), image)
    opened.page.get_by_label("road").check()
    overlay = np.array(Image.open(BytesIO(opened.saved("Save overlay"))).convert("RGB"))
    is_road = np.array(opened.mask()) == 1
    assert 0 < is_road.mean() < 1
    assert np.array_equal(overlay, np.where(is_road[..., None], CLASSES.colors[1], image))
    opened.page.locator("#split").fill("50")
    base, colors, edge = (opened.page.locator(f"#{part}").bounding_box() for part in ("base", "colors", "edge"))
    assert all(abs(base[side] - colors[side]) <= 1 for side in base), "the colors lie on the image"
    assert abs(edge["x"] + edge["width"] / 2 - (base["x"] + base["width"] / 2)) <= 1, "the edge is in the middle"
    assert opened.page.locator("#colors").evaluate("each => each.style.clipPath") == "inset(0px 0px 0px 50%)"


def test_hostile_names_run_nothing_and_the_page_is_accessible(
    opens: Open, model: Path, network: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ClassSet(HOSTILE[: len(CLASSES)])
    shutil.copytree(model, tmp_path / "five")
    config = json.loads((tmp_path / "five" / "config.json").read_text())
    (tmp_path / "five" / "config.json").write_text(json.dumps({**config, "classes": names.to_dict()}))
    monkeypatch.setattr(write, "_network", lambda *_: network)
    hostile = "</title></script><img src=x onerror=alert(1)>{{script}}"
    file = write_page(tmp_path / "five", tmp_path / "hostile.html", title=hostile, webgpu=False).path
    opened = opens(file)
    opened.page.locator("summary").click()
    accessible(opened.page)
    name = "<img src=x onerror=alert(1)>&'\".png"
    (tmp_path / "empty.png").write_bytes(b"")
    opened.choose(tmp_path / "empty.png", save_image(tmp_path / name, draw(300, 400)))
    opened.wait(f"{name} is segmented")
    opened.page.locator(".problem").wait_for()
    accessible(opened.page)
    assert opened.text("name") == name
    assert opened.page.locator("h1").inner_text() == hostile
    assert opened.page.locator("#legend bdi").first.inner_text() == HOSTILE[0]
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


def test_a_file_that_cannot_be_segmented_is_named_with_what_to_do(on_road: Opened, tmp_path: Path) -> None:
    opened = on_road
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


def test_everything_is_done_by_keyboard(on_road: Opened, tmp_path: Path) -> None:
    opened = on_road
    page = opened.page
    page.on("filechooser", lambda _: None)  # Playwright begins to intercept choosers with some delay
    page.locator("#processor", has_text=re.compile("ready|an image")).wait_for()
    page.locator("h1").evaluate("each => { each.tabIndex = -1; each.focus(); each.removeAttribute('tabindex'); }")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(save_image(tmp_path / "keys.png", draw(30, 40)))
    opened.wait("keys.png is segmented")
    reached = []
    for _ in range(20 + page.locator("#strip button").count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"camera", "save-mask", "save-overlay", "split", "all", "none", "opacity", "checkbox"} <= {*reached}
    page.locator("#legend input").first.focus()
    page.keyboard.press("Space")
    assert not page.locator("#legend input").first.is_checked()
    page.locator("#opacity").focus()
    page.keyboard.press("End")
    assert opened.text("opacity-value") == "100 %"
