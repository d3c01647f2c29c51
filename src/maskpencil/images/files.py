"""Open image files with safe decoders, identify files that are not images, and write images."""

import io
import os
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskpencil.errors import ImageError, OutputError
from maskpencil.extras import how_to_install
from maskpencil.files import written_whole
from maskpencil.images.tiff import MAGICS as TIFF_MAGICS
from maskpencil.regular_files import refuse_special

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
        *(".tif", ".tiff", ".webp"),
    }
)
"""The suffixes, in lower case, of files that count as images."""

UNREAD_SUFFIXES = frozenset(
    {
        *(
            ".arw",
            ".cr2",
            ".cr3",
            ".dds",
            ".dng",
            ".emf",
            ".eps",
            ".exr",
            ".hdr",
            ".ico",
            ".jxl",
            ".nef",
            ".orf",
            ".pbm",
        ),
        *(".pcx", ".pdf", ".pnm", ".psd", ".qoi", ".raf", ".rw2", ".svg", ".tga", ".wmf", ".xcf"),
    }
)
"""The suffixes, in lower case, of image formats that are not read; their files are reported instead of overlooked."""

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the only decoders in use besides `_HEIC`, whatever the suffix of the file. None of these decoders
starts a program or reads another file."""

_HEIC = "HEIF"
"""Pillow's name of the decoder that the package pi-heif adds."""

for _name in ("Avif", "Bmp", "Gif", "Jpeg2K", "Jpeg", "Mpo", "Png", "Ppm", "Tiff", "WebP"):
    import_module(f"PIL.{_name}ImagePlugin")  # now, since otherwise Pillow loads all its plugins at the first file

MAX_PIXELS = 2**27
"""The largest number of pixels of an image that is decoded at once; more would fill the memory of a small machine."""

_DEEP = {"RGB;16B", "RGBA;16B", "LA;16B"}
"""Pillow's names for the channels of 16-bit PNG files with several channels; Pillow decodes only their high bytes."""

ORIENTATION = 0x0112
"""The number of the EXIF and TIFF tag Orientation."""

_JPEG = ("JPEG", {"quality": 95, "subsampling": 0})

_WRITING: dict[str, tuple[str, dict[str, int]]] = {
    ".avif": ("AVIF", {"quality": 90}),
    ".bmp": ("BMP", {}),
    ".gif": ("GIF", {}),
    ".jp2": ("JPEG2000", {}),
    ".jfif": _JPEG,
    ".jpe": _JPEG,
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".pgm": ("PPM", {}),
    ".png": ("PNG", {"compress_level": 1}),
    ".ppm": ("PPM", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {}),
}
"""By suffix, Pillow's name of the format and its options for writing."""

HEAD = 4096
"""The number of bytes at the start of a file that are read to identify its format."""

_CONVERT = "convert it to JPEG or PNG"

_RAW = "a raw photo (CR3)"

_BRANDS = {
    "AVIF": (b"avif", b"avis"),  # before HEIC, since AVIF files also have the brand mif1
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    _RAW: (b"crx ",),
}

_MAGICS = (  # first bytes, kind of file, remedy
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself", "fetch the image with: git lfs pull"),
    (b"\xff\x0a", "JPEG XL", _CONVERT),
    (b"\0\0\0\x0cJXL ", "JPEG XL", _CONVERT),
    (b"%PDF", "a PDF", "save its pages as PNG, for example: pdftoppm -png {name} page"),
    (b"%!PS", "PostScript (EPS), drawing commands", "save it as PNG in the program that made it"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS), drawing commands", "save it as PNG in the program that made it"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF), drawing commands", "save it as PNG in the program that made it"),
    (b"8BPS", "a Photoshop document (PSD)", "save it as PNG or TIFF in Photoshop or GIMP"),
    (b"gimp xcf", "a GIMP document (XCF)", "export it as PNG in GIMP"),
    (b"PK\x03\x04", "a zip archive", "unpack it, or rename it so that it ends in .zip"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", "rename it so that it ends in .mkv or .webm"),
    (b"RIFF....AVI ", "a video (AVI)", "rename it so that it ends in .avi"),
    (b"\x89HDF", "HDF5 data", "export the image from it as TIFF or PNG"),
    (b"SIMPLE  =", "astronomical data (FITS)", "export the image from it as TIFF or PNG"),
    (b"\x93NUMPY", "a NumPy array", "write it as PNG or TIFF with Pillow"),
    (b"\0\0\1\0", "an icon (ICO)", _CONVERT),
    (b"qoif", "QOI", _CONVERT),
    (b"DDS ", "a texture (DDS)", _CONVERT),
    (b"FUJIFILMCCD-RAW", "a raw photo (RAF)", "develop it to JPEG or TIFF in the camera maker's program"),
)

