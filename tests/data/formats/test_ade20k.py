import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.errors import DataError
from maskpencil.known_classes import ADE20K

SIZE = (32, 48)
SPLITS = {"training": ("ADE_train_00000001", "ADE_train_00000002"), "validation": ("ADE_val_00000001",)}

Files = dict[str, npt.NDArray[np.uint8] | str]


def published(name: str) -> npt.NDArray[np.uint8]:
    """A mask as in the release: 0 is other, 1 is wall, 150 is flag."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[4:20] = int(name[-1])
    mask[20:, 10:30] = 150
    return mask


def release(below: str = "") -> Files:
    files: Files = {f"{below}sceneCategories.txt": "ADE_train_00000001 airport_terminal"}
    rows = "".join(f"{i}\t0\t1\t1\t{name}\n" for i, name in enumerate(ADE20K.names, start=1))
    files[f"{below}objectInfo150.txt"] = "Idx\tRatio\tTrain\tVal\tName\n" + rows
    for split, names in SPLITS.items():
        for name in names:
            files[f"{below}images/{split}/{name}.jpg"] = np.zeros((*SIZE, 3), dtype=np.uint8)
            files[f"{below}annotations/{split}/{name}.png"] = published(name)
    return files


@pytest.mark.parametrize("below", ["", "ADEChallengeData2016/"])
def test_the_release_is_read_with_its_150_classes_and_other_ignored(save_files, below: str) -> None:
    folder = open_folder(save_files(release(below)))
    assert folder.classes == ADE20K
    assert {split: tuple(pair.name for pair in pairs) for split, pairs in folder.splits.items()} == {
        "train": SPLITS["training"],
        "val": SPLITS["validation"],
    }
    assert "read as ADE20K: 150 classes (wall, building, sky, floor, tree, ceiling, ...)" in folder.notes
    for pair in (pair for pairs in folder.splits.values() for pair in pairs):
        expected = published(pair.name).astype(int) - 1
        expected[expected < 0] = IGNORE_INDEX
        np.testing.assert_array_equal(folder.read_pair(pair)[1], expected)


def test_a_number_that_is_no_class_is_an_error_that_names_the_file(save_files) -> None:
    files = release()
    files["annotations/training/ADE_train_00000002.png"][0, 0] = 151
    with pytest.raises(DataError, match=re.escape("ADE_train_00000002.png: holds the value 151, which has no meaning")):
        open_folder(save_files(files))


def test_files_without_a_partner_are_reported(save_files) -> None:
    root = save_files(release())
    (root / "annotations/training/ADE_train_00000002.png").unlink()
    assert left_out(open_folder(root).notes, "images without a mask") == ["ADE_train_00000002.jpg"]


def test_other_folders_in_this_form_are_left_to_the_general_rule(save_files, tiny_folder: Path) -> None:
    root = save_files({name.replace("ADE_", "room_"): content for name, content in release().items()})
    assert recognize(root) is None
    folder = open_folder(root)
    assert folder.classes.names == ("other", *ADE20K.names)  # by objectInfo150.txt
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], published("ADE_val_00000001"))
    assert recognize(tiny_folder) is None
    assert recognize(root / "nowhere") is None
