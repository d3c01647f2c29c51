import pytest
import torch

from maskpencil.comparison.sliding_window import by_windows, compare, windows_of
from maskpencil.errors import ConfigError
from maskpencil.models.dense_classifier import dense_classifier


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return dense_classifier("resnet18", weights="none").eval()


def test_windows_are_cut_row_by_row():
    images = torch.randn(2, 3, 224 + 32, 224 + 64)
    windows = windows_of(images)
    assert windows.shape == (2 * 2 * 3, 3, 224, 224)
    assert torch.equal(windows[1], images[0, :, :224, 32:256])
    assert torch.equal(windows[3], images[0, :, 32:, :224])
    assert torch.equal(windows[6], images[1, :, :224, :224])


@torch.inference_mode()
def test_windows_have_scores_at_the_cells_of_the_dense_classifier(classifier):
    images = torch.randn(2, 3, 256, 224)
    scores = by_windows(classifier, images, batch_size=3)
    assert scores.shape == classifier(images).shape == (2, 1000, 2, 1)
    torch.testing.assert_close(scores[1, :, 1, 0], classifier(images[1:, :, 32:])[0, :, 0, 0], rtol=1e-4, atol=1e-4)


def test_an_image_of_one_window_agrees_completely(classifier):
    result = compare(classifier, torch.randn(1, 3, 224, 224), repeats=1)
    assert result.grid == (1, 1)
    assert result.agreement == 1
    assert result.correlation == pytest.approx(1, abs=1e-4)
    assert result.ratio == result.batched / result.dense > 0
    assert result.single > 0


def test_images_smaller_than_a_window_are_refused(classifier):
    with pytest.raises(ConfigError, match="--size must be 224x224 or more, but got 200x300"):
        compare(classifier, torch.randn(1, 3, 200, 300))
