"""The numbers of masks count as they are stored, whatever a viewer would show; images are shown as meant."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.errors import ImageError
from maskpencil.images import read_image, read_stored
from maskpencil.label_maps import read_mask_pixels

NUMBERS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [0, 0, 2, 2]], np.uint8)


def tiff(
    path: Path, rows: bytes, size: tuple[int, int], *, bits: int = 8, photometric: int = 0, bands: int = 1
) -> Path:
    """Write an uncompressed TIFF of one strip."""
    height, width = size
    numbers = {256: width, 257: height, 259: 1, 262: photometric, 273: 0, 277: bands, 278: height, 279: len(rows)}
    numbers[258] = bits
    start = 8 + 2 + 12 * len(numbers) + 4
    wide = struct.pack(f"<{bands}H", *[bits] * bands) if bands > 2 else b""
    numbers[273] = start + len(wide)
    if wide:
        numbers[258] = start
    head = struct.pack("<2sHIH", b"II", 42, 8, len(numbers))
    for tag, number in sorted(numbers.items()):
        count, kind = (bands if tag == 258 else 1), (3 if tag == 258 else 4)
        head += struct.pack("<HHI", tag, kind, count)
        head += struct.pack("<HH", number, number) if kind == 3 and not wide else struct.pack("<I", number)
    path.write_bytes(head + bytes(4) + wide + rows)
    return path


def png(path: Path, values: npt.NDArray[np.uint16], color_type: int, *more: tuple[bytes, bytes]) -> Path:
    """Write a PNG of 16 bits a channel, (H, W, n)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


# white is zero


def test_the_numbers_of_a_mask_count_also_where_white_is_zero(tmp_path: Path) -> None:
    stored = tiff(tmp_path / "a.tif", NUMBERS.tobytes(), NUMBERS.shape)
    pixels = read_mask_pixels(stored)
    np.testing.assert_array_equal(pixels.values, NUMBERS)
    assert pixels.remark.startswith("are TIFF files in which 0 is white")
    assert read_mask_pixels(tiff(tmp_path / "b.tif", NUMBERS.tobytes(), NUMBERS.shape, photometric=1)).remark == ""


@pytest.mark.parametrize(("bits", "kind"), [(4, None), (16, "<u2")])
def test_so_they_do_at_other_depths(tmp_path: Path, bits: int, kind: str | None) -> None:
    rows = NUMBERS.astype(kind) if kind else NUMBERS[:, ::2] << 4 | NUMBERS[:, 1::2]
    np.testing.assert_array_equal(
        read_mask_pixels(tiff(tmp_path / "a.tif", rows.tobytes(), NUMBERS.shape, bits=bits)).values, NUMBERS
    )


@pytest.mark.parametrize("photometric", [0, 1])
def test_one_bit_is_the_black_and_white_that_is_shown(tmp_path: Path, photometric: int) -> None:
    """As programs write it that keep what a mask looks like: a fax is white on 0."""
    white = np.array([[1, 0, 0, 1, 1, 0, 1, 0]], bool)
    rows = np.packbits(white if photometric else ~white, axis=1).tobytes()
    pixels = read_mask_pixels(tiff(tmp_path / "a.tif", rows, white.shape, bits=1, photometric=photometric))
    np.testing.assert_array_equal(pixels.values, white * np.uint8(255))
    assert pixels.remark == ""


def test_an_image_is_shown_as_it_is_meant(tmp_path: Path) -> None:
    levels = np.array([[0, 100, 255]], np.uint8)
    shown = read_image(tiff(tmp_path / "a.tif", levels.tobytes(), levels.shape))
    np.testing.assert_array_equal(shown[..., 0], 255 - levels)


# 16 bits in several channels


def test_three_equal_channels_of_16_bits_are_numbers(tmp_path: Path) -> None:
    wide = np.repeat(NUMBERS[..., None].astype(np.uint16) * 100, 3, axis=2)
    np.testing.assert_array_equal(read_mask_pixels(png(tmp_path / "a.png", wide, 2)).values, NUMBERS * 100.0)


def test_gray_and_opacity_of_16_bits_are_numbers_and_opacity(tmp_path: Path) -> None:
    alpha = np.where(NUMBERS > 0, 65535, 0)
    pixels = read_mask_pixels(png(tmp_path / "a.png", np.stack([NUMBERS, alpha], axis=2).astype(np.uint16), 4))
    np.testing.assert_array_equal(pixels.values, NUMBERS)
    np.testing.assert_array_equal(pixels.alpha, np.where(NUMBERS > 0, 255, 0))


@pytest.mark.parametrize("one", [257, 256])
def test_colors_that_were_widened_to_16_bits_are_colors(tmp_path: Path, one: int) -> None:
    colors = np.array([[0, 0, 0], [230, 25, 75], [60, 180, 75], [9, 8, 7]], np.uint16)[NUMBERS]
    pixels = read_mask_pixels(png(tmp_path / "a.png", colors * np.uint16(one), 2))
    np.testing.assert_array_equal(pixels.values, colors)
    assert pixels.values.dtype == np.uint8


