from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.oxford_pets import recognize
from maskpencil.errors import DataError

SIZE = (16, 24)
TRIMAP = np.full(SIZE, 2, dtype=np.uint8)
TRIMAP[3:13, 4:20] = 3
TRIMAP[5:11, 6:18] = 1
EXPECTED = np.choose(TRIMAP - 1, [np.uint8(1), np.uint8(0), np.uint8(IGNORE_INDEX)])

TRAINVAL = ("Abyssinian_100", "Abyssinian_101", "american_bulldog_1", "beagle_116", "Bombay_7")
TEST = ("Abyssinian_201", "wheaten_terrier_12")


def data_set(*, lists: bool = True) -> dict[str, Any]:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    files: dict[str, Any] = {}
    for name in (*TRAINVAL, *TEST):
        files[f"images/{name}.jpg"] = noise
        files[f"annotations/trimaps/{name}.png"] = TRIMAP
        files[f"annotations/trimaps/._{name}.png"] = "left by macOS"
    if lists:
        files["annotations/list.txt"] = "#Image CLASS-ID SPECIES BREED ID\n" + "".join(
            f"{name} 1 1 1\n" for name in (*TRAINVAL, *TEST)
        )
        files["annotations/trainval.txt"] = "".join(f"{name} 1 1 1\n" for name in TRAINVAL)
        files["annotations/test.txt"] = "".join(f"{name} 1 1 1\n" for name in TEST)
    return files


def test_trimaps_are_pet_background_and_an_ignored_border(save_files) -> None:
    folder = open_folder(save_files(data_set()))
    folder.check_images()
    assert folder.classes.names == ("background", "pet")
    pairs = [pair for pairs in folder.splits.values() for pair in pairs]
    for pair in pairs:
        np.testing.assert_array_equal(folder.read_pair(pair)[1], EXPECTED)
    assert "the border around each pet is ignored" in folder.notes
    assert any(note.startswith("read as Oxford-IIIT Pets: 2 classes") for note in folder.notes)


def test_the_lists_are_the_splits(save_files) -> None:
    folder = open_folder(save_files(data_set()))
    assert {pair.name for split in ("train", "val") for pair in folder.pairs(split)} == {*TRAINVAL}
    assert [pair.name for pair in folder.pairs("test")] == [*TEST]
    assert len(folder.pairs("val")) == 1


def test_without_lists_one_in_five_is_set_aside(save_files) -> None:
    folder = open_folder(save_files(data_set(lists=False)))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 6, "val": 1}


def test_what_has_no_partner_is_named(save_files) -> None:
    files = data_set() | {"annotations/trainval.txt": "".join(f"{name} 1 1 1\n" for name in (*TRAINVAL, "gone_3"))}
    notes = open_folder(save_files(files)).notes
    warning = next(note for note in notes if note.startswith("warning"))
    assert warning == (
        "warning: 1 name in trainval.txt without an image or a trimap left out (gone_3); unpack images.tar.gz and "
        "annotations.tar.gz again"
    )
    files = {name: content for name, content in data_set(lists=False).items() if name != "images/Bombay_7.jpg"}
    other = save_files({f"../other/{name}": content for name, content in files.items()}).parent / "other"
    assert left_out(open_folder(other).notes, "masks without an image") == ["Bombay_7.png"]


def test_a_value_that_is_no_class_is_an_error(save_files) -> None:
    with pytest.raises(DataError, match=r"Bombay_7\.png: .*0"):
        open_folder(save_files(data_set() | {"annotations/trimaps/Bombay_7.png": np.zeros(SIZE, dtype=np.uint8)}))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    root = save_files({"images/1.jpg": np.zeros((*SIZE, 3), dtype=np.uint8), "annotations/trimaps/1.png": TRIMAP})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None


def test_pairs_that_no_list_names_are_noted(save_files) -> None:
    files = {name: content for name, content in data_set().items() if name != "annotations/test.txt"}
    notes = open_folder(save_files(files)).notes
    assert "2 pairs that no list names are left out (Abyssinian_201, wheaten_terrier_12)" in notes
