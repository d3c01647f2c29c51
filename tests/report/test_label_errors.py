import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.report.label_errors import MAX_PER_IMAGE, OTHER_IMAGE, REGION, SHIFTED, LabelErrors, csv_rows

Labels = npt.NDArray[np.uint8]

SIZE = (120, 160)


def scene(seed: int) -> Labels:
    """A horizon at some height, and two boxes below it."""
    random = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, np.uint8)
    horizon = int(random.integers(40, 60))
    label_map[horizon:] = 1
    for k in (2, 3):
        y, x = random.integers(60, 90), random.integers(5, 125)
        label_map[y : y + 25, x : x + 25] = k
    return label_map


def errors(labels: dict[int, Labels], count: int = 40, confidence: float = 0.98) -> LabelErrors:
    """Predictions that are right, and labels that are, but for those of some images."""
    found = LabelErrors(4)
    for image in range(count):
        truth = scene(image)
        found.add(labels.get(image, truth), truth, np.full(SIZE, confidence, np.float32))
    return found


def test_right_labels_are_not_suspect() -> None:
    assert errors({}).ranked() == []


def test_a_region_of_another_class_is_suspect_with_its_box_and_both_classes() -> None:
    label_map = scene(7)
    label_map[100:112, 30:50] = 3
    truth = scene(7)[100:112, 30:50]
    suspects = errors({7: label_map}).ranked()
    first = suspects[0]
    assert (first.kind, first.image, first.label) == (REGION, 7, 3)
    assert first.would_be in truth
    x0, y0, x1, y1 = first.box
    assert 30 <= x0 < x1 <= 50
    assert 100 <= y0 < y1 <= 112


def test_a_deleted_object_is_suspect() -> None:
    label_map = scene(8)
    label_map[label_map == 2] = 1
    first, *_ = errors({8: label_map}).ranked()
    assert (first.kind, first.image, first.label, first.would_be) == (REGION, 8, 1, 2)


@pytest.mark.parametrize("shift", [(0, 3), (0, -3), (3, 0), (-3, 0), (2, 2)])
def test_a_shifted_mask_is_named_with_the_way_back(shift: tuple[int, int]) -> None:
    moved = np.roll(scene(5), shift, (0, 1))
    suspects = [suspect for suspect in errors({5: moved}).ranked() if suspect.kind != REGION]
    assert [(suspect.kind, suspect.image) for suspect in suspects] == [(SHIFTED, 5)]
    ways = {(0, 3): "3 pixels left", (0, -3): "3 pixels right", (3, 0): "3 pixels up", (-3, 0): "3 pixels down"}
    assert f"moved {ways.get(shift, '2 pixels left and 2 pixels up')}, " in suspects[0].remark


def test_the_mask_of_another_image_is_named() -> None:
    other = np.full(SIZE, 2, np.uint8)
    first, *_ = errors({9: other}).ranked()
    assert (first.kind, first.image, first.label, first.box) == (OTHER_IMAGE, 9, None, (0, 0, 160, 120))
    assert "of its pixels agree with the prediction, usual is 100%" in first.remark


def test_classes_that_the_network_often_confuses_are_less_suspect_than_those_it_never_does() -> None:
    found = LabelErrors(4)
    for image in range(40):
        truth = scene(image)
        prediction = truth.copy()
        prediction[70:110, 152:160] = 0  # the network calls this part of the road sky, in every image
        labels = truth.copy()
        if image == 11:
            labels[10:26, 100:120] = 3  # as large, and labeled so only here
        found.add(labels, prediction, np.full(SIZE, 0.98, np.float32))
    ranked = found.ranked()
    assert (ranked[0].image, ranked[0].label, ranked[0].would_be) == (11, 3, 0)


def test_ignored_pixels_and_empty_masks_are_not_suspect() -> None:
    void = np.full(SIZE, IGNORE_INDEX, np.uint8)
    part = scene(4)
    part[60:80] = IGNORE_INDEX
    assert errors({2: void, 4: part}).ranked() == []


def test_what_was_hardly_seen_is_not_rare() -> None:
    found = LabelErrors(150)
    for image in range(2):
        prediction = scene(image)
        prediction[100:112, 30:50] = 100 + image  # classes that no other image has
        found.add(scene(image), prediction, np.full(SIZE, 0.98, np.float32))
    assert found.ranked() == []


def test_a_large_image_is_searched_in_steps_and_its_boxes_are_in_its_pixels() -> None:
    found = LabelErrors(4)
    for image in range(20):
        truth = scene(image).repeat(8, axis=0).repeat(8, axis=1)  # 960 x 1280
        labels = truth.copy()
        if image == 7:
            labels[800:896, 240:400] = 3
        found.add(labels, truth, np.full(truth.shape, 0.98, np.float32))
    first = found.ranked()[0]
    x0, y0, x1, y1 = first.box
    assert (first.image, first.label) == (7, 3)
    assert 240 <= x0 < x1 <= 404
    assert 800 <= y0 < y1 <= 900


def test_few_images_have_no_usual_agreement() -> None:
    kinds = {suspect.kind for suspect in errors({1: np.full(SIZE, 2, np.uint8)}, count=4).ranked()}
    assert kinds <= {REGION}


def test_an_image_has_a_limited_number_of_regions() -> None:
    label_map = scene(6)
    for column in range(0, 150, 30):
        for row in (1, 21):
            label_map[row : row + 18, column : column + 18] = 3
    found = [suspect for suspect in errors({6: label_map}, count=200).ranked() if suspect.kind == REGION]
    assert len([suspect for suspect in found if suspect.image == 6]) == MAX_PER_IMAGE


def test_the_table_has_a_row_for_each_suspect() -> None:
    label_map = scene(8)
    label_map[label_map == 2] = 1
    found = errors({8: label_map, 9: np.full(SIZE, 2, np.uint8)}).ranked()
    rows = csv_rows(found, [f"=image {i}.png" for i in range(40)], ("sky", "road", "-box", "ball"))
    assert rows[0] == ["file", "kind", "class", "would be", "x0", "y0", "x1", "y1", "score", "remark"]
    assert rows[1][:8] == ["'=image 9.png", OTHER_IMAGE, "", "", "0", "0", "160", "120"]
    assert len(rows) == len(found) + 1
    (deleted,) = [row for row in rows if row[0] == "'=image 8.png"]
    assert deleted[1:4] == [REGION, "road", "'-box"]
    assert all(not cell.startswith(("=", "@", "+")) for row in rows for cell in row[:4] + row[9:])


def test_an_error_repeated_in_neighboring_frames_is_suspect_if_they_are_known_as_neighbors() -> None:
    labels = {image: scene(image) for image in range(10, 20)}
    for label_map in labels.values():
        label_map[label_map == 2] = 3
    found = errors(labels, count=60)
    neighbors = [list(range(max(0, image - 10), min(60, image + 11))) for image in range(60)]
    assert found.ranked() == []
    assert {suspect.image for suspect in found.ranked(neighbors)} == {*labels}
