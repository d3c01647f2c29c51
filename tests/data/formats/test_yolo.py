import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.yolo import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
"""(height, width)"""

DATA_YAML = "train: images/train\nval: images/val\nnames: [car, road]\n"
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)


def line(class_number: int, points: list[tuple[float, float]], size: tuple[int, int] = SIZE) -> str:
    """A line of a label file, of points (x, y) in pixels."""
    return f"{class_number} " + " ".join(f"{x / size[1]:.6f} {y / size[0]:.6f}" for x, y in points)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def inside(points: list[tuple[float, float]], size: tuple[int, int] = SIZE) -> npt.NDArray[np.bool_]:
    """The pixels whose middles lie in a polygon: a line from each to the right crosses an odd number of sides."""
    rows, columns = np.indices(size) + 0.5
    crossed = np.zeros(size, dtype=bool)
    for (x, y), (next_x, next_y) in zip(points, [*points[1:], points[0]], strict=True):
        if y != next_y:
            at = x + (rows - y) / (next_y - y) * (next_x - x)
            crossed ^= ((y <= rows) != (next_y <= rows)) & (columns < at)
    return crossed


TRIANGLE = [(3.2, 4.1), (40.7, 9.3), (11.9, 28.6)]
ROAD = line(1, rectangle(0, 20, 48, 32))
CAR = line(0, rectangle(10, 15, 20, 25))


@pytest.fixture
def files() -> dict[str, npt.ArrayLike]:
    """Three images to train and one to validate; one has no label file, and one an empty one."""
    return {
        "data.yaml": DATA_YAML,
        **{f"images/train/{name}.png": IMAGE for name in ("a", "b", "c")},
        "images/val/d.png": IMAGE,
        "labels/train/a.txt": f"{CAR}\n\n{ROAD}\n",
        "labels/train/b.txt": "",
        "labels/val/d.txt": line(0, TRIANGLE),
    }


def read(root: Path) -> dict[str, npt.NDArray[np.uint8]]:
    folder = open_folder(root)
    folder.check_images()
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


def test_polygons_become_label_maps_of_the_named_classes(save_files, files) -> None:
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("background", "car", "road")
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "b", "c"],
        "val": ["d"],
    }
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[inside(TRIANGLE)] = 1
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], expected)


def test_smaller_polygons_lie_over_larger_ones_whatever_their_order(save_files, files) -> None:
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[20:, :] = 2
    expected[15:25, 10:20] = 1
    np.testing.assert_array_equal(read(save_files(files))["a"], expected)
    root = save_files({"labels/train/a.txt": f"{ROAD}\n{CAR}"})
    np.testing.assert_array_equal(read(root)["a"], expected)


def test_images_without_a_label_file_are_background_and_noted(save_files, files) -> None:
    root = save_files(files)
    maps = read(root)
    assert not maps["b"].any()
    assert not maps["c"].any()
    notes = open_folder(root).notes
    assert "read as YOLO: 3 classes (background, car, road)" in notes
    assert "1 image without a label file is background" in notes


def test_a_split_without_any_label_is_left_out_and_labels_without_an_image_are_reported(save_files, files) -> None:
    files |= {"data.yaml": DATA_YAML + "test: images/test", "images/test/e.png": IMAGE, "labels/train/x.txt": CAR}
    folder = open_folder(save_files(files))
    assert set(folder.splits) == {"train", "val"}
    assert left_out(folder.notes, "images without a mask") == ["e.png"]
    assert left_out(folder.notes, "masks without an image") == ["x.txt"]


