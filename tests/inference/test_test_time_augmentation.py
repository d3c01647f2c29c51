import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError
from maskpencil.inference import wrappers
from maskpencil.inference.wrappers import SingleClass


class Leaning:
    """A predictor of brightness that overestimates the left side of every image."""

    classes = ClassSet(("dark", "bright"))

    def __init__(self):
        self.sizes = []

    def probabilities_batch(self, images):
        self.sizes += [image.shape[:2] for image in images]
        bright = np.stack([image.mean(axis=2) for image in images]) / 255
        bright = bright + np.linspace(0.2, -0.2, bright.shape[2])
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)


def draw_image(height=40, width=60):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_mirrored_views_cancel_what_leans_to_one_side():
    (alone,) = Leaning().probabilities_batch([draw_image()])
    (both,) = wrappers.TestTimeAugmentation(Leaning()).probabilities_batch([draw_image()])
    assert np.ptp(alone[1]) > 0.3
    np.testing.assert_allclose(both[1], 128 / 255, atol=1e-5)


def test_scaled_views_are_seen_at_their_size_and_brought_back():
    segmenter = Leaning()
    (found,) = wrappers.TestTimeAugmentation(segmenter, flip=False, scales=(0.5, 1, 1.5)).probabilities_batch(
        [draw_image()]
    )
    assert segmenter.sizes == [(20, 30), (40, 60), (60, 90)]
    assert found.shape == (2, 40, 60)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_label_maps_and_the_probability_of_a_class_follow_from_the_average():
    image = draw_image()
    image[:, 30:] = 200
    augmented = wrappers.TestTimeAugmentation(Leaning(), scales=(1, 1.25))
    (probabilities,) = augmented.probabilities_batch([image])
    (prediction,) = augmented.predict_batch([image], confidence=True, entropy=True)
    np.testing.assert_array_equal(prediction.label_map, probabilities.argmax(axis=0))
    np.testing.assert_array_equal(prediction.confidence, probabilities.max(axis=0))
    in_bits = -(probabilities * np.log2(probabilities)).sum(axis=0)  # of two classes: 1 at most
    np.testing.assert_allclose(prediction.entropy, in_bits, atol=1e-5)
    (bright,) = SingleClass(augmented, "bright", threshold=0.6).predict_batch([image])
    np.testing.assert_array_equal(bright.label_map, probabilities[1] > 0.6)


@pytest.mark.parametrize("scales", [(), (0,), (1, -1)])
def test_scales_that_cannot_be_are_refused(scales):
    with pytest.raises(ConfigError, match="scales must be one or more factors above 0"):
        wrappers.TestTimeAugmentation(Leaning(), scales=scales)
