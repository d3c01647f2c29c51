import numpy as np
import pytest
import torch

from maskpencil.errors import ConfigError
from maskpencil.inference.heatmap import category_index, classifier_heatmap
from maskpencil.models.dense_classifier import dense_classifier


def test_the_map_has_a_cell_a_tile_and_a_value_a_pixel():
    torch.manual_seed(0)
    classifier = dense_classifier("resnet18", weights="none")
    image = np.random.default_rng(0).integers(0, 256, (70, 97, 3), dtype=np.uint8)
    found = classifier_heatmap(classifier, image, 7, device="cpu", precision="fp32")
    assert found.cells.shape == (3, 4)
    assert found.values.shape == (70, 97)
    assert 0 < found.values.min() <= found.values.max() < 1
    # in the middle between four pixels around a tile's middle stands the tile's own value
    middle = found.values[15:17, 15:17].mean()
    assert middle == pytest.approx(found.cells[0, 0], rel=0.1)


def test_a_class_is_meant_by_its_name_a_part_of_it_or_its_number():
    names = ("tabby cat", "tiger cat", "tiger", "fence")
    assert [category_index(names, name) for name in ("Tiger", "tabby", "3", "fence")] == [2, 0, 3, 3]
    with pytest.raises(ConfigError, match="got 'cat'; did you mean tabby cat, tiger cat"):
        category_index(names, "cat")
    with pytest.raises(ConfigError, match=r"one of the 4 classes, but got 'dog'$"):
        category_index(names, "dog")