@pytest.mark.parametrize(
    "yaml",
    [
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['car', 'road']\n",
        "path: /home/me/datasets/cars\ntrain: train/images\nval: [valid/images]\nnames: {0: car, 1: road}\n",
        "path: C:\\work\\cars\ntrain: D:\\cars\\train\\images\nvalid: valid\\images\nnames:\n  1: road\n  0: car\n",
        "path: /nowhere\ntrain: other/place\nnames: [car, road]\n",
    ],
)
def test_the_form_of_roboflow_is_understood_and_foreign_paths_are_found_by_their_ends(save_files, yaml: str) -> None:
    images = {"train/images/a.v2.png": IMAGE, "train/images/b.png": IMAGE, "valid/images/c.png": IMAGE}
    labels = {"train/labels/a.v2.txt": CAR, "train/labels/b.txt": ROAD, "valid/labels/c.txt": ROAD}
    folder = open_folder(save_files({"data.yaml": yaml, **images, **labels}))
    splits = {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()}
    assert splits == {"train": ["a.v2", "b"], "val": ["c"]}
    assert (folder.read_pair(folder.pairs("train")[0])[1] == 1).sum() == 100


def test_places_that_are_not_there_are_reported(save_files, files) -> None:
    files["data.yaml"] = DATA_YAML + "test: images/test2017\n"
    assert "test: images/test2017 is missing, left out" in open_folder(save_files(files)).notes


def test_list_files_name_images_by_paths_of_another_machine(save_files, files) -> None:
    files |= {
        "coco.yaml": "path: ../datasets/coco\ntrain: train2017.txt\nval: val.txt\nnames: [car, road]\n",
        "train2017.txt": "./images/train/a.png\n/data/coco/images/train/b.png\n",
        "val.txt": "C:\\coco\\images\\val\\d.png\n",
    }
    del files["data.yaml"]
    splits = open_folder(save_files(files)).splits
    assert {split: [pair.image.stem for pair in pairs] for split, pairs in splits.items()} == {
        "train": ["a", "b"],
        "val": ["d"],
    }
    root = save_files({"train2017.txt": "./images/train/a.png\n./images/train/zzz.png"})
    with pytest.raises(DataError, match=r"train2017\.txt: line 2 names \./images/train/zzz\.png, which is missing"):
        open_folder(root)


def test_images_that_train_and_validate_at_once_are_used_to_train_alone(save_files, files) -> None:
    files["data.yaml"] = "train: images/train\nval: images/train\nnames: [car, road]"
    folder = open_folder(save_files(files))
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 2, "val": 1}
    assert "val: images that are also in train are left out of val" in folder.notes
    assert "no validation images: 1 of 3 set aside by the hash of their names" in folder.notes


def test_without_splits_list_files_share_the_images_out(save_files) -> None:
    files = {f"images/{name}.png": IMAGE for name in "abc"} | {f"labels/{name}.txt": CAR for name in "abc"}
    root = save_files({**files, "data.yaml": "names: [car]\nnc: 1", "train.txt": "a\nc", "val.txt": "b"})
    splits = open_folder(root).splits
    assert {split: [pair.name for pair in pairs] for split, pairs in splits.items()} == {
        "train": ["a", "c"],
        "val": ["b"],
    }


def test_a_list_of_classes_stands_for_the_yaml_file(save_files) -> None:
    files = {f"images/{name}.png": IMAGE for name in "ab"} | {f"labels/{name}.txt": ROAD for name in "ab"}
    root = save_files({**files, "classes.txt": "car\nroad\n", "labels/classes.txt": "car\nroad\n"})
    assert open_folder(root).classes.names == ("background", "car", "road")
    assert (read(root)["a"] == 2).sum() == 12 * 48
    assert not any("without an image" in note for note in open_folder(root).notes)
    with pytest.raises(DataError, match=r"classes\.txt: class names must differ"):
        open_folder(save_files({"classes.txt": "car\ncar"}))


def test_boxes_beside_polygons_are_ignored_pixels_under_them(save_files, files) -> None:
    files["labels/val/d.txt"] = f"{CAR}\n1 {16 / 48} {16 / 32} {16 / 48} {24 / 32}"  # columns 8 to 23, rows 4 to 27
    root = save_files(files)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[4:28, 8:24] = IGNORE_INDEX
    expected[15:25, 10:20] = 1
    np.testing.assert_array_equal(read(root)["d"], expected)
    assert "1 object has a box and no polygon; its pixels are ignored" in open_folder(root).notes


