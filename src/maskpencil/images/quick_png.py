"""Encode images as PNG, faster than Pillow or OpenCV, to send them to a server."""

import struct
import zlib

import numpy as np

from maskpencil.images.pixels import RGBImage

_UP = 2
"""The PNG filter that stores each row as its difference from the row above."""


def quick_png(image: RGBImage, *, compressed: bool = True) -> bytes:
    """Encode an RGB image (H, W, 3) uint8 as PNG, and return the bytes.

    Args:
        image: the image.
        compressed: whether to compress the pixels, to about half of their size. If not, the PNG is a little larger than
            the array, and is encoded and decoded ten times as fast.
    """
    height, width, _ = image.shape
    flat = image.reshape(height, 3 * width)
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    if compressed:
        rows[:, 0], rows[0, 1:] = _UP, flat[0]
        np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
        packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    else:
        rows[:, 1:] = flat
        packer = zlib.compressobj(0)
    data = packer.compress(rows.tobytes()) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
