from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.data.formats.label_studio import unpack_alpha
from maskpencil.errors import DataError

LENGTH_BITS = (3, 4, 8, 16)
"""The default of @thi.ng/rle-pack."""


def pack(values: npt.NDArray[np.uint8], *, count: int | None = None, value_bits: int = 8) -> bytes:
    """Written after the description in the README of @thi.ng/rle-pack: equal values as runs, others as they are."""
    bits = f"{len(values) if count is None else count:032b}{value_bits - 1:05b}"
    bits += "".join(f"{length - 1:04b}" for length in LENGTH_BITS)

    def length(number: int) -> str:
        kind = next(kind for kind, size in enumerate(LENGTH_BITS) if number <= 1 << size)
        return f"{kind:02b}{number - 1:0{LENGTH_BITS[kind]}b}"

    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    singles: list[int] = []
    for start, end in pairwise(cuts):
        if end - start == 1:
            singles.append(int(values[start]))
            continue
        bits += flush(singles, length)
        for left in range(end - start, 0, -(1 << 16)):
            bits += f"1{length(min(left, 1 << 16))}{values[start]:08b}"
    bits += flush(singles, length)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))


def flush(singles: list[int], length) -> str:
    bits = f"0{length(len(singles))}" + "".join(f"{value:08b}" for value in singles) if singles else ""
    singles.clear()
    return bits


def rgba(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """What the brush paints where the mask is: any color, and alpha; flat."""
    colors = np.array([[0, 0, 0, 0], [60, 110, 60, 200]], dtype=np.uint8)
    return colors[mask.astype(int)].ravel()


def test_the_example_of_a_packer_elsewhere_is_read() -> None:
    # 1 x 2 pixels, (1, 2, 3, 4) and (0, 0, 0, 0), bit by bit
    bits = "".join(
        [
            f"{8:032b}",
            "00111",
            "0010001101111111",
            "000011" + "".join(f"{value:08b}" for value in (1, 2, 3, 4)),
            "10001100000000",
        ]
    )
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert unpack_alpha(packed, (1, 2)).tolist() == [[True, False]]


@given(arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_packed_masks_come_back(mask: npt.NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(unpack_alpha(pack(rgba(mask)), mask.shape), mask)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(4)), elements=st.sampled_from((0, 1, 255)))
)
def test_only_alpha_counts(pixels: npt.NDArray[np.uint8]) -> None:
    packed = pack(pixels.ravel())
    np.testing.assert_array_equal(unpack_alpha(packed, pixels.shape[:2]), pixels[..., 3] > 0)


def test_runs_longer_than_the_longest_are_several() -> None:
    mask = np.zeros((300, 400), dtype=bool)
    mask[100:, 7:] = True
    values = np.repeat(mask.ravel(), 4).astype(np.uint8)  # as Label Studio's converter makes them of masks
    np.testing.assert_array_equal(unpack_alpha(pack(values), mask.shape), mask)


@given(st.integers(0, 40), st.binary(max_size=40))
def test_damaged_runs_are_an_error_or_a_mask_of_the_size(cut: int, junk: bytes) -> None:
    packed = pack(rgba(np.arange(30).reshape(5, 6) % 7 < 3))[:cut] + junk
    try:
        assert unpack_alpha(packed, (5, 6)).shape == (5, 6)
    except DataError as error:
        assert str(error)  # noqa: PT017 - some damage still gives an image


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "is cut short"),
        (pack(rgba(np.ones((2, 2), dtype=bool)))[:-1], "is cut short"),
        (pack(rgba(np.ones((2, 3), dtype=bool))), "holds 24 values; expected 16, red, green, blue and alpha of 2 x 2"),
        (pack(np.zeros(16, dtype=np.uint8), count=2**32 - 1), "holds 4294967295 values; expected 16"),
        (pack(np.zeros(16, dtype=np.uint8), value_bits=16), "holds values of 16 bits; expected 8"),
    ],
)
def test_what_does_not_fit_is_an_error(packed: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unpack_alpha(packed, (2, 2))
