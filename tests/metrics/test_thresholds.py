import json
import math
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX
from maskpencil.errors import DataError
from maskpencil.metrics import THRESHOLDS, RoadScores, ThresholdCounts

ROAD = 1
MEASURES = [field.name for field in fields(RoadScores)][:7]
Image = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]

levels = st.integers(0, 255).map(lambda level: np.float32(level) / np.float32(255))
beside = levels.map(lambda level: np.clip(np.nextafter(level, np.float32(0.5)), 0, 1))
probabilities = st.floats(0, 1, width=32) | levels | beside | st.sampled_from([0.2, 0.8]).map(np.float32)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Target with ignored pixels and probability, of few classes, so that the road or all else is absent at times."""
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    present = draw(st.lists(st.integers(0, 3), min_size=1, unique=True))
    target = draw(arrays(np.uint8, size, elements=st.sampled_from([*present, IGNORE_INDEX])))
    return target, draw(arrays(np.float32, size, elements=probabilities))


def score(*both: Image) -> RoadScores:
    counts = ThresholdCounts(ROAD)
    for target, probability in both:
        counts.update(target, probability)
    return counts.scores()


def by_hand(both: list[Image]) -> dict[str, float]:
    """The measures as their definitions word them: one threshold after the other, with boolean masks."""
    target = np.concatenate([target.ravel() for target, _ in both])
    probability = np.concatenate([probability.ravel() for _, probability in both])
    valid = target != IGNORE_INDEX
    is_road, is_other = valid & (target == ROAD), valid & (target != ROAD)
    if not is_road.any():
        return dict.fromkeys(MEASURES, math.nan)
    points = []
    for step in range(256):
        chosen = probability >= np.float32(step) / np.float32(255)
        tp, fp, fn = (int(mask.sum()) for mask in (is_road & chosen, is_other & chosen, is_road & ~chosen))
        f1 = 2 * tp / (2 * tp + fp + fn)
        points.append({"tp": tp, "fp": fp, "fn": fn, "f1": f1, "step": step})
    best = max(points, key=lambda point: (point["f1"], -point["step"]))
    greatest = []
    for tenths in range(11):
        enough = [p for p in points if p["tp"] and p["tp"] * 10 >= tenths * (p["tp"] + p["fn"])]
        greatest.append(max(p["tp"] / (p["tp"] + p["fp"]) for p in enough))
    return {
        "max_f1": best["f1"],
        "threshold": best["step"] / 255,
        "average_precision": sum(greatest) / 11,
        "precision": best["tp"] / (best["tp"] + best["fp"]),
        "recall": best["tp"] / int(is_road.sum()),
        "false_positive_rate": best["fp"] / int(is_other.sum()) if is_other.any() else math.nan,
        "false_negative_rate": best["fn"] / int(is_road.sum()),
    }


@given(st.lists(images(), min_size=1, max_size=4))
@pytest.mark.slow
def test_the_measures_are_those_counted_threshold_by_threshold(both: list[Image]) -> None:
    scores = score(*both)
    for name, value in by_hand(both).items():
        assert getattr(scores, name) == pytest.approx(value, nan_ok=True), name
    assert scores.images == len(both)
    assert scores.positives == sum(int((target == ROAD).sum()) for target, _ in both)
    assert scores.positives + scores.negatives == sum(int((target != IGNORE_INDEX).sum()) for target, _ in both)


def row(*values: float) -> npt.NDArray[np.float32]:
    return np.array([values], dtype=np.float32)


def classes(*values: int) -> npt.NDArray[np.uint8]:
    return np.array([values], dtype=np.uint8)


def test_a_separating_probability_scores_one_at_the_lowest_separating_threshold() -> None:
    scores = score((classes(0, 0, ROAD, ROAD), row(0.0, 0.25, 0.75, 1.0)))
    assert scores.max_f1 == scores.average_precision == scores.precision == scores.recall == 1
    assert scores.false_positive_rate == scores.false_negative_rate == 0
    assert scores.threshold == pytest.approx(64 / 255)  # 63 / 255 is below 0.25


def test_a_probability_equal_to_a_threshold_reaches_it() -> None:
    for level in range(256):
        counts = ThresholdCounts(ROAD)
        counts.update(classes(ROAD), np.array([[level]], dtype=np.float32) / 255)  # an 8-bit map, as people write it
        assert counts.counts[1].nonzero()[0].tolist() == [level]
        if level:
            counts.update(classes(ROAD), np.nextafter(THRESHOLDS[level], np.float32(0)).reshape(1, 1))
            assert counts.counts[1].nonzero()[0].tolist() == [level - 1, level]


def test_a_recall_equal_to_a_level_reaches_it() -> None:
    # 3 of 10 road pixels come before all others: the levels 0, 0.1, 0.2 and 0.3, whose nearest float is above 3 / 10
    scores = score((classes(*[ROAD] * 10, 0, 0), row(*[0.9] * 3, *[0.1] * 7, 0.5, 0.5)))
    assert scores.average_precision == pytest.approx((4 * 1 + 7 * 10 / 12) / 11)


def test_ignored_pixels_do_not_count_whatever_their_probability() -> None:
    for strange in (0.0, 1.0, math.nan, 7.0):
        scores = score((classes(0, ROAD, IGNORE_INDEX), row(0.1, 0.9, strange)))
        assert (scores.max_f1, scores.positives, scores.negatives) == (1, 1, 1)


def test_all_other_classes_are_negatives_alike() -> None:
    assert score((classes(0, 2, 3, ROAD), row(0.1, 0.2, 0.9, 0.8))) == score(
        (classes(0, 0, 0, ROAD), row(0.1, 0.2, 0.9, 0.8))
    )


def test_pixels_are_counted_over_the_set_and_not_averaged_over_images() -> None:
    small = (classes(ROAD, 0), row(0.1, 0.9))
    large = (classes(*[ROAD] * 50, *[0] * 50), row(*[0.8] * 50, *[0.2] * 50))
    scores = score(small, large)
    assert scores.max_f1 == pytest.approx(2 * 50 / (2 * 50 + 1 + 1))
    assert score(large, small) == scores


def test_without_a_pixel_of_the_class_all_measures_are_undefined() -> None:
    for target in (classes(0, 2), classes(IGNORE_INDEX, IGNORE_INDEX)):
        scores = score((target, row(0.0, 1.0)))
        assert all(math.isnan(getattr(scores, name)) for name in MEASURES)
        entries = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
        assert {entries[name] for name in MEASURES} == {None}
    assert all(math.isnan(getattr(ThresholdCounts(ROAD).scores(), name)) for name in MEASURES)


def test_with_pixels_of_the_class_only_the_false_positive_rate_is_undefined() -> None:
    scores = score((classes(ROAD, ROAD), row(0.0, 0.4)))
    assert math.isnan(scores.false_positive_rate)
    assert (scores.max_f1, scores.threshold, scores.average_precision, scores.recall) == (1, 0, 1, 1)


def test_a_probability_of_zero_everywhere_takes_every_pixel_at_threshold_zero() -> None:
    scores = score((classes(ROAD, 0, 0, 0), row(0, 0, 0, 0)))
    assert (scores.threshold, scores.recall, scores.false_positive_rate) == (0, 1, 1)
    assert scores.max_f1 == pytest.approx(2 / 5)
    assert scores.precision == scores.average_precision == 1 / 4


def test_the_dictionary_holds_plain_numbers_by_name() -> None:
    entries = json.loads(json.dumps(score((classes(0, ROAD), row(0, 1))).to_dict()))
    assert list(entries) == [field.name for field in fields(RoadScores)]
    assert entries == {
        "max_f1": 1,
        "threshold": pytest.approx(1 / 255),
        "average_precision": 1,
        "precision": 1,
        "recall": 1,
        "false_positive_rate": 0,
        "false_negative_rate": 0,
        "positives": 1,
        "negatives": 1,
        "images": 1,
    }


def test_counts_of_several_processes_add_up_and_do_not_overflow() -> None:
    one = ThresholdCounts(ROAD)
    one.update(classes(0, ROAD), row(0.2, 0.8))
    other = ThresholdCounts(ROAD)
    other.add(one.counts * 2**50, images=10**6)
    other.add(one.counts, images=one.images)
    assert other.counts.dtype == np.int64
    assert (other.scores().positives, other.scores().images) == (2**50 + 1, 10**6 + 1)
    assert other.scores().max_f1 == other.scores().average_precision == 1


def test_what_cannot_be_compared_is_refused() -> None:
    counts = ThresholdCounts(ROAD)
    with pytest.raises(DataError, match=r"equal shapes, but got \(1, 2\) and \(1, 3\)"):
        counts.update(classes(0, ROAD), row(0, 0, 0))
    for strange in (-0.5, 1.5, math.nan, math.inf):
        with pytest.raises(DataError, match=f"must be from 0 to 1, but got {strange}"):
            counts.update(classes(0, ROAD), row(0, strange))
    assert counts.counts.sum() == counts.images == 0
