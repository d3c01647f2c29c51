import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.data.drawing import Drawing, RunLengths, counts_of_text
from maskpencil.errors import DataError

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
masks = sizes.flatmap(lambda size: arrays(np.bool_, size))


def encoded(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The runs of a mask, counted pixel by pixel."""
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    return counts


def as_text(counts: list[int]) -> str:
    """COCO's text: five bits a character, the lowest first, as differences from the fourth number on."""
    text = ""
    for place, count in enumerate(counts):
        number = count - (counts[place - 2] if place > 2 else 0)
        while True:
            low, number = number & 31, number >> 5
            if number == (-1 if low & 16 else 0):
                text += chr(48 + low)
                break
            text += chr(48 + (low | 32))
    return text


def drawn(shape: RunLengths, size: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> npt.NDArray[np.uint8]:
    return Drawing(tmp_path_factory.getbasetemp() / "a.json", "a", size, [shape]).draw()


@given(masks)
def test_runs_as_numbers_or_text_draw_the_mask_again(
    tmp_path_factory: pytest.TempPathFactory, mask: npt.NDArray[np.bool_]
) -> None:
    size, counts = (mask.shape[0], mask.shape[1]), encoded(mask)
    for form in (counts, as_text(counts)):
        shape = RunLengths.of(3, size, form)
        assert shape.area == mask.sum()
        np.testing.assert_array_equal(drawn(shape, size, tmp_path_factory), 3 * mask)


@given(st.lists(st.integers(0, 2**27), max_size=20))
def test_numbers_of_any_length_come_back_from_text(counts: list[int]) -> None:
    assert counts_of_text(as_text(counts)).tolist() == counts


def test_empty_runs_between_others_change_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = RunLengths.of(1, (3, 2), [0, 0, 1, 2, 0, 2, 0, 0, 1])
    np.testing.assert_array_equal(drawn(shape, (3, 2), tmp_path_factory), [[0, 1], [1, 1], [1, 0]])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2], r"add up to 3 pixels, but its size \[2, 3\] has 6"),
        ([1, 2, 4], "add up to 7 pixels"),
        ([], "add up to 0 pixels"),
        ([8, -2], "a run length is not between 0 and the 6 pixels"),
        ([10**30], "a run length is not between 0 and the 6 pixels"),
        ([1.0, 5], "not whole numbers"),
        ([True, 5], "not whole numbers"),
        ([[1], 5], "not whole numbers"),
        ("1 5", "damaged or cut short"),
        ("1é", "damaged or cut short"),
        ("5Q", "damaged or cut short"),  # "Q" says that more follows
        ("Q" * 9 + "1", "a number that is too large for any image"),
        ("O7", "a run length is negative"),
        ("", "add up to 0 pixels"),
    ],
)
def test_runs_that_cannot_be_are_refused(counts: list[int] | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RunLengths.of(0, (2, 3), counts)


def test_the_text_of_pycocotools_is_understood(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = "313021MO20O0O00041MO12MN00405011FO012ON01050L01021MO10O100OOO12O1030K000300000M0O10O110O50K000O"  # 2.0.11
    mask = np.random.default_rng(0).random((13, 17)) < 0.3
    np.testing.assert_array_equal(drawn(RunLengths.of(1, (13, 17), text), (13, 17), tmp_path_factory), mask)
