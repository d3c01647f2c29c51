import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.coco_panoptic import read_ids
from maskpencil.errors import DataError, ImageError

SIZE = (12, 16)
IMAGE = np.full((*SIZE, 3), 80, dtype=np.uint8)
CATEGORIES = [{"id": 90, "name": "floor", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}]
FLOOR, CAT, OTHER_CAT = 70_000, 255, 2**24 - 2


def colored(ids: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


def ids() -> npt.NDArray[np.int64]:
    """A floor, two cats on it, and a column of no segment."""
    numbers = np.full(SIZE, FLOOR)
    numbers[2:6, 1:5], numbers[4:9, 8:12], numbers[:, -1] = CAT, OTHER_CAT, 0
    return numbers


EXPECTED = np.where(ids() == 0, IGNORE_INDEX, np.where(ids() == FLOOR, 1, 0))
SEGMENTS = [{"id": FLOOR, "category_id": 90}, {"id": CAT, "category_id": 3}, {"id": OTHER_CAT, "category_id": 3}]


def panoptic(*names: str, segments: Any = SEGMENTS, categories: Any = CATEGORIES, **more: Any) -> str:
    images = [{"id": n, "file_name": f"{name}.jpg", "height": 12, "width": 16} for n, name in enumerate(names)]
    annotations = [
        {"image_id": n, "file_name": f"{name}.png", "segments_info": segments} for n, name in enumerate(names)
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories} | more)


def files(annotations: str, masks: str, images: str, *names: str, **more: Any) -> dict[str, Any]:
    content = {annotations: panoptic(*names, **more)}
    content |= {masks.format(name): colored(ids()) for name in names}
    return content | {images.format(name): IMAGE for name in names}


def read(root: Path) -> dict[str, npt.NDArray[np.uint8]]:
    folder = open_folder(root)
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


@pytest.mark.parametrize(
    ("annotations", "masks", "images"),
    [
        ("annotations/panoptic_train2017.json", "annotations/panoptic_train2017/{}.png", "train2017/{}.jpg"),
        ("panoptic_train.json", "panoptic_train/{}.png", "images/{}.jpg"),
        ("panoptic/panoptic_2018.json", "panoptic/{}.png", "images/{}.jpg"),
        ("training/panoptic/panoptic_2018.json", "training/panoptic/{}.png", "training/images/{}.jpg"),
        ("training/v2.0/panoptic/panoptic_2020.json", "training/v2.0/panoptic/{}.png", "training/images/{}.jpg"),
        ("labels/pan.json", "labels/panoptic_masks/{}.png", "photos/{}.jpg"),
    ],
)
def test_segments_have_the_classes_of_their_categories(annotations: str, masks: str, images: str, save_files) -> None:
    root = save_files(files(annotations, masks, images, "a", "b"))
    folder = open_folder(root)
    assert folder.classes.names == ("cat", "floor")
    for name, label_map in read(root).items():
        assert name in ("a", "b")
        np.testing.assert_array_equal(label_map, EXPECTED)


def test_splits_have_files_of_their_own_and_images_without_an_annotation_are_left_out(save_files) -> None:
    both: dict[str, Any] = {}
    for split in ("train", "val"):
        both |= files(f"annotations/panoptic_{split}.json", f"annotations/panoptic_{split}/{{}}.png",
                      f"images/{split}/{{}}.jpg", f"{split}1", f"{split}2")  # fmt: skip
    folder = open_folder(save_files({**both, "images/train/alone.jpg": IMAGE}))
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["train1", "train2"],
        "val": ["val1", "val2"],
    }
    assert left_out(folder.notes, "images without a mask") == ["alone.jpg"]


@settings(max_examples=25)
@given(arrays(np.int64, SIZE, elements=st.integers(0, 2**24 - 1)))
def test_ids_are_red_and_256_green_and_65536_blue(tmp_path_factory: pytest.TempPathFactory, numbers: Any) -> None:
    path = tmp_path_factory.mktemp("ids") / "a.png"
    Image.fromarray(colored(numbers)).save(path)
    np.testing.assert_array_equal(read_ids(path), numbers)
    Image.fromarray(np.dstack([colored(numbers), np.full(SIZE, 255, np.uint8)])).save(path)
    np.testing.assert_array_equal(read_ids(path), numbers)
    for kind, limit in ((np.uint8, 256), (np.uint16, 65536)):
        Image.fromarray((numbers % limit).astype(kind)).save(path)
        np.testing.assert_array_equal(read_ids(path), numbers % limit)


