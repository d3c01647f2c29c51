"""Files that are not readable images are identified, and only safe decoders are used."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskpencil
from maskpencil import images
from maskpencil.errors import ImageError
from maskpencil.images import read_header, read_image, read_pixels
from maskpencil.label_maps import read_mask_pixels

SOURCE = Path(maskpencil.__file__).parent
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
)


def made(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a.txt", "text")
    else:
        Image.new("RGB", (20, 10), "orange").save(buffer, kind)
    return buffer.getvalue()


NO_IMAGES = {
    "nothing": (b"", r"is empty \(0 bytes\); copy or download it again, or remove it"),
    "zeros": (bytes(5000), "begins with 4096 zero bytes, like a copy that failed; copy or download it again"),
    "web page": (
        b"\n<!DOCTYPE html><html><body>404</body></html>",
        r"is a web page \(HTML\), not an image, perhaps from a failed download",
    ),
    "XML": (b'<?xml version="1.0"?><Error>AccessDenied</Error>', r"is text \(XML\), not an image"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', r"is a vector drawing \(SVG\); export it as PNG"),
    "text": ("Größe: 3\n".encode() * 999, "is text, not an image"),
    "Git LFS": (POINTER, "is a Git LFS pointer, not the image itself; fetch the image with: git lfs pull"),
    "HEIC": (
        b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(40),
        "is damaged or cut short|is HEIC, but damaged",
    ),
    "AVIF": (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1" + bytes(40), "is damaged or cut short|is AVIF, but damaged"),
    "JPEG XL": (b"\xff\x0a" + bytes(range(256)), "is JPEG XL; convert it to JPEG or PNG"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", r"is PostScript \(EPS\), drawing commands"),
    "EPS with preview": (b"\xc5\xd0\xd3\xc6" + bytes(40), r"is PostScript \(EPS\), drawing commands"),
    "WMF": (b"\xd7\xcd\xc6\x9a\0\0" + bytes(40), r"is a Windows metafile \(WMF\)"),
    "EMF": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(40), r"is a Windows metafile \(EMF\)"),
    "PSD": (b"8BPS\0\1" + bytes(40), r"is a Photoshop document \(PSD\)"),
    "PDF": (b"%PDF-1.7\n", r"is a PDF; save its pages as PNG"),
    "zip": (made("zip"), "is a zip archive; unpack it"),
    "video": (b"\0\0\0\x18ftypisom\0\0\2\0isomavc1" + bytes(40), r"is a video \(MP4 or MOV\); rename it so that it"),
    "icon": (made("ICO"), r"is an icon \(ICO\); convert it"),
    "header alone": (made("PNG")[:8], "is PNG, but damaged, cut short or of an unsupported variant"),
    "half a JPEG header": (made("JPEG")[:30], "is JPEG, but damaged or cut short|is damaged or cut short"),
    "half a TIFF": (made("TIFF")[:24], "damaged"),
    "noise": (
        bytes(range(200, 256)) * 9,
        "is not an image in a known format .*; convert it to JPEG or PNG, or remove it",
    ),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_a_file_that_is_not_an_image_is_identified_with_a_remedy_that_works(name: str, tmp_path: Path) -> None:
    content, message = NO_IMAGES[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    for read in (read_image, read_header, read_mask_pixels):
        with pytest.raises(ImageError, match=message) as caught:
            read(path)
        shown = str(caught.value)
        assert shown.startswith(f"{path}: ")
        assert "\n" not in shown
        assert "image program" not in shown


def test_a_raw_photo_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    Image.new("RGB", (16, 16)).save(path, tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(ImageError, match=r"is a raw photo \(DNG\), .*; develop it to JPEG or TIFF first"):
        read_image(path)


def test_the_decoders_that_a_file_can_reach_are_these() -> None:
    assert images.FORMATS == ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


@pytest.mark.parametrize("kind", ["BLP", "DDS", "EPS", "ICNS", "ICO", "MSP", "PCX", "QOI", "SGI", "SPIDER", "TGA"])
def test_what_other_decoders_read_is_refused_whatever_its_name(kind: str, tmp_path: Path) -> None:
    image = Image.new({"MSP": "1", "SPIDER": "F", "BLP": "P"}.get(kind, "RGB"), (32, 32))
    image.save(tmp_path / "photo.other", kind)
    (tmp_path / "photo.other").rename(tmp_path / "photo.png")
    for source in (tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes()):
        with pytest.raises(ImageError):
            read_image(source)
    with pytest.raises(ImageError):
        read_mask_pixels(tmp_path / "photo.png")


def test_only_one_module_opens_image_files() -> None:
    opens = re.compile(
        r"\bImage\.open\(|\bimread|imdecode|ImageFile\.Parser|from PIL\.Image import .*open|\w+ImageFile\("
    )
    found = {
        f"{path.relative_to(SOURCE).as_posix()}: {match[0]}"
        for path in SOURCE.rglob("*.py")
        for match in opens.finditer(path.read_text(encoding="utf-8"))
    }
    assert found == {
        "export/readme.py: Image.open(",  # in the programs that users run
        "images/files.py: Image.open(",
        "images/files.py: imdecode",  # of what Pillow has found to be a PNG
        "images/tiff.py: TiffImageFile(",
        "images/tiff.py: JpegImageFile(",
    }
    assert "formats=decoders" in (SOURCE / "images" / "files.py").read_text(encoding="utf-8")


def test_no_program_is_started_for_an_eps_file_named_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    fake = tmp_path / "bin" / "gs"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=":")
    path = tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    for read in (read_image, read_header, read_mask_pixels):
        with pytest.raises(ImageError, match="PostScript"):
            read(path)
    assert not ran.exists()


# several pages


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_of_several_pages_is_read_with_a_remark(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "green")]
    path = tmp_path / f"pages.{kind.lower()}"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], lossless=True)
    pixels = read_pixels(path)
    assert pixels.rgb[0, 0].tolist() == [255, 0, 0]
    assert pixels.remarks == ("only page 1 of 3 is read; save the others as separate files",)
    assert read_header(path).pages == 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP", "JPEG"])
def test_a_single_page_causes_no_remark(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"page.{kind.lower()}"
    Image.new("RGB", (8, 8), "red").save(path, kind)
    assert (read_pixels(path).remarks, read_header(path).pages) == ((), 1)


def test_a_phones_jpeg_with_a_preview_is_read_as_its_first_image_without_a_remark(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), "red"), Image.new("RGB", (32, 24), "blue")]
    path = tmp_path / "phone.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    pixels = read_pixels(path)
    assert (pixels.rgb.shape, pixels.remarks, read_header(path).pages) == ((48, 64, 3), (), 1)
    assert np.abs(pixels.rgb[0, 0].astype(int) - [255, 0, 0]).max() < 4
    damaged = bytearray(path.read_bytes())
    place = damaged.find(b"MPF\0")
    damaged[place + 4 : place + 40] = b"\xff" * 36  # the list of the images
    path.write_bytes(damaged)
    assert read_pixels(path).rgb.shape == (48, 64, 3)
