import numpy as np
import pytest
import torch

from maskpencil.errors import ConfigError
from maskpencil.inference.heatmap import category_index, classifier_heatmap
from maskpencil.models.backbones.base import IMAGENET_MEAN
from maskpencil.models.dense_classifier import dense_classifier
from maskpencil.preprocessing import Preprocessing, stacked


def test_the_map_has_a_cell_for_each_tile_and_a_value_for_each_pixel():
    torch.manual_seed(0)
    classifier = dense_classifier("resnet18", weights="none")
    image = np.random.default_rng(0).integers(0, 256, (70, 97, 3), dtype=np.uint8)
    found = classifier_heatmap(classifier, image, 7, device="cpu", precision="fp32")
    assert found.shape == (70, 97)
    assert 0 < found.min() <= found.max() < 1
    # the middle of the second row's third tile lies between four pixels
    window = np.full((224, 224, 3), 255 * np.array(IMAGENET_MEAN))
    window[64:134, 32:129] = image  # the tile's middle, y 48 and x 80, comes to 112
    scores = classifier(Preprocessing(classifier.mean, classifier.std).normalize(stacked([window])))
    assert found[47:49, 79:81].mean() == pytest.approx(scores.softmax(dim=1)[0, 7, 0, 0].item(), rel=0.2)


def test_a_class_is_given_by_its_name_a_part_of_it_or_its_number():
    names = ("tabby cat", "tiger cat", "tiger", "fence")
    assert [category_index(names, name) for name in ("Tiger", "tabby", "3", "fence")] == [2, 0, 3, 3]
    with pytest.raises(ConfigError, match="got 'cat'; did you mean 'tabby cat', or 'tiger cat'"):
        category_index(names, "cat")
    with pytest.raises(ConfigError, match=r"4 classes \(tabby cat, tiger cat, tiger, fence\), but got 'dog'$"):
        category_index(names, "dog")


def test_a_synonym_or_a_whole_word_is_enough_and_near_names_are_offered():
    names = ("tabby, tabby cat", "coffee mug", "coffeepot", "tiger, Panthera tigris")
    assert [category_index(names, name) for name in ("Tabby Cat", "coffee", "panthera tigris", "pot")] == [0, 1, 3, 2]
    with pytest.raises(ConfigError, match="got 'tabbi'; did you mean 'tabby, tabby cat'"):
        category_index(names, "tabbi")
