import numpy as np
import pytest

from maskpencil.metrics import counting
from maskpencil.metrics.counting import histogram, pair_counts
from maskpencil.metrics.objects import object_counts


@pytest.mark.parametrize("exact", [2**24, 30, 1])
@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535)])
def test_values_are_counted_as_numpy_counts_them(
    kind: type, most: int, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_EXACT", exact)  # the map is counted in parts
    random = np.random.default_rng(0)
    values = random.integers(0, most, (17, 20), kind, endpoint=True)
    chosen = random.random(values.shape) < 0.5
    for bins in (1, 11, most, most + 1):
        for counted in (None, chosen):
            kept = values if counted is None else values[counted]
            assert (
                histogram(values, bins, counted).tolist() == np.bincount(kept.ravel(), minlength=bins)[:bins].tolist()
            )


@pytest.mark.parametrize("bins", [2**16, 2**16 + 1])
def test_more_values_than_fit_in_two_bytes_are_counted(bins: int) -> None:
    values = np.arange(bins, dtype=np.int32).reshape(1, -1)
    assert (histogram(values, bins) == 1).all()
    assert histogram(values, bins, values % 2 == 0).sum() == (bins + 1) // 2


@pytest.mark.parametrize("exact", [2**24, 7])
def test_parts_of_maps_and_empty_maps_are_counted(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_EXACT", exact)
    values = np.random.default_rng(0).integers(0, 4, (8, 9), np.uint8)
    part = values[1:-1:2, ::-2]
    assert histogram(part, 4).tolist() == np.bincount(part.ravel(), minlength=4).tolist()
    assert pair_counts(part, part, 4).diagonal().tolist() == np.bincount(part.ravel(), minlength=4).tolist()
    for size in ((0, 5), (5, 0)):
        assert histogram(np.zeros(size, np.uint8), 3).tolist() == [0, 0, 0]


def test_an_image_with_more_objects_than_fit_in_two_bytes_is_counted() -> None:
    target = np.zeros((520, 520), np.uint8)
    target[::2, ::2] = 1  # 67,600 single pixels
    prediction = target.copy()
    prediction[:260] = 0
    counts = object_counts(target, prediction, 2)
    assert counts[1, 0].tolist() == [67600, 33800, 67600, 33800]
