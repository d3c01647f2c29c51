from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.images import RGBImage
from maskpencil.label_maps import IGNORE_COLOR, LabelMap
from maskpencil.visualize import (
    BOUNDARY,
    INK,
    MAX_LEGEND_CLASSES,
    PAPER,
    boundaries,
    boxes,
    colorize,
    contact_sheet,
    grayscale,
    legend,
    overlay,
)
from maskpencil.visualize import with_legend as add_legend

CLASSES = ClassSet(("road", "car", "cloud"), ((10, 20, 30), (200, 0, 0), (255, 255, 255)))
MANY = ClassSet(tuple(f"class number {i}" for i in range(60)))


@dataclass(frozen=True)
class Thing:
    class_index: int
    number: int
    box: tuple[int, int, int, int]


images = arrays(np.uint8, (5, 4, 3))
label_maps = arrays(np.uint8, (5, 4), elements=st.sampled_from([0, 1, 2, IGNORE_INDEX]))


def swatches(strip: RGBImage, classes: ClassSet) -> set[int]:
    """The classes whose color stands in a legend."""
    packed = strip.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    return {i for i, (red, green, blue) in enumerate(classes.palette) if (red << 16 | green << 8 | blue) in packed}


def test_every_class_is_drawn_in_its_color() -> None:
    drawn = colorize(np.array([[0, 1], [2, IGNORE_INDEX]], dtype=np.uint8), CLASSES)
    assert drawn.tolist() == [[[10, 20, 30], [200, 0, 0]], [[255, 255, 255], list(IGNORE_COLOR)]]


@given(images, label_maps, st.floats(0, 1))
def test_an_overlay_mixes_image_and_color_in_their_shares(image: RGBImage, label_map: LabelMap, opacity: float) -> None:
    drawn = overlay(image, label_map, CLASSES, opacity=opacity)
    exact = (1 - opacity) * image + opacity * colorize(label_map, CLASSES)
    ignored = label_map == IGNORE_INDEX
    assert np.abs(drawn - exact)[~ignored].max(initial=0) <= 1
    np.testing.assert_array_equal(drawn[ignored], image[ignored])


def test_white_over_white_stays_white() -> None:
    white = np.full((2, 2, 3), 255, dtype=np.uint8)
    for opacity in np.linspace(0, 1, 101):
        assert (overlay(white, np.full((2, 2), 2, dtype=np.uint8), CLASSES, opacity=opacity) == 255).all()


def test_an_overlay_leaves_the_image_as_it_was() -> None:
    image = np.full((2, 2, 3), 100, dtype=np.uint8)
    overlay(image, np.ones((2, 2), dtype=np.uint8), CLASSES)
    assert (image == 100).all()


def test_a_box_frames_its_pixels_in_the_color_of_the_class_and_a_line_around() -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    drawn = boxes(gray, [Thing(1, 1, (100, 80, 220, 160))], CLASSES)
    frame = (drawn == CLASSES.palette[1]).all(axis=2)
    assert frame[80, 100:220].all()
    assert frame[159, 100:220].all()
    assert frame[80:160, 100].all()
    assert frame[80:160, 219].all()
    assert (drawn[160, 99:221] == PAPER).all()
    assert (drawn[85:155, 105:215] == 128).all()
    outside = np.ones(frame.shape, dtype=bool)
    outside[55:161, 99:221] = False  # with the tag above
    assert (drawn[outside] == 128).all()
    assert (gray == 128).all()


def test_a_tag_names_class_and_number_above_its_box() -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    first, second = (boxes(gray, [Thing(1, number, (100, 80, 220, 160))], CLASSES) for number in (1, 2))
    changed = (first != second).any(axis=2).nonzero()
    assert 60 < changed[0].min() <= changed[0].max() < 80
    assert 100 < changed[1].min() <= changed[1].max() < 160


