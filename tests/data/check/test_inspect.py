import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.data.check.inspect import MAX_SPECK_AREA, _borders, _runs, _specks


def regions(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return (value, pixels) of each region that is connected by sides, found by a flood fill."""
    left = {(row, column) for row, column in np.ndindex(numbers.shape)}
    found = []
    while left:
        heap, size = [left.pop()], 0
        value = numbers[heap[0]]
        while heap:
            row, column = heap.pop()
            size += 1
            for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if place in left and numbers[place] == value:
                    left.remove(place)
                    heap.append(place)
        found.append((int(value), size))
    return found


@pytest.mark.slow
@given(arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)))
def test_specks_are_the_small_regions(numbers: np.ndarray) -> None:
    expected: dict[int, int] = {}
    for value, size in regions(numbers):
        if size <= MAX_SPECK_AREA:
            expected[value] = expected.get(value, 0) + 1
    assert _specks(numbers, _runs(numbers)) == expected


def test_one_large_region_has_no_specks() -> None:
    even = np.zeros((48, 64), dtype=np.uint8)
    assert _specks(even, _runs(even)) == {}


def test_steps_are_the_share_of_borders_that_pass_through_other_numbers() -> None:
    sharp = np.repeat([[0] * 10 + [4] * 10], 5, axis=0)
    smooth = np.repeat([[0] * 10 + [2] + [4] * 10], 5, axis=0)
    assert _borders(sharp, _runs(sharp), colored=False)[0] == 0
    assert _borders(smooth, _runs(smooth), colored=False)[0] == pytest.approx(1, abs=0.2)


def test_a_line_between_two_classes_differs_from_a_line_within_one() -> None:
    thin_shares = np.repeat([[0] * 20 + [9] * 3 + [1] * 20], 5, axis=0)  # a border between two classes
    crack = np.repeat([[0] * 20 + [9] * 3 + [0] * 20], 5, axis=0)  # a thin thing in one
    assert _borders(thin_shares, _runs(thin_shares), colored=False)[1][9] == 1
    assert _borders(crack, _runs(crack), colored=False)[1][9] == 0
