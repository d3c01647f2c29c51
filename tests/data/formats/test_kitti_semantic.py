from contextlib import suppress

import numpy as np
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import find_folder, open_folder
from maskpencil.data.formats.kitti_semantic import recognize
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES, CITYSCAPES_LABELS

IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)
MASK = np.repeat(np.array([[0, 2, 1]], dtype=np.uint8), 2, axis=1).repeat(4, axis=0)
NAMES = ("000000_10", "000001_10")
FILES = {f"{split}/{folder}/{name}.png": content for split in ("train", "val") for name in NAMES
         for folder, content in (("image_2", IMAGE), ("semantic", MASK))}  # fmt: skip
PLAIN = " background\n traffic light\n car\n"


def maps(root):
    data = open_folder(root)
    return data.classes, [data.read_pair(pair)[1] for pairs in data.splits.values() for pair in pairs]


def test_subsets_are_splits_and_label_colors_names_the_numbers(save_files) -> None:
    root = save_files(FILES | {"label_colors.txt": PLAIN})
    classes, found = maps(root)
    assert classes.names == ("background", "traffic light", "car")
    np.testing.assert_array_equal(found, [MASK] * 4)
    assert {split: len(pairs) for split, pairs in open_folder(root).splits.items()} == {"train": 2, "val": 2}


def test_the_labels_of_cityscapes_are_numbered_as_published(save_files) -> None:
    text = "".join(f"0 0 0 {name.replace(' ', '')}\n" for name in CITYSCAPES_LABELS)
    classes, found = maps(save_files(FILES | {"label_colors.txt": text}))
    assert classes == CITYSCAPES
    assert all((label_map == IGNORE_INDEX).all() for label_map in found)  # the ids 0 to 2 are not evaluated


def test_cityscapes_of_datumaro_has_the_classes_of_label_colors(save_files) -> None:
    files = {
        f"{folder}/{split}/x_{end}.png": content
        for split in ("train", "val")
        for folder, end, content in (("leftImg8bit", "leftImg8bit", IMAGE), ("gtFine", "gtFine_labelIds", MASK))
    }
    classes, found = maps(save_files(files | {"label_colors.txt": PLAIN}))
    assert classes.names == ("background", "traffic light", "car")
    np.testing.assert_array_equal(found, [MASK] * 2)


@pytest.mark.parametrize("text", ["0 0 0 background\ncar\n", "1 2 car\n", "0 0 300 car\n"])
def test_label_colors_with_some_colors_is_an_error_that_names_the_line(save_files, text: str) -> None:
    with pytest.raises(DataError, match=r"label_colors\.txt: line \d"):
        recognize(save_files(FILES | {"label_colors.txt": text}))


def test_only_a_folder_without_images_and_lists_beside_it_is_opened(save_files) -> None:
    root = save_files({f"kitti/{name}": content for name, content in FILES.items()} | {"README.md": "x"})
    assert find_folder(root).recognized.name == "KITTI semantics"
    for other in ("more/a.png", "a.png", "train.txt"):
        path = save_files({other: "x" if other.endswith("txt") else IMAGE}) / other
        with suppress(DataError):  # some of them can be read by the rules of every folder
            assert find_folder(root).recognized is None
        path.unlink()
        if path.parent != root:
            path.parent.rmdir()
    assert find_folder(root).recognized.name == "KITTI semantics"
