"""What a JPEG 2000 file says of its numbers, which Pillow does not tell.

Source: ITU-T T.800, annexes A.5.1 (marker SIZ) and I.5.3.3 (color specification box).
"""

from dataclasses import dataclass

HEAD = 2**16
"""The bytes of a file that are looked at."""

_START, _COLOR = b"\xff\x4f\xff\x51", b"colr\x01"
_GRAY = 17


@dataclass(frozen=True)
class Jpeg2000Facts:
    """The codestream's `start` in the file, its bands, the bits of a number, and whether the file calls it gray."""

    start: int
    count: int
    bits: int
    called_gray: bool


def jpeg2000_facts(head: bytes) -> Jpeg2000Facts:
    """Read what the first bytes of a file say.

    Raises:
        ValueError: they are cut short.
    """
    start = head.find(_START)
    if start < 0 or len(head) < start + 43:
        raise ValueError("its header is cut short")
    color = head.find(_COLOR, 0, start)
    return Jpeg2000Facts(
        start=start,
        count=int.from_bytes(head[start + 40 : start + 42]),
        bits=(head[start + 42] & 127) + 1,
        called_gray=color >= 0 and int.from_bytes(head[color + 7 : color + 11]) == _GRAY,
    )
