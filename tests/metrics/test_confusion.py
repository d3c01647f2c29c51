import json
import math
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import DataError
from maskpencil.metrics import ConfusionMatrix, Scores

K = 4
NAMES = ("road", "car", "tree", "sky")
Pair = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Target with void and prediction, of few classes, so that some are absent."""
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    present = draw(st.lists(st.integers(0, K - 1), min_size=1, unique=True))
    target = draw(arrays(np.uint8, size, elements=st.sampled_from([*present, IGNORE_INDEX])))
    return target, draw(arrays(np.uint8, size, elements=st.sampled_from(present) | st.integers(0, K - 1)))


def score(*both: Pair) -> Scores:
    matrix = ConfusionMatrix(K)
    for target, prediction in both:
        matrix.update(target, prediction)
    return matrix.scores(NAMES)


def by_hand(target: list[int], prediction: list[int]) -> dict[str, float]:
    """The four measures as the paper words them, with sets of pixels and no matrix."""
    counted = [(t, p) for t, p in zip(target, prediction, strict=True) if t != IGNORE_INDEX]
    if not counted:
        return dict.fromkeys(("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"), math.nan)
    accuracies, ious, weighted = [], [], 0.0
    for k in range(K):
        truth = {i for i, (t, _) in enumerate(counted) if t == k}
        guess = {i for i, (_, p) in enumerate(counted) if p == k}
        if truth:
            accuracies.append(len(truth & guess) / len(truth))
        if truth | guess:
            ious.append(len(truth & guess) / len(truth | guess))
            weighted += len(truth) / len(counted) * ious[-1]
    return {
        "pixel_accuracy": sum(t == p for t, p in counted) / len(counted),
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "mean_iou": sum(ious) / len(ious),
        "frequency_weighted_iou": weighted,
    }


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_the_four_scores_are_those_of_the_paper_over_the_whole_set(both: list[Pair]) -> None:
    scores = score(*both)
    target = [int(t) for target, _ in both for t in target.ravel()]
    prediction = [int(p) for _, prediction in both for p in prediction.ravel()]
    for name, value in by_hand(target, prediction).items():
        assert getattr(scores, name) == pytest.approx(value, nan_ok=True), name
    assert scores.images == len(both)


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """The scores of torchmetrics, which takes seconds to import."""
    from torchmetrics.functional import classification

    return classification


@pytest.mark.slow
@given(both=pairs())
def test_the_matrix_is_that_of_torchmetrics(both: Pair, theirs: ModuleType) -> None:
    target, prediction = (torch.from_numpy(values.astype(np.int64)) for values in both)
    expected = theirs.multiclass_confusion_matrix(prediction, target, num_classes=K, ignore_index=IGNORE_INDEX)
    np.testing.assert_array_equal(score(both).confusion_matrix, expected.numpy())


@pytest.mark.slow
def test_the_scores_are_those_of_torchmetrics_where_every_class_occurs(theirs: ModuleType) -> None:
    random = np.random.default_rng(3)
    target = random.choice(np.array([*range(K), IGNORE_INDEX], dtype=np.uint8), (32, 48))
    prediction = random.integers(0, K, (32, 48)).astype(np.uint8)
    prediction[:20] = np.where(target[:20] < K, target[:20], 0)
    scores = score((target, prediction))
    tensors = [torch.from_numpy(values.astype(np.int64)) for values in (prediction, target)]
    options = {"num_classes": K, "ignore_index": IGNORE_INDEX}
    for value, expected in (
        (scores.mean_iou, theirs.multiclass_jaccard_index(*tensors, **options)),
        (scores.frequency_weighted_iou, theirs.multiclass_jaccard_index(*tensors, average="weighted", **options)),
        (scores.pixel_accuracy, theirs.multiclass_accuracy(*tensors, average="micro", **options)),
        (scores.mean_accuracy, theirs.multiclass_accuracy(*tensors, average="macro", **options)),
    ):
        assert value == pytest.approx(float(expected), abs=1e-6)
    ious = theirs.multiclass_jaccard_index(*tensors, average="none", **options)
    accuracies = theirs.multiclass_accuracy(*tensors, average="none", **options)
    for i, name in enumerate(NAMES):
        assert scores.classes[name].iou == pytest.approx(float(ious[i]), abs=1e-6)
        assert scores.classes[name].accuracy == pytest.approx(float(accuracies[i]), abs=1e-6)
        assert scores.classes[name].pixels == int((target == i).sum())


def test_a_class_absent_from_target_and_prediction_is_left_out() -> None:
    target = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    prediction = np.array([[0, 0, 1, 2]], dtype=np.uint8)
    scores = score((target, prediction))
    assert scores.mean_iou == pytest.approx((1 + 1 / 2 + 0) / 3)  # predicted alone, class 2 counts as 0
    assert scores.mean_accuracy == pytest.approx((1 + 1 / 2) / 2)
    assert (scores.classes["tree"].iou, scores.classes["tree"].accuracy) == (0.0, None)
    assert (scores.classes["sky"].iou, scores.classes["sky"].accuracy, scores.classes["sky"].pixels) == (None, None, 0)


def test_predictions_at_ignored_pixels_do_not_matter() -> None:
    target = np.array([[0, 1, IGNORE_INDEX]], dtype=np.uint8)
    for void_prediction in (0, 3, 255):
        scores = score((target, np.array([[0, 1, void_prediction]], dtype=np.uint8)))
        assert scores.mean_iou == scores.pixel_accuracy == 1.0
        assert scores.confusion_matrix.sum() == 2


def test_a_set_without_valid_pixels_has_no_scores_and_is_valid_json() -> None:
    void = np.full((2, 2), IGNORE_INDEX, dtype=np.uint8)
    scores = score((void, np.zeros((2, 2), dtype=np.uint8)))
    assert math.isnan(scores.mean_iou)
    assert json.loads(json.dumps(scores.to_dict(), allow_nan=False))["mean_iou"] is None


def test_the_dictionary_holds_plain_numbers_by_name() -> None:
    target = np.array([[0, 1]], dtype=np.uint8)
    entries = json.loads(json.dumps(score((target, target)).to_dict()))
    assert list(entries) == [
        "pixel_accuracy",
        "mean_accuracy",
        "mean_iou",
        "frequency_weighted_iou",
        "images",
        "classes",
        "confusion_matrix",
    ]
    assert entries["classes"]["car"] == {"iou": 1.0, "accuracy": 1.0, "precision": 1.0, "pixels": 1}
    assert entries["classes"]["sky"] == {"iou": None, "accuracy": None, "precision": None, "pixels": 0}
    assert entries["confusion_matrix"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_counts_of_several_processes_add_up() -> None:
    both = [(np.full((2, 3), i, dtype=np.uint8), np.full((2, 3), i // 2, dtype=np.uint8)) for i in range(K)]
    halves = [ConfusionMatrix(K), ConfusionMatrix(K)]
    for i, pair in enumerate(both):
        halves[i % 2].update(*pair)
    halves[0].add(halves[1].counts, images=halves[1].images)
    together = halves[0].scores(NAMES)
    np.testing.assert_array_equal(together.confusion_matrix, score(*both).confusion_matrix)
    assert together.images == K


def test_counts_do_not_overflow() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([[2**61, 0], [0, 2**60]]), images=10**6)
    matrix.update(np.zeros((1, 1), dtype=np.uint8), np.zeros((1, 1), dtype=np.uint8))
    assert matrix.counts.dtype == np.int64
    assert matrix.counts[0, 0] == 2**61 + 1


def test_the_scores_keep_their_numbers_when_counting_goes_on() -> None:
    matrix = ConfusionMatrix(K)
    ones = np.ones((1, 1), dtype=np.uint8)
    matrix.update(ones, ones)
    scores = matrix.scores(NAMES)
    matrix.update(ones, ones)
    assert scores.confusion_matrix.sum() == 1


def test_what_cannot_be_compared_is_refused() -> None:
    matrix = ConfusionMatrix(K)
    target = np.zeros((2, 2), dtype=np.int64)
    with pytest.raises(DataError, match=r"equal shapes, but got \(2, 2\) and \(2, 3\)"):
        matrix.update(target, np.zeros((2, 3), dtype=np.int64))
    for strange in (-1, K):
        with pytest.raises(DataError, match=f"must be class indices from 0 to 3, but got {strange}"):
            matrix.update(target, np.full((2, 2), strange))
    assert matrix.counts.sum() == matrix.images == 0


@pytest.mark.parametrize("classes", [1, 2, 11, 254, 255])
def test_bytes_are_counted_as_wider_numbers_are(classes: int) -> None:
    random = np.random.default_rng(classes)
    target = random.integers(0, 256, (40, 50))
    prediction = random.integers(0, classes, (40, 50))
    matrices = [ConfusionMatrix(classes) for _ in range(3)]
    kinds = [(np.uint8, np.uint8), (np.uint8, np.int64), (np.int64, np.int64)]
    for matrix, (of_target, of_prediction) in zip(matrices, kinds, strict=True):
        matrix.update(target.astype(of_target), prediction.astype(of_prediction))
    assert all((matrix.counts == matrices[-1].counts).all() for matrix in matrices)
    assert matrices[0].counts.sum() == (target < classes).sum()
    assert matrices[0].images == 1
    if classes < 255:
        prediction[target < classes] = classes
        with pytest.raises(DataError, match=f"must be class indices from 0 to {classes - 1}, but got {classes}"):
            matrices[0].update(target.astype(np.uint8), prediction.astype(np.uint8))
