"""The run lengths of Label Studio's brush: images of red, green, blue and alpha, packed by @thi.ng/rle-pack.

The bits, the highest of a byte first: 32 for the number of values, 5 for the bits of a value less 1, and four times 4
for the bits of a length less 1. Then, until all values are there: 1 bit, which is set where one value repeats; 2 bits
that select one of the four lengths; the length less 1; and the value, or as many values.

Source: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack
"""

import numpy as np
import numpy.typing as npt

from maskpencil.errors import DataError

CHANNELS = 4
ALPHA = 3
VALUE_BITS = 8


def unpack_alpha(packed: bytes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return where a packed image of `size` (height, width), row by row, is not wholly transparent: (H, W).

    Memory is taken for `size` alone, whatever the packed numbers claim.

    Raises:
        DataError: it is of another size, holds no bytes, or is cut short.
    """
    height, width = size
    bits = _Bits(packed)
    count = bits.take(32)
    value_bits = bits.take(5) + 1
    if count != CHANNELS * height * width:
        raise DataError(
            f"holds {count} values; expected {CHANNELS * height * width}, red, green, blue and alpha of "
            f"{width} x {height} pixels"
        )
    if value_bits != VALUE_BITS:
        raise DataError(f"holds values of {value_bits} bits; expected {VALUE_BITS}")
    length_bits = [bits.take(4) + 1 for _ in range(4)]
    alpha = np.zeros(height * width, dtype=np.bool_)
    place = 0
    while place < count:
        repeats = bits.take(1)
        after = min(count, place + bits.take(length_bits[bits.take(2)]) + 1)
        pixels = slice(place // CHANNELS, after // CHANNELS)  # those whose alpha lies from `place` to before `after`
        if repeats:
            alpha[pixels] = bits.take(VALUE_BITS) > 0
        else:
            alpha[pixels] = bits.take_bytes(after - place)[(ALPHA - place) % CHANNELS :: CHANNELS] > 0
        place = after
    return alpha.reshape(height, width)


class _Bits:
    """Reads bytes bit by bit."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, count: int) -> int:
        """Return the number of the next `count` bits, at most 32."""
        first, within = divmod(self._advance(count), 8)
        window = int.from_bytes(self._content[first : first + 5].ljust(5, b"\0"), "big")
        return window >> (40 - within - count) & ((1 << count) - 1)

    def take_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """Return the next `count` numbers of 8 bits."""
        first, within = divmod(self._advance(8 * count), 8)
        content = np.frombuffer(self._content[first : first + count + 1], dtype=np.uint8)
        return np.packbits(np.unpackbits(content)[within : within + 8 * count])

    def _advance(self, count: int) -> int:
        place = self._place
        self._place += count
        if self._place > 8 * len(self._content):
            raise DataError("is cut short")
        return place
