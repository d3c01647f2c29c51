"""Pages of image files: counted by their headers, and taken apart without a change."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images import count_pages, pages_of, read_pixels, read_stored

COUNT = 3
PLACE: dict[str, Any] = {"crs": "EPSG:32633", "driver": "GTiff", "dtype": "uint8"}
"""What rasterio writes; it warns of files without a place."""


def layers(mode: str) -> list[Image.Image]:
    found = []
    for seed in range(COUNT):
        values = np.random.default_rng(seed).integers(0, 256, (20, 30, 4), dtype=np.uint8)
        if mode in ("I;16", "F", "I"):
            kind = {"I;16": np.uint16, "F": np.float32, "I": np.int32}[mode]
            found.append(Image.fromarray(values[..., 0].astype(kind) * kind(3)))
        else:
            found.append(Image.fromarray(values, "RGBA").convert(mode))
    return found


def place(rasterio: Any) -> Any:
    return rasterio.transform.from_origin(500_000, 5_400_000, 1, 1)


def save(path: Path, images: list[Image.Image], **options: Any) -> Path:
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "I", "F"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"big_tiff": True}]
)
def test_the_pages_of_a_tiff_are_files_of_the_same_numbers(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    images = layers(mode)
    path = save(tmp_path / "stack.tif", images, **options)
    assert count_pages(path) == COUNT
    pages = list(pages_of(path))
    assert [suffix for _, suffix in pages] == [".tif"] * COUNT
    for (content, _), image in zip(pages, images, strict=True):
        (tmp_path / "page.tif").write_bytes(content)
        assert count_pages(tmp_path / "page.tif") == 1
        with Image.open(io.BytesIO(content)) as page:
            assert page.mode == image.mode
            np.testing.assert_array_equal(np.array(page), np.array(image))
        values = np.array(image.convert("L") if mode == "1" else image)
        stored = read_stored(content)
        np.testing.assert_array_equal(stored.values, values[..., :3] if mode == "RGBA" else values)


def test_pages_of_any_order_of_bytes_and_in_jpeg_are_read_as_before(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for name, options in {
        "a": {"ENDIANNESS": "BIG"},
        "b": {"COMPRESS": "JPEG", "TILED": "YES", "BLOCKXSIZE": 16, "BLOCKYSIZE": 16},
    }.items():
        values = np.random.default_rng(0).integers(0, 255, (3, 40, 48), dtype=np.uint8)
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", count=3, height=40, width=48, transform=place(rasterio), **PLACE, **options
        ) as file:
            file.write(values)
        ((content, _),) = pages_of(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(read_pixels(content).rgb, read_pixels(tmp_path / f"{name}.tif").rgb)


def test_smaller_copies_and_masks_are_no_pages(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(0, 255, (1, 256, 256), dtype=np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(
            tmp_path / "a.tif", "w", count=1, height=256, width=256, transform=place(rasterio), **PLACE
        ) as file:
            file.write(values)
            file.write_mask(values[0] > 9)
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.build_overviews([2, 4])
    assert count_pages(tmp_path / "a.tif") == 1


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_the_frames_of_animations_are_what_is_shown(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    blocks = []
    for place in range(COUNT):
        block = np.zeros((20, 30, 3), np.uint8)
        block[4:12, 5 * place : 5 * place + 9] = (200, 40 * place, 0)
        blocks.append(Image.fromarray(block))
    path = save(tmp_path / f"a.{suffix}", blocks, **options)
    assert count_pages(path) == COUNT
    pages = list(pages_of(path))
    assert [suffix for _, suffix in pages] == [".png"] * COUNT
    for (content, _), block in zip(pages, blocks, strict=True):
        np.testing.assert_array_equal(read_pixels(content).rgb, np.array(block))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "jpg", "bmp"])
def test_a_file_of_one_image_has_one_page(tmp_path: Path, suffix: str) -> None:
    layers("RGB")[0].save(tmp_path / f"a.{suffix}")
    assert count_pages(tmp_path / f"a.{suffix}") == 1


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_a_damaged_file_is_our_error_and_counts_as_one_page(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", layers("RGB"))
    whole = path.read_bytes()
    for length in (0, 3, 9, 30, len(whole) // 3, len(whole) * 2 // 3):
        path.write_bytes(whole[:length])
        assert count_pages(path) in range(1, COUNT + 1)
        with suppress(ImageError):
            for content, _ in pages_of(path):
                read_pixels(content)
    path.write_bytes(whole[:40])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: is damaged or cut short|a\.{suffix}: is [A-Z]+, but damaged"):
        list(pages_of(path))


def test_a_tiff_whose_pages_lead_in_a_circle_ends(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", layers("L"))
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    tags = int.from_bytes(content[first : first + 2], "little")
    content[first + 2 + 12 * tags : first + 6 + 12 * tags] = content[4:8]
    path.write_bytes(content)
    assert count_pages(path) == 1
