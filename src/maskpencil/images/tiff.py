"""Read TIFF files by their tags: pages, bands, masks, and the pixel values of any bands as they are stored.

Pillow decodes the compressed bytes, but supports few combinations of bands and number types. Pixels that are compressed
without loss are therefore presented to Pillow as a gray image of bytes, and the bytes are converted to numbers here.
Files with lossy compression (JPEG, ...) are decoded completely by Pillow.

Sources: TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf; GDAL's tags,
https://gdal.org/en/stable/drivers/raster/gtiff.html
"""

import io
import os
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from maskpencil.errors import ImageError
from maskpencil.images.bands import Bands, Model, Samples, choose_bands

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MAX_PAGES = 65_536
"""The largest number of pages of a file that are read or counted; further pages are left out."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR, _PREDICTOR, _PALETTE = 273, 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_SUBFILE, _ORIENTATION, _JPEG_TABLES, _DNG, _GDAL_METADATA, _NODATA = 254, 274, 347, 50706, 42112, 42113
_PLACE_TAGS = (33550, 33922, 34264, 34735, 50844)  # georeference: pixel scale, tie points, matrix, keys, RPCs

_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType

_READ = (  # the tags that are read
    *(
        _WIDTH,
        _HEIGHT,
        _BITS,
        _COMPRESSION,
        _PHOTOMETRIC,
        _FILL_ORDER,
        _STRIPS,
        _SAMPLES,
        _ROWS_PER_STRIP,
        _STRIP_SIZES,
    ),
    *(_PLANAR, _PREDICTOR, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES, _EXTRA, _FORMAT, _SUBFILE),
    *(_ORIENTATION, _JPEG_TABLES, _DNG, _GDAL_METADATA, _NODATA, *_PLACE_TAGS),
)

_LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA", 50000: "ZSTD"}
_BY_PILLOW = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 50001: "WebP"}
_OTHERS = {34712: "JPEG 2000", 34887: "LERC", 50002: "JPEG XL", 52546: "JPEG XL", 32809: "ThunderScan"}

_BASES: dict[int, Model] = {0: "white-is-zero", 3: "palette", 5: "cmyk"}
_RETYPE = "expected 8, 16 or 32 bits a band; convert it, for example: gdal_translate -ot UInt16 IN.tif OUT.tif"

_AT_ONCE = 2**26
"""The approximate number of decoded bytes of the tiles or strips that are given to Pillow at once."""

_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # value of the tag SampleFormat: NumPy's kind; 4 is undefined


@dataclass(frozen=True)
class TiffPage:
    """One page of a TIFF file.

    `tags` maps tag numbers to values; a tag that the page does not have is missing. `order` is the byte order of the
    numbers in the file, < (little-endian) or > (big-endian).
    """

    tags: Mapping[int, Any]
    order: Literal["<", ">"]

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) as stored, before the orientation is applied."""
        return self._number(_HEIGHT), self._number(_WIDTH)

    @property
    def subfile(self) -> int:
        """The bits of the tag NewSubfileType: 1 for a smaller copy of the image, 4 for a mask; 0 if missing."""
        return self._number(_SUBFILE, 0)

    @property
    def orientation(self) -> int:
        """The orientation, 1 to 8, with the meanings of EXIF; 1 (upright) if the tag is missing or invalid."""
        value = self._number(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    @property
    def has_place(self) -> bool:
        """Whether the tags of the page hold a georeference."""
        return any(tag in self.tags for tag in _PLACE_TAGS)

    @property
    def count(self) -> int:
        """The number of bands."""
        return self._number(_SAMPLES, 1)

    @property
    def bits(self) -> int:
        """The number of bits of a pixel in the first band."""
        return self._number(_BITS, 1)

    @property
    def photometric(self) -> int:
        """The color model as the tag PhotometricInterpretation, such as 1 (0 is black), 2 (RGB) or 3 (palette)."""
        return self._number(_PHOTOMETRIC, 1)

    @property
    def compression(self) -> int:
        """The compression method as the tag Compression, such as 1 (none), 5 (LZW) or 7 (JPEG)."""
        return self._number(_COMPRESSION, 1)

    @cached_property
    def dtype(self) -> np.dtype[np.generic]:
        """The NumPy type of the page's numbers.

        Raises:
            ImageError: the numbers are complex or of an unsupported size.
        """
        formats = self._numbers(_FORMAT) or (1,)
        kind, bits = _KINDS.get(formats[0]), self.bits
        if len(set(formats)) > 1 or len(set(self._numbers(_BITS))) > 1:
            raise ImageError(
                f"has bands of different number types ({', '.join(map(str, self._numbers(_BITS)))} bits); {_RETYPE}"
            )
        size = next((size for size in (8, 16, 32, 64) if bits <= size), 0)
        if kind is None or not size or bits < 1 or (kind != "u" and bits != size) or (kind == "f" and bits == 8):
            raise ImageError(f"holds {'complex' if kind is None else f'{bits}-bit'} numbers; {_RETYPE}")
        if size == 64 and kind != "f":
            raise ImageError(f"holds 64-bit whole numbers; {_RETYPE}")
        return np.dtype(f"{kind}{size // 8}")

    @cached_property
    def bands(self) -> Bands:
        """The bands of the page and how they become RGB, see `Bands`.

        Raises:
            ImageError: the tags are damaged, or the numbers are of an unsupported type.
        """
        metadata = self._text(_GDAL_METADATA)
        photometric, count = self.photometric, self.count
        base = _BASES.get(photometric, "gray")
        extra = self._numbers(_EXTRA)
        if count < 1 or len(extra) >= count or (photometric == 5 and count - len(extra) < 4):
            raise _damaged(f"it has {count} bands, {len(extra)} of them in the tag ExtraSamples")
        alpha = next((count - len(extra) + i for i, kind in enumerate(extra) if kind in (1, 2)), None)
        marks = ["undefined"] * count
        if photometric in (2, 6) and count >= 3:
            marks[:3] = ["red", "green", "blue"]
            if photometric == 2 and count == 4 and not extra:
                alpha = 3
        given = {int(band): mark.lower() for band, mark in _ITEMS["colorinterp"].findall(metadata)}
        for band, mark in given.items():
            if band < count:
                marks[band] = mark
                alpha = None if alpha == band and mark != "alpha" else alpha
        model, colors, alpha, marked = choose_bands(count, marks, base=base, alpha=alpha)
        return Bands(
            count=count,
            dtype=self.dtype,
            bits=self.bits,
            model=model,
            colors=colors,
            alpha=alpha,
            marked=marked,
            nodata=_number_in(self._text(_NODATA)),
            palette=self._palette() if model == "palette" else None,
            scale=_scale(metadata, colors),
        )

    def samples(self, file: IO[bytes], bands: tuple[int, ...]) -> Samples:
        """Read the numbers of some bands as they are stored, without applying the orientation.

        Args:
            file: the open TIFF file.
            bands: the numbers of the bands, from 0.

        Returns:
            (H, W, n), the bands in the given order.

        Raises:
            ImageError: the compression is not supported.
            OSError, ValueError, SyntaxError: the file is damaged; raised by Pillow.
        """
        if self._is_read_by_pillow:
            return _chosen(self._pillow_samples(file), bands)
        if self.compression not in _LOSSLESS:
            name = _OTHERS.get(self.compression) or _BY_PILLOW.get(self.compression) or f"method {self.compression}"
            raise ImageError(
                f"holds {self.count} bands of {self.bits} bits compressed by {name}, which cannot be read; convert it: "
                "gdal_translate -co COMPRESS=DEFLATE IN.tif OUT.tif"
            )
        if self._number(_PLANAR, 1) == 2:
            return np.stack([self._decoded(file, plane, 1)[..., 0] for plane in bands], axis=2)
        return _chosen(self._decoded(file, 0, self.count), bands)

    @property
    def has_coarse_color(self) -> bool:
        """Whether the page is JPEG in YCbCr, which usually has chroma subsampling (color at a lower resolution)."""
        return (self.photometric, self.compression, self.count, self.bits) == (6, 7, 3, 8)

    @property
    def _is_read_by_pillow(self) -> bool:
        layout = (self.count, self.photometric)
        if self.compression in _LOSSLESS:
            return self.photometric in (6, 8) or (self.bits == 8 and layout in ((1, 1), (1, 3), (3, 2)))
        known = self.bits == 8 and layout in ((1, 0), (1, 1), (1, 3), (3, 2), (3, 6), (4, 5))
        return self.compression in _BY_PILLOW and (known or (self.bits, self.count) == (1, 1))

    def _pillow_samples(self, file: IO[bytes]) -> Samples:
        """Read the numbers (H, W, n) of a page that Pillow decodes as a whole, and undo changes that Pillow makes."""
        values = _by_pillow(file)
        if values.dtype == bool:
            values = values.astype(np.uint8)
        if self.photometric == 0:  # 0 is white: Pillow inverts the numbers
            values = 2**self.bits - 1 - values
        values = turned(values, {6: 8, 8: 6}.get(self.orientation, self.orientation))  # back to the stored orientation
        return values if values.ndim == 3 else values[..., None]

    def _decoded(self, file: IO[bytes], plane: int, count: int) -> Samples:
        """Decode `count` bands that are interleaved (`plane` 0), or the one band of a plane, as (H, W, count)."""
        blocks = self._blocks(plane, count)
        height, width = self.size
        values = np.full((height, width, count), self._missing(), self.dtype)
        present = [block for block in blocks if block.size]
        at_once = max(1, _AT_ONCE // max(1, blocks[0].rows * blocks[0].row_bytes))
        for start in range(0, len(present), at_once):
            group = present[start : start + at_once]
            rows = self._block_bytes(file, group)
            numbers = self._unpacked(rows, blocks[0].columns * count, count).reshape(-1, blocks[0].columns, count)
            for block in group:
                part = values[block.top : block.top + block.rows, block.left : block.left + block.columns]
                part[:] = numbers[: part.shape[0], : part.shape[1]]
                numbers = numbers[block.rows :]
        return values

    def _blocks(self, plane: int, count: int) -> list["_Block"]:
        """Return the tiles or strips of the plane `plane`, from 0, which holds `count` interleaved bands.

        Raises:
            ImageError: tiles or strips are missing in the tags, or their size is invalid.
        """
        height, width = self.size
        tiled = _TILES in self.tags
        offsets = self._numbers(_TILES if tiled else _STRIPS)
        sizes = self._numbers(_TILE_SIZES if tiled else _STRIP_SIZES)
        rows = self._number(_TILE_HEIGHT) if tiled else min(self._number(_ROWS_PER_STRIP, height), height)
        columns = self._number(_TILE_WIDTH) if tiled else width
        if rows < 1 or columns < 1:
            raise _damaged(f"its tiles are {columns} x {rows} pixels")
        row_bytes = -(-columns * count * self.bits // 8)
        corners = [(top, left) for top in range(0, height, rows) for left in range(0, width, columns)]
        first = plane * len(corners)
        if (listed := min(len(offsets), len(sizes))) < first + len(corners):
            raise _damaged(f"it lists {listed} tiles or strips, expected {first + len(corners)}")
        return [
            _Block(top, left, rows if tiled else min(rows, height - top), columns, row_bytes, *where)
            for (top, left), where in zip(corners, zip(offsets[first:], sizes[first:], strict=False), strict=False)
        ]

    def _block_bytes(self, file: IO[bytes], blocks: Sequence["_Block"]) -> npt.NDArray[np.uint8]:
        """Decompress tiles or strips, and return their rows stacked vertically, uint8 (rows, bytes per row)."""
        parts: list[bytes] = []
        offsets: list[int] = []
        position = 8
        end = file.seek(0, os.SEEK_END)
        for block in blocks:
            file.seek(min(block.offset, end))
            parts.append(file.read(min(block.size, end)))  # the sizes in a damaged file may exceed any memory
            offsets.append(position)
            position += len(parts[-1])
        content = b"".join(parts)
        rows, row_bytes = sum(block.rows for block in blocks), blocks[0].row_bytes
        if self.compression == 1:
            if any(len(part) < block.rows * row_bytes for part, block in zip(parts, blocks, strict=True)):
                raise EOFError("it ends within the pixels")
            content = b"".join(part[: block.rows * row_bytes] for part, block in zip(parts, blocks, strict=True))
            plain = np.frombuffer(content, np.uint8)
            if self._number(_FILL_ORDER, 1) == 2:
                plain = np.packbits(np.unpackbits(plain, bitorder="little"))
            return plain.reshape(rows, row_bytes)
        start = position + position % 2
        directory = _directory(
            {
                _WIDTH: (row_bytes,),
                _HEIGHT: (rows,),
                _BITS: (8,),
                _COMPRESSION: (self.compression,),
                _PHOTOMETRIC: (1,),
                _FILL_ORDER: (self._number(_FILL_ORDER, 1),),
                _STRIPS: offsets,
                _SAMPLES: (1,),
                _ROWS_PER_STRIP: (blocks[0].rows,),
                _STRIP_SIZES: [len(part) for part in parts],
            },
            start,
        )
        header = struct.pack("<2sHI", b"II", 42, start)
        return _by_pillow(io.BytesIO(header + content + bytes(start - position) + directory))

    def _missing(self) -> float:
        """Return the value of pixels in tiles that a sparse file omits, as in GDAL: the nodata number, or else 0."""
        nodata = self.bands.nodata
        if nodata is None or (np.isnan(nodata) and self.dtype.kind != "f"):
            return 0
        return nodata if self.dtype.kind == "f" else float(np.clip(nodata, 0, 2**self.bits - 1))

    def _unpacked(self, rows: npt.NDArray[np.uint8], values: int, count: int) -> Samples:
        """Convert decompressed rows to numbers: undo the predictor, the byte order and the packing of bits.

        Args:
            rows: uint8 (rows, bytes per row).
            values: the number of values in a row.
            count: the number of interleaved bands.

        Returns:
            (rows, values), in each row the numbers of the `count` bands of the first pixel, then of the second pixel.
        """
        size, predictor = self.dtype.itemsize, self._number(_PREDICTOR, 1)
        if predictor == 3:
            summed = np.cumsum(rows.reshape(len(rows), -1, count), axis=1, dtype=np.uint8)
            planes = summed.reshape(len(rows), size, values)  # the highest byte of all numbers first
            return (
                np.ascontiguousarray(planes.transpose(0, 2, 1))
                .view(self.dtype.newbyteorder(">"))[..., 0]
                .astype(self.dtype)
            )
        if self.bits == 8 * size:
            numbers = rows.view(self.dtype.newbyteorder(self.order)).astype(self.dtype, copy=False)
        else:
            bits = np.unpackbits(rows, axis=1, count=values * self.bits).reshape(len(rows), values, self.bits)
            numbers = np.zeros((len(rows), values), self.dtype)
            for bit in range(self.bits):
                numbers = (numbers << np.uint8(1)) | bits[..., bit]
        if predictor == 2:
            steps = numbers.view(f"u{size}").reshape(len(rows), -1, count)
            return np.cumsum(steps, axis=1, dtype=steps.dtype).reshape(len(rows), values).view(self.dtype)
        return numbers

    def _palette(self) -> npt.NDArray[np.uint8]:
        """Return the colors (n, 3) uint8 of the palette."""
        levels = np.array(self._numbers(_PALETTE), dtype=np.uint16)
        colors = levels[: len(levels) // 3 * 3].reshape(3, -1).T
        full = not (colors % 257).any()
        return (colors // 257 if full else colors >> 8).astype(np.uint8)

    def _text(self, tag: int) -> str:
        value = self.tags.get(tag, "")
        value = value.decode("latin-1") if isinstance(value, bytes) else value
        return str(value).strip("\0 \n")

    def _numbers(self, tag: int) -> tuple[int, ...]:
        value = self.tags.get(tag, ())
        value = value if isinstance(value, tuple | list | bytes) else (value,)
        if not all(isinstance(number, int) for number in value):
            raise _damaged(f"tag {tag} does not hold whole numbers")
        return tuple(value)

    def _number(self, tag: int, default: int | None = None) -> int:
        numbers = self._numbers(tag)
        if numbers:
            return numbers[0]
        if default is None:
            raise _damaged(f"tag {tag} is missing")
        return default


@dataclass(frozen=True)
class _Block:
    """A tile or strip of a page.

    `top`, `left`, `rows` and `columns` are its position and size in pixels, and `row_bytes` is the number of bytes of a
    decompressed row. `offset` and `size` are the position and number of its bytes in the file; a `size` of 0 means that
    the file omits the tile.
    """

    top: int
    left: int
    rows: int
    columns: int
    row_bytes: int
    offset: int
    size: int


_ITEMS = {
    role: re.compile(rf'<Item [^>]*sample="(\d+)"[^>]*role="{role}"[^>]*>([^<]*)</Item>')
    for role in ("colorinterp", "scale", "offset")
}


def _damaged(what: str) -> ImageError:
    return ImageError(f"is damaged or cut short ({what}); replace it or remove it")


def is_tiff(head: bytes) -> bool:
    """Return whether a file whose first 4 bytes are `head` is a TIFF or BigTIFF file."""
    return head.startswith(MAGICS)


def read_pages(file: IO[bytes], *, most: int = MAX_PAGES) -> list[TiffPage]:
    """Read the tags of all pages of a TIFF file in their order, masks included; at most `most` pages.

    Raises:
        ImageError: the file has no page, or a tag is damaged.
        OSError, ValueError, SyntaxError, struct.error: the file is damaged; raised by Pillow.
    """
    file.seek(0)
    header = file.read(8)
    if header[2:3] == b"\x2b":
        header += file.read(8)
    tags = ImageFileDirectory_v2(header)
    order: Literal["<", ">"] = "<" if header.startswith(b"II") else ">"
    pages: list[TiffPage] = []
    seen: set[int] = set()
    while tags.next and tags.next not in seen and len(pages) < most:
        seen.add(tags.next)
        file.seek(tags.next)
        tags = ImageFileDirectory_v2(header)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about damaged tags, which Pillow leaves out
            tags.load(file)
            try:
                pages.append(TiffPage({tag: tags[tag] for tag in _READ if tag in tags}, order))
            except (KeyError, TypeError) as error:  # from Pillow, if the value of a tag has a wrong type
                raise _damaged(f"a tag of page {len(pages) + 1} has a value of a wrong type") from error
    if not pages:
        raise _damaged("it does not contain an image")
    return pages


def main_pages(pages: list[TiffPage]) -> list[TiffPage]:
    """Return all pages except masks and smaller copies; the first page if all pages are masks or copies."""
    return [page for page in pages if not page.subfile & (_REDUCED | _MASK)] or pages[:1]


def mask_of(page: TiffPage, pages: list[TiffPage]) -> TiffPage | None:
    """Return the page that holds the mask of a page; None if the page has no mask.

    The mask is the first mask page of the same size that follows the page, before the next page that is neither a mask
    nor a smaller copy.
    """
    following = pages[pages.index(page) + 1 :]
    for other in following:
        if not other.subfile & (_REDUCED | _MASK):
            return None
        if other.subfile & _MASK and not other.subfile & _REDUCED and other.size == page.size:
            return other
    return None


def is_raw_photo(page: TiffPage) -> bool:
    """Return whether the page is from a camera's raw photo (DNG), whose first page is only a thumbnail."""
    return _DNG in page.tags


def mask_file(path: Path) -> Path:
    """Return the path where GDAL writes the mask file of a raster, such as a.tif.msk; the file may not exist."""
    return path.with_name(f"{path.name}.msk")


def has_world_file(path: Path) -> bool:
    """Return whether a world file, which contains the georeference, exists next to a TIFF."""
    return any(path.with_suffix(suffix).is_file() for suffix in (".tfw", ".tifw", ".wld"))


def turned(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Rotate and mirror an array (H, W) or (H, W, n) by an EXIF `orientation` from 1 to 8, and return a view."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    upside_down, mirrored = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return array[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _chosen(samples: Samples, bands: tuple[int, ...]) -> Samples:
    """Return the bands with the numbers `bands` from an array (H, W, n); the same array if these are all, in order."""
    return samples if bands == tuple(range(samples.shape[2])) else samples[..., list(bands)]


def _by_pillow(file: IO[bytes]) -> npt.NDArray[Any]:
    """Decode the first page of a TIFF file by Pillow; the caller has checked its size, since Pillow does not here."""
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with TiffImageFile(cast(Any, file)) as image:
                image.info.pop("xmp", None)  # without an Orientation tag Pillow would apply the orientation in XMP
                return np.array(image.convert("RGB") if image.mode in ("YCbCr", "LAB") else image)
        except (KeyError, TypeError) as error:  # from Pillow, if the value of a tag has a wrong type
            raise _damaged("a tag has a value of a wrong type") from error


def _directory(tags: Mapping[int, Sequence[int]], start: int) -> bytes:
    """Encode TIFF tags as a little-endian image file directory with 4-byte numbers, and return its bytes.

    If a tag has several numbers, they are written after the directory.

    Args:
        tags: {tag: its numbers}.
        start: the offset in the file at which the directory will begin.
    """
    after = start + 2 + 12 * len(tags) + 4
    entries, values = struct.pack("<H", len(tags)), b""
    for tag, numbers in tags.items():
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        entries += struct.pack("<HHI", tag, 4, len(numbers))
        entries += packed if len(packed) == 4 else struct.pack("<I", after + len(values))
        values += b"" if len(packed) == 4 else packed
    return entries + bytes(4) + values


def _scale(metadata: str, colors: tuple[int, ...]) -> tuple[float, float] | None:
    """Return the (factor, offset) in GDAL's metadata that convert integers to reflectance, number * factor + offset.

    Return None if the factor is missing, if the factor or the offset is invalid, or if the bands `colors` have
    different factors or offsets.
    """
    factors, offsets = (dict(_ITEMS[role].findall(metadata)) for role in ("scale", "offset"))
    found = {(_number_in(factors.get(str(band), "1")), _number_in(offsets.get(str(band), "0"))) for band in colors}
    factor, offset = found.pop()
    if found or factor is None or offset is None or not 1e-12 < factor <= 1 / 255 or not abs(offset) < 1e3:
        return None
    return factor, offset


def _number_in(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class JpegWindows:
    """A reader of parts (windows) of a JPEG-compressed TIFF page, with the same pixels as Pillow's for the whole page.

    It is used instead of GDAL, which interpolates the colors differently if the page has chroma subsampling.

    Args:
        file: the open file.
        page: a page with `TiffPage.has_coarse_color`.
    """

    def __init__(self, file: IO[bytes], page: TiffPage) -> None:
        self._file, self._blocks = file, page._blocks(0, page.count)
        tables = page.tags.get(_JPEG_TABLES, b"")
        self._tables = tables if isinstance(tables, bytes) else b""
        first = self._blocks[0]
        self._decode = lru_cache(max(4, _AT_ONCE // (first.rows * first.columns * page.count)))(self._decoded)

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
        """Read the pixels of some rows and columns as RGB, (rows, columns, 3) uint8.

        Raises:
            OSError, SyntaxError: the file is damaged; raised by Pillow.
        """
        values = np.zeros((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)
        for block in self._blocks:
            top, bottom = max(block.top, rows.start), min(block.top + block.rows, rows.stop)
            left, right = max(block.left, columns.start), min(block.left + block.columns, columns.stop)
            if top < bottom and left < right and block.size:
                pixels = self._decode(block)[
                    top - block.top : bottom - block.top, left - block.left : right - block.left
                ]
                values[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = pixels
        return values

    def _decoded(self, block: _Block) -> npt.NDArray[np.uint8]:
        self._file.seek(block.offset)
        content = self._file.read(block.size)
        if self._tables:  # the tables without their end marker, the pixels without their start marker
            content = self._tables[:-2] + content[2:]
        with JpegImageFile(cast(Any, io.BytesIO(content))) as image:
            return np.array(image.convert("RGB"))
