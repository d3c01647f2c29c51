import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskpencil.data.folder import open_folder
from maskpencil.data.formats import coco, labelme
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.layout import ANYWHERE, Places
from maskpencil.errors import DataError
from maskpencil.files import cache_folder

SIZE = (32, 48)
IMAGE = np.full((*SIZE, 3), 50, dtype=np.uint8)


def instances(*names: str, numbers: Any = None) -> str:
    """The image at place n has n + 1 pixels of its object."""
    images = [{"id": n, "file_name": name, "height": 32, "width": 48} for n, name in enumerate(names)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[0, 0, number, 0, number, 1, 0, 1]]}
        for n, number in enumerate(numbers or range(1, len(names) + 1))
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]})


def sums(root: Path, places: Places = ANYWHERE) -> dict[str, int]:
    folder = open_folder(root, places=places)
    return {
        pair.image.name: int((folder.read_pair(pair)[1] == 1).sum())
        for pairs in folder.splits.values()
        for pair in pairs
    }


@pytest.mark.parametrize(
    ("named", "file"),
    [
        ("IMG_{}.JPG", "images/img_{}.jpg"),
        ("img_{}.jpg", "Images/IMG_{}.JPG"),
        ("{}.bmp", "images/{}.png"),
        ("my%20photo%20{}.png", "my photo {}.png"),
        ("a/b/{}.png", "other/{}.png"),
        ("images/0a1b2c3d-{}.png", "photos/{}.png"),
        ("photos/{}.png", "0a1b2c3d-{}.jpg"),
        ("C:\\Users\\anna\\{}.PNG", "set/{}.png"),
    ],
)
def test_images_are_found_under_names_that_differ_as_tools_change_them(named: str, file: str, save_files) -> None:
    numbers = (1, 2, 3)
    files = {"coco.json": instances(*(named.format(n) for n in numbers))} | {file.format(n): IMAGE for n in numbers}
    root = save_files(files)
    assert sums(root) == {Path(file.format(n)).name: n for n in numbers}
    told = "3 images have other names than in the annotations" in "".join(open_folder(root).notes)
    assert told == (Path(named).name.split("\\")[-1] != Path(file).name)


def test_an_image_that_may_be_one_of_two_is_not_taken(save_files) -> None:
    files = {f"{place}/{n}.png": IMAGE for place in ("one", "two") for n in (1, 2)} | {"3.png": IMAGE, "4.png": IMAGE}
    root = save_files({**files, "coco.json": instances("x/1.jpg", "two/2.jpg", "3.png", "4.png")})
    assert set(sums(root)) == {"2.png", "3.png", "4.png"}
    search = ImageSearch(root)
    assert search.find("x/1.jpg", [root], source=root / "coco.json") is None
    assert search.find("two/2.jpg", [root], source=root / "coco.json") == root / "two" / "2.png"


def test_an_image_of_another_split_is_not_taken(save_files) -> None:
    files = {f"val/{name}.png": IMAGE for name in ("1", "2")} | {"train/3.png": IMAGE, "train/4.png": IMAGE}
    save_files({"annotations/instances_train.json": instances("1.png", "3.png", "4.png"), **files})
    root = save_files({"annotations/instances_val.json": instances("1.png", "2.png", numbers=(7, 8))})
    folder = open_folder(root)
    assert {split: sorted(pair.image.name for pair in pairs) for split, pairs in folder.splits.items()} == {
        "train": ["3.png", "4.png"],
        "val": ["1.png", "2.png"],
    }
    assert "1 mask without an image left out (1.png)" in "".join(folder.notes)


@pytest.mark.parametrize("count", [5, coco.MOST_FILES + 8])
def test_each_image_may_have_a_json_of_its_own(count: int, save_files) -> None:
    names = [f"test_{n}" for n in range(count)]  # which name no split
    files = {f"labels/{name}.json": instances(f"{name}.png", numbers=(n + 1,)) for n, name in enumerate(names)}
    root = save_files(files | {f"images/{name}.png": IMAGE for name in names})
    assert sums(root) == {f"{name}.png": n + 1 for n, name in enumerate(names)}
    assert set(open_folder(root).splits) == {"train", "val"}


def test_files_of_images_may_lie_in_folders_of_splits(save_files) -> None:
    files = {
        f"annotations/{split}/{split}_{n}.json": instances(f"{split}_{n}.png", numbers=(n,))
        for split in ("train", "val")
        for n in range(1, 7)
    }
    images = {f"images/{split}/{split}_{n}.png": IMAGE for split in ("train", "val") for n in range(1, 7)}
    folder = open_folder(save_files(files | images))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 6, "val": 6}
    for pairs in folder.splits.values():
        for pair in pairs:
            assert folder.read_pair(pair)[1].sum() == int(pair.name[-1])


