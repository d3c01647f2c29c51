import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageFile

from maskpencil import images
from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import ImageError, OutputError
from maskpencil.images import RGBImage, fitted_size, read_image, write_image
from maskpencil.label_maps import (
    IGNORE_COLOR,
    LabelMap,
    MaskPixels,
    PixelRuns,
    read_label_map,
    read_mask_pixels,
    write_label_map,
)


def photo_like() -> RGBImage:
    """A smooth image whose corners all differ, 24 x 32 (height x width), of 0 to 255."""
    rows, columns = np.indices((24, 32))
    return np.stack([rows * 10, columns * 8, 255 - rows * 5], axis=-1).astype(np.uint8)


@pytest.fixture
def photo() -> RGBImage:
    """`photo_like`."""
    return photo_like()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(header: bytes, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG file chunk by chunk, for kinds that Pillow does not write."""
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


# reading images


@pytest.mark.parametrize("kind", ["BMP", "PNG", "PPM", "TIFF", "WEBP"])
def test_every_format_without_loss_gives_the_same_pixels(photo: RGBImage, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(photo), kind, **options)), photo)


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 95, "progressive": True}])
def test_jpeg_gives_nearly_the_same_pixels(photo: RGBImage, options: dict[str, Any]) -> None:
    read = read_image(encoded(Image.fromarray(photo), "JPEG", **options)).astype(int)
    assert np.abs(read - photo).max() < 12


def test_an_image_can_be_a_path_bytes_pillow_or_an_array(photo: RGBImage, tmp_path: Path) -> None:
    image = Image.fromarray(photo)
    image.save(tmp_path / "photo.png")
    path = tmp_path / "photo.png"
    for source in (path, str(path), path.read_bytes(), image, photo, photo[:, ::-1][:, ::-1]):
        read = read_image(source)
        np.testing.assert_array_equal(read, photo)
        assert read.flags.c_contiguous
        assert read.flags.writeable
        assert not np.shares_memory(read, photo)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    read = read_image(Image.new(mode, (5, 3)))
    assert (read.shape, read.dtype) == ((3, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (0, 51), (204, 204, 204)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 77, (77, 77, 77)),
        ("I", 257 * 77, (77, 77, 77)),
    ],
)
def test_colors_keep_their_meaning_and_transparency_is_laid_over_white(
    mode: str, color: Any, expected: tuple[int, int, int]
) -> None:
    assert read_image(Image.new(mode, (2, 2), color))[0, 0].tolist() == list(expected)


def test_a_cmyk_jpeg_is_not_inverted(photo: RGBImage) -> None:
    read = read_image(encoded(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(read - photo).max() < 20


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_palette_color_can_be_transparent(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putpixel((1, 0), 1)
    read = read_image(encoded(image, "PNG", transparency=transparency))
    assert read.tolist() == [[[255, 255, 255], [0, 200, 0]]]


def test_sixteen_bits_a_channel_become_eight() -> None:
    levels = np.array([[0, 257, 65535], [1000, 32896, 65407]], dtype=">u2")
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, axis=1).tobytes() for row in levels)
    colored = read_image(png(struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0), rows))
    gray = read_image(png(struct.pack(">IIBBBBB", 3, 2, 16, 0, 0, 0, 0), b"".join(b"\0" + r.tobytes() for r in levels)))
    for read in (colored, gray, read_image(levels.astype(np.uint16))):
        assert np.abs(read.astype(int) - (levels / 257)[..., None]).max() <= 1
        assert read[0].tolist() == [[0, 0, 0], [1, 1, 1], [255, 255, 255]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = np.zeros((16, 24, 3), dtype=np.uint8)
    upright[:8, :8], upright[:8, 16:], upright[8:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored: dict[int, Callable[[RGBImage], RGBImage]] = {  # how a camera held that way sees it
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    source = encoded(Image.fromarray(np.ascontiguousarray(stored[orientation](upright))), kind, exif=exif, **options)
    read = read_image(source)
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).max() < 12


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    source = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert read_image(source)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_of_one_three_and_four_channels_become_rgb(
    shape: tuple[int, ...], dtype: type[np.unsignedinteger[Any]]
) -> None:
    read = read_image(np.full(shape, np.iinfo(dtype).max, dtype=dtype))
    assert read.shape == (4, 6, 3)
    assert (read == 255).all()
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6), dtype=np.float32), r"must be uint8 or uint16, but got float32 .* give \(array \* 255\)"),
        (np.zeros((4, 6), dtype=bool), "but got bool"),
        (np.zeros((4, 6, 2), dtype=np.uint8), r"but got \(4, 6, 2\)"),
        (np.zeros((2, 4, 6, 3), dtype=np.uint8), r"but got \(2, 4, 6, 3\)"),
        (np.zeros((0, 6, 3), dtype=np.uint8), r"but got \(0, 6, 3\)"),
        (np.zeros(5, dtype=np.uint8), r"but got \(5,\)"),
    ],
)
def test_an_array_that_is_no_image_is_refused(array: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(array)


# files that are no images


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    path = tmp_path / f"photo.{kind.lower()}"
    for share in (0.9, 0.6, 0.3):
        path.write_bytes(whole[: int(len(whole) * share)])
        for read in (read_image, read_mask_pixels):
            with pytest.raises(ImageError, match=r"damaged(,| or) cut short|not an image") as caught:
                read(path)
            assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("read", [read_image, read_mask_pixels])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\); copy or download it again, or remove it"),
        (b"not an image at all\n" * 20, "is text, not an image"),
        (bytes(range(1, 256)) * 3, "is not an image in a known format .*; convert it to JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n", "is not an image|damaged"),
    ],
)
def test_a_file_of_something_else_is_an_error_that_names_it(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes, message: str
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: there is no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder; expected an image"):
        read_image(tmp_path)


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the superuser, who may run the tests, may read anything
    with pytest.raises(ImageError, match=r"photo\.png: cannot be read \(permission denied\); check its permissions"):
        read_image(tmp_path / "photo.png")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png(struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0), b""))
    for read in (read_image, read_mask_pixels):
        with pytest.raises(ImageError, match=r"huge\.png: .* 134 million .*; cut it into smaller images"):
            read(path)


def test_an_image_of_many_pixels_is_read_without_a_warning(
    photo: RGBImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert read_image(encoded(Image.fromarray(photo), "PNG")).shape == photo.shape


def test_floating_point_images_are_read_from_0_to_1_and_otherwise_refused(tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(np.array([[0, 0.5, 1, 1.2]], dtype=np.float32)).save(path)
    assert read_image(path)[..., 0].tolist() == [[0, 128, 255, 255]]
    with pytest.raises(ImageError, match="holds floating-point numbers that are not integers"):
        read_mask_pixels(path)
    Image.fromarray(np.array([[0, 30.5]], dtype=np.float32)).save(path)
    with pytest.raises(ImageError, match=r"depth\.tif: holds floating-point numbers from 0 to 30\.5; expected 0 to 1"):
        read_image(path)


@given(
    kind=st.sampled_from(["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    share=st.floats(0.05, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on damaged headers
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    kind: str, changes: list[tuple[float, int]], share: float
) -> None:
    content = bytearray(encoded(Image.new("RGB", (20, 10), "orange"), kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    with suppress(ImageError):
        assert read_image(bytes(content[: max(1, int(share * len(content)))])).ndim == 3


def test_an_absurd_size_allocates_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)).save(path, big_tiff=True)
    expected = read_image(path)
    content = path.read_bytes()
    start = content.index(struct.pack("<H", 279), 16)  # the entry of StripByteCounts, of a type, a count and a value
    path.write_bytes(content[:start] + struct.pack("<HHQQ", 279, 16, 1, 2**62) + content[start + 20 :])
    np.testing.assert_array_equal(read_image(path), expected)


# sources in memory


def test_an_image_may_be_bytes_an_open_file_or_a_path_below_home(
    photo: RGBImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(Image.fromarray(photo), "PNG")
    (tmp_path / "photo.png").write_bytes(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    written = io.BytesIO()
    written.write(content)  # and stands at its end
    with (tmp_path / "photo.png").open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
        file.seek(10)
        spooled.write(content)
        for source in (content, bytearray(content), memoryview(content), written, file, spooled):
            np.testing.assert_array_equal(read_image(source), photo)
    for path in ("~/photo.png", Path("~/photo.png")):
        np.testing.assert_array_equal(read_image(path), photo)


def test_a_file_that_cannot_be_rewound_is_read_from_where_it_is(photo: RGBImage) -> None:
    class Response:
        def __init__(self) -> None:
            self._parts = [encoded(Image.fromarray(photo), "PNG")]

        def read(self) -> bytes:
            return self._parts.pop()

    np.testing.assert_array_equal(read_image(Response()), photo)


def test_files_that_give_no_bytes_are_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_text("text")
    with path.open() as text, pytest.raises(ImageError, match=r"photo\.png: is open as text; open it with mode 'rb'"):
        read_image(text)
    with path.open("rb") as closed:
        pass
    with pytest.raises(ImageError, match=r"photo\.png: cannot be read \(.*closed"):
        read_image(closed)
    with path.open("rb") as damaged, pytest.raises(ImageError, match=r"photo\.png: is text, not an image"):
        read_image(damaged)
    for strange in (None, 3, object(), [1], {"a": 1}):
        with pytest.raises(
            ImageError, match=r"an image must be a path, encoded bytes, a file opened with 'rb'"
        ) as caught:
            read_image(strange)
        assert "\n" not in str(caught.value)


def test_a_damaged_pillow_image_is_an_error_of_this_package(photo: RGBImage) -> None:
    cut = Image.open(io.BytesIO(encoded(Image.fromarray(photo), "PNG")[:-30]))
    with pytest.raises(ImageError, match="the image: is damaged or cut short"):
        read_image(cut)


NUMBERS = {
    "0 to 1": photo_like().astype(np.float64) / 255,
    "0 to 255": photo_like().astype(np.float32),
    "-1 to 1": photo_like().astype(np.float64) / 127.5 - 1,
    "float16": (photo_like() / 255).astype(np.float16),
    "int32": photo_like().astype(np.int32),
    "int64": photo_like().astype(np.int64),
    "uint32": photo_like().astype(np.uint32),
    "wide": photo_like().astype(np.int64) * 257,
    "negative": photo_like().astype(np.int32) - 1000,
    "large": photo_like().astype(np.float64) * 1e6 + 123456789,
    "bool": photo_like() > 100,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_the_remedy_for_other_numbers_works_as_it_is_typed(kind: str) -> None:
    array = NUMBERS[kind]
    with pytest.raises(
        ImageError, match=r"must be uint8 or uint16, but got .* if its full range is .*, give "
    ) as caught:
        read_image(array)
    assert "\n" not in str(caught.value)
    read = read_image(eval(str(caught.value).rpartition(", give ")[2], {"array": array}))
    expected = photo_like() if kind != "bool" else (photo_like() > 100) * 255
    assert np.abs(read.astype(int) - expected).max() <= (1 if kind in ("float16", "large") else 0)


@pytest.mark.parametrize("kind", NUMBERS)
def test_the_remedy_for_tensors_of_other_numbers_works_as_it_is_typed(kind: str) -> None:
    import torch

    if kind == "uint32":
        pytest.skip("torch hardly computes with it")
    tensor = torch.from_numpy(NUMBERS[kind]).permute(2, 0, 1)
    with pytest.raises(ImageError, match=r"an image tensor must be uint8 or uint16, but got .*, give ") as caught:
        read_image(tensor)
    read = read_image(eval(str(caught.value).rpartition(", give ")[2], {"tensor": tensor, "torch": torch}))
    np.testing.assert_allclose(
        read.astype(int),
        photo_like() if kind != "bool" else (photo_like() > 100) * 255,
        atol=1 if kind in ("float16", "large") else 0,
    )


@pytest.mark.parametrize("array", [photo_like()[..., 0].astype(np.int32), photo_like()[..., 0] / np.float32(255)])
def test_the_remedy_for_pillow_images_of_other_numbers_works_as_it_is_typed(array: npt.NDArray[Any]) -> None:
    import PIL

    image = Image.fromarray(array)
    with pytest.raises(ImageError, match=r"a Pillow image must be uint8 or uint16, but got .*, give ") as caught:
        read_image(image)
    fixed = eval(str(caught.value).rpartition(", give ")[2], {"image": image, "numpy": np, "PIL": PIL})
    np.testing.assert_array_equal(read_image(fixed)[..., 0], photo_like()[..., 0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 6), np.nan), "float64 with NaN or infinity; correct the image before passing it"),
        (np.full((4, 6), np.inf, dtype=np.float32), "float32 with NaN or infinity"),
        (np.zeros((0, 6, 3)), "float64 without any pixel"),
        (np.zeros((4, 6), dtype=complex), "complex128, which are not brightness values"),
        (np.full((4, 6), "a"), "which are not brightness values"),
        (np.full((4, 6), None), "object, which are not brightness values"),
        (np.zeros((3, 40, 60), dtype=np.uint8), r"got \(3, 40, 60\); for \(C, H, W\) give array.transpose\(1, 2, 0\)"),
    ],
)
def test_arrays_that_no_expression_converts_are_refused_in_a_line(array: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_image(array)
    assert "\n" not in str(caught.value)


def test_tensors_of_strange_kinds_are_refused_in_a_line() -> None:
    import torch

    strange = [
        torch.zeros(3, 4, 6, dtype=torch.bfloat16),
        torch.zeros(3, 4, 6, dtype=torch.complex64),
        torch.zeros(3, 4, 6, device="meta", dtype=torch.uint8),
        torch.zeros(3, 4, 6).to_sparse(),
        torch.zeros(5, 6, 3, dtype=torch.uint8),
        torch.zeros(3, 4, 6, requires_grad=True),
    ]
    for tensor in strange:
        with pytest.raises(ImageError, match="an image tensor must be") as caught:
            read_image(tensor)
        assert "\n" not in str(caught.value)


def test_16_bit_numbers_of_either_byte_order_are_the_same() -> None:
    wide = photo_like().astype(np.uint16) * 257
    for order in "<>":
        np.testing.assert_array_equal(read_image(wide.astype(f"{order}u2")), photo_like())


# sizes


@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    longest=st.integers(1, 3000),
)
def test_an_image_size_keeps_the_aspect_ratio_and_only_shrinks(size: tuple[int, int], longest: int) -> None:
    height, width = fitted_size(size, longest)
    assert max(height, width) == min(longest, max(size))
    assert abs(height * size[1] - width * size[0]) <= max(size) / 2 + max(size)
    assert 1 <= height <= size[0]
    assert 1 <= width <= size[1]


def test_no_image_size_keeps_the_size_and_a_pair_sets_it() -> None:
    assert fitted_size((30, 40), None) == (30, 40)
    assert fitted_size((30, 40), (64, 64)) == (64, 64)


# masks


def test_palette_indices_stay_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 7], [7, 1, 0]], dtype=np.uint8))
    image.putpalette([10, 20, 30] + [40, 50, 60] * 255)
    image.save(tmp_path / "mask.png")
    pixels = read_mask_pixels(tmp_path / "mask.png")
    assert pixels.values.tolist() == [[0, 1, 7], [7, 1, 0]]
    assert pixels.palette is not None
    assert pixels.palette[:2].tolist() == [[10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 3], [255, 11]], dtype=np.uint8), [[0, 3], [255, 11]]),
        (np.array([[False, True]]), [[0, 255]]),
        (np.array([[0, 300], [65535, 1]], dtype=np.uint16), [[0, 300], [65535, 1]]),
        (np.array([[0, 70000]], dtype=np.int32), [[0, 70000]]),
        (np.array([[[5, 5, 5], [0, 0, 0]]], dtype=np.uint8), [[5, 0]]),
        (np.array([[[5, 5, 5, 255], [2, 2, 2, 0]]], dtype=np.uint8), [[5, 2]]),
        (np.array([[[9, 0], [4, 255]]], dtype=np.uint8), [[9, 4]]),
        (np.array([[[5, 6, 5], [0, 0, 0]]], dtype=np.uint8), [[[5, 6, 5], [0, 0, 0]]]),
    ],
)
def test_mask_values_are_unchanged(tmp_path: Path, array: npt.NDArray[Any], expected: list[Any]) -> None:
    path = tmp_path / ("mask.tif" if array.dtype == np.int32 else "mask.png")
    Image.fromarray(array).save(path)
    pixels = read_mask_pixels(path)
    assert pixels.values.tolist() == expected
    assert pixels.palette is None


@settings(max_examples=30)
@given(label_map=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_a_label_map_is_read_as_it_was_written(label_map: LabelMap, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "label_map.png"
    write_label_map(path, label_map, np.array([[0, 0, 0], [200, 0, 0]], dtype=np.uint8))
    np.testing.assert_array_equal(read_label_map(path), label_map)


def test_a_label_map_is_a_palette_png_in_the_class_colors(tmp_path: Path) -> None:
    label_map = np.array([[0, 1, IGNORE_INDEX]], dtype=np.uint8)
    write_label_map(tmp_path / "mask.png", label_map, np.array([[9, 8, 7], [200, 0, 0]], dtype=np.uint8))
    with Image.open(tmp_path / "mask.png") as image:
        assert (image.format, image.mode) == ("PNG", "P")
        assert np.array(image).tolist() == [[0, 1, 255]]
        assert np.array(image.convert("RGB")).tolist() == [[[9, 8, 7], [200, 0, 0], list(IGNORE_COLOR)]]


def test_a_file_that_is_no_label_map_is_refused(tmp_path: Path, photo: RGBImage) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    with pytest.raises(ImageError, match="has 3-d uint8 values; expected one 8-bit channel"):
        read_label_map(tmp_path / "photo.png")


# writing images


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_images_are_written_in_the_format_of_their_suffix(photo: RGBImage, tmp_path: Path, suffix: str) -> None:
    for image in (photo, photo[::-1], photo[..., 0]):
        write_image(tmp_path / f"photo{suffix}", image)
        read = read_image(tmp_path / f"photo{suffix}")
        np.testing.assert_array_equal(read, image if image.ndim == 3 else np.stack([image] * 3, axis=-1))


def test_a_jpeg_keeps_its_colors_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[:, ::2] = (220, 0, 0)
    stripes[:, 1::2] = (0, 0, 220)
    write_image(tmp_path / "stripes.JPG", stripes)
    assert np.abs(read_image(tmp_path / "stripes.JPG").astype(int) - stripes).max() < 30


def test_an_unwritable_image_is_an_error_of_this_package(photo: RGBImage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_image(tmp_path / "file" / "photo.png", photo)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_name_without_an_image_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"image: the name must end in one of \.avif, \.bmp, .*; add \.png"):
        write_image(tmp_path / "image", np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_the_greatest_size_is_what_the_message_says() -> None:
    assert round(images.MAX_PIXELS / 1e6) == 134


@pytest.mark.parametrize("clear", [False, True])
def test_an_image_of_palette_numbers_without_a_palette_is_refused(tmp_path: Path, clear: bool) -> None:
    path = tmp_path / "bare.png"
    Image.fromarray(np.zeros((4, 6), np.uint8)).convert("P").save(path, **({"transparency": 1} if clear else {}))
    data = path.read_bytes()
    start = data.index(b"PLTE") - 4
    path.write_bytes(data[:start] + data[start + 12 + int.from_bytes(data[start : start + 4], "big") :])
    with pytest.raises(ImageError, match=r"bare\.png: is damaged: its palette is missing"):
        read_image(path)
    assert read_mask_pixels(path).palette is None


def test_the_header_of_a_png_is_read_without_decoding_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "photo.png", np.zeros((3, 5, 3), dtype=np.uint8))
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda image: decoded.append(image.filename))
    assert images.read_header(tmp_path / "photo.png").size == (3, 5)
    assert not decoded


@given(
    values=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32]),
    colored=st.booleans(),
)
def test_run_lengths_give_the_pixels_of_a_mask_again(
    values: npt.NDArray[np.uint8], dtype: type[np.integer], colored: bool
) -> None:
    numbers = values.astype(dtype)
    pixels = MaskPixels(np.stack([numbers, numbers // 2, numbers * 0], axis=-1) if colored else numbers, None)
    again = PixelRuns.of(pixels).pixels()
    np.testing.assert_array_equal(again.values, pixels.values)
    assert again.values.dtype == dtype
    assert again.palette is None


def test_run_lengths_of_even_areas_are_small() -> None:
    values = np.zeros((1000, 1000), dtype=np.uint8)
    values[300:600] = 1
    palette = np.array([[0, 0, 0], [255, 0, 0]], dtype=np.uint8)
    runs = PixelRuns.of(MaskPixels(values, palette))
    assert runs.nbytes == 3 * (1 + 4)
    assert runs.pixels().palette is palette


@settings(max_examples=40)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda size: (*size, 3))),
    st.booleans(),
)
def test_quick_png_files_are_read_back_without_loss(image: RGBImage, compressed: bool) -> None:
    content = images.quick_png(image, compressed=compressed)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), image)
    np.testing.assert_array_equal(read_image(content), image)


def test_quick_png_files_are_small_if_compressed(photo: RGBImage) -> None:
    sizes = [len(images.quick_png(photo, compressed=compressed)) for compressed in (True, False)]
    assert sizes[0] < photo.nbytes / 2 < photo.nbytes < sizes[1] < photo.nbytes + 200