_IMAGES = (  # the formats that are read
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF....WEBP", "WebP"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)

AGAIN = "copy or download it again, or remove it"


@contextmanager
def opened_image(source: str | os.PathLike[str] | bytes, *, name: str = "") -> Iterator[Image.Image]:
    """Open an image by its path or its encoded bytes, without decoding its pixels; used as a context manager.

    Error messages begin with `name`, by default the path.

    Raises:
        ImageError: the file is not a readable image, or has more than `MAX_PIXELS` pixels.
    """
    name = name or ("the image" if isinstance(source, bytes) else os.fspath(source))
    if not isinstance(source, bytes):
        refuse_special(source, error=ImageError)
    with decoding(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked below
        warnings.simplefilter("ignore", UserWarning)  # about malformed previews in JPEG files of phones
        try:
            decoders = (_heic_decoder(name),) if _kind_of_box(head_of(source, HEAD)) == "HEIC" else FORMATS
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=decoders)
        except UnidentifiedImageError as error:
            found, remedy = what_it_is(head_of(source, HEAD))
            raise ImageError(f"{name}: {found}; {remedy}") from error
    with image:
        with naming(name):
            check_size((image.height, image.width))
        yield image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Convert errors from opening or decoding a file in the block to an `ImageError` that begins with `name`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: is a folder; expected an image") from error
    except PermissionError as error:
        raise ImageError(f"{name}: cannot be read (permission denied); check its permissions") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: has more than {MAX_PIXELS / 1e6:.0f} million pixels; cut it into smaller images"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name}: needs more memory than is available; cut it into smaller images") from error
    # raised by decoders; RuntimeError by those of AVIF and HEIC
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, RuntimeError, struct.error) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name}: is damaged or cut short ({reason}); replace it or remove it") from error


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Prepend the file's `name` to the message of an `ImageError` raised in the block, if the name is missing there."""
    try:
        yield
    except ImageError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise ImageError(f"{name}: {error}") from error


def is_tiff(source: str | os.PathLike[str] | bytes) -> bool:
    """Return whether a file, given as its path or its bytes, is a TIFF or BigTIFF, by its first 4 bytes."""
    return head_of(source, 4).startswith(TIFF_MAGICS)


def head_of(source: str | os.PathLike[str] | bytes, size: int) -> bytes:
    """Return the first `size` bytes of a file, given as its path or its bytes; all bytes if `size` is -1."""
    if isinstance(source, bytes):
        return source[: None if size < 0 else size]
    refuse_special(source, error=ImageError)
    with Path(source).open("rb") as file:
        return file.read(size)


def read_exif(image: Image.Image, path: str | os.PathLike[str]) -> Image.Exif:
    """Read the EXIF entries of the opened image at `path`.

    The pixels of a PNG are decoded only if metadata follows them in the file. Pillow's own method decodes every PNG,
    which is slow.
    """
    is_plain_png = image.format == "PNG" and not _has_late_metadata(Path(path))
    return Image.Image.getexif(image) if is_plain_png else image.getexif()


def check_size(size: tuple[int, int]) -> None:
    """Raise an error if an image of `size` (height, width) has too many pixels.

    Raises:
        ImageError: the image has more than `MAX_PIXELS` pixels.
    """
    height, width = size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"is {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million can be read at once; "
            "cut it into smaller images, or predict a TIFF with --geotiff"
        )


