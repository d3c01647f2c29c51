from hypothesis import given
from hypothesis import strategies as st

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet
from maskpencil.data.formats.base import with_distinct_colors
from maskpencil.known_classes import ADE20K, CITYSCAPES, voc_color
from maskpencil.label_maps import IGNORE_COLOR

few_colors = st.sampled_from([(0, 0, 0), (128, 0, 0), (9, 9, 9), IGNORE_COLOR])


@given(palette=st.lists(few_colors, min_size=1, max_size=20))
def test_colors_differ_and_the_first_of_each_is_kept(palette: list[tuple[int, int, int]]) -> None:
    classes = ClassSet(tuple(f"c{i}" for i in range(len(palette))), tuple(palette), 99)
    told = with_distinct_colors(classes)
    assert told.names == classes.names
    assert told.ignore_index == IGNORE_INDEX
    assert len({IGNORE_COLOR, *told.palette}) == len(palette) + 1
    for index, color in enumerate(palette):
        if color != IGNORE_COLOR and color not in palette[:index]:
            assert told.palette[index] == color


def test_there_are_colors_enough_for_the_most_classes() -> None:
    names = tuple(map(str, range(MAX_CLASSES)))
    for palette in ((voc_color(255),) * MAX_CLASSES, tuple(voc_color(i // 2) for i in range(MAX_CLASSES))):
        assert len({IGNORE_COLOR, *with_distinct_colors(ClassSet(names, palette)).palette}) == MAX_CLASSES + 1


def test_published_colors_stay_but_for_ade20ks_second_gray() -> None:
    assert with_distinct_colors(CITYSCAPES) == CITYSCAPES
    changed = [i for i, color in enumerate(with_distinct_colors(ADE20K).palette) if color != ADE20K.palette[i]]
    assert [ADE20K.names[i] for i in changed] == ["skyscraper"]