def test_boxes_alone_are_an_error_that_names_the_remedy(save_files, files) -> None:
    files |= {name: "0 0.5 0.5 0.2 0.2\n" for name in files if name.endswith(".txt")}
    with pytest.raises(DataError, match=r"data\.yaml: all 3 labels are boxes .*; export the data set for segmentation"):
        open_folder(save_files(files))


def test_poses_are_refused(save_files, files) -> None:
    files["data.yaml"] += "kpt_shape: [17, 3]"
    with pytest.raises(DataError, match=r"data\.yaml: has 'kpt_shape', so its labels are poses"):
        open_folder(save_files(files))


def test_polygons_refer_to_the_image_as_it_is_shown(save_files, files) -> None:
    root = save_files(files)
    (root / "images/val/d.png").unlink()
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    Image.fromarray(IMAGE).save(root / "images/val/d.jpg", exif=exif)
    shown = SIZE[::-1]
    (root / "labels/val/d.txt").write_text(line(0, rectangle(2, 30, 20, 46), shown))
    expected = np.zeros(shown, dtype=np.uint8)
    expected[30:46, 2:20] = 1
    np.testing.assert_array_equal(read(root)["d"], expected)


def test_a_class_file_gives_the_order_and_the_background(save_files, files) -> None:
    root = save_files({**files, "classes.yaml": "names: [road, sky, car]"})
    assert open_folder(root).classes.names == ("road", "sky", "car")
    assert set(np.unique(read(root)["a"])) == {0, 2, IGNORE_INDEX}


def test_a_name_of_the_background_is_class_0(save_files, files) -> None:
    files["data.yaml"] = DATA_YAML.replace("car, road", "car, Background, road")
    root = save_files({**files, "labels/val/d.txt": f"{line(1, rectangle(0, 0, 9, 9))}\n{line(2, TRIANGLE)}"})
    assert open_folder(root).classes.names == ("background", "car", "road")
    assert set(np.unique(read(root)["d"])) == {0, 2}


EXPECTED = "expected a class number and at least 3 points"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.1 0.1 0.5 0.1 0.5", f"line 2 is '0 0.1 0.1 0.5 0.1 0.5'; {EXPECTED}"),
        ("0 0.1 0.1 0.5", EXPECTED),
        ("0 0.1", EXPECTED),
        ("0 0.1 0.1 0.5 0.1 0.5 nan", EXPECTED),
        ("0 0.1 0.1 0.5 0.1 0.5 inf", EXPECTED),
        ("nan 0.1 0.1 0.5 0.1 0.5 0.5", EXPECTED),
        ("car 0.1 0.1 0.5 0.1 0.5 0.5", "line 2 is 'car 0.1 0.1 0.5 0.1 0.5 0.5'"),
        ("2 0.1 0.1 0.5 0.1 0.5 0.5", "line 2 has the class 2; expected 0 to 1, as the YAML file names 2 classes"),
        ("-1 0.1 0.1 0.5 0.1 0.5 0.5", "line 2 has the class -1"),
        ("0.5 0.1 0.1 0.5 0.1 0.5 0.5", "line 2 has the class 0.5"),
        ("0 0.1 0.1 0.5 0.1 0.5 31", "line 2 has the coordinate 31; expected fractions"),
        ("0 0.1 -0.2 0.5 0.1 0.5 0.5", "line 2 has the coordinate -0.2"),
        ("0 0.1 0.1 1e300 0.1 0.5 0.5", "line 2 has the coordinate 1e+300"),
        ("0 0.5 0.5 0.2 7", "line 2 has the coordinate 7"),
    ],
)
def test_a_line_that_cannot_be_is_an_error_that_names_it(save_files, files, text: str, message: str) -> None:
    files["labels/train/b.txt"] = f"{CAR}\n{text}\n"
    with pytest.raises(DataError, match=rf"b\.txt: .*{re.escape(message)}"):
        open_folder(save_files(files))


