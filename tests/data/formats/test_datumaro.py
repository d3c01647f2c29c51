import json
import math
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.datumaro import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
LABELS = ("background", "car", "road")
BLOB = np.hypot(*(np.indices(SIZE) - np.array([15, 20])[:, None, None])) < 8


def square(label: int, left: float, top: float, right: float, bottom: float, **more: Any) -> dict[str, Any]:
    points = [left, top, right, top, right, bottom, left, bottom]
    return {"id": 0, "type": "polygon", "attributes": {}, "group": 0, "label_id": label, "points": points, **more}


def rle(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's run lengths, down the columns, as numbers."""
    runs = [(bool(value), len(list(run))) for value, run in groupby(mask.T.ravel())]
    return {"counts": [0] * runs[0][0] + [length for _, length in runs], "size": list(mask.shape)}


def text_of(counts: list[int]) -> str:
    """COCO's compressed text, after maskApi.c: differences to the run before the last, 5 bits a character."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return text


def item(name: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "annotations": list(annotations), "image": {"path": f"{name}.png", "size": list(SIZE)}, **more}


def content(*items: dict[str, Any], labels: tuple[str, ...] = LABELS) -> str:
    entries = [{"name": label, "parent": "", "attributes": []} for label in labels]
    categories = {"label": {"label_groups": [], "labels": entries, "attributes": []}, "mask": {"colormap": []}}
    head = {"dm_format_version": "1.0", "media_type": 2, "info": {}, "categories": categories}
    return json.dumps({**head, "items": list(items)})


CAR = square(1, 10, 5, 20, 15)


@pytest.fixture
def files() -> dict[str, npt.ArrayLike]:
    return {
        "annotations/train.json": content(item("a", CAR), item("town/b"), item("c", square(2, 0, 0, 48, 9))),
        "annotations/val.json": content(item("a", square(2, 0, 0, 3, 3))),
        **{f"images/{name}.png": IMAGE for name in ("train/a", "train/town/b", "train/c", "val/a")},
    }


def drawn(save_files, *annotations: Any) -> npt.NDArray[np.uint8]:
    """The label map of an image with these annotations."""
    images = {f"images/default/{name}.png": IMAGE for name in "ab"}
    files = {"annotations/default.json": content(item("a", *annotations), item("b", *annotations))}
    folder = open_folder(save_files({**files, **images}))
    folder.check_images()
    return folder.read_pair(folder.pairs("val")[0])[1]


def test_subsets_are_the_splits_and_polygons_are_drawn(save_files, files) -> None:
    folder = open_folder(save_files(files))
    folder.check_images()
    assert "read as Datumaro: 3 classes (background, car, road)" in folder.notes
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "town/b", "c"],
        "val": ["a"],
    }
    maps = [folder.read_pair(pair)[1] for pair in folder.pairs("train")]
    expected = np.zeros((3, *SIZE), dtype=np.uint8)
    expected[0, 5:15, 10:20] = 1
    expected[2, :9] = 2
    np.testing.assert_array_equal(maps, expected)


def test_the_default_subset_has_no_split(save_files) -> None:
    images = {f"images/default/{name}.png": IMAGE for name in "abcde"}
    files = {"annotations/default.json": content(*map(item, "abcde"), labels=("car",))}
    folder = open_folder(save_files({**files, **images}))
    assert folder.classes.names == ("background", "car")
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 4, "val": 1}


@pytest.mark.parametrize("compressed", [False, True])
def test_masks_are_run_lengths_as_numbers_or_text(save_files, compressed: bool) -> None:
    runs = rle(BLOB)
    if compressed:
        runs["counts"] = text_of(runs["counts"])
    label_map = drawn(save_files, {"type": "mask", "label_id": 2, "rle": runs})
    np.testing.assert_array_equal(label_map, np.where(BLOB, 2, 0))


def test_z_order_says_what_lies_over_what(save_files) -> None:
    mask = {"type": "mask", "label_id": 2, "rle": rle(BLOB), "z_order": 1}
    label_map = drawn(save_files, mask, square(1, 0, 0, 48, 32), square(0, 0, 0, 48, 4))
    expected = np.ones(SIZE, dtype=np.uint8)
    expected[:4] = 0
    expected[BLOB] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_boxes_are_filled_unless_they_surround_a_shape_of_their_group(save_files) -> None:
    box = {"type": "bbox", "label_id": 2, "bbox": [30, 20, 10, 5], "group": 0}
    surrounding = {"type": "bbox", "label_id": 1, "bbox": [0, 0, 48, 32], "group": 7}
    label_map = drawn(save_files, surrounding, square(1, 10, 5, 20, 15, group=7), box)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[20:25, 30:40] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_boxes_and_ellipses_turn_about_their_middle(save_files) -> None:
    turned = {"type": "bbox", "label_id": 1, "bbox": [4, 14, 20, 4], "attributes": {"rotation": 90}}
    ellipse = {"type": "ellipse", "label_id": 2, "points": [28, 12, 48, 20], "attributes": {"rotation": 30.0}}
    label_map = drawn(save_files, turned, ellipse)
    rows, columns = np.indices(SIZE) + 0.5
    x, y, angle = columns - 38, rows - 16, math.radians(30)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    places = np.hypot(along / 10, across / 4)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[6:26, 12:16] = 1
    expected[places < 1] = 2
    clear = abs(places - 1) > 0.01  # the ellipse is a polygon
    np.testing.assert_array_equal(label_map[clear], expected[clear])


def test_the_notes_say_what_was_left_out(save_files, files) -> None:
    others = [
        {"type": "label", "label_id": 0},
        {"type": "polyline", "points": []},
        square(1, 0, 0, 5, 5, label_id=None),
    ]
    box = {"type": "bbox", "label_id": 2, "bbox": [30, 20, 10, 5]}
    files["annotations/val.json"] = content(item("a", *others, box), item("gone"))
    notes = open_folder(save_files({**files, "images/train/alone.png": IMAGE})).notes
    assert "1 boxes are drawn as filled rectangles" in notes
    assert "annotations that are not labeled areas left out: 1 label, 1 polygon without a label, 1 polyline" in notes
    assert left_out(notes, "images without a mask") == ["alone.png"]
    assert left_out(notes, "masks without an image") == ["gone"]


@pytest.mark.parametrize(
    "media",
    [
        {"image": {"path": "../tests/assets/images/train/a.png"}},
        {"image": {"path": "C:\\work\\images\\train\\a.png"}},
        {"image": {"path": ""}},
        {"image": None, "media": {"path": "train/a.png"}},
        {"image": None},
    ],
)
def test_images_are_found_by_the_end_of_their_path_or_by_the_id(save_files, files, media: dict[str, Any]) -> None:
    files["annotations/train.json"] = content(item("a", CAR) | media, item("c"))
    folder = open_folder(save_files(files))
    pair = next(pair for pair in folder.pairs("train") if pair.name == "a")
    assert pair.image.parts[-2:] == ("train", "a.png")
    assert (folder.read_pair(pair)[1] == 1).sum() == 100


def test_a_path_out_of_the_folder_is_refused(save_files, files, tmp_path: Path) -> None:
    save_files({"../secret/s.png": IMAGE})
    files["annotations/train.json"] = content(item("s") | {"image": {"path": "../../secret/s.png"}})
    with pytest.raises(DataError, match=r"train\.json: names the image '.*s\.png', which is outside"):
        open_folder(save_files(files))
    absolute = {"image": {"path": str(tmp_path / "secret" / "s.png")}}
    others = [item("s") | {"image": {"path": path}} for path in ("a" * 5000, "../\0", "../train.json/s.png")]
    for outside in (item("s") | absolute, item("../../secret/s") | {"image": None}, *others):
        files["annotations/train.json"] = content(outside, item("a"), item("c"))
        assert left_out(open_folder(save_files(files)).notes, "masks without an image") == ["s"]


def test_a_class_file_gives_the_order(save_files, files) -> None:
    files |= {
        f"annotations/{split}.json": content(item("a", square(1, 0, 0, 9, 9)), labels=("car", "road"))
        for split in ("train", "val")
    }
    folder = open_folder(save_files({**files, "classes.yaml": "names: [road, car]"}))
    assert folder.classes.names == ("road", "car")
    assert np.unique(folder.read_pair(folder.pairs("val")[0])[1]).tolist() == [0, IGNORE_INDEX]
    with pytest.raises(DataError, match=r"classes\.yaml: does not name 'tree'"):
        open_folder(save_files({"annotations/val.json": content(item("a"), labels=("tree",))}))


@pytest.fixture
def broken(save_files, files):
    """Open the data set with other annotations of the image a."""

    def open_broken(*annotations: Any) -> None:
        files["annotations/train.json"] = content(item("b"), item("a", *annotations))
        open_folder(save_files(files | {"images/train/b.png": IMAGE}))

    return open_broken


NUMBERS = "expected a list of numbers"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (5, "item 2: annotation 1 is 5; expected an object"),
        ({}, "item 2: annotation 1: 'type' is missing; expected a text"),
        ({**CAR, "points": None}, "item 2: annotation 1: has the points None"),
        ({**CAR, "points": [1, 2, 3]}, "'points' is [1, 2, 3]; expected at least 3 points"),
        ({**CAR, "points": [1, 2, 3, 4, 5, 6, 7]}, "expected at least 3 points"),
        ({**CAR, "points": [1, 2, 3, 4, 5, "6"]}, NUMBERS),
        ({**CAR, "points": [1, 2, 3, 4, 5, math.nan]}, "has a point at nan"),
        ({**CAR, "points": [1, 2, 3, 4, 5, 10**400]}, "has a point at"),
        ({**CAR, "points": [1, 2, 3, 4, 5, True]}, NUMBERS),
        ({**CAR, "points": {"x": 1}}, NUMBERS),
        ({**CAR, "label_id": 3}, "'label_id' is 3; expected the number of a label, 0 to 2"),
        ({**CAR, "label_id": -1}, "'label_id' is -1"),
        ({**CAR, "label_id": "car"}, "'label_id' is 'car'; expected a number"),
        ({**CAR, "label_id": 1.5}, "expected a whole number"),
        ({**CAR, "label_id": math.inf}, "'label_id' is inf"),
        ({**CAR, "z_order": "top"}, "'z_order' is 'top'"),
        ({**CAR, "group": []}, "'group' is []"),
        ({**CAR, "type": "bbox", "bbox": [1, 2, 3]}, "'bbox' is [1, 2, 3]; expected 4 numbers"),
        ({**CAR, "type": "bbox", "bbox": [1, 2, 3, 4], "attributes": {"rotation": "x"}}, "'rotation' is 'x'"),
        ({**CAR, "type": "bbox", "bbox": [1, 2, 3, 4], "attributes": 5}, "'attributes' is 5"),
        ({**CAR, "type": "ellipse"}, "expected 4 numbers"),
        ({**CAR, "type": "mask"}, "'rle' is missing"),
        ({**CAR, "type": "mask", "rle": {"counts": [1536], "size": [48, 32]}}, "expected [32, 48], the height and"),
        ({**CAR, "type": "mask", "rle": {"counts": [1], "size": [2**40, 2**40]}}, "has a point at"),
        ({**CAR, "type": "mask", "rle": {"counts": 5, "size": [32, 48]}}, "'counts' is 5; expected run lengths"),
        (
            {**CAR, "type": "mask", "rle": {"counts": [1535], "size": [32, 48]}},
            "annotation 1: rle: its run lengths add",
        ),
        ({**CAR, "type": "mask", "rle": {"counts": "\u00fc", "size": [32, 48]}}, "rle: its run-length text is damaged"),
        ({**CAR, "type": "mask", "rle": {"counts": [-1, 1537], "size": [32, 48]}}, "annotation 1: rle: "),
    ],
)
def test_an_annotation_that_cannot_be_is_an_error_that_names_it(broken, annotation: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"train\.json: item 2: annotation 1.*|{re.escape(message)}") as caught:
        broken(annotation)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"items": {}}, "'items' is {}; expected a list"),
        ({"items": [[]]}, "item 1 is []; expected an object"),
        ({"items": [{"id": 5, "annotations": []}]}, "item 1: 'id' is 5; expected a text"),
        ({"items": [{"id": "a"}]}, "item 1: 'annotations' is missing"),
        ({"items": [{"id": "a", "annotations": [], "image": 5}]}, "item 1: 'image' is 5"),
        ({"items": [{"id": "a", "annotations": [], "image": {"path": 5}}]}, "item 1: image: 'path' is 5"),
        ({"items": [item("a"), item("a")]}, "item 2: has the same image as item 1"),
        ({"categories": {"labels": []}}, "categories: 'label' is missing"),
        ({"categories": {"label": {"labels": 5}}}, "categories: label: 'labels' is 5; expected a list"),
        ({"categories": {"label": {"labels": [{"name": None}]}}}, "label 1: 'name' is None; expected a text"),
    ],
)
def test_a_file_that_cannot_be_is_an_error_that_names_the_entry(save_files, files, changed, message: str) -> None:
    files["annotations/train.json"] = json.dumps(json.loads(content(item("a"))) | changed)
    with pytest.raises(DataError, match=rf"train\.json: .*{re.escape(message)}"):
        open_folder(save_files(files))


def test_an_image_that_claims_too_many_pixels_is_refused(save_files, files) -> None:
    root = save_files(files)
    header = bytearray((root / "images/val/a.png").read_bytes())
    header[16:24] = (70000).to_bytes(4, "big") * 2
    (root / "images/val/a.png").write_bytes(header)
    with pytest.raises(DataError, match=r"a\.png"):
        open_folder(root)


def test_labels_of_ignored_pixels_are_ignored(save_files, files) -> None:
    labels = ("car", "__ignore__")
    files["annotations/train.json"] = content(item("a", square(1, 0, 0, 48, 32), square(0, 0, 0, 4, 4)), labels=labels)
    files["annotations/val.json"] = content(item("a"), labels=labels)
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("background", "car")
    assert np.unique(folder.read_pair(folder.pairs("train")[0])[1]).tolist() == [1, IGNORE_INDEX]


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    coco = {"images": [], "categories": [{"id": 1, "name": "labels"}, {"id": 2, "name": "items"}], "annotations": []}
    root = save_files({"annotations/instances.json": json.dumps(coco), "annotations/empty.json": ""})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
