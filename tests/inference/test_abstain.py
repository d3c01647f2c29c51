import numpy as np
import pytest

from maskpencil.errors import ConfigError
from maskpencil.inference.wrappers import Abstain
from maskpencil.visualize import legend

IMAGE = np.array([[0, 40, 120], [130, 200, 255]], dtype=np.uint8)[..., None].repeat(3, axis=2)


def test_pixels_of_little_confidence_get_no_class(segmenter):
    (prediction,) = Abstain(segmenter, below=0.5).predict_batch([IMAGE], confidence=True)
    assert prediction.label_map.tolist() == [[0, 0, 255], [255, 1, 1]]
    (sure,) = segmenter.predict_batch([IMAGE], confidence=True)
    np.testing.assert_array_equal(prediction.confidence, sure.confidence)
    (prediction,) = Abstain(segmenter, below=0.5).predict_batch([IMAGE])
    assert prediction.confidence is None


def test_pixels_without_a_class_are_not_colored_in_the_overlay(segmenter):
    (prediction,) = Abstain(segmenter, below=0.5).predict_batch([IMAGE])
    overlay = prediction.overlay(legend=False)
    unsure = prediction.label_map == 255
    np.testing.assert_array_equal(overlay[unsure], IMAGE[unsure])
    assert (overlay[~unsure] != IMAGE[~unsure]).any(axis=1).all()


def test_the_legend_names_pixels_without_a_class(segmenter):
    abstaining = Abstain(segmenter, below=0.5)
    assert tuple(abstaining.legend) == (0, 1, 255)
    (prediction,) = abstaining.predict_batch([IMAGE])
    np.testing.assert_array_equal(
        prediction.overlay()[len(IMAGE) :], legend(segmenter.classes, width=240, indices=(0, 1, 255))
    )
    (prediction,) = segmenter.predict_batch([IMAGE])
    np.testing.assert_array_equal(prediction.overlay()[len(IMAGE) :], legend(segmenter.classes, width=240))


@pytest.mark.parametrize("below", [0, 1, -0.5, 2])
def test_thresholds_out_of_range_are_refused(segmenter, below):
    with pytest.raises(ConfigError, match="--abstain must be a probability above 0 and below 1"):
        Abstain(segmenter, below=below)
