import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.errors import ConfigError, DataError
from maskpencil.training.losses import class_weights

CLASSES = ClassSet(("road", "car", "pole"))
COUNTS = np.array([[60, 40, 0], [90, 0, 10]])  # poles are only in the second mask
SIZES = np.array([100, 100])


def test_median_frequency_weights_follow_their_definition():
    frequency = np.array([150 / 200, 40 / 100, 10 / 100])
    expected = np.median(frequency) / frequency
    np.testing.assert_allclose(class_weights("median-frequency", CLASSES, COUNTS, SIZES), expected, rtol=1e-6)
    weights = class_weights("sqrt-median-frequency", CLASSES, COUNTS, SIZES)
    np.testing.assert_allclose(weights, np.sqrt(expected), rtol=1e-6)
    assert class_weights("none", CLASSES, COUNTS, SIZES) is None


def test_an_absent_class_weighs_one_and_a_very_rare_one_at_most_ten():
    classes = ClassSet((*CLASSES.names, "tram"))
    counts = np.array([[99_000, 50_000, 1, 0]])
    assert class_weights("median-frequency", classes, counts, np.array([150_000])).tolist()[2:] == [10.0, 1.0]
    assert class_weights("enet", classes, counts, np.array([150_000])).tolist()[3] == 1


def test_enet_weights_follow_their_definition_with_a_mean_of_one():
    share = np.array([150, 40, 10]) / 200
    expected = 1 / np.log(1.02 + share)
    np.testing.assert_allclose(class_weights("enet", CLASSES, COUNTS, SIZES), expected / expected.mean(), rtol=1e-6)


def test_a_file_gives_each_class_its_weight(tmp_path):
    (tmp_path / "weights.yaml").write_text("pole: 5\nroad: 0.5\ncar: 2\n")
    assert class_weights(str(tmp_path / "weights.yaml"), CLASSES, COUNTS, SIZES).tolist() == [0.5, 2.0, 5.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("road: 1\ncar: 1\n", "names road, car; expected a weight above 0 for each class, such as road: 1.5"),
        ("[1, 2, 3]", "names a list"),
        ("road: 1\ncar: 1\npole: 0\n", "the weight of pole is 0; expected"),
        ("road: 1\ncar: heavy\npole: 1\n", "the weight of car is 'heavy'; expected"),
        ("road: 1\ncar: yes\npole: 1\n", "the weight of car is True; expected"),
    ],
)
def test_a_file_of_something_else_is_refused(text, told, tmp_path):
    path = tmp_path / "weights.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        class_weights(str(path), CLASSES, COUNTS, SIZES)
    assert str(path) in str(caught.value)


def test_a_kind_that_is_neither_known_nor_a_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--class-weights must be none, .*enet or a file, but got 'heavy', which is"):
        class_weights("heavy", CLASSES, COUNTS, SIZES)
    (tmp_path / "broken.yaml").write_text("road: [")
    with pytest.raises(DataError, match=r"broken\.yaml"):
        class_weights(str(tmp_path / "broken.yaml"), CLASSES, COUNTS, SIZES)
