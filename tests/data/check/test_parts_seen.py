"""Files that are read only in part: several pages, more bands, other ranges of numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.check import check
from maskpencil.data.folder import open_folder
from maskpencil.images import read_pixels

rasterio = pytest.importorskip("rasterio")
SIZE = (40, 48)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pairs, one image of three pages and one mask of two."""
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(4):
        image = Image.fromarray(random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        more = [Image.new("RGB", SIZE[::-1], color) for color in ("red", "blue")]
        pages = {"save_all": True, "append_images": more} if number == 1 else {}
        image.save(tmp_path / f"data/images/p{number}.tif", **pages)
        label_map = np.zeros(SIZE, np.uint8)
        label_map[:20, 10 * number :] = 1
        more = [Image.fromarray(label_map)]
        pages = {"save_all": True, "append_images": more} if number == 2 else {}
        Image.fromarray(label_map).save(tmp_path / f"data/masks/p{number}.tif", **pages)
    write_classes(tmp_path / "data/classes.yaml", ClassSet(("ground", "box"), ((0, 0, 0), (200, 0, 0))))
    return tmp_path / "data"


def deep(path: Path, most: int) -> None:
    """Write an image of four bands of 16 bits."""
    values = np.random.default_rng(most).integers(0, most, (4, *SIZE), dtype=np.uint16)
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_400_000, 1, 1)}
    with rasterio.open(path, "w", driver="GTiff", count=4, height=40, width=48, dtype="uint16", **place) as file:
        file.write(values)


def test_check_reports_files_of_several_pages(data: Path) -> None:
    faults = {fault.kind: fault for fault in check(data).faults}
    assert faults["several-pages"].files == ("images/p1.tif: 3 pages",)
    assert faults["several-pages-masks"].files == ("masks/p2.tif: 2 pages, its image 1",)
    assert "levels-differ" not in faults


def test_check_reports_the_visible_bands_and_the_range_of_deep_numbers(data: Path) -> None:
    deep(data / "images/p0.tif", 9000)
    deep(data / "images/p3.tif", 65535)
    report = check(data)
    lines = [fault.line for fault in report.faults]
    assert report.usable
    assert any(
        "none is marked red, green or blue: 1, 2 and 3 are used for them; 4 is left out: 2" in line for line in lines
    )
    (differ,) = [fault for fault in report.faults if fault.kind == "levels-differ"]
    assert (differ.severity, differ.count) == ("warning", 2)


def test_training_reports_them_too_and_reads_the_same_pixels_as_prediction(data: Path) -> None:
    deep(data / "images/p0.tif", 9000)
    heard: list[str] = []
    folder = open_folder(data)
    folder.check_images(tell=heard.append)
    assert any(line.startswith("p1.tif: only page 1 of 3 is read") for line in heard)
    assert any("16-bit numbers 0 to 10000 become 0 to 255" in line for line in heard)
    for pair in (pair for pairs in folder.splits.values() for pair in pairs):
        np.testing.assert_array_equal(folder.read_pair(pair)[0], read_pixels(pair.image).rgb)
