import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import ClassSet
from maskpencil.data.drawing import Polygon, box, ellipse, turned
from maskpencil.data.formats.yolo import bridged
from maskpencil.regions import find_regions
from maskpencil.regions.find import Point


def test_a_box_has_its_corners_clockwise_from_the_upper_left() -> None:
    assert box(2, 3, 4, 5).tolist() == [[2, 3], [6, 3], [6, 8], [2, 8]]


def test_turning_is_clockwise_where_y_points_down() -> None:
    ring = turned(box(2, 3, 4, 5), 90, (2, 3))
    np.testing.assert_allclose(ring, [[2, 3], [2, 7], [-3, 7], [-3, 3]], atol=1e-9)


@pytest.mark.parametrize("radii", [(0.4, 3), (20, 9), (300, 180)])
def test_an_ellipse_holds_the_pixels_within_its_equation(radii: tuple[float, float]) -> None:
    size = (400, 640)
    center = (311.3, 203.7)
    drawn = np.zeros(size, dtype=bool)
    window, inside = Polygon(1, (ellipse(center, radii).astype(np.float32),)).fill(size)
    drawn[window] = inside
    rows, columns = np.indices(size) + 0.5
    places = np.hypot((columns - center[0]) / radii[0], (rows - center[1]) / radii[1])
    near = 0.05 / min(radii)  # of the border, in radii: the polygon may be 0.02 pixels off
    assert drawn[places < 1 - near].all()
    assert not drawn[places > 1 + near].any()


ONE = ClassSet(("other", "part"))


def polygons(mask: npt.NDArray[np.bool_]) -> list[tuple[tuple[Point, ...], ...]]:
    return [p for region in find_regions(mask.astype(np.uint8), ONE, wanted=["part"]) for p in region.polygons]


def inside(points: list[Point], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels whose middles lie in a closed ring, by the even-odd rule."""
    rows, columns = np.indices(size) + 0.5
    crossed = np.zeros(size, dtype=bool)
    for (x, y), (next_x, next_y) in zip(points, [*points[1:], points[0]], strict=True):
        if y != next_y:
            assert x == next_x
            crossed ^= (rows > min(y, next_y)) & (rows < max(y, next_y)) & (columns < x)
    return crossed


def test_a_polygon_without_holes_stays_as_it_is() -> None:
    assert bridged([((0, 0), (4, 0), (4, 3), (0, 3))]) == [(0, 0), (4, 0), (4, 3), (0, 3)]


def test_a_line_leads_to_a_hole_from_the_left_and_back() -> None:
    mask = np.ones((5, 6), dtype=bool)
    mask[2, 2:4] = False
    (polygon,) = polygons(mask)
    ring = bridged(polygon)
    assert len(ring) == 4 + 4 + 1 + 2  # both rings, the hole's beginning again, and where the line begins, twice
    assert ring.count((0, 2)) == 2
    assert ring.count((2, 2)) == 2
    np.testing.assert_array_equal(inside(ring, mask.shape), mask)


def test_lines_run_within_the_polygon() -> None:
    mask = np.ones((9, 20), dtype=bool)
    mask[2:7, 3:5] = mask[3, 8:11] = mask[4:6, 13:15] = mask[1, 17] = False
    (polygon,) = polygons(mask)
    ring = bridged(polygon)
    for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y == next_y:
            along = slice(min(x, next_x), max(x, next_x))
            below, above = mask[y : y + 1, along], mask[max(y - 1, 0) : y, along]
            assert below.all() or above.all()


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_the_ring_holds_the_pixels_of_its_polygon(mask: npt.NDArray[np.bool_]) -> None:
    together = np.zeros(mask.shape, dtype=bool)
    for polygon in polygons(mask):
        filled = inside(bridged(polygon), mask.shape)
        assert not (together & filled).any()
        together |= filled
    np.testing.assert_array_equal(together, mask)


def test_holes_in_a_long_row_hang_on_each_other() -> None:
    mask = np.ones((3, 4001), dtype=bool)
    mask[1, 1::2] = False
    (polygon,) = polygons(mask)
    assert len(polygon) == 2001
    np.testing.assert_array_equal(inside(bridged(polygon), mask.shape), mask)
