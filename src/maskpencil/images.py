"""Pictures in and out: anything to RGB uint8."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskpencil.errors import ImageError, OutputError
from maskpencil.files import refuse_special, written_whole
from maskpencil.parsing import shown

if TYPE_CHECKING:
    import torch

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name endings, in lower case, that are taken for pictures."""

MAX_PIXELS = 2**27
"""Pictures of more pixels are refused: decoded, they would fill the memory of a small machine."""

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

RGBImage = npt.NDArray[np.uint8]
ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | npt.NDArray[np.generic] "
    "| torch.Tensor"
)


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before its pixels.

    `size` is (height, width) as stored. `orientation` is EXIF's, 1 to 8: from 2 on viewers turn or mirror the picture,
    and from 5 on its height and width are exchanged.
    """

    mode: str
    size: tuple[int, int]
    orientation: int

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) as `read_image` gives it."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a picture file says of itself, without its pixels.

    Raises:
        ImageError: not a readable picture, or over `MAX_PIXELS`.
    """
    with opened_image(path) as image, decoding(os.fspath(path)):
        orientation = image.getexif().get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        # of a TIFF Pillow gives the size as it is shown
        size = image.size if image.format == "TIFF" and orientation >= 5 else (image.height, image.width)
        return Header(image.mode, size, orientation)


def read_image(source: ImageSource) -> RGBImage:
    """Decode a picture to RGB.

    Takes a path (a leading ~ is the home folder), encoded bytes, a file opened for reading bytes (read from its start
    where it can be rewound), a Pillow image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a torch tensor
    (H, W), (1, H, W), (3, H, W) or (4, H, W). Numbers of arrays and tensors are uint8 or uint16, of 0-255 or 0-65535,
    in the order red, green, blue (OpenCV's blue, green, red: `image[..., ::-1]`). EXIF orientation is applied,
    transparency is laid over white, 16 bits are scaled to 8 over the full range, and of several frames the first is
    taken.

    Returns:
        (H, W, 3) uint8, 0-255, contiguous.

    Raises:
        ImageError: not a readable picture, truncated, over `MAX_PIXELS`, or of a kind without a fixed range (floats,
            wider whole numbers, booleans): the message has the expression that makes it uint8.
    """
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source)
    if isinstance(source, Image.Image):
        with decoding("the picture"):
            _refuse_wide(source)
            return _to_rgb(source, "the picture")
    if _is_tensor(source):
        return _tensor_to_rgb(source)
    file, name = _as_file(source)
    with opened_image(file, name=name) as image, decoding(name):
        return _to_rgb(image, name)


def fitted_size(size: tuple[int, int], image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that a picture of `size` is scaled to for a wanted `image_size`.

    None keeps it, a number brings the longer side down to at most so many pixels, (height, width) is taken as it is.
    """
    if image_size is None or isinstance(image_size, tuple):
        return image_size or size
    scale = min(1.0, image_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def scaled(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    """Scale a picture (H, W, 3) to (height, width) `size`, bilinear and anti-aliased; itself where that is its size."""
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) colour or (H, W) grey picture; the format follows the suffix.

    JPEG has quality 95 and 4:4:4; PNG is packed lightly, which takes a third of the time and 6 % more room.

    Raises:
        OutputError: the file cannot be written, or its name ends in no format of pictures.
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
    """Make sure that a file's name ends in a format of pictures.

    Raises:
        OutputError: it does not.
    """
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        raise OutputError(f"{path}: a picture's name must end in {', '.join(sorted(IMAGE_SUFFIXES))}; add .png")


@contextmanager
def opened_image(source: str | os.PathLike[str] | bytes, *, name: str = "") -> Iterator[Image.Image]:
    """Open a picture, whose pixels are not decoded yet; messages call it `name`, by default its path.

    Raises:
        ImageError: not a readable picture, or over `MAX_PIXELS`.
    """
    name = name or ("the picture" if isinstance(source, bytes) else os.fspath(source))
    if not isinstance(source, bytes):
        refuse_special(source, error=ImageError)
    with decoding(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked below
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{name}: is {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million can be read at once; "
                "cut it into smaller pictures, or predict a TIFF with --geotiff"
            )
        yield image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn everything Pillow raises on a damaged file into one clear error."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: is a folder; expected a picture") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read; check its permissions") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: is not a picture in a known format (JPEG, PNG, WebP, TIFF, BMP, ...); open and save it again "
            "in an image program, or remove it"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: has more than {MAX_PIXELS / 1e6:.0f} million pixels; cut it into smaller pictures"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:  # what Pillow's decoders raise
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name}: is damaged or cut short ({reason}); replace it or remove it") from error


def _to_rgb(image: Image.Image, name: str) -> RGBImage:
    image = upright(image)
    if image.mode == "F":
        raise ImageError(f"{name}: holds floating-point numbers; expected 8 or 16 bits a channel; convert it first")
    if image.mode.startswith("I"):  # 16 bits, also where Pillow keeps them in 32
        return _array_to_rgb(np.array(image).clip(0, 65535).astype(np.uint16))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def upright(image: Image.Image) -> Image.Image:
    """The picture as EXIF turns it; itself, not a copy, where there is nothing to turn."""
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _as_file(source: Any) -> tuple[str | bytes, str]:
    """The path or the encoded bytes of a source that is a file in one form or another, and what messages call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the picture"
    if isinstance(source, str | os.PathLike):
        path = os.path.expanduser(os.fsdecode(source))  # noqa: PTH111 - Path.expanduser fails without a home
        return path, path
    if not hasattr(source, "read"):
        raise ImageError(
            "a picture must be a path, encoded bytes, a file opened with 'rb', a Pillow image, an array or a tensor, "
            f"but got {shown(source)} of {type(source).__name__}"
        )
    name = getattr(source, "name", None)
    name = name if isinstance(name, str) else "the picture"
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


def _tensor_to_rgb(tensor: Any) -> RGBImage:
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta or tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise ImageError(f"a picture tensor must be dense and of uint8 or uint16, but got {kind} on {tensor.device}")
    if kind not in ("uint8", "uint16"):
        raise _unfit_numbers(tensor.detach().double().cpu().numpy(), kind, "tensor")
    array = tensor.detach().cpu().numpy()
    if array.ndim == 3 and array.shape[0] not in (1, 3, 4):
        turn = "; for (H, W, C) give tensor.permute(2, 0, 1)" if array.shape[2] in (1, 3, 4) else ""
        raise ImageError(f"a picture tensor must be (H, W), (3, H, W) or (4, H, W), but got {array.shape}{turn}")
    return _array_to_rgb(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)


def _array_to_rgb(array: npt.NDArray[np.generic]) -> RGBImage:
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise _unfit_numbers(array, str(array.dtype), "array")
    if array.dtype.itemsize == 2:
        array = np.round(array.astype(np.float32) / 257)  # 65535 -> 255
    pixels = array.astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        turn = "; for (C, H, W) give array.transpose(1, 2, 0)" if array.ndim == 3 and len(array) in (1, 3, 4) else ""
        raise ImageError(f"a picture array must be (H, W), (H, W, 3) or (H, W, 4), but got {array.shape}{turn}")
    if pixels.shape[2] == 4:
        return _to_rgb(Image.fromarray(np.ascontiguousarray(pixels)), "the picture")
    return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2))


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
    must = f"{'a Pillow image' if what == 'image' else f'a picture {what}'} must be uint8 or uint16, but got {kind}"
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
    """What the range of numbers from `low` to `high` may be, how it becomes that of so many bits, and the bits."""
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
