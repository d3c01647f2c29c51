"""HEIC, as phones write it, and AVIF."""

import sys
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES, RGBImage, read_header, read_image, write_image
from maskpencil.images.read import encoded_size
from maskpencil.inference.sources import find_sources

PLAIN = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAAKMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAKAAAAAEAAAAAAAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAK"
    "ttZGF0AAAAnygBrwngPg6bnk4QdLDGSQ+wX6NH7S4ExKZDF7zEEGC0eVnTd3daZl7bnRRdDhSHivfSs/0Ki7kxcXOe/VHt6/2ThHNPTCOnxjvD"
    "6dnrKWUmaRp53ioHO5PFHLCOcfEhy/CWgDoVmQKKlPPXbBqzJGrXEMPILZp+uplfM7lseMgrUCtB3e5SAM0fi0MxBRmXIAcs73qPpobKSV39v+"
    "w/wA=="
)
"""A HEIC file of `IMAGE`."""

TURNED = b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB7AABAAAAAAAAAF0AAgAAAAACSQABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGE"
    "ABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkA"
    "AAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAKAAAAAEAAAAAAAAAAv///+gAAAACAAAAEH"
    "BpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAIltZGF0AAAA"
    "WSgBr1jm//RPASqQMR04zH71zdkcSb0kitvdRy3U6PA4PwgcGYRwMlpfqTQKO9MfbevgHFcMwbLkr9leDaue5loabr3RyeIB4Kw9ntNKZGi+x5"
    "TfrPoUc/+AAAAABkV4aWYAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA"
)
"""A HEIC file of `IMAGE` that is to be turned by a quarter, clockwise."""

ROWS, COLUMNS = np.indices((40, 64))
IMAGE: RGBImage = np.stack([4 * COLUMNS, 6 * ROWS, np.full_like(ROWS, 90)], axis=2).astype(np.uint8)


def difference(one: RGBImage, other: RGBImage) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize(("content", "expected"), [(PLAIN, IMAGE), (TURNED, np.rot90(IMAGE, -1))])
def test_heic_is_read_upright(content: bytes, expected: RGBImage, tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(content)
    assert difference(read_image(path), expected) < 4
    assert (read_image(content) == read_image(path)).all()
    assert read_header(path).shown_size == encoded_size(content) == expected.shape[:2]
    with pytest.raises(ImageError, match=r"^the image: is HEIC, but damaged, cut short"):
        read_image(content[: len(content) // 2])


def test_without_its_package_heic_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError) as raised:
        read_image(PLAIN)
    assert str(raised.value) == (
        "the image: is HEIC, which needs pi_heif; install it with pip install 'maskpencil[heic]'; or convert it to "
        "JPEG or PNG"
    )


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".jpe"])
def test_other_names_of_images_are_read_and_written(suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / f"image{suffix}", IMAGE)
    assert difference(read_image(tmp_path / f"image{suffix}"), IMAGE) < 4
    (found,) = find_sources(tmp_path)
    assert found.kind == "image"


def test_avif_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(IMAGE).save(tmp_path / "image.avif", quality=90, exif=exif)
    assert difference(read_image(tmp_path / "image.avif"), np.rot90(IMAGE, -1)) < 4


def test_images_of_other_formats_in_a_folder_are_named(tmp_path: Path) -> None:
    assert not IMAGE_SUFFIXES & UNREAD_SUFFIXES
    write_image(tmp_path / "image.png", IMAGE)
    for name in ("b.TGA", "a.dng", ".hidden.dng", "notes.txt"):
        (tmp_path / name).touch()
    said: list[str] = []
    assert [source.path.name for source in find_sources(tmp_path, tell=said.append)] == ["image.png"]
    assert said == [
        f"{tmp_path / 'a.dng'} and 1 more: left out, since .dng, .tga cannot be read; convert to JPEG or PNG"
    ]


@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_damaged_files_are_refused_and_end_nothing_else(suffix: str, tmp_path: Path) -> None:
    write_image(tmp_path / "image.avif", IMAGE)
    content = bytearray(PLAIN if suffix == ".heic" else (tmp_path / "image.avif").read_bytes())
    refused = 0
    for place in range(8, len(content)):
        damaged = bytes(content[:place]) + bytes([content[place] ^ 0xFF]) + bytes(content[place + 1 :])
        try:
            read_image(damaged)
        except ImageError:
            refused += 1
    assert refused > 20
