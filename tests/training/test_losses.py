import pytest
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX
from maskpencil.training.losses import HARD_SHARE, TERMS, Loss, dice, l2_penalty, lovasz, ohem

WEIGHTS = torch.tensor([1.0, 0.5, 3.0, 2.0])
EVERY = [("cross-entropy",), *((term,) for term in TERMS), ("cross-entropy", *TERMS)]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 9, 7, generator=generator)
    target = torch.randint(0, 4, (2, 9, 7), generator=generator)
    target[0, :4] = IGNORE_INDEX
    return logits, target


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_it_is_torchs_mean_over_the_valid_pixels(batch, weights):
    logits, target = batch
    expected = functional.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(Loss(class_weights=weights)(logits, target), expected)


def test_the_sum_is_the_mean_times_the_valid_pixels(batch):
    logits, target = batch
    valid = int((target != IGNORE_INDEX).sum())
    torch.testing.assert_close(Loss(reduction="sum")(logits, target), Loss()(logits, target) * valid)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("terms", EVERY)
def test_without_a_valid_pixel_it_is_zero_and_so_are_the_gradients(weights, terms):
    logits = torch.randn(1, 4, 5, 5, requires_grad=True)
    loss = Loss(terms, weights)(logits, torch.full((1, 5, 5), IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("terms", EVERY)
def test_ignored_pixels_get_no_gradient(batch, terms):
    logits, target = batch
    logits.requires_grad_()
    Loss(terms)(logits, target).backward()
    ignored = (target == IGNORE_INDEX)[:, None].expand_as(logits)
    assert not logits.grad[ignored].any()
    hit = logits.grad[~ignored] != 0
    assert hit.float().mean() >= (HARD_SHARE * 0.9 if terms == ("ohem",) else 0.99)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_losses_of_the_parts_add_up_to_that_of_the_batch(batch, weights):
    logits, target = batch
    loss = Loss(class_weights=weights)
    whole = loss.weigh(target)
    parts = [loss(logits[i : i + 1], target[i : i + 1], weight=whole) for i in range(2)]
    torch.testing.assert_close(sum(parts), loss(logits, target))


def test_terms_add_up(batch):
    logits, target = batch
    together = Loss(("cross-entropy", "dice", "lovasz"), WEIGHTS)(logits, target)
    torch.testing.assert_close(
        together, sum(Loss((term,), WEIGHTS)(logits, target) for term in ("cross-entropy", "dice", "lovasz"))
    )


@pytest.mark.parametrize("overlap", [dice, lovasz])
def test_an_overlap_is_zero_where_all_is_right_and_one_where_all_is_wrong(overlap):
    target = torch.tensor([0, 0, 1, 2, 2, 2])
    sure = functional.one_hot(target, 4).float() * 100
    assert overlap(sure, target, None).item() == pytest.approx(0, abs=1e-6)
    assert overlap(sure.roll(1, dims=1), target, None).item() == pytest.approx(1, abs=1e-6)


def test_the_dice_loss_counts_every_class_in_the_target_the_same():
    target = torch.tensor([0, 0, 0, 0, 1, 1])
    predicted = torch.tensor([0, 0, 0, 2, 1, 0])  # class 0: 3 of 4 and 4, class 1: 1 of 2 and 1
    expected = 1 - (2 * 3 / (4 + 4) + 2 * 1 / (2 + 1)) / 2
    found = dice(functional.one_hot(predicted, 3).float() * 100, target, None).item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_lovasz_loss_of_hard_predictions_is_one_minus_the_mean_iou():
    target = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 1, 0, 1, 2, 2])
    ious = [3 / 4, 1 / 3, 1 / 2]
    found = lovasz(functional.one_hot(predicted, 4).float() * 100, target, None).item()
    assert found == pytest.approx(1 - sum(ious) / 3, abs=1e-6)


def test_hard_pixels_are_the_quarter_with_the_greatest_loss(batch):
    logits, target = batch
    scored, labels = logits.permute(0, 2, 3, 1)[target != IGNORE_INDEX], target[target != IGNORE_INDEX]
    losses = functional.cross_entropy(scored, labels, weight=WEIGHTS, reduction="none").sort(descending=True).values
    expected = losses[: round(len(losses) / 4)].mean()
    torch.testing.assert_close(ohem(scored, labels, WEIGHTS), expected)


def test_l2_is_half_the_sum_of_squares_times_its_strength():
    kernels = [torch.full((2, 3), 2.0), torch.full((4,), -1.0)]
    assert l2_penalty(kernels, 0.1).item() == pytest.approx(0.1 * (6 * 4 + 4) / 2)
