"""Data sets inside folders, and folders that are not used."""

import json
from typing import Any

import numpy as np
import pytest

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

SIZE = (24, 32)
MASKS = [np.zeros(SIZE, dtype=np.uint8) for _ in range(3)]
for number, mask in enumerate(MASKS):
    mask[4 + number : 12, 6 : 20 + number] = 1

Files = dict[str, Any]


def photo(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def photos(folder: str, count: int = 3) -> Files:
    return {f"{folder}/{number}.png": photo(number) for number in range(count)}


def masks(pattern: str) -> Files:
    return {pattern.format(number): mask for number, mask in enumerate(MASKS)}


def pairs(folder: str) -> Files:
    return photos(f"{folder}/images") | masks(f"{folder}/masks/{{}}.png")


def labelme(folder: str) -> Files:
    shape = {"label": "leaf", "points": [[3, 3], [20, 3], [20, 20]], "shape_type": "polygon"}
    size = {"imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    texts = {f"{folder}/{n}.json": json.dumps({"shapes": [shape], "imagePath": f"{n}.png", **size}) for n in range(3)}
    return photos(folder) | texts


def labelme2voc(folder: str) -> Files:
    names = {f"{folder}/class_names.txt": "_background_\nleaf\n"}
    return photos(f"{folder}/JPEGImages") | masks(f"{folder}/SegmentationClass/{{}}.png") | names


def notes(save_files, files: Files) -> list[str]:
    return [note for note in open_folder(save_files(files)).notes if note.startswith("not used")]


def test_a_folder_beside_the_data_set_whose_masks_have_other_names_is_named(save_files) -> None:
    others = {f"b/masks/gt-{name}.png": mask for name, mask in zip("xyz", MASKS, strict=True)}
    assert notes(save_files, pairs("a") | photos("b/images") | others) == ["not used: b/ (6 images)"]


def test_images_to_predict_in_a_folder_of_their_own_are_named(save_files) -> None:
    assert notes(save_files, pairs("train") | photos("test")) == ["not used: test/ (3 images)"]


def test_at_most_four_folders_are_named(save_files) -> None:
    (note,) = notes(save_files, pairs("train") | {f"more-{n}/x.png": photo(n) for n in range(5)})
    assert note == "not used: more-0/ (1 image), more-1/ (1 image), more-2/ (1 image), more-3/ (1 image), ..."


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"images/8.png": photo(8), "masks/9.png": MASKS[0]},  # warnings name them
        {f"overlays/{n}.txt": "no image" for n in range(3)},
        {f"eye/{n}.png": np.full(SIZE, 255, np.uint8) for n in range(3)},  # the same in every image, as a note says
        {f".cache/{n}.png": photo(n) for n in range(3)},
    ],
    ids=["nothing", "alone", "texts", "left out", "hidden"],
)
def test_what_is_used_hidden_or_named_elsewhere_is_not_named(save_files, more: Files) -> None:
    files = {name.removeprefix("x/"): content for name, content in pairs("x").items()}
    assert notes(save_files, files | more) == []


def test_folders_of_masks_by_class_are_used(save_files) -> None:
    whites = {f"masks/a/{n}.png": mask * 255 for n, mask in enumerate(MASKS)}
    whites |= {f"masks/b/{n}.png": np.roll(mask, 10, axis=0) * 255 for n, mask in enumerate(MASKS)}
    assert notes(save_files, photos("images") | whites) == []


def test_annotations_beside_pairs_are_not_used_in_silence(save_files) -> None:
    found = notes(save_files, labelme("sets/drawn") | pairs("sets/cells/part"))
    assert found == ["not used: sets/drawn/ (3 images)"]


def test_data_sets_without_a_common_reading_are_named_however_deep(save_files) -> None:
    root = save_files(labelme("sets/drawn") | pairs("sets/cells/train") | pairs("sets/leaves"))
    expected = (
        r"holds 3 data sets, sets/cells/ \(images and masks\), sets/drawn/ \(labelme\), sets/leaves/ \(images and "
        r"masks\); give the folder of a single data set: \S+/sets/cells$"
    )
    with pytest.raises(DataError, match=expected):
        open_folder(root)


def test_a_collection_is_no_data_set_even_if_some_files_have_equal_names(save_files) -> None:
    root = save_files(labelme("one") | labelme2voc("two/inside") | photos("rgb") | masks("gt/{}.png"))
    with pytest.raises(DataError, match=r"holds 2 data sets, one/ \(labelme\), two/ \(labelme2voc\); give the"):
        open_folder(root)
    assert open_folder(root / "two" / "inside").classes.names == ("_background_", "leaf")