def test_a_segment_that_is_not_listed_and_a_transparent_png_are_errors(save_files) -> None:
    root = save_files(files("panoptic.json", "panoptic/{}.png", "images/{}.jpg", "a", "b", segments=SEGMENTS[:2]))
    with pytest.raises(ImageError, match=r"\w\.png: holds the segment 16777214, which segments_info of panoptic\.json"):
        open_folder(root)
    for name in "ab":
        Image.fromarray(np.dstack([colored(ids()), np.eye(*SIZE, dtype=np.uint8)])).save(root / f"panoptic/{name}.png")
    with pytest.raises(ImageError, match="is partly transparent"):
        open_folder(root)


def test_a_png_of_another_size_than_its_image_is_an_error(save_files) -> None:
    root = save_files(files("panoptic.json", "panoptic/{}.png", "images/{}.jpg", "a", "b"))
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(root / "panoptic" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is 8 x 6 pixels, but its image a\.jpg is 16 x 12"):
        open_folder(root).check_images()


def test_what_is_missing_or_not_understood_is_named(save_files) -> None:
    root = save_files(files("panoptic.json", "panoptic/{}.png", "images/{}.jpg", "a", "b", "c", "d", "e"))
    (root / "panoptic" / "c.png").unlink()
    (root / "images" / "d.jpg").unlink()
    folder = open_folder(root)
    assert set(read(root)) == {"a", "b", "e"}
    assert left_out(folder.notes, "masks without an image") == ["c.png", "d.png"]
    content = json.loads((root / "panoptic.json").read_text())
    content["annotations"][0]["segments_info"] = [{"id": 1, "category_id": 4}]
    content["annotations"][1]["segments_info"] = [{"id": "x", "category_id": 3}]
    content["annotations"][4]["image_id"] = 99
    (root / "panoptic.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"segment 1: 'category_id' is 4; .*segment 'x': 'id' is 'x'"):
        open_folder(root)


def test_no_png_is_taken_for_the_image_of_its_name(save_files) -> None:
    root = save_files(files("panoptic.json", "panoptic/{}.png", "images/{}.jpg", "a", "b"))
    for name in "ab":
        (root / "images" / f"{name}.jpg").unlink()
    with pytest.raises(DataError, match="lists 2 masks, 0 of them without their PNG, but none of their images"):
        open_folder(root)


def test_colors_of_the_categories_are_those_of_the_classes(save_files) -> None:
    categories = [{**CATEGORIES[0], "color": [1, 2, 3]}, {**CATEGORIES[1], "color": [4, 5, 6]}]
    root = save_files(files("panoptic.json", "panoptic/{}.png", "images/{}.jpg", "a", "b", categories=categories))
    assert open_folder(root).classes.palette == ((4, 5, 6), (1, 2, 3))
    (root / "classes.yaml").write_text("names: [floor, dog, cat]")
    assert set(np.unique(read(root)["a"])) == {0, 2, IGNORE_INDEX}


def test_instances_beside_panoptic_masks_are_read_and_that_is_said(save_files) -> None:
    box = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    root = save_files(
        files("annotations/panoptic_train.json", "annotations/panoptic_train/{}.png", "train/{}.jpg", "a", "b")
    )
    instances = json.loads(panoptic("a", "b")) | {"annotations": [box]}
    save_files({"annotations/instances_train.json": json.dumps(instances)})
    folder = open_folder(root)
    assert folder.classes.names == ("background", "cat", "floor")
    assert "panoptic_train.json is not read; to read it, move instances_train.json elsewhere" in "".join(folder.notes)
    (root / "annotations" / "instances_train.json").rename(root.parent / "instances_train.json")
    assert "read as COCO panoptic" in "".join(open_folder(root).notes)