def test_a_label_file_that_is_no_text_is_an_error(save_files, files) -> None:
    root = save_files(files)
    (root / "labels/train/b.txt").write_bytes(b"0 \xff\xfe")
    with pytest.raises(DataError, match=r"b\.txt: cannot be read .* expected a class number"):
        open_folder(root)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: car\ntrain: images/train", "'names' must be a list"),
        ("names: {0: car, 2: road}\ntrain: images/train", "numbered from 0 without gaps"),
        ("names: []\ntrain: images/train", "1 to 255 classes"),
        ("names: [car, car]\ntrain: images/train", "occurs more than once"),
        ("names: [car]\ntrain: 5", "'train' is '5'; expected a folder"),
        ("names: [car]\ntrain: [images/train, {a: b}]", "'train' is"),
        ("names: [car]\npath: [1]\ntrain: images/train", "'path' is"),
        (f"names: [car]\ntrain: {'a' * 5000}", "'train' is 'aaaa"),
        ('names: [car]\ntrain: "../\\0"', "'train' is"),
        ("names: [car\ntrain: images/train", "data.yaml"),
        ("names: !!python/object/apply:os.getcwd []\ntrain: images/train", "data.yaml"),
        ("base: &a [x, y]\nnames: *a\ntrain: images/train", "data.yaml"),
    ],
)
def test_a_yaml_file_that_cannot_be_is_an_error_that_names_it(save_files, files, yaml: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"data\.yaml: .*|{re.escape(message)}") as caught:
        open_folder(save_files({**files, "data.yaml": yaml}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_and_masks_outside_of_the_folder_are_not_read(save_files, files, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.mkdir()
    Image.fromarray(IMAGE).save(outside / "s.png")
    files["data.yaml"] = f"train: images/train\nval: images/val\ntest: {outside}\nnames: [car, road]"
    folder = open_folder(save_files(files))
    assert f"test: {outside} is missing, left out" in folder.notes
    for name in ("../secret", str(outside), 7):
        root = save_files({**files, "data.yaml": f"{DATA_YAML}masks_dir: {name}"})
        with pytest.raises(DataError, match=r"'masks_dir' is .* expected a folder"):
            open_folder(root)
    root = save_files({**files, "data.yaml": "train: l.txt\nnames: [car]", "l.txt": "../secret/s.png"})
    with pytest.raises(DataError, match=r"l\.txt: names the image '\.\./secret/s\.png', which is outside"):
        open_folder(root)


def test_an_image_that_claims_too_many_pixels_is_refused(save_files, files) -> None:
    root = save_files(files)
    header = bytearray((root / "images/val/d.png").read_bytes())
    header[16:24] = (70000).to_bytes(4, "big") * 2
    (root / "images/val/d.png").write_bytes(header)
    with pytest.raises(DataError, match=r"d\.png"):
        open_folder(root)


def masks(*values: int) -> npt.NDArray[np.uint8]:
    mask = np.full(SIZE, values[0], dtype=np.uint8)
    for number, value in enumerate(values[1:], start=1):
        mask[number * 5 : number * 5 + 4] = value
    return mask


@pytest.mark.parametrize("key", ["masks_dir: masks\n", ""])
def test_masks_hold_the_numbers_of_the_names_and_255(save_files, key: str) -> None:
    root = save_files(
        {
            "data.yaml": key + DATA_YAML,
            **{f"images/{name}.png": IMAGE for name in ("train/a", "train/b", "train/c", "val/d")},
            "masks/train/a.png": masks(0, 1, 255),
            "masks/train/b.bmp": masks(1),
            "masks/val/d.png": masks(0),
            "masks/val/e.png": masks(0),
        }
    )
    folder = open_folder(root)
    assert folder.classes.names == ("car", "road")
    assert "read as YOLO masks: 2 classes (car, road)" in folder.notes
    maps = read(root)
    assert set(maps) == {"a", "b", "d"}
    np.testing.assert_array_equal(maps["a"], masks(0, 1, 255))
    assert (maps["b"] == 1).all()
    assert left_out(folder.notes, "images without a mask") == ["c.png"]
    assert left_out(folder.notes, "masks without an image") == ["e.png"]


def test_polygons_go_before_masks_that_the_yaml_file_does_not_name(save_files, files) -> None:
    root = save_files({**files, "masks/train/a.png": masks(0)})
    assert "read as YOLO: 3 classes (background, car, road)" in open_folder(root).notes


def test_a_label_mapping_is_applied_and_checked(save_files) -> None:
    files = {f"images/{name}.png": IMAGE for name in ("train/a", "val/d")}
    files |= {"masks/train/a.png": masks(7, 8, 3), "masks/val/d.png": masks(8)}
    yaml = DATA_YAML + "masks_dir: masks\nlabel_mapping:\n  -1: ignore_label\n  3: ignore_label\n  7: 0\n  8: 1\n"
    np.testing.assert_array_equal(read(save_files({**files, "data.yaml": yaml}))["a"], masks(0, 1, 255))
    for wrong in ("7: 2", "7: road", "x: 0", "7: [1]", "7: true"):
        root = save_files({**files, "data.yaml": f"{DATA_YAML}masks_dir: masks\nlabel_mapping: {{{wrong}}}"})
        with pytest.raises(DataError, match=r"'label_mapping' has .* expected a mask value and a class from 0 to 1"):
            open_folder(root)


def test_masks_of_one_name_are_background_and_that(save_files) -> None:
    files = {f"images/{name}.png": IMAGE for name in ("train/a", "val/d")}
    files |= {"masks/train/a.png": masks(0, 1), "masks/val/d.png": masks(0)}
    root = save_files({**files, "data.yaml": "train: images/train\nval: images/val\nnames: [road]"})
    assert open_folder(root).classes.names == ("background", "road")
    np.testing.assert_array_equal(read(root)["a"], masks(0, 1))


def test_masks_that_are_not_there_or_hold_other_numbers_are_an_error(save_files) -> None:
    files = {f"images/{name}.png": IMAGE for name in ("train/a", "val/d")}
    root = save_files({**files, "data.yaml": f"{DATA_YAML}masks_dir: semantic"})
    with pytest.raises(DataError, match=r"data\.yaml: no image has a mask in semantic/; expected images/train/x\.jpg"):
        open_folder(root)
    root = save_files({"semantic/train/a.png": masks(0, 2), "semantic/val/d.png": masks(0)})
    with pytest.raises(DataError, match=r"a\.png: holds the value 2, which has no meaning in this data set"):
        open_folder(root)


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    plain = {"images/a.png": IMAGE, "labels/a.png": masks(0), "images/b.png": IMAGE, "labels/b.png": masks(1)}
    for folder in (tiny_folder, tmp_path / "nowhere", save_files(plain)):
        assert recognize(folder) is None
    root = save_files({"data.yaml": "names: [car, road]\n", "docker-compose.yaml": "names: !x 5\n"})
    assert recognize(root) is None  # only names, which is a class file
    save_files({"data.yaml": DATA_YAML})
    assert recognize(root) is None  # the labels are images
    (root / "data.yaml").unlink()
    save_files({"classes.txt": "car\nroad", "masks/a.png": masks(0)})
    assert recognize(root) is None


def test_places_with_names_that_no_file_can_have_are_not_there(save_files, files) -> None:
    long = "é" * 200
    root = save_files({**files, "data.yaml": f"train: images/train\nval: {long}\nnames: [car, road]\n"})
    assert f"val: {long} is missing, left out" in open_folder(root).notes
    root = save_files({"data.yaml": f"{DATA_YAML}masks_dir: {long}\n"})
    with pytest.raises(DataError, match=r"no image has a mask in é"):
        open_folder(root)


@pytest.mark.parametrize(("key", "count"), [("train", 4), ("val", 2)])
def test_images_of_a_split_that_the_yaml_file_does_not_name_are_noted(save_files, files, key: str, count: int) -> None:
    names = {"train": "images/train", "val": "images/val"}
    del names[key]
    text = "names: [car, road]\n" + "".join(f"{split}: {place}\n" for split, place in names.items())
    more = {"images/train/e.png": IMAGE, "images/val/f.png": IMAGE}
    folder = open_folder(save_files({**files, **more, "data.yaml": text}))
    assert f"{key}: data.yaml does not name images/{key}, {count} images left out" in folder.notes