def test_tags_are_written_in_what_can_be_read_on_their_color() -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    for index, ink in ((0, PAPER), (2, INK)):
        tag = boxes(gray, [Thing(index, 1, (100, 80, 220, 160))], CLASSES)[70:79, 100:140]
        assert np.abs(tag.astype(int) - ink).max(axis=2).min() < 40  # thin strokes are not quite ink


@pytest.mark.parametrize("box", [(0, 0, 300, 200), (0, 0, 40, 30), (260, 0, 300, 30), (260, 170, 300, 200)])
def test_a_tag_finds_room_within_the_image(box: tuple[int, int, int, int]) -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    drawn = boxes(gray, [Thing(1, 1, box)], CLASSES)
    x0, y0, x1, y1 = box
    drawn[max(0, y0 - 1) : y0 + 3] = drawn[y1 - 3 : y1 + 1] = 128
    drawn[:, max(0, x0 - 1) : x0 + 3] = drawn[:, x1 - 3 : x1 + 1] = 128
    assert (drawn == CLASSES.palette[1]).all(axis=2).sum() > 100, "a tag beside the frame"


def test_the_tag_of_a_larger_box_is_not_hidden_and_tiny_boxes_have_none() -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    large = Thing(1, 1, (100, 80, 220, 160))
    alone = boxes(gray, [large], CLASSES)
    tiny = [Thing(0, i, (100 + 5 * i, 70, 105 + 5 * i, 75)) for i in range(1, 9)]
    hidden = [Thing(0, 9, (110, 82, 150, 122))]
    for small in (tiny, hidden):
        drawn = boxes(gray, [*small, large], CLASSES)
        tag = alone[62:79, 100:140]
        kept = (drawn[62:79, 100:140] == tag).all(axis=2)
        assert kept[:7].all()
        assert (drawn == CLASSES.palette[0]).all(axis=2).any()


def test_specks_get_no_frame() -> None:
    gray = np.full((200, 300, 3), 128, dtype=np.uint8)
    specks = [Thing(0, i, (20 * i, 70, 20 * i + 4, 74)) for i in range(1, 9)]
    assert (boxes(gray, specks, CLASSES) == 128).all()
    thin = [Thing(0, i, (20 * i, 70, 20 * i + 2, 90)) for i in range(1, 9)]
    assert (boxes(gray, thin, CLASSES) == CLASSES.palette[0]).all(axis=2).sum() > 8 * 20


def test_a_legend_can_count() -> None:
    counted = legend(CLASSES, width=300, counts={1: 3})
    plain = legend(ClassSet(("road", "car (3)", "cloud"), CLASSES.palette), width=300)
    assert abs(counted.astype(int) - plain).max(axis=(0, 2))[:90].max() == 0
    assert counted.shape == plain.shape
    assert not np.array_equal(counted, legend(CLASSES, width=300))


def test_a_name_that_is_cut_keeps_its_count() -> None:
    long = ClassSet(("a name that nobody would want to read in a legend", "b"))
    strip = legend(long, width=120, counts={0: 12})
    assert (strip[:, -3:] == PAPER).all()
    assert not np.array_equal(strip, legend(long, width=120, counts={0: 13}))


@pytest.mark.parametrize("width", [20, 240, 1000, 4000])
def test_a_legend_is_as_wide_as_asked_and_shows_every_class(width: int) -> None:
    strip = legend(MANY, width=width)
    assert strip.shape[1:] == (width, 3)
    assert swatches(strip, MANY) == set(range(60))


def test_a_legend_shows_the_classes_chosen() -> None:
    assert swatches(legend(MANY, width=300, indices=[3, 7]), MANY) == {3, 7}


def test_a_legend_takes_more_rows_where_it_is_narrow() -> None:
    assert legend(CLASSES, width=60).shape[0] > legend(CLASSES, width=240).shape[0]


def test_a_name_wider_than_the_legend_ends_in_dots_within_it() -> None:
    long = ClassSet(("a name that nobody would want to read in a legend", "b"))
    strip = legend(long, width=120)
    assert (strip[:, -3:] == PAPER).all()
    assert swatches(strip, long) == {0, 1}


