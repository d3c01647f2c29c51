import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, DataError
from maskpencil.inference.wrappers import SingleClass
from maskpencil.prediction import Prediction
from maskpencil.visualize import legend

CLASSES = ClassSet(("sky", "road", "car"))
PROBABILITY = np.array([[0.0, 0.3, 0.31], [0.5, 0.9, 1.0]], dtype=np.float32)


class Stub:
    classes = CLASSES

    def predict_class(self, images, index):
        assert index == 1
        return [(Prediction(image, np.zeros((2, 3), np.uint8), None, CLASSES), PROBABILITY) for image in images]


def one_class(threshold=0.3):
    return SingleClass(Stub(), "road", threshold=threshold)


def test_the_class_is_where_its_probability_is_above_the_threshold():
    image = np.full((2, 3, 3), 100, dtype=np.uint8)
    (prediction,) = one_class().predict_batch([image], confidence=True, entropy=True)
    assert prediction.label_map.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert prediction.classes.names == ("not road", "road")
    np.testing.assert_array_equal(prediction.confidence, PROBABILITY)
    in_bits = [[0, 0.8813, 0.8932], [1, 0.4690, 0]]  # of a coin that falls so
    np.testing.assert_allclose(prediction.entropy, in_bits, atol=1e-4)


def test_the_class_is_half_green_and_the_rest_as_it_was():
    image = np.full((2, 3, 3), 100, dtype=np.uint8)
    (prediction,) = one_class().predict_batch([image])
    overlay = prediction.overlay(opacity=0.5, legend=False)
    assert (overlay[prediction.label_map == 0] == 100).all()
    green = overlay[prediction.label_map == 1].astype(int)
    np.testing.assert_allclose(green, np.broadcast_to([50, 177, 50], green.shape), atol=1)
    assert prediction.confidence is None
    named = legend(prediction.classes, width=240, indices=(1,))  # what stays as it was has no color to explain
    np.testing.assert_array_equal(prediction.overlay()[2:], named)
    assert tuple(one_class().legend) == (1,)


def test_unknown_classes_and_thresholds_out_of_range_are_refused():
    with pytest.raises(DataError, match="there is no class 'tree'; the classes are sky, road, car"):
        SingleClass(Stub(), "tree", threshold=0.5)
    for threshold in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="--threshold"):
            one_class(threshold)
