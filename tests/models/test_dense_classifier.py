import pytest
import timm
import torch
from torchvision import models

from maskpencil.errors import ConfigError, ModelError
from maskpencil.models.dense_classifier import aligned, dense_classifier

CLASSES = 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
@torch.inference_mode()
def test_a_window_gets_the_classifiers_own_scores(name, tmp_path):
    torch.manual_seed(0)
    classifier = models.get_model(name, weights=None, num_classes=CLASSES).eval()
    torch.save(classifier.state_dict(), tmp_path / "own.pth")
    dense = dense_classifier(name, weights=tmp_path / "own.pth").eval()
    assert dense.categories == ("class_0", "class_1", "class_2", "class_3")
    images = torch.randn(2, 3, 224, 224)
    scores = dense(images)
    assert scores.shape == (2, CLASSES, 1, 1)
    torch.testing.assert_close(scores[..., 0, 0], classifier(images), rtol=1e-4, atol=1e-5)
    assert dense(torch.randn(1, 3, 288, 256)).shape == (1, CLASSES, 3, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "cells"), [((1, 1), (1, 1)), ((32, 64), (1, 2)), ((100, 65), (4, 3))])
@torch.inference_mode()
def test_an_aligned_image_of_any_size_gets_a_cell_for_each_tile(size, cells):
    dense = dense_classifier("resnet18", weights="none").eval()
    assert dense(aligned(torch.randn(1, 3, *size))).shape == (1, 1000, *cells)
    assert "tabby" in dense.categories


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto"])
@torch.inference_mode()
def test_a_window_gets_the_scores_of_timms_classifier_too(name, tmp_path):
    torch.manual_seed(0)
    classifier = timm.create_model(name).eval()
    torch.save(classifier.state_dict(), tmp_path / "own.pth")
    dense = dense_classifier(name, weights=tmp_path / "own.pth").eval()
    images = torch.randn(2, 3, 224, 224)
    scores = dense(images)
    assert scores.shape == (2, 1000, 1, 1)
    torch.testing.assert_close(scores[..., 0, 0], classifier(images), rtol=1e-4, atol=1e-5)
    assert dense(torch.randn(1, 3, 288, 256)).shape == (1, 1000, 3, 2)
    assert dense.categories[281] == "tabby, tabby cat"
    config = classifier.pretrained_cfg
    assert (dense.mean, dense.std) == (config["mean"], config["std"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "no_such_net"])
def test_classifiers_that_average_nothing_of_stride_32_are_refused(name):
    with pytest.raises(ConfigError, match=r"cannot be converted .* expected one of torchvision's VGG.* or a model of"):
        dense_classifier(name, weights="none")


def test_trunks_without_a_last_layer_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "trunk.pth")
    with pytest.raises(ModelError, match=r"trunk\.pth: has no last layer"):
        dense_classifier("resnet18", weights=tmp_path / "trunk.pth")