def test_a_name_that_the_font_cannot_write_is_written_in_letters_it_has() -> None:
    plain = ClassSet(("Fussganger", "velo", "class 2"))
    np.testing.assert_array_equal(
        legend(ClassSet(("Fußgänger", "vélo", "машина")), width=300), legend(plain, width=300)
    )


def test_an_image_keeps_its_pixels_above_its_legend() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 300, 3), dtype=np.uint8)
    sheet = add_legend(image, CLASSES)
    np.testing.assert_array_equal(sheet[:30], image)
    assert swatches(sheet[30:], CLASSES) == {0, 1, 2}


def test_a_narrow_image_is_centered_above_its_legend() -> None:
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    sheet = add_legend(image, CLASSES)
    assert sheet.shape[1] >= 200
    left = (sheet.shape[1] - 40) // 2
    np.testing.assert_array_equal(sheet[:30, left : left + 40], image)
    assert (sheet[:30, :left] == PAPER).all()


def test_of_many_classes_only_those_in_the_image_are_named() -> None:
    label_map = np.repeat(np.arange(20, 24, dtype=np.uint8), 50).reshape(10, 20)
    label_map[0] = IGNORE_INDEX
    image = np.full((10, 20, 3), PAPER, dtype=np.uint8)
    assert swatches(add_legend(image, MANY, label_map=label_map), MANY) == {20, 21, 22, 23}
    assert len(swatches(add_legend(image, MANY, label_map=np.arange(60, dtype=np.uint8)), MANY)) == MAX_LEGEND_CLASSES
    assert swatches(add_legend(image, MANY), MANY) == set(range(60))


def test_a_contact_sheet_scales_images_to_one_width_in_rows() -> None:
    red, green = (np.full((*size, 3), color, dtype=np.uint8) for size, color in (((20, 40), 90), ((80, 40), 160)))
    sheet = contact_sheet([[red, red], [green, red]], captions=("image", "target"), cell_width=80)
    rows = [(sheet == level).all(-1) for level in (90, 160)]
    assert rows[0].sum() == 3 * 80 * 40
    assert rows[1].sum() == 80 * 160
    assert tuple(sheet[0, 0]) == PAPER


def test_numbers_from_zero_to_one_become_gray_levels() -> None:
    levels = grayscale(np.array([[0.0, 0.5, 1.0], [-1.0, 2.0, 1 / 255]]))
    assert levels.dtype == np.uint8
    assert levels.tolist() == [[0, 128, 255], [0, 255, 1]]


def test_boundaries_of_the_target_are_white_those_of_the_prediction_over_them() -> None:
    image = np.full((3, 6, 3), 100, np.uint8)
    target = np.repeat([[0, 0, 1, 1, 1, 1]], 3, axis=0).astype(np.uint8)
    prediction = np.repeat([[0, 0, 0, 0, 1, 1]], 3, axis=0).astype(np.uint8)
    drawn = boundaries(image, target, prediction)
    assert drawn[:, 1].tolist() == [list(PAPER)] * 3
    assert drawn[:, 3].tolist() == [list(BOUNDARY)] * 3
    assert (drawn[:, [0, 2, 4, 5]] == 50).all()
    target[:, 2:4] = IGNORE_INDEX
    assert (boundaries(image, target, prediction) == 50).all()


def test_the_legend_can_name_pixels_without_class() -> None:
    bare, marked = (legend(CLASSES, width=300, indices=indices) for indices in ((0, 1), (0, 1, IGNORE_INDEX)))
    assert not (bare == IGNORE_COLOR).all(axis=2).any()
    assert (marked == IGNORE_COLOR).all(axis=2).any()
    label_map = np.array([[0] * 60 + [IGNORE_INDEX] * 9 + [7]], dtype=np.uint8)
    page = add_legend(np.zeros((1, 70, 3), np.uint8), MANY, indices=(0, 1, IGNORE_INDEX), label_map=label_map)
    np.testing.assert_array_equal(page[1:], legend(MANY, width=240, indices=(0, IGNORE_INDEX)))
