from pathlib import Path

import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.errors import OutputError
from maskpencil.images import read_mask_pixels
from maskpencil.prediction import Prediction
from maskpencil.visualize import overlay


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


def test_it_is_saved_as_a_palette_png(prediction: Prediction, tmp_path: Path) -> None:
    prediction.save(tmp_path / "masks" / "photo.png")
    pixels = read_mask_pixels(tmp_path / "masks" / "photo.png")
    np.testing.assert_array_equal(pixels.values, prediction.label_map)
    assert pixels.palette is not None
    np.testing.assert_array_equal(pixels.palette[:2], prediction.classes.colors)


def test_a_place_that_cannot_be_written_is_our_error(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        prediction.save(tmp_path / "file" / "photo.png")
