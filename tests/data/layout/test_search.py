from pathlib import Path

import numpy as np
import pytest

from maskpencil.data.layout import find_layout
from maskpencil.data.layout.search import evenness
from maskpencil.errors import DataError

RANDOM = np.random.default_rng(0)


def photo() -> np.ndarray:
    return RANDOM.integers(0, 255, (24, 32, 3), dtype=np.uint8)


def mask() -> np.ndarray:
    values = np.zeros((24, 32), dtype=np.uint8)
    values[RANDOM.integers(0, 12) :, RANDOM.integers(0, 16) :] = 1
    return values


def pairs_of(root: Path) -> dict[str, dict[str, tuple[str, str]]]:
    return {
        split: {
            pair.name: (pair.image.relative_to(root).as_posix(), pair.mask.relative_to(root).as_posix())
            for pair in pairs
        }
        for split, pairs in find_layout(root).splits.items()
    }


def all_pairs(root: Path) -> set[tuple[str, str]]:
    return {files for pairs in pairs_of(root).values() for files in pairs.values()}


@pytest.mark.parametrize("addition", ["_mask", "_L", "-gt", "_labelIds", "_matte", " copy"])
def test_one_folder_with_masks_by_an_addition(save_files, addition: str) -> None:
    names = ["a1", "a2", "b10"]
    root = save_files({f"{n}.png": photo() for n in names} | {f"{n}{addition}.png": mask() for n in names})
    assert all_pairs(root) == {(f"{n}.png", f"{n}{addition}.png") for n in names}


def test_one_folder_with_masks_by_their_suffix(save_files) -> None:
    root = save_files({f"{n}.jpg": photo() for n in "abc"} | {f"{n}.png": mask() for n in "abc"})
    assert all_pairs(root) == {(f"{n}.jpg", f"{n}.png") for n in "abc"}
    layout = find_layout(root)
    assert "pictures and masks lie in one folder; a picture's mask has the suffix .png" in layout.notes


def test_one_folder_a_split_with_masks_beside_the_pictures(save_files) -> None:
    files = {}
    for split in ("train", "valid", "test"):
        files |= {f"{split}/{n}.jpg": photo() for n in "ab"} | {f"{split}/{n}_mask.png": mask() for n in "ab"}
    assert pairs_of(save_files(files)) == {
        split: {n: (f"{folder}/{n}.jpg", f"{folder}/{n}_mask.png") for n in "ab"}
        for split, folder in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def test_folders_whose_names_say_nothing_are_told_by_their_files(save_files) -> None:
    root = save_files({f"one/{n}.png": mask() for n in "abc"} | {f"two/{n}.png": photo() for n in "abc"})
    assert all_pairs(root) == {(f"two/{n}.png", f"one/{n}.png") for n in "abc"}
    assert "pictures are in two/, masks in one/" in find_layout(root).notes


def test_folders_that_are_called_after_a_split_among_other_words(save_files) -> None:
    files = {}
    for split in ("train", "test"):
        files |= {f"images_prepped_{split}/{n}.png": photo() for n in "ab"}
        files |= {f"annotations_prepped_{split}/{n}.png": mask() for n in "ab"}
    pairs = pairs_of(save_files(files))
    assert pairs["test"] == {n: (f"images_prepped_test/{n}.png", f"annotations_prepped_test/{n}.png") for n in "ab"}
    assert set(pairs) == {"train", "val", "test"}  # one of train's was set aside


def test_trees_with_the_same_folders_inside(save_files) -> None:
    names = ["train/x/1", "train/y/1", "val/x/2"]
    root = save_files({f"pics/{n}.jpg": photo() for n in names} | {f"groundtruth/{n}_gt.png": mask() for n in names})
    assert pairs_of(root) == {
        "train": {n: (f"pics/train/{n}.jpg", f"groundtruth/train/{n}_gt.png") for n in ("x/1", "y/1")},
        "val": {"x/2": ("pics/val/x/2.jpg", "groundtruth/val/x/2_gt.png")},
    }


def test_data_one_folder_further_down(save_files) -> None:
    root = save_files({f"set/images/{n}.jpg": photo() for n in "ab"} | {f"set/labels/{n}.png": mask() for n in "ab"})
    assert all_pairs(root) == {(f"set/images/{n}.jpg", f"set/labels/{n}.png") for n in "ab"}


def test_several_sets_beside_each_other(save_files) -> None:
    files = {}
    for place in ("north", "south"):
        files |= {f"{place}/{n}.jpg": photo() for n in "ab"} | {f"{place}/{n}.png": mask() for n in "ab"}
    assert all_pairs(save_files(files)) == {
        (f"{place}/{n}.jpg", f"{place}/{n}.png") for place in ("north", "south") for n in "ab"
    }


def test_one_of_several_annotators_is_taken(save_files) -> None:
    root = save_files(
        {f"scans/{n}.jpg": photo() for n in "abc"}
        | {f"{who}_masks/{n}.png": mask() for who in ("anna", "ben") for n in "abc"}
    )
    assert all_pairs(root) == {(f"scans/{n}.jpg", f"anna_masks/{n}.png") for n in "abc"}
    assert "ben_masks hold masks of the same pictures and are left out" in find_layout(root).notes


def test_two_folders_of_photographs_are_an_error(save_files) -> None:
    root = save_files({f"{folder}/{n}.png": photo() for folder in ("left", "right") for n in "ab"})
    with pytest.raises(DataError, match=r"left and right hold files of the same names, but neither looks like masks"):
        find_layout(root)


def test_masks_are_more_even_than_photographs(save_files) -> None:
    root = save_files({"photo.png": photo(), "mask.png": mask(), "broken.png": "no picture"})
    assert evenness([root / "photo.png"]) < 0.05
    assert evenness([root / "mask.png"]) > 0.8
    assert evenness([root / "broken.png"]) == 0
