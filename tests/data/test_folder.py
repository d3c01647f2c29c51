import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError, ImageError

IMAGE = np.zeros((4, 6, 3), dtype=np.uint8)
MASK = np.array([[0] * 6, [1] * 6, [1] * 6, [255] * 6], dtype=np.uint8)


def pairs(count: int, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.uint8]]:
    return {f"{side}/{i}.png": a for i in range(count) for side, a in (("images", image), ("masks", mask))}


def test_a_folder_is_understood_without_a_configuration_file(save_files) -> None:
    folder = open_folder(save_files(pairs(5, IMAGE, MASK)))
    assert folder.classes.names == ("background", "foreground")
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 4, "val": 1}
    assert folder.notes == (
        "no validation images: 1 of 5 set aside by the hash of their names",
        "no classes.yaml: the masks show 2 classes (background, foreground)",
        "masks are read as index",
    )
    image, label_map = folder.read_pair(folder.pairs("val")[0])
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label_map, MASK)


def test_the_class_file_names_the_classes(tiny_folder: Path) -> None:
    folder = open_folder(tiny_folder, classes=ClassSet(("other", "names")))
    assert folder.classes.names == ("ground", "box", "ball")
    assert folder.notes == ("3 classes from classes.yaml", "masks are read as index")
    assert [pair.name for pair in folder.pairs("val")] == ["0", "1", "2"]


def test_without_a_class_file_the_model_names_the_classes(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "data", ignore=shutil.ignore_patterns("classes.yaml"))
    classes = ClassSet(("a", "b", "c", "d"))
    folder = open_folder(str(tmp_path / "data"), classes=classes)
    assert folder.classes == classes
    assert folder.notes[0] == "no classes.yaml: taken are the given 4 classes (a, b, c, d)"


def test_the_pixels_of_each_class_are_counted(tiny_folder: Path) -> None:
    folder = open_folder(tiny_folder)
    counts = folder.class_counts("train")
    assert counts.shape == (6, 3)
    assert (counts.sum(axis=1) == 48 * 64).all()
    _, label_map = folder.read_pair(folder.pairs("train")[2])
    np.testing.assert_array_equal(counts[2], np.bincount(label_map.ravel()))


def test_images_are_checked_before_they_are_needed(tiny_folder: Path) -> None:
    heard: list[tuple[int, int]] = []
    sizes = open_folder(tiny_folder).check_images(lambda done, of: heard.append((done, of)))
    assert sizes == {"train": [(48, 64)] * 6, "val": [(48, 64)] * 3}
    assert heard == [(i, 9) for i in range(1, 10)]


def test_the_search_reports_its_progress(tiny_folder: Path) -> None:
    heard: list[tuple[int, int]] = []
    open_folder(tiny_folder, report=lambda done, of: heard.append((done, of)))
    assert heard == [(i, 9) for i in range(1, 10)]


def test_a_mask_of_another_size_is_an_error_that_names_both(save_files) -> None:
    root = save_files(pairs(2, IMAGE, MASK) | {"masks/1.png": MASK[:3]})
    folder = open_folder(root)
    (pair,) = (pair for pairs in folder.splits.values() for pair in pairs if pair.name == "1")
    message = r"masks/1\.png: is 6 x 3 pixels, its image 1\.png is 6 x 4; save the mask at that size"
    with pytest.raises(DataError, match=message):
        folder.read_pair(pair)
    with pytest.raises(DataError, match=message):
        folder.check_images()


def test_a_broken_image_is_an_error_that_names_it(tiny_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    (root / "images" / "val" / "1.png").write_bytes(b"\x89PNG")
    folder = open_folder(root)
    with pytest.raises(ImageError, match=r"images/val/1\.png"):
        folder.check_images()


def test_a_split_that_is_not_there_is_an_error_that_lists_the_others(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="has no 'test' images; it has train, val"):
        open_folder(tiny_folder).pairs("test")


def test_many_classes_are_not_all_named(save_files) -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(4, 6)
    folder = open_folder(save_files(pairs(2, IMAGE, mask)))
    assert "the masks show 24 classes (class_0, class_1, class_2, class_3, class_4, class_5, ...)" in folder.notes[1]
