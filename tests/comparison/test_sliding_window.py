from dataclasses import replace

import numpy as np
import pytest
import torch

from maskpencil.comparison.sliding_window import by_windows, compare, figure, main_classes, windows_of
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


@pytest.mark.slow
def test_the_figure_shows_the_main_class_where_it_is_found(classifier):
    image = np.full((288, 320, 3), 200, dtype=np.uint8)
    result = compare(classifier, torch.randn(1, 3, 288, 320), repeats=1)
    cells = torch.full((1, 1000, 3, 4), 1e-4)
    cells[0, 7, 2, 3] = 0.9  # the last window: its center is at y 176, x 208
    result = replace(result, dense_probabilities=cells, window_probabilities=cells.flip(2, 3))
    assert main_classes(result) == [7]
    sheet = figure([image], result).astype(int)
    header = len(sheet) - 288 - 6
    yellow = (sheet[..., 0] > 220) & (sheet[..., 1] > 180) & (sheet[..., 2] < 120)
    columns = yellow[header:].any(0).nonzero()[0]
    dense, windows = columns[columns < 2 * 326], columns[columns >= 2 * 326]
    assert dense.min() - 332 == pytest.approx(208, abs=32)
    assert windows.max() - 658 == pytest.approx(112, abs=32)
    assert not yellow[header:, :326].any()
