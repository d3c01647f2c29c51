import numpy as np
import pytest
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.losses import class_weights, cross_entropy, l2_penalty


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 9, 7, generator=generator)
    target = torch.randint(0, 4, (2, 9, 7), generator=generator)
    target[0, :4] = IGNORE_INDEX
    return logits, target


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.5, 3.0, 2.0])])
def test_it_is_torchs_mean_over_the_valid_pixels(batch, weights):
    logits, target = batch
    expected = functional.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(cross_entropy(logits, target, class_weights=weights), expected)


def test_the_sum_is_the_mean_times_the_valid_pixels(batch):
    logits, target = batch
    summed = cross_entropy(logits, target, class_weights=None, reduction="sum")
    valid = int((target != IGNORE_INDEX).sum())
    torch.testing.assert_close(summed, cross_entropy(logits, target, class_weights=None) * valid)


@pytest.mark.parametrize("weights", [None, torch.ones(4)])
def test_without_a_valid_pixel_it_is_zero_and_so_are_the_gradients(weights):
    logits = torch.randn(1, 4, 5, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 5, 5), IGNORE_INDEX), class_weights=weights)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_ignored_pixels_get_no_gradient(batch):
    logits, target = batch
    logits.requires_grad_()
    cross_entropy(logits, target, class_weights=None).backward()
    ignored = (target == IGNORE_INDEX)[:, None].expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].all()


def test_l2_is_half_the_sum_of_squares_times_its_strength():
    kernels = [torch.full((2, 3), 2.0), torch.full((4,), -1.0)]
    assert l2_penalty(kernels, 0.1).item() == pytest.approx(0.1 * (6 * 4 + 4) / 2)


def test_median_frequency_weights_follow_their_definition():
    counts = np.array([[60, 40, 0], [90, 0, 10]])  # class 2 is only in the second mask
    sizes = np.array([100, 100])
    frequency = np.array([150 / 200, 40 / 100, 10 / 100])
    expected = np.median(frequency) / frequency
    np.testing.assert_allclose(class_weights("median-frequency", counts, sizes), expected, rtol=1e-6)
    np.testing.assert_allclose(class_weights("sqrt-median-frequency", counts, sizes), np.sqrt(expected), rtol=1e-6)
    assert class_weights("none", counts, sizes) is None


def test_an_absent_class_weighs_one_and_a_very_rare_one_at_most_ten():
    weights = class_weights("median-frequency", np.array([[99_000, 50_000, 1, 0]]), np.array([150_000]))
    assert weights.tolist()[2:] == [10.0, 1.0]