@pytest.mark.parametrize(
    "ids",
    [("1", 1), (1, "1"), (1.0, 1), ("1", 1.0), ("0001", 1), (1, "0001"), ("x", "x"), (7, "1.png"), (7, "1")],
)
def test_ids_that_differ_in_their_form_are_one(ids: tuple[Any, Any], save_files) -> None:
    of_image, of_annotation = ids
    content = json.loads(instances("1.png", "2.png"))
    content["images"][0]["id"] = of_image
    content["images"][1]["id"] = "other"
    content["annotations"] = [content["annotations"][0] | {"image_id": of_annotation, "category_id": "1"}]
    root = save_files({"coco.json": json.dumps(content), "1.png": IMAGE, "2.png": IMAGE})
    assert sums(root) == {"1.png": 1, "2.png": 0}


@pytest.mark.parametrize("form", ["flat", "pairs", "runs"])
def test_outlines_in_other_forms_are_read(form: str, save_files) -> None:
    runs = {"size": list(SIZE), "counts": [0, 1, SIZE[0] * SIZE[1] - 1]}
    outline = {"flat": [0, 0, 1, 0, 1, 1, 0, 1], "pairs": [[[0, 0], [1, 0], [1, 1], [0, 1]]], "runs": [runs]}[form]
    content = json.loads(instances("1.png", "2.png"))
    content["annotations"][0]["segmentation"] = outline
    root = save_files({"coco.json": json.dumps(content), "1.png": IMAGE, "2.png": IMAGE})
    assert sums(root) == {"1.png": 1, "2.png": 2}


def png(value: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), value, dtype=np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def shapes(name: str, number: int, data: Any = None) -> str:
    points = [[0, 0], [number, 0], [number, 1], [0, 1]]
    content = {"imagePath": name, "imageData": data, "imageHeight": 32, "imageWidth": 48}
    return json.dumps(content | {"shapes": [{"label": "car", "points": points, "shape_type": "polygon"}]})


def test_images_inside_labelme_files_are_written_once_into_the_cache(save_files, monkeypatch) -> None:
    root = save_files({f"{part}/{n}.json": shapes("", n, png(n)) for part in "ab" for n in (1, 2)})
    folder = open_folder(root)
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    assert set(pairs) == {"a/1", "a/2", "b/1", "b/2"}
    for name, pair in pairs.items():
        image, label_map = folder.read_pair(pair)
        assert (image == int(name[-1])).all()
        assert label_map.sum() == int(name[-1])
        assert pair.image.is_relative_to(cache_folder("unpacked"))
    assert "4 images exist only inside the labelme files" in folder.notes
    monkeypatch.setattr(labelme, "_write_images", lambda *_: pytest.fail("written again"))
    assert sums(root) == {"1.png": 1, "2.png": 2}


def test_of_labelme_images_the_files_count_and_broken_copies_are_named(save_files) -> None:
    root = save_files({"1.json": shapes("1.png", 1, png(9)), "2.json": shapes("2.png", 2, png(9)), "1.png": IMAGE})
    folder = open_folder(root)
    by_name = {pair.name: pair.image for pairs in folder.splits.values() for pair in pairs}
    assert by_name["1"] == root / "1.png"
    assert by_name["2"].name == "2.png"
    (root / "2.json").write_text(shapes("2.png", 2, "AAAA"))
    with pytest.raises(DataError, match=r"2\.json: its image '2\.png' is missing, and its imageData cannot be read"):
        open_folder(root)


@pytest.mark.parametrize("named", ["..\\photos\\{}.png", "D:\\work\\photos\\{}.PNG", "{}.png", "x"])
def test_images_elsewhere_are_found_in_the_folder_that_is_named(named: str, save_files) -> None:
    save_files({f"../photos/deep/{n}.png": IMAGE for n in (1, 2)})
    root = save_files({f"{n}.json": shapes(named.format(n), n) for n in (1, 2)})
    if ".." not in named:
        with pytest.raises(DataError, match="put the images beside the files, or say where they are: --images FOLDER"):
            open_folder(root)
    assert sums(root, Places(images=root.parent / "photos")) == {"1.png": 1, "2.png": 2}


def test_coco_images_elsewhere_are_found_in_the_folder_that_is_named(save_files) -> None:
    save_files({f"../photos/{n}.png": IMAGE for n in (1, 2)})
    root = save_files({"coco.json": instances("1.png", "2.png")})
    with pytest.raises(DataError, match="put them there, or say where they are: --images FOLDER"):
        open_folder(root)
    assert sums(root, Places(images=root.parent / "photos")) == {"1.png": 1, "2.png": 2}


@pytest.mark.parametrize("folder", ["annotations/stuff_pixelmaps", "train_masks", "labels", "panoptic_train2017"])
def test_a_mask_is_not_taken_for_the_image_of_its_name(folder: str, save_files) -> None:
    files = {f"{folder}/{n}.png": IMAGE for n in (1, 2)} | {"photos/3.png": IMAGE, "photos/4.png": IMAGE}
    root = save_files(files | {"coco.json": instances("1.jpg", "2.png", "3.jpg", "4.jpg")})
    assert set(sums(root)) == {"3.png", "4.png"}
