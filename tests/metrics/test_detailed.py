"""Compare every detailed score with an oracle that follows its definition pixel by pixel."""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.metrics import DetailedCounts, DetailedScores, boundary
from maskpencil.metrics.calibration import BINS
from maskpencil.metrics.intervals import ROUNDS, SEED
from maskpencil.metrics.objects import SIZES

Maps = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]
Point = tuple[int, int]

DATA_SETS = 500


def random_set(seed: int) -> tuple[int, list[Maps]]:
    """One to four images of 1x1 to 32x32 pixels with blocks of 1 to 30 classes, some absent, some ignored."""
    random = np.random.default_rng(seed)
    classes = int(random.integers(1, 31))
    present = random.choice(classes, size=int(random.integers(1, classes + 1)), replace=False)
    images = []
    for _ in range(int(random.integers(1, 5))):
        size = tuple(random.integers(1, 33, 2).tolist())
        block = int(random.integers(1, 12))
        target = blocks(random, size, [*present.tolist(), *([IGNORE_INDEX] * int(random.integers(0, 2)))], block)
        wrong = random.random(size) < random.choice([0, 0.05, 0.5])
        prediction = np.where(wrong, blocks(random, size, list(range(classes)), block), np.roll(target, 1, axis=1))
        prediction = np.where(prediction == IGNORE_INDEX, np.uint8(0), prediction).astype(np.uint8)
        images.append((target, prediction, random.random(size).astype(np.float32)))
    return classes, images


def blocks(random: np.random.Generator, size: Point, values: list[int], side: int) -> npt.NDArray[np.uint8]:
    coarse = random.choice(np.array(values, np.uint8), size=(size[0] // side + 1, size[1] // side + 1))
    return coarse.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]]


def scored(classes: int, images: list[Maps]) -> DetailedScores:
    counts = DetailedCounts(classes)
    for image in images:
        counts.update(*image)
    return counts.scores([f"c{k}" for k in range(classes)])


def neighbors(point: Point, size: Point) -> Iterator[Point]:
    y, x = point
    for other in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        if 0 <= other[0] < size[0] and 0 <= other[1] < size[1]:
            yield other


def boundary_of(label_map: npt.NDArray[np.uint8]) -> set[Point]:
    return {
        p
        for p in product(*map(range, label_map.shape))
        if label_map[p] != IGNORE_INDEX
        and any(label_map[q] not in (label_map[p], IGNORE_INDEX) for q in neighbors(p, label_map.shape))
    }


def boundaries_by_hand(classes: int, images: list[Maps]) -> list[tuple[float, float]]:
    """The boundary F1 and the Boundary IoU of each class, from the distances of all pixels to all boundary pixels."""
    counts = np.zeros((classes, 6))
    for target, predicted, _ in images:
        maps = target, np.where(target == IGNORE_INDEX, np.uint8(IGNORE_INDEX), predicted)
        pixels = np.array(list(product(*map(range, target.shape))))
        edges = [np.array(sorted(boundary_of(each)), np.int64).reshape(-1, 2) for each in maps]
        far = [np.linalg.norm(pixels[:, None] - edge[None], axis=2) for edge in edges]  # (pixels, boundary pixels)
        reach, width = (
            max(1, share * math.hypot(*target.shape)) + 1e-9 for share in (boundary.TOLERANCE, boundary.BAND)
        )
        flat = [each.ravel() for each in maps]
        bands = [(distances <= width).any(axis=1) for distances in far]
        for k in range(classes):
            own = [flat[i][edge[:, 0] * target.shape[1] + edge[:, 1]] == k for i, edge in enumerate(edges)]
            for i in (0, 1):
                rows = edges[i][own[i]] @ [target.shape[1], 1]
                counts[k, 2 * i] += len(rows)
                counts[k, 2 * i + 1] += (far[1 - i][rows][:, own[1 - i]] <= reach).any(axis=1).sum()
            inside = [band & (values == k) for band, values in zip(bands, flat, strict=True)]
            counts[k, 4] += (inside[0] & inside[1]).sum()
            counts[k, 5] += (inside[0] | inside[1]).sum()
    return [(f1_of(*row[:4]), row[4] / row[5] if row[5] else math.nan) for row in counts.tolist()]


