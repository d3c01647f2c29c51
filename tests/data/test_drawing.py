import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.drawing import Bitmap, Drawing, Polygon, mask_pixels

SIZE = (32, 48)


def points(*corners: tuple[float, float]) -> np.ndarray:
    return np.array(corners, dtype=np.float32)


def filled(shape: Polygon | Bitmap, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    window, inside = shape.fill(size)
    mask[window] = inside
    return mask


def inside_by_crossings(ring: np.ndarray, x: float, y: float) -> bool:
    """Whether a point lies in a ring: the crossings of a ray to the left, counted one side at a time."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
            crossings += 1
    return crossings % 2 == 1


def test_a_box_on_the_grid_covers_its_pixels_and_no_others(tmp_path) -> None:
    expected = np.zeros(SIZE, dtype=bool)
    expected[3:10, 5:20] = True
    np.testing.assert_array_equal(filled(Polygon(1, (points((5, 3), (20, 3), (20, 10), (5, 10)),))), expected)


@given(arrays(np.float32, st.tuples(st.integers(3, 9), st.just(2)), elements=st.floats(-20, 60, width=16)))
def test_a_pixel_is_inside_where_its_middle_is(ring: np.ndarray) -> None:
    mask = filled(Polygon(1, (ring,)))
    for row, column in [(0, 0), (5, 7), (16, 24), (31, 47), (31, 0), (12, 40)]:
        assert mask[row, column] == inside_by_crossings(ring.astype(np.float64), column + 0.5, row + 0.5)


def test_holes_are_left_out() -> None:
    outer, hole = points((4, 4), (20, 4), (20, 20), (4, 20)), points((8, 8), (12, 8), (12, 12), (8, 12))
    mask = filled(Polygon(1, (outer, hole)))
    assert mask.sum() == 16 * 16 - 4 * 4
    assert not mask[8:12, 8:12].any()


def test_what_lies_outside_of_the_image_is_cut_off() -> None:
    assert filled(Polygon(1, (points((-100, -100), (1000, -100), (1000, 1000), (-100, 1000)),))).all()
    assert not filled(Polygon(1, (points((100, 0), (200, 0), (200, 10)),))).any()
    assert not filled(Polygon(1, (points((0, -9), (9, -9), (9, -1)),))).any()


@pytest.mark.parametrize("corner", [(0, 0), (5, 7), (-3, -4), (28, 44), (-20, 0), (40, 3), (0, 60)])
def test_a_bitmap_lies_where_its_corner_is(corner: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((9, 11)) > 0.5
    top, left = corner
    canvas = np.zeros((100, 150), dtype=bool)
    canvas[top + 30 : top + 39, left + 30 : left + 41] = mask
    np.testing.assert_array_equal(filled(Bitmap.of(1, mask, corner)), canvas[30 : 30 + SIZE[0], 30 : 30 + SIZE[1]])


def test_later_shapes_lie_over_earlier_ones_and_the_rest_is_background(tmp_path) -> None:
    first = Polygon(1, (points((0, 0), (20, 0), (20, 20), (0, 20)),))
    second = Polygon(2, (points((10, 10), (30, 10), (30, 30), (10, 30)),))
    drawing = Drawing(tmp_path / "a.json", "a.jpg", SIZE, (first, second), background=IGNORE_INDEX)
    label_map = mask_pixels(drawing).values
    expected = np.full(SIZE, IGNORE_INDEX)
    expected[:20, :20] = 1
    expected[10:30, 10:30] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_errors_name_the_file_and_the_image_unless_they_have_one_name(tmp_path) -> None:
    assert str(Drawing(tmp_path / "a.json", "a.jpg", SIZE, ())) == str(tmp_path / "a.json")
    assert str(Drawing(tmp_path / "all.json", "a.jpg", SIZE, ())) == f"{tmp_path / 'all.json'} (a.jpg)"
