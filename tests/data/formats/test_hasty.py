import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out
from tests.mask_codes import hasty_code

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.hasty import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
BLOB = np.hypot(*(np.indices((15, 15)) - 7)) < 7


def label(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "class_name": name, "bbox": None, "polygon": None, "mask": None, "z_index": 1, **fields}


def image(name: str, *labels: Any, dataset: str = "default", **more: Any) -> dict[str, Any]:
    size = {"width": SIZE[1], "height": SIZE[0]}
    return {"image_name": name, "dataset_name": dataset, **size, "image_status": "DONE", "labels": list(labels), **more}


def content(*images: Any, **changed: Any) -> str:
    classes = [
        {"class_name": "cat", "color": "#1f78b44d", "class_type": "object"},
        {"class_name": "dog", "color": "#e31a1c4d", "class_type": "object"},
    ]
    head = {"project_name": "x", "create_date": "2019-10-22 19:04:16Z", "export_format_version": "1.1"}
    return json.dumps({**head, "label_classes": classes, "images": list(images), **changed})


CAT = label("cat", bbox=[10, 5, 20, 15], polygon=[[10, 5], [20, 5], [20, 15], [10, 15]])


@pytest.fixture
def open_with(save_files):
    def open_project(*labels: Any, **files: Any) -> DataFolder:
        text = content(image("a.png", *labels), image("b.png", *labels))
        folder = open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, "hasty.json": text, **files}))
        folder.check_images()
        return folder

    return open_project


def drawn(folder: DataFolder) -> npt.NDArray[np.uint8]:
    return folder.read_pair(folder.pairs("val")[0])[1]


def test_masks_polygons_and_boxes_are_drawn_by_z_index(open_with) -> None:
    mask = label("dog", bbox=[20, 6, 35, 21], mask=hasty_code(BLOB), z_index=3)
    box = label("cat", bbox=[0, 0, 40, 10], z_index=2)
    folder = open_with(mask, box, {**CAT, "z_index": -1})
    assert "read as Hasty: 3 classes (background, cat, dog)" in folder.notes
    assert folder.classes.palette == ((0, 0, 0), (0x1F, 0x78, 0xB4), (0xE3, 0x1A, 0x1C))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[:10, :40] = 1
    expected[6:21, 20:35][BLOB] = 2
    np.testing.assert_array_equal(drawn(folder), expected)


def test_masks_of_any_form_read_back(open_with) -> None:
    noise = np.random.default_rng(0).random((7, 9)) < 0.5
    for mask in (noise, np.ones((3, 4), dtype=bool), np.eye(5, dtype=bool)):
        height, width = mask.shape
        label_map = drawn(open_with(label("dog", bbox=[2, 3, 2 + width, 3 + height], mask=hasty_code(mask))))
        expected = np.zeros(SIZE, dtype=np.uint8)
        expected[3 : 3 + height, 2 : 2 + width] = mask * 2
        np.testing.assert_array_equal(label_map, expected)


def test_images_are_in_folders_named_as_the_data_sets(save_files) -> None:
    files = {f"{place}/a.png": IMAGE for place in ("first", "images/second")}
    text = content(image("a.png", CAT, dataset="first"), image("a.png", dataset="second"))
    folder = open_folder(save_files({**files, "x.json": text}))
    maps = {pair.image.parent.name: folder.read_pair(pair)[1].max() for s in folder.splits.values() for pair in s}
    assert maps == {"first": 1, "second": 0}


def test_what_nobody_has_annotated_is_left_out_with_a_warning(save_files) -> None:
    images = [image("a.png", CAT), image("b.png"), *(image(f"{s}.png", image_status=s) for s in ("NEW", "SKIPPED"))]
    files = {f"{name}.png": IMAGE for name in ("a", "b", "NEW", "SKIPPED")}
    notes = open_folder(save_files({**files, "x.json": content(*images)})).notes
    assert left_out(notes, "images with the status new or skipped")
    assert sorted(left_out(notes, "images without a mask")) == ["NEW.png", "SKIPPED.png"]


def test_labels_without_area_are_left_out_with_a_warning(open_with) -> None:
    flat, none = label("cat", polygon=[[1, 1], [5, 5], [9, 9]]), label("cat", bbox=[1, 1, 9, 9], mask=[])
    folder = open_with(flat, none, CAT)
    assert (drawn(folder) == 1).sum() == 100
    assert any(note.startswith("warning: 4 shapes without an area left out (hasty.json: ") for note in folder.notes)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (5, "label 1 is 5; expected an object"),
        ({**CAT, "class_name": None}, "'class_name' is None; expected a text"),
        ({**CAT, "z_index": "top"}, "'z_index' is 'top'; expected a number"),
        ({**CAT, "polygon": [[1, 2, 3]]}, "has the points [[1, 2, 3]]"),
        (label("cat", bbox=[1, 2, 3]), "'bbox' is [1, 2, 3]; expected 4 numbers"),
        (label("cat", bbox=[0, 0, 4, 4], mask=[1, 2, 3]), "'mask' is [1, 2, 3]; expected pairs of whole numbers"),
        (label("cat", bbox=[0, 0, 4, 4], mask=[0, 2]), "'mask' is [0, 2]; expected runs inside its box of 4 x 4"),
        (label("cat", bbox=[0, 0, 4, 4], mask=[16, 2]), "expected runs inside its box of 4 x 4 pixels"),
        (label("cat", bbox=[0, 0, 0, 4], mask=[1, 2]), "its box: has the height 4 and the width 0"),
        (label("cat", mask=[1, 2]), "has the points None"),
    ],
)
def test_a_label_that_cannot_be_is_an_error_that_names_it(open_with, entry: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_with(entry)
    assert re.search(r"2 annotations cannot be understood \(.*hasty\.json: image 'a\.png': label 1", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (content(image("a.png", CAT, width=5)), r"states 5 x 32 pixels, but a\.png is 48 x 32"),
        (content(image("a.png", CAT, height=None)), r"has the height None and the width 48"),
        (content(image("gone.png", CAT)), r"names 1 image \('gone\.png'\), but none of them .* download the images"),
        (content(label_classes=5), r"'label_classes' is 5; expected a list"),
        (content(images=5), r"'images' is 5; expected a list"),
    ],
)
def test_a_file_that_cannot_be_is_an_error(save_files, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, "hasty.json": text}))


def test_other_folders_are_left_to_other_rules(tiny_folder: Path, tmp_path: Path) -> None:
    for folder in (tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
