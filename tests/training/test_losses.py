import numpy as np
import pytest
import torch
from torch.nn import functional

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.errors import ConfigError, DataError
from maskpencil.training.losses import HARD_SHARE, TERMS, Loss, class_weights, dice, l2_penalty, lovasz, ohem

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
def test_the_loss_is_torchs_mean_over_the_valid_pixels(batch, weights):
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


def test_names_that_are_numbers_have_weights_as_well(tmp_path):
    (tmp_path / "weights.yaml").write_text("1: 5\nno: 0.5\n")
    weights = class_weights(str(tmp_path / "weights.yaml"), ClassSet(("1", "no")), COUNTS[:, :2], SIZES)
    assert weights.tolist() == [5.0, 0.5]


def test_names_that_yaml_would_read_otherwise_are_shown_as_they_must_be_written(tmp_path):
    path, classes = tmp_path / "weights.yaml", ClassSet(("010", "road"))
    path.write_text("010: 1.5\nroad: 1\n")
    with pytest.raises(ConfigError, match=r"such as '010': 1.5; the classes are '010', road$"):
        class_weights(str(path), classes, COUNTS[:, :2], SIZES)
    path.write_text("'010': 1.5\nroad: 1\n")
    assert class_weights(str(path), classes, COUNTS[:, :2], SIZES).tolist() == [1.5, 1.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("road: 1\ncar: 1\n", "holds road, car; expected a weight above 0 for each class, such as road: 1.5"),
        ("[1, 2, 3]", "holds a list"),
        ("road: 1\ncar: 1\npole: 0\n", "the weight of pole is 0; expected"),
        ("road: 1\ncar: heavy\npole: 1\n", "the weight of car is 'heavy'; expected"),
        ("road: 1\ncar: yes\npole: 1\n", "the weight of car is 'yes'; expected"),
        ("road: 1\ncar: true\npole: 1\n", "the weight of car is True; expected"),
    ],
)
def test_a_file_of_something_else_is_refused(text, expected, tmp_path):
    path = tmp_path / "weights.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        class_weights(str(path), CLASSES, COUNTS, SIZES)
    assert str(path) in str(caught.value)


def test_an_unknown_kind_of_class_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--class-weights must be none, .*enet or a file, but got 'heavy', which is"):
        class_weights("heavy", CLASSES, COUNTS, SIZES)
    (tmp_path / "broken.yaml").write_text("road: [")
    with pytest.raises(DataError, match=r"broken\.yaml"):
        class_weights(str(tmp_path / "broken.yaml"), CLASSES, COUNTS, SIZES)


def test_lovasz_gets_the_valid_pixels_however_few_they_are(monkeypatch) -> None:
    monkeypatch.setattr("maskpencil.training.losses.LOVASZ_PIXELS", 16)
    logits, target = torch.randn(1, 3, 40, 40), torch.full((1, 40, 40), 255)
    target[0, 7, 7], target[0, 20, 31] = 1, 2
    labeled = torch.stack([logits[0, :, 7, 7], logits[0, :, 20, 31]])
    expected = lovasz(labeled, torch.tensor([1, 2]), None)
    torch.testing.assert_close(Loss(("lovasz",))(logits, target), expected)