def f1_of(edges: float, found: float, drawn: float, right: float) -> float:
    if not edges + drawn:
        return math.nan
    return 2 / (drawn / right + edges / found) if found and right else 0.0


def objects_by_hand(k: int, images: list[Maps]) -> dict[str, tuple[int, int, float]]:
    """The number, those found, and the accuracy of the objects of each size, by flood fill."""
    areas: list[tuple[int, int]] = []
    for target, prediction, _ in images:
        left = {p for p in product(*map(range, target.shape)) if target[p] == k}
        while left:
            queue, pixels = [left.pop()], []
            while queue:
                y, x = queue.pop()
                pixels.append((y, x))
                around = {(y + a, x + b) for a, b in product((-1, 0, 1), repeat=2)} & left
                left -= around
                queue += around
            areas.append((len(pixels), sum(prediction[p] == k for p in pixels)))
    limits = [*SIZES.values(), 10**9]
    result = {}
    for size, low, high in zip(SIZES, limits, limits[1:], strict=False):
        some = [pair for pair in areas if low <= pair[0] < high]
        accuracy = sum(hit for _, hit in some) / sum(area for area, _ in some) if some else math.nan
        result[size] = len(some), sum(2 * hit >= area for area, hit in some), accuracy
    return result


def number(value: float | None) -> float:
    return math.nan if value is None else value