def upright(image: Image.Image) -> Image.Image:
    """Return the image rotated and mirrored by its EXIF orientation; the same object if it is already upright."""
    turned = image.getexif().get(ORIENTATION, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def deep_png(image: Image.Image, source: str | os.PathLike[str] | bytes) -> npt.NDArray[np.uint16] | None:
    """Decode an opened PNG with several 16-bit channels by OpenCV, since Pillow reduces them to 8 bits.

    Returns:
        (H, W, 3) red, green, blue, or (H, W, 4) with alpha; gray is three equal channels. The EXIF orientation is not
        applied. None for any other image.

    Raises:
        OSError, SyntaxError, ValueError: the file is damaged; raised by Pillow.
    """
    kinds = {str(tile[3]) for tile in getattr(image, "tile", ())}
    if image.format != "PNG" or not kinds & _DEEP:
        return None
    import cv2  # slow to import

    image.load()  # raises an error that says what is damaged, unlike OpenCV
    values = cv2.imdecode(np.frombuffer(head_of(source, -1), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("its 16-bit numbers cannot be decoded")
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])


def what_it_is(head: bytes) -> tuple[str, str]:
    """Identify a file that is not a readable image by its first bytes.

    Args:
        head: the first `HEAD` bytes of the file, or all bytes of a shorter file.

    Returns:
        A description of the content and the remedy, both as parts of an error message.
    """
    if not head:
        return "is empty (0 bytes)", AGAIN
    if not head.strip(b"\0"):
        return f"begins with {len(head)} zero bytes, like a copy that failed", AGAIN
    if head[4:8] == b"ftyp":
        if (kind := _kind_of_box(head)) == _RAW:
            return f"is {kind}, which cannot be read", _CONVERT
        if kind:
            return f"is {kind}, but damaged, cut short or of an unsupported variant", f"{AGAIN}; or {_CONVERT}"
        return "is a video (MP4 or MOV)", "rename it so that it ends in .mp4"
    for magic, kind, remedy in _MAGICS:
        if re.match(re.escape(magic).replace(rb"\.\.\.\.", b"(?s:....)"), head):
            return f"is {kind}", remedy
    if head[:4] == b"\1\0\0\0" and head[40:44] == b" EMF":
        return "is a Windows metafile (EMF), drawing commands", "save it as PNG in the program that made it"
    for magic, kind in _IMAGES:
        if re.match(re.escape(magic).replace(rb"\.\.\.\.", b"(?s:....)"), head):
            return f"is {kind}, but damaged, cut short or of an unsupported variant", f"{AGAIN}; or {_CONVERT}"
    if _is_text(head):
        return _text_kind(head)
    return (
        "is not an image in a known format (JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF, JPEG 2000, PPM)",
        f"{_CONVERT}, or remove it",
    )


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Write an RGB (H, W, 3) or gray (H, W) image in the format of the path's suffix, whole or not at all.

    JPEG has quality 95 and no chroma subsampling (4:4:4). PNG has compression level 1, which takes a third of the time
    of the default level and 6 % more space.

    Raises:
        OutputError: the file cannot be written, or its suffix does not belong to a format that can be written.
    """
    refuse_unknown_suffix(path)
    with written_whole(path) as temporary:
        temporary.write_bytes(image_bytes(image, Path(path).suffix.lower()))


def image_bytes(image: npt.NDArray[np.uint8], suffix: str) -> bytes:
    """Return an RGB (H, W, 3) or gray (H, W) image as the bytes that `write_image` writes for a suffix such as .jpg."""
    image_format, options = _WRITING[suffix]
    return encoded(Image.fromarray(np.ascontiguousarray(image)), image_format, **options)


def save_image(path: str | os.PathLike[str], image: Image.Image, image_format: str, **options: Any) -> None:
    """Write a Pillow image, whole or not at all; `image_format` and `options` are arguments of `Image.save`.

    The image is encoded in memory first, because Pillow's encoders do not notice if a full disk cuts off the end of a
    file.

    Raises:
        OutputError: the file cannot be written.
    """
    content = encoded(image, image_format, **options)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return a Pillow image as encoded bytes; `image_format` and `options` are arguments of `Image.save`."""
    content = io.BytesIO()
    image.save(content, format=image_format, **options)
    return content.getvalue()


def refuse_unknown_suffix(path: str | os.PathLike[str]) -> None:
    """Raise an error if the suffix of a path does not belong to an image format that can be written.

    Raises:
        OutputError: the suffix is missing or unknown.
    """
    if Path(path).suffix.lower() not in _WRITING:
        raise OutputError(f"{path}: the name must end in one of {', '.join(sorted(_WRITING))}; add .png")


def _kind_of_box(head: bytes) -> str | None:
    """Return the format (a key of `_BRANDS`) of a file that begins with a box of type `ftyp`; None for other files."""
    brands = {head[start : start + 4] for start in (8, *range(16, 48, 4))} if head[4:8] == b"ftyp" else set()
    return next((kind for kind, own in _BRANDS.items() if brands & set(own)), None)


def _heic_decoder(name: str) -> str:
    """Register the decoder for HEIC files, and return its name in Pillow.

    Raises:
        ImageError: the package pi-heif, which contains the decoder, is not installed; the message begins with `name`.
    """
    try:
        from pi_heif import register_heif_opener
    except ModuleNotFoundError as error:
        raise ImageError(f"{name}: is HEIC, which needs {how_to_install('pi_heif')}; or {_CONVERT}") from error
    register_heif_opener()
    return _HEIC


def _has_late_metadata(path: Path) -> bool:
    """Return whether a PNG has chunks, such as metadata, after its pixels."""
    with path.open("rb") as file:
        file.seek(8)  # the signature
        kinds = _chunks(file)
    after = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return any(kind not in (b"IDAT", b"IEND") for kind in after)


def _chunks(file: IO[bytes]) -> list[bytes]:
    """Return the types of a PNG's chunks, in order; if the file is cut short, only the chunks before the cut."""
    kinds = []
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        kinds.append(kind)
        file.seek(length + 4, 1)  # the content and its checksum
    return kinds


def _is_text(head: bytes) -> bool:
    try:
        text = head[: len(head) - 3 if len(head) == HEAD else len(head)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)


def _text_kind(head: bytes) -> tuple[str, str]:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "is a web page (HTML), not an image, perhaps from a failed download", "download the image itself again"
    if b"<svg" in start:
        return "is a vector drawing (SVG)", "export it as PNG"
    if start.startswith(b"<"):
        return "is text (XML), not an image", AGAIN
    return "is text, not an image", AGAIN
