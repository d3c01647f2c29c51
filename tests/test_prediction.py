from pathlib import Path

import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.errors import DataError, OutputError
from maskpencil.label_maps import read_mask_pixels
from maskpencil.prediction import Prediction
from maskpencil.visualize import boxes, legend, overlay


@pytest.fixture
def prediction() -> Prediction:
    random = np.random.default_rng(0)
    return Prediction(
        image=random.integers(0, 256, (30, 300, 3), dtype=np.uint8),
        label_map=random.integers(0, 2, (30, 300), dtype=np.uint8),
        confidence=None,
        classes=ClassSet(("road", "car"), ((90, 90, 90), (200, 0, 0))),
    )


def test_the_overlay_stands_above_its_legend(prediction: Prediction) -> None:
    bare = prediction.overlay(legend=False, opacity=0.3)
    np.testing.assert_array_equal(
        bare, overlay(prediction.image, prediction.label_map, prediction.classes, opacity=0.3)
    )
    with_legend = prediction.overlay(opacity=0.3)
    np.testing.assert_array_equal(with_legend[:30], bare)
    assert len(with_legend) > 30


@pytest.fixture
def two_cars() -> Prediction:
    label_map = np.zeros((60, 300), dtype=np.uint8)
    label_map[30:50, 20:80] = label_map[20:50, 100:200] = 1
    return Prediction(
        image=np.full((60, 300, 3), 128, dtype=np.uint8),
        label_map=label_map,
        confidence=np.where(label_map == 1, 0.5, 0.75).astype(np.float32),
        classes=ClassSet(("road", "car"), ((90, 90, 90), (200, 0, 0))),
    )


def test_regions_have_the_mean_confidence(two_cars: Prediction) -> None:
    road, large, small = two_cars.regions()
    assert (road.class_name, road.area, road.confidence) == ("road", 60 * 300 - 4200, 0.75)
    assert (large.class_name, large.number, large.box, large.confidence) == ("car", 1, (100, 20, 200, 50), 0.5)
    assert (small.number, small.area, small.centroid) == (2, 1200, (50, 40))
    assert two_cars.regions(min_area=2000, wanted=["car"]) == [large]
    assert [region.polygons for region in two_cars.regions(polygons=False)] == [()] * 3
    with pytest.raises(DataError, match="no class 'cat'"):
        two_cars.regions(wanted=["cat"])


def test_without_a_confidence_regions_have_none(prediction: Prediction) -> None:
    assert {region.confidence for region in prediction.regions()} == {None}


def test_the_overlay_shows_boxes_and_counts_them_in_the_legend(two_cars: Prediction) -> None:
    cars = two_cars.regions(wanted=["car"])
    shown = two_cars.overlay(boxes=cars)
    bare = overlay(two_cars.image, two_cars.label_map, two_cars.classes)
    np.testing.assert_array_equal(shown[:60], boxes(bare, cars, two_cars.classes))
    assert not np.array_equal(shown[:60], bare)
    np.testing.assert_array_equal(shown[60:], legend(two_cars.classes, width=300, counts={1: 2}))
    np.testing.assert_array_equal(two_cars.overlay(boxes=cars, legend=False), shown[:60])


def test_it_is_saved_as_a_palette_png(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path / "masks" / "photo.png")
    pixels = read_mask_pixels(tmp_path / "masks" / "photo.png")
    np.testing.assert_array_equal(pixels.values, prediction.label_map)
    assert pixels.palette is not None
    np.testing.assert_array_equal(pixels.palette[:2], prediction.classes.colors)


def test_an_unwritable_path_is_an_error_of_this_package(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        prediction.save(tmp_path / "file" / "photo.png")