def test_classes_in_red_and_object_numbers_in_green_are_classes(tmp_path: Path) -> None:
    objects = np.stack([NUMBERS, np.array([0, 300, 7, 9])[NUMBERS], NUMBERS * 0], axis=2).astype(np.uint16)
    pixels = read_mask_pixels(png(tmp_path / "a.png", objects, 2))
    np.testing.assert_array_equal(pixels.values, NUMBERS)
    assert pixels.remark == "hold 16-bit class numbers in red and object numbers in green: the class numbers are read"


@pytest.mark.parametrize("kind", ["objects in red", "blue in use"])
def test_other_numbers_in_several_channels_are_refused_with_what_they_hold(tmp_path: Path, kind: str) -> None:
    objects = np.stack([NUMBERS, NUMBERS * 100.0, NUMBERS + 0.0], axis=2).astype(np.uint16)
    if kind == "objects in red":
        objects = np.stack([NUMBERS + 0.0, NUMBERS > 0, NUMBERS * 0], axis=2).astype(np.uint16)
    path = png(tmp_path / "a.png", objects, 2)
    with pytest.raises(
        ImageError,
        match=r"a\.png: holds numbers .*red 0 to 3, green 0 to \d+, blue 0 to \d.*gdal_translate -b 1 IN\.png OUT\.png",
    ):
        read_mask_pixels(path)
    rasterio = pytest.importorskip("rasterio")
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path) as file,
    ):  # GDAL, as the message says
        Image.fromarray(file.read(1)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_mask_pixels(tmp_path / "b.png").values, NUMBERS)


def test_a_damaged_file_of_16_bits_is_our_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = png(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint16), 2)
    path.write_bytes(path.read_bytes()[:-30])
    for read in (read_mask_pixels, read_image):
        with pytest.raises(ImageError, match=r"a\.png: is damaged or cut short"):
            read(path)
    assert capfd.readouterr().err == ""


def test_an_image_of_16_bits_a_channel_is_rounded_turned_and_laid_over_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.array([[[65535, 257 * 50 + 200, 0, 65535], [0, 0, 0, 0]]], np.uint16)  # a row of two pixels
    read = read_image(png(tmp_path / "a.png", values, 6, (b"eXIf", exif.tobytes()[6:])))
    assert read.tolist() == [[[255, 51, 0]], [[255, 255, 255]]]
    np.testing.assert_array_equal(read_stored(tmp_path / "a.png").values, values[0, :, None, :3])


# numbers that Pillow spreads


@pytest.mark.parametrize("greatest", [3, 4, 100, 254, 255, 300, 1000, 65534, 65535])
@pytest.mark.parametrize("plain", [True, False])
def test_the_numbers_of_a_pgm_count_whatever_its_greatest(tmp_path: Path, greatest: int, plain: bool) -> None:
    numbers = np.unique(np.linspace(0, greatest, 300).astype(int))
    head = f"P{2 if plain else 5}\n{len(numbers)} 1\n{greatest}\n".encode()
    wide = ">u2" if greatest > 255 else "u1"
    body = " ".join(map(str, numbers)).encode() if plain else numbers.astype(wide).tobytes()
    (tmp_path / "a.pgm").write_bytes(head + body)
    np.testing.assert_array_equal(read_mask_pixels(tmp_path / "a.pgm").values, numbers[None])


@pytest.mark.parametrize("bits", [4, 8, 10, 12, 16])
def test_the_numbers_of_a_jpeg_2000_count_whatever_its_bits(tmp_path: Path, bits: int) -> None:
    rasterio = pytest.importorskip("rasterio")
    numbers = (np.arange(64 * 64).reshape(1, 64, 64) % 2**bits).astype(np.uint8 if bits <= 8 else np.uint16)
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_400_000, 1, 1)}
    options = {"NBITS": bits, "REVERSIBLE": "YES", "QUALITY": 100}
    with rasterio.open(
        tmp_path / "a.jp2",
        "w",
        driver="JP2OpenJPEG",
        count=1,
        height=64,
        width=64,
        dtype=numbers.dtype,
        **place,
        **options,
    ) as file:
        file.write(numbers)
    np.testing.assert_array_equal(read_mask_pixels(tmp_path / "a.jp2").values, numbers[0])


# floats and bands


@pytest.mark.parametrize(
    ("values", "dtype"), [(NUMBERS, np.uint8), (NUMBERS * 70000.0, np.int32), (NUMBERS - 1.0, np.int32)]
)
def test_whole_numbers_stored_as_floats_are_these_numbers(
    tmp_path: Path, values: npt.NDArray[np.generic], dtype: type[np.integer]
) -> None:
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
    pixels = read_mask_pixels(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels.values, values)
    assert pixels.values.dtype == dtype


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e12])
def test_other_floats_are_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.array([[0, value]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif: holds floating-point numbers that are not integers below"):
        read_mask_pixels(tmp_path / "a.tif")


def test_bands_that_are_no_colors_are_refused(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.uint8).tobytes()
    with pytest.raises(ImageError, match=r"a\.tif: holds 4 bands of numbers that are not colors.*gdal_translate -b 1"):
        read_mask_pixels(tiff(tmp_path / "a.tif", rows, (2, 3), photometric=1, bands=4))
