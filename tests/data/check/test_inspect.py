from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from maskpencil.data.check.inspect import MAX_SPECK_AREA, _borders, _runs, _specks, inspect_pair
from maskpencil.data.drawing import Bitmap, Drawing, Polygon, Shape
from maskpencil.data.layout import Pair


def regions(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Return (value, pixels) of each region that is connected by sides and corners, found by a flood fill."""
    left = {(row, column) for row, column in np.ndindex(numbers.shape)}
    found = []
    while left:
        heap, size = [left.pop()], 0
        value = numbers[heap[0]]
        while heap:
            row, column = heap.pop()
            size += 1
            for place in ((row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)):
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


def test_a_thin_diagonal_line_has_no_specks() -> None:
    line = np.eye(48, 64, dtype=np.uint8)
    assert _specks(line, _runs(line)) == {}
    line[10] = 0  # a gap
    line[:4] = 0
    assert _specks(line, _runs(line)) == {1: 1}


@pytest.mark.parametrize(("bitmap", "count"), [(False, 0), (True, 9)])
def test_gaps_between_polygons_are_no_specks(bitmap: bool, count: int, tmp_path: Path) -> None:
    size = (30, 40)
    Image.new("RGB", size[::-1]).save(tmp_path / "a.png")
    corners = [(x, y) for x in (2, 12, 22) for y in (2, 12, 22)]
    shapes: list[Shape] = [Polygon(1, (np.float32([(x, y), (x + 2, y), (x + 2, y + 2)]),)) for x, y in corners]
    shapes += [Bitmap.of(1, np.ones((20, 6), dtype=bool), (5, 32))] if bitmap else []
    drawing = Drawing(tmp_path / "a.json", "a.png", size, shapes)
    view = inspect_pair(("train", Pair("a", tmp_path / "a.png", drawing))).mask
    assert sum(view.specks.values()) == count
    assert view.facts
    assert len(view.facts.values) == 2


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
