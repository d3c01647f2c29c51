import numpy as np
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.known_classes import (
    ADE20K,
    CAMVID_11,
    CAMVID_31,
    CAMVID_32,
    CITYSCAPES,
    CITYSCAPES_LABELS,
    CITYSCAPES_TRAIN_IDS,
    KNOWN,
    VOC,
    voc_color,
)


def test_vocs_colors_are_those_of_the_development_kit() -> None:
    published = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert [voc_color(index) for index in range(7)] == published
    assert voc_color(20) == (0, 64, 128)
    assert voc_color(255) == (224, 224, 192)
    assert (VOC.names[15], VOC.palette[15]) == ("person", (192, 128, 128))


@pytest.mark.parametrize(
    ("classes", "count", "some"),
    [
        (
            CAMVID_11,
            11,
            {0: ("sky", (128, 128, 128)), 4: ("pavement", (60, 40, 222)), 10: ("bicyclist", (0, 128, 192))},
        ),
        (CAMVID_32, 32, {0: ("Animal", (64, 128, 64)), 17: ("Road", (128, 64, 128)), 30: ("Void", (0, 0, 0))}),
        (CAMVID_31, 31, {29: ("VegetationMisc", (192, 192, 0)), 30: ("Wall", (64, 192, 0))}),
        (CITYSCAPES, 19, {0: ("road", (128, 64, 128)), 18: ("bicycle", (119, 11, 32))}),
        (ADE20K, 150, {0: ("wall", (120, 120, 120)), 20: ("car", (0, 102, 200)), 149: ("flag", (92, 0, 255))}),
    ],
)
def test_classes_stand_in_their_published_order_and_colors(classes, count, some) -> None:
    assert len(classes) == count
    assert {index: (classes.names[index], classes.palette[index]) for index in some} == some


def test_the_train_ids_of_cityscapes_number_the_evaluated_labels_in_their_order() -> None:
    assert len(CITYSCAPES_LABELS) == 34
    assert set(CITYSCAPES_TRAIN_IDS) == {-1, *range(34)}
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert [CITYSCAPES_TRAIN_IDS[label] for label in evaluated] == list(range(19))
    assert {CITYSCAPES_TRAIN_IDS[label] for label in CITYSCAPES_TRAIN_IDS if label not in evaluated} == {IGNORE_INDEX}
    assert [CITYSCAPES_LABELS[label] for label in evaluated] == list(CITYSCAPES.names)


@pytest.mark.parametrize("classes", KNOWN.values(), ids=KNOWN)
def test_known_classes_are_recognized_by_their_colors(classes) -> None:
    assert len(np.unique(classes.colors, axis=0)) == len(classes)
