"""A file is never its own mask, whatever the user gives as the folders of images and masks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.data.layout import Places, find_layout
from maskpencil.errors import DataError

RANDOM = np.random.default_rng(3)
SaveFiles = Callable[[dict[str, Any]], Path]


def photo() -> npt.NDArray[np.uint8]:
    return RANDOM.integers(0, 255, (24, 32, 3), dtype=np.uint8)


def mask() -> npt.NDArray[np.uint8]:
    values = np.zeros((24, 32), dtype=np.uint8)
    values[RANDOM.integers(0, 12) :, RANDOM.integers(0, 16) :] = 1
    return values


def pairs_of(root: Path, places: Places) -> set[tuple[str, str, str]]:
    return {
        (split, pair.image.relative_to(root).as_posix(), pair.mask.relative_to(root).as_posix())
        for split, pairs in find_layout(root, places).splits.items()
        for pair in pairs
    }


@pytest.mark.parametrize("ending", [".png", "_mask.png", "_gt.jpg"])
@pytest.mark.parametrize("given", ["masks", "images", "both"])
def test_one_folder_is_given_for_images_and_masks(save_files: SaveFiles, ending: str, given: str) -> None:
    names = ["a1", "a2", "b10", "c3"]
    root = save_files({f"{n}.jpg": photo() for n in [*names, "alone"]} | {f"{n}{ending}": mask() for n in names})
    places = Places(
        images=root if given in ("images", "both") else None, masks=root if given in ("masks", "both") else None
    )
    assert {(image, mask) for _, image, mask in pairs_of(root, places)} == {(f"{n}.jpg", f"{n}{ending}") for n in names}
    (fault,) = find_layout(root, places).faults
    assert fault.line.startswith("warning: 1 image without a mask left out (alone.jpg); ")


def test_one_folder_is_given_beside_folders_with_usual_names(save_files: SaveFiles) -> None:
    files = {f"set/{n}.jpg": photo() for n in "abc"} | {f"set/{n}.png": mask() for n in "abc"}
    root = save_files(files | {f"images/{n}.jpg": photo() for n in "abc"})
    expected = {(f"{n}.jpg", f"{n}.png") for n in "abc"}
    assert {(image, mask) for _, image, mask in pairs_of(root / "set", Places(masks=root / "set"))} == expected


def test_one_name_is_given_for_the_folders_of_all_splits(save_files: SaveFiles) -> None:
    folders = ("train/data", "val/data")
    root = save_files(
        {f"{folder}/{n}.jpg": photo() for folder in folders for n in "abc"}
        | {f"{folder}/{n}_mask.png": mask() for folder in folders for n in "abc"}
    )
    assert pairs_of(root, Places(images=Path("data"), masks=Path("data"))) == {
        (folder.partition("/")[0], f"{folder}/{n}.jpg", f"{folder}/{n}_mask.png") for folder in folders for n in "abc"
    }


def test_files_that_cannot_be_told_apart_are_an_error(save_files: SaveFiles) -> None:
    root = save_files({f"{n}.jpg": photo() for n in "abc"})
    with pytest.raises(DataError, match="cannot be told apart; name the masks like their images"):
        find_layout(root, Places(images=root, masks=root))


@pytest.mark.parametrize("link", ["folder", "files"])
def test_links_to_the_images_are_no_masks(save_files: SaveFiles, link: str) -> None:
    root = save_files({f"images/{n}.jpg": photo() for n in "abc"})
    if link == "folder":
        (root / "masks").symlink_to(root / "images")
    else:
        (root / "masks").mkdir()
        for name in "abc":
            (root / "masks" / f"{name}.jpg").symlink_to(root / "images" / f"{name}.jpg")
    found = re.escape(f"{root / 'images' / 'a.jpg'}: is found both as an image and as its mask")
    with pytest.raises(DataError, match=found):
        find_layout(root)


def test_a_list_that_names_one_file_twice_is_an_error(save_files: SaveFiles) -> None:
    root = save_files({f"photos/{n}.jpg": photo() for n in "abc"} | {"train.txt": "photos/a.jpg photos/a.jpg\n"})
    with pytest.raises(DataError, match=r"train.txt: line 1 names .*a.jpg as an image and as its mask; name the mask"):
        find_layout(root)
