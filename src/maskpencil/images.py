"""Images in and out: anything to RGB uint8. Here alone are image files opened."""

import io
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskpencil import tiff
from maskpencil.bands import Bands, Levels, empty_pixels
from maskpencil.errors import ImageError, OutputError
from maskpencil.file_kinds import HEAD, what_it_is
from maskpencil.files import written_whole
from maskpencil.jpeg2000 import HEAD as JPEG2000_HEAD
from maskpencil.jpeg2000 import jpeg2000_facts
from maskpencil.parsing import shown
from maskpencil.regular_files import refuse_special

if TYPE_CHECKING:
    import torch

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name endings, in lower case, that are taken for images."""

FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's decoders that a file can reach, whatever its name: none of them starts a program or reads another file."""

for _name in ("Bmp", "Gif", "Jpeg2K", "Jpeg", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{_name}ImagePlugin")  # at once: else the first file of each makes Pillow load all it has

MAX_PIXELS = 2**27
"""Images of more pixels are refused: decoded, they would fill the memory of a small machine."""

MAX_BYTES = 2**31
"""Images of more decoded bytes, which many bands make, are refused as well."""

ORIENTATION = 0x0112
"""The EXIF tag."""

_JPEG = ("JPEG", {"quality": 95, "subsampling": 0})
_WRITING: dict[str, tuple[str, dict[str, int]]] = {
    ".bmp": ("BMP", {}),
    ".gif": ("GIF", {}),
    ".jp2": ("JPEG2000", {}),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".pgm": ("PPM", {}),
    ".png": ("PNG", {"compress_level": 1}),
    ".ppm": ("PPM", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {}),
}
"""Pillow's name of a suffix's format, and its options."""

_SEVERAL = ("GIF", "PNG", "WEBP")
"""Formats that may hold several images; those of MPO are previews and views of the first."""

RGBImage = npt.NDArray[np.uint8]
ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | npt.NDArray[np.generic] "
    "| torch.Tensor"
)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels.

    `size` is (height, width) as stored. `orientation` is EXIF's, 1 to 8: from 2 on viewers turn or mirror the image,
    and from 5 on its height and width are exchanged. `pages` counts the images in the file.
    """

    mode: str
    size: tuple[int, int]
    orientation: int
    pages: int = 1

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) as `read_image` gives it."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@dataclass(frozen=True)
class Pixels:
    """An image as it is seen, and what its file says beyond it.

    Attributes:
        rgb: (H, W, 3) uint8, 0-255, contiguous.
        empty: (H, W) where the file holds nothing: fully transparent, nodata or masked; None where no pixel is empty.
        pages: how many images the file holds; this is the first.
        bands: which of the file's bands are seen, in words; nothing where there is no choice.
        levels: how its numbers became 0-255, in words; nothing for 8 bits.
        has_place: whether the file says where on the earth the image lies.
    """

    rgb: RGBImage
    empty: npt.NDArray[np.bool_] | None = None
    pages: int = 1
    bands: str = ""
    levels: str = ""
    has_place: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should be told of how the file was read, as the ends of sentences about it."""
        several = f"page 1 of {self.pages} is taken; save the others as files of their own" if self.pages > 1 else ""
        return tuple(text for text in (self.bands, self.levels, several) if text)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what an image file says of itself, without its pixels.

    Raises:
        ImageError: not a readable image, or over `MAX_PIXELS`.
    """
    name = os.fspath(path)
    with decoding(name):
        if is_tiff(path):
            with Path(path).open("rb") as file, naming(name):
                pages = tiff.read_pages(file)
                page = _first_page(pages)
                mode = {"palette": "P", "rgb": "RGB", "cmyk": "CMYK"}.get(page.bands.model, "L")
            return Header(mode, page.size, page.orientation, len(tiff.main_pages(pages)))
        with opened_image(path) as image:
            return Header(image.mode, (image.height, image.width), _orientation(image), _pages(image))


def read_image(source: ImageSource) -> RGBImage:
    """Decode an image to RGB, see `read_pixels`.

    Returns:
        (H, W, 3) uint8, 0-255, contiguous.

    Raises:
        ImageError: not a readable image, truncated, over `MAX_PIXELS`, or of a kind without a fixed range (floats,
            wider whole numbers, booleans): the message has the expression that makes it uint8.
    """
    return read_pixels(source).rgb


def read_pixels(source: ImageSource) -> Pixels:
    """Decode an image to RGB, and find the pixels that hold nothing.

    Takes a path (a leading ~ is the home folder), encoded bytes, a file opened for reading bytes (read from its start
    where it can be rewound), a Pillow image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a torch tensor
    (H, W), (1, H, W), (3, H, W) or (4, H, W). Numbers of arrays and tensors are uint8 or uint16, of 0-255 or 0-65535,
    in the order red, green, blue (OpenCV's blue, green, red: `image[..., ::-1]`). EXIF orientation is applied, and of
    several pages the first is taken. Transparency is laid over white. In TIFF and JPEG 2000 files it only says where
    they are empty, as in GDAL; which of their bands are seen and how their numbers become 8 bits, see
    `maskpencil.bands`. 16 bits elsewhere are scaled to 8 over the full range.

    Raises:
        ImageError: not a readable image, truncated, over `MAX_PIXELS`, or of a kind without a fixed range (floats,
            wider whole numbers, booleans): the message has the expression that makes it uint8.
    """
    if isinstance(source, np.ndarray):
        return _array_to_pixels(source)
    if isinstance(source, Image.Image):
        with decoding("the image"):
            _refuse_wide(source)
            return _to_pixels(source, "the image")
    if _is_tensor(source):
        return _tensor_to_pixels(source)
    file, name = _as_file(source)
    with decoding(name):
        if is_tiff(file):
            return _tiff_pixels(file, name)
        with opened_image(file, name=name) as image:
            pages = _pages(image)
            if image.format == "JPEG2000":
                return _jpeg2000_pixels(image, file, name)
            return replace(_to_pixels(image, name), pages=pages)


def fitted_size(size: tuple[int, int], image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that an image of `size` is scaled to for a wanted `image_size`.

    None keeps it, a number limits the longer side to that many pixels, (height, width) is taken as it is.
    """
    if image_size is None or isinstance(image_size, tuple):
        return image_size or size
    scale = min(1.0, image_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def scaled(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    """Scale an image (H, W, 3) to (height, width) `size`, bilinear and anti-aliased; itself where that is its size."""
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) color or (H, W) gray image; the format follows the suffix.

    JPEG has quality 95 and 4:4:4; PNG is packed lightly, which takes a third of the time and 6 % more room.

    Raises:
        OutputError: the file cannot be written, or its name ends in no format of images.
    """
    refuse_unknown_suffix(path)
    image_format, options = _WRITING[Path(path).suffix.lower()]
    save_image(path, Image.fromarray(np.ascontiguousarray(image)), image_format, **options)


def save_image(path: str | os.PathLike[str], image: Image.Image, image_format: str, **options: Any) -> None:
    """Write a Pillow image, whole or not at all, in a format by Pillow's name and with its `options`.

    It is encoded in memory: of what Pillow's encoders write to a file themselves, a full disk cuts the end off without
    an error.

    Raises:
        OutputError: the file cannot be written.
    """
    encoded = io.BytesIO()
    image.save(encoded, format=image_format, **options)
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def refuse_unknown_suffix(path: str | os.PathLike[str]) -> None:
    """Make sure that a file's name ends in a format of images.

    Raises:
        OutputError: it does not.
    """
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        raise OutputError(f"{path}: an image's name must end in {', '.join(sorted(IMAGE_SUFFIXES))}; add .png")


@contextmanager
def opened_image(source: str | os.PathLike[str] | bytes, *, name: str = "") -> Iterator[Image.Image]:
    """Open an image, whose pixels are not decoded yet; messages call it `name`, by default its path.

    Raises:
        ImageError: not a readable image, or over `MAX_PIXELS`.
    """
    name = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    if not isinstance(source, bytes):
        refuse_special(source, error=ImageError)
    with decoding(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked below
        warnings.simplefilter("ignore", UserWarning)  # of a phone's JPEG with a preview that is not as it should be
        try:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        except UnidentifiedImageError as error:
            found, remedy = what_it_is(_head(source, HEAD))
            raise ImageError(f"{name}: {found}; {remedy}") from error
    with image:
        with naming(name):
            _check_size((image.height, image.width))
        yield image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn everything Pillow raises on a damaged file into one clear error."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: is a folder; expected an image") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read; check its permissions") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: has more than {MAX_PIXELS / 1e6:.0f} million pixels; cut it into smaller images"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name}: needs more memory than there is; cut it into smaller images") from error
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error) as error:  # what decoders raise
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name}: is damaged or cut short ({reason}); replace it or remove it") from error


def is_tiff(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file is a TIFF by its first bytes."""
    return tiff.is_tiff(_head(source, 4))


def _head(source: str | os.PathLike[str] | bytes, size: int) -> bytes:
    """The first bytes, all where `size` is -1."""
    if isinstance(source, bytes):
        return source[: None if size < 0 else size]
    refuse_special(source, error=ImageError)
    with Path(source).open("rb") as file:
        return file.read(size)


def _check_size(size: tuple[int, int]) -> None:
    height, width = size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"is {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million can be read at once; "
            "cut it into smaller images, or predict a TIFF with --geotiff"
        )


def _pages(image: Image.Image) -> int:
    """The number of images in a file."""
    return int(getattr(image, "n_frames", 1)) if image.format in _SEVERAL else 1


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _to_pixels(image: Image.Image, name: str) -> Pixels:
    image = upright(image)
    if image.mode == "F":
        raise ImageError(f"{name}: holds floating-point numbers; expected 8 or 16 bits a channel; convert it first")
    if image.mode.startswith("I"):  # 16 bits, also where Pillow keeps them in 32
        return _array_to_pixels(np.array(image).clip(0, 65535).astype(np.uint16))
    if image.mode == "P" and image.palette is None:
        raise ImageError(f"{name}: is damaged: its palette is missing; replace it or remove it")
    if not image.has_transparency_data:
        return Pixels(np.array(image if image.mode == "RGB" else image.convert("RGB")))
    image = image.convert("RGBA")
    empty = np.array(image.getchannel("A")) == 0
    over_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return Pixels(np.array(over_white.convert("RGB")), empty if empty.any() else None)


def _tiff_pixels(source: str | os.PathLike[str] | bytes, name: str) -> Pixels:
    """The first page of a TIFF file."""
    path = None if isinstance(source, bytes) else Path(source)
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file, naming(name):
        pages = tiff.read_pages(file)
        page = _first_page(pages)
        bands = page.bands
        seen = bands.colors if bands.alpha is None else (*bands.colors, bands.alpha)
        samples = page.samples(file, seen)
        mask = _tiff_mask(file, page, pages, path)
    alpha = None if bands.alpha is None else samples[..., -1]
    found = _seen(samples[..., : len(bands.colors)], bands, name, alpha=alpha, mask=mask)
    return replace(
        found,
        rgb=np.ascontiguousarray(tiff.turned(found.rgb, page.orientation)),
        empty=None if found.empty is None else tiff.turned(found.empty, page.orientation),
        pages=len(tiff.main_pages(pages)),
        has_place=page.has_place or (path is not None and tiff.has_world_file(path)),
    )


def _first_page(pages: list[tiff.TiffPage]) -> tiff.TiffPage:
    """The page that is taken.

    Raises:
        ImageError: it is too large, or the file is no image.
    """
    page = tiff.main_pages(pages)[0]
    _check_size(page.size)
    height, width = page.size
    if 0 in page.size:
        raise ImageError("has no pixels; replace it or remove it")
    if tiff.is_raw_photo(page):
        raise ImageError("is a raw photo (DNG), whatever its name says; develop it to JPEG or TIFF first")
    if height * width * page.count * page.bits // 8 > MAX_BYTES:
        raise ImageError(
            f"is {width} x {height} pixels with {page.count} bands of {page.bits} bits, more than can be read at "
            "once; cut it into smaller images, or predict it with --geotiff"
        )
    return page


def _tiff_mask(
    file: IO[bytes], page: tiff.TiffPage, pages: list[tiff.TiffPage], path: Path | None
) -> npt.NDArray[np.generic] | None:
    """Where a page is empty (0), by a mask within the file or in a file beside it, (H, W)."""
    within = tiff.mask_of(page, pages)
    if within:
        return within.samples(file, (0,))[..., 0]
    if path is None or not tiff.mask_file(path).is_file():
        return None
    with tiff.mask_file(path).open("rb") as beside:
        first = tiff.read_pages(beside, most=1)[0]
        if first.size != page.size:
            raise ImageError(
                f"its mask {tiff.mask_file(path).name} is of another size; remove the mask or make it anew"
            )
        return first.samples(beside, (0,))[..., 0]


def _jpeg2000_pixels(image: Image.Image, source: str | os.PathLike[str] | bytes, name: str) -> Pixels:
    facts = jpeg2000_facts(_head(source, JPEG2000_HEAD))
    if facts.called_gray and facts.count > 1:  # as GDAL writes bands without colors, at which Pillow fails
        with opened_image(_head(source, -1)[facts.start :]) as bare:
            values = np.array(bare)
    else:
        values = np.array(image)
    bits = facts.bits
    samples = values if values.ndim == 3 else values[..., None]
    if bits > 8 and samples.shape[2] > 1:
        raise ImageError(
            f"{name}: is JPEG 2000 of {bits} bits in {samples.shape[2]} bands, of which only 8 bits would be seen; "
            "predict it with --geotiff, or convert it: gdal_translate IN.jp2 OUT.tif"
        )
    if image.mode.startswith("I"):
        samples = samples.astype(np.uint16) >> np.uint16(16 - bits)
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        samples = np.array(image.convert("RGB"))
    count = samples.shape[2]
    alpha = samples[..., -1] if count in (2, 4) else None
    colors = samples[..., : count - (alpha is not None)]
    bands = Bands(
        count=count,
        dtype=samples.dtype,
        bits=max(8, bits),
        model="rgb" if colors.shape[2] == 3 else "gray",
        colors=tuple(range(colors.shape[2])),
        alpha=None if alpha is None else count - 1,
    )
    return _seen(colors, bands, name, alpha=alpha)


def _seen(
    colors: npt.NDArray[np.generic],
    bands: Bands,
    name: str,
    *,
    alpha: npt.NDArray[np.generic] | None = None,
    mask: npt.NDArray[np.generic] | None = None,
) -> Pixels:
    """An image of the numbers (H, W, n) of its seen bands."""
    empty, levels = empty_pixels(colors, bands, alpha=alpha, mask=mask), Levels(bands)
    if levels.by_numbers:
        levels.count(colors, empty)
    rgb = levels.to_rgb(colors, name)
    return Pixels(rgb, empty if empty is not None and empty.any() else None, 1, bands.text, levels.text(name))


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the file's name before an error's message that lacks it."""
    try:
        yield
    except ImageError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise ImageError(f"{name}: {error}") from error


def upright(image: Image.Image) -> Image.Image:
    """The image as EXIF turns it; itself, not a copy, where there is nothing to turn."""
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _as_file(source: Any) -> tuple[str | bytes, str]:
    """The path or the encoded bytes of a source that is a file in one form or another, and what messages call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the image"
    if isinstance(source, str | os.PathLike):
        path = os.path.expanduser(os.fsdecode(source))  # noqa: PTH111 - Path.expanduser fails without a home
        return path, path
    if not hasattr(source, "read"):
        raise ImageError(
            "an image must be a path, encoded bytes, a file opened with 'rb', a Pillow image, an array or a tensor, "
            f"but got {shown(source)} of {type(source).__name__}"
        )
    name = getattr(source, "name", None)
    name = name if isinstance(name, str) else "the image"
    try:
        if hasattr(source, "seekable") and source.seekable():
            source.seek(0)
        content = source.read()
    except (OSError, ValueError) as error:  # such as that it is closed
        raise ImageError(f"{name}: cannot be read ({error}); give a file that is open for reading") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: is open as text; open it with mode 'rb', or give its path")
    return content, name


def _is_tensor(source: Any) -> bool:
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def _tensor_to_pixels(tensor: Any) -> Pixels:
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta or tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise ImageError(f"an image tensor must be dense and of uint8 or uint16, but got {kind} on {tensor.device}")
    if kind not in ("uint8", "uint16"):
        raise _unfit_numbers(tensor.detach().double().cpu().numpy(), kind, "tensor")
    array = tensor.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] not in (1, 3, 4):
        turn = "; for (H, W, C) give tensor.permute(2, 0, 1)" if array.shape[2] in (1, 3, 4) else ""
        raise ImageError(f"an image tensor must be (H, W), (3, H, W) or (4, H, W), but got {array.shape}{turn}")
    return _array_to_pixels(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)


