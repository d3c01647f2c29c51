import numpy as np
import pytest

from maskpencil.data.drawing import Polygon
from maskpencil.data.formats.rings import box, ellipse, turned


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
