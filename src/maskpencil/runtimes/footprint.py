"""`Footprint`: how far around a cell a network looks, and how much memory a pixel takes. Without torch."""

import math
from dataclasses import dataclass

ALIGNMENT = 32
"""Parts of images start at multiples of so many pixels, where the coarsest cells start."""

BLENDED_OVERLAP = 256
"""Pixels around a part that it is given to see, where a network looks at the whole image."""


@dataclass(frozen=True)
class Footprint:
    """What `probe.footprint_of` measured.

    A cell depends on the pixels at most `reach` away, a multiple of `ALIGNMENT`; None where it depends on the whole
    image, or on where in the image it stands. A pixel takes `bytes_per_pixel` while the network runs, at most.
    """

    reach: int | None
    bytes_per_pixel: int

    @property
    def exact(self) -> bool:
        """Whether parts of an image give what the whole image gives."""
        return self.reach is not None

    @property
    def halo(self) -> int:
        """The pixels that a part is given around what is kept of it."""
        return BLENDED_OVERLAP if self.reach is None else self.reach

    def tile(self, memory: int) -> int:
        """The side of what is kept of parts that take at most `memory` bytes with what is around them."""
        side = math.isqrt(max(1, memory // self.bytes_per_pixel)) - 2 * self.halo
        return max(ALIGNMENT, side // ALIGNMENT * ALIGNMENT)