def _array_to_pixels(array: npt.NDArray[np.generic]) -> Pixels:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise _unfit_numbers(array, str(array.dtype), "array")
    if array.dtype.itemsize == 2:
        array = np.round(array.astype(np.float32) / 257)  # 65535 -> 255
    pixels = array.astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        turn = "; for (C, H, W) give array.transpose(1, 2, 0)" if array.ndim == 3 and len(array) in (1, 3, 4) else ""
        raise ImageError(f"an image array must be (H, W), (H, W, 3) or (H, W, 4), but got {array.shape}{turn}")
    if pixels.shape[2] == 4:
        return _to_pixels(Image.fromarray(np.ascontiguousarray(pixels)), "the image")
    return Pixels(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)))


def _refuse_wide(image: Image.Image) -> None:
    """Refuse an image made in memory of numbers of 32 bits that are not clearly of 16; of files the format says it."""
    if image.mode == "F" or (image.mode == "I" and image.format is None):
        array = np.array(image)
        if image.mode == "F" or array.min() < 0 or array.max() > 65535 or 0 < array.max() <= 255:
            raise _unfit_numbers(array, str(array.dtype), "image")


def _unfit_numbers(values: npt.NDArray[Any], kind: str, what: str) -> ImageError:
    """The error that an image of numbers without a fixed range is, with the expression that makes it uint8 or uint16.

    Args:
        values: the numbers, whose least and greatest say which expression works.
        kind: their type.
        what: "array", "tensor" or "image" (Pillow's), as messages call it.
    """
    must = f"{'a Pillow image' if what == 'image' else f'an image {what}'} must be uint8 or uint16, but got {kind}"
    if values.dtype.kind not in "biuf":
        return ImageError(f"{must}, which is no brightness")
    if not values.size or not np.isfinite(values).all():
        return ImageError(f"{must} that holds {'NaN or infinity' if values.size else 'nothing'}; correct it first")
    name = "numpy.array(image)" if what == "image" else what
    low, high = float(values.min()), float(values.max())
    if kind == "bool":
        full, scaled, bits = "False to True", name, 8
    else:
        full, scaled, bits = _scaling(name, low, high, whole=not kind.startswith(("float", "bfloat")))
    if what == "tensor":
        scaled += ".byte()" if bits == 8 else ".to(torch.uint16)"
    else:
        scaled += f".astype('uint{bits}')"
    if kind == "bool":
        scaled += " * 255"
    if what == "image":
        scaled = f"PIL.Image.fromarray({scaled})"
    return ImageError(f"{must} from {low:.6g} to {high:.6g}; if its full range is {full}, give {scaled}")


def _scaling(name: str, low: float, high: float, *, whole: bool) -> tuple[str, str, int]:
    """Name the possible range of numbers from `low` to `high`, how to convert it to a number of bits, and the bits."""
    if low >= 0 and high <= 1 and not whole:
        return "0 to 1", f"({name} * 255).round()", 8
    if low >= 0 and high <= 255:
        return "0 to 255", name if whole else f"{name}.round()", 8
    if low >= 0 and high <= 65535 and whole:
        return "0 to 65535", name, 16
    if low >= -1 and high <= 1 and not whole:
        return "-1 to 1", f"(({name} + 1) * 127.5).round()", 8
    least, greatest = f"{low:.9g}", f"{max(high, low + 1):.9g}"
    return f"{least} to {greatest}", f"(({name} - ({least})) * (255 / ({greatest} - ({least})))).round()", 8