@pytest.mark.parametrize("start", range(0, DATA_SETS, 25))
@pytest.mark.slow
def test_every_score_of_random_data_sets_is_that_of_the_definition(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if start % 2:  # distances as in images that are twenty times as large
        monkeypatch.setattr(boundary, "TOLERANCE", 0.15)
        monkeypatch.setattr(boundary, "BAND", 0.25)
        monkeypatch.setattr(boundary, "_NEAR", 2)
    for seed in range(start, start + 25):
        classes, images = random_set(seed)
        scores = scored(classes, images)
        boundaries = boundaries_by_hand(classes, images)
        for k, each in enumerate(scores.classes.values()):
            assert number(each.boundary_f1) == pytest.approx(boundaries[k][0], abs=1e-9, nan_ok=True), (seed, k)
            assert number(each.boundary_iou) == pytest.approx(boundaries[k][1], abs=1e-9, nan_ok=True), (seed, k)
            predicted = [(p == k) & (t != IGNORE_INDEX) for t, p, _ in images]
            count = sum(map(np.count_nonzero, predicted))
            hits = sum(np.count_nonzero(p & (t == k)) for p, (t, *_) in zip(predicted, images, strict=True))
            assert number(each.precision) == pytest.approx(hits / count if count else math.nan, abs=1e-9, nan_ok=True)
            for size, (objects, found, accuracy) in objects_by_hand(k, images).items():
                own = each.objects[size]
                assert (own.objects, own.found) == (objects, found), (seed, k, size)
                assert number(own.accuracy) == pytest.approx(accuracy, abs=1e-9, nan_ok=True), (seed, k, size)
        for name, values in zip(("mean_boundary_f1", "mean_boundary_iou"), zip(*boundaries, strict=True), strict=True):
            known = [v for v in values if not math.isnan(v)]
            mean = sum(known) / len(known) if known else math.nan
            assert getattr(scores, name) == pytest.approx(mean, abs=1e-9, nan_ok=True), (seed, name)
        sure = np.concatenate([c[t != IGNORE_INDEX] for t, _, c in images]).astype(np.float64)
        right = np.concatenate([(p == t)[t != IGNORE_INDEX] for t, p, _ in images])
        error, curve = 0.0, []
        for low in range(BINS):
            inside = (sure >= low / BINS) & ((sure < (low + 1) / BINS) | (low == BINS - 1))
            if inside.any():
                error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
                curve.append((sure[inside].mean(), right[inside].mean(), inside.sum()))
        if len(sure):
            assert scores.calibration_error == pytest.approx(error, abs=1e-9), seed
        else:
            assert scores.calibration_error is None
        assert np.array(scores.reliability) == pytest.approx(np.array(curve), abs=1e-9), seed


@pytest.mark.parametrize("videos", [False, True])
@pytest.mark.slow
def test_the_intervals_are_those_of_plain_resampling_with_the_same_seed(videos: bool) -> None:
    for data_set in range(5):
        random = np.random.default_rng(data_set)
        classes = int(random.integers(1, 8))
        images = [random_image(random, classes) for _ in range(int(random.integers(12, 17)))]
        groups = [str(i // 2 if videos else i) for i in range(len(images))]
        counts = DetailedCounts(classes)
        for image in images:
            counts.update(*image)
        scores = counts.scores([f"c{k}" for k in range(classes)], groups)
        draws = np.random.default_rng(SEED)
        names = list(dict.fromkeys(groups))
        sampled: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            chosen = [names[i] for i in draws.integers(0, len(names), len(names))]
            again = [image for name in chosen for image, group in zip(images, groups, strict=True) if group == name]
            for name, value in plain_scores(classes, again).items():
                sampled.setdefault(name, []).append(value)
        expected = {name: np.nanquantile(values, [0.025, 0.975]) for name, values in sampled.items()}
        for name in ("pixel_accuracy", "mean_iou", "mean_accuracy", "frequency_weighted_iou"):
            assert scores.intervals[name] == pytest.approx(expected[name], abs=1e-9), (data_set, name)
        for k in range(classes):
            own = scores.classes[f"c{k}"].intervals
            assert own["iou"] == pytest.approx(expected[f"iou {k}"], abs=1e-9), (data_set, k)
        assert scores.groups == len(names)


def random_image(random: np.random.Generator, classes: int) -> Maps:
    size = tuple(random.integers(4, 13, 2).tolist())
    target = random.integers(0, classes, size).astype(np.uint8)
    target[0, 0] = IGNORE_INDEX
    wrong = random.random(size) < random.random()
    return target, np.where(wrong, random.integers(0, classes, size), target % classes).astype(np.uint8), np.ones(size)


def plain_scores(classes: int, images: list[Maps]) -> dict[str, float]:
    target, prediction = (np.concatenate([image[i].ravel() for image in images]) for i in (0, 1))
    prediction, target = prediction[target != IGNORE_INDEX], target[target != IGNORE_INDEX]
    result, accuracies, shares = {"pixel_accuracy": float(np.mean(target == prediction))}, [], []
    for k in range(classes):
        both, either = np.sum((target == k) & (prediction == k)), np.sum((target == k) | (prediction == k))
        result[f"iou {k}"] = both / either if either else math.nan
        accuracies.append(both / np.sum(target == k) if np.any(target == k) else math.nan)
        shares.append(np.mean(target == k))
    ious = np.array([result[f"iou {k}"] for k in range(classes)])
    result["mean_iou"], result["mean_accuracy"] = float(np.nanmean(ious)), float(np.nanmean(accuracies))
    result["frequency_weighted_iou"] = float(np.nansum(ious * shares))
    return result


@pytest.mark.slow
def test_a_true_score_lies_in_the_interval_of_nine_to_ten_of_ten_samples() -> None:
    random = np.random.default_rng(0)
    population = [random_image(random, 3) for _ in range(2000)]
    truth = plain_scores(3, population)
    inside = dict.fromkeys(("mean_iou", "pixel_accuracy", "iou 1"), 0)
    for _ in range(100):
        counts = DetailedCounts(3)
        for i in random.integers(0, len(population), 60):
            counts.update(*population[i])
        scores = counts.scores(["c0", "c1", "c2"])
        found = {**scores.intervals, "iou 1": scores.classes["c1"].intervals["iou"]}
        for name in inside:
            inside[name] += found[name][0] <= truth[name] <= found[name][1]
    assert all(90 <= count <= 99 for count in inside.values()), inside
