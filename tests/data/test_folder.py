import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.masks import encoding
from maskpencil.errors import DataError, ImageError
from maskpencil.images import RGBImage

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
    assert folder.notes[0] == "no classes.yaml: using the given 4 classes (a, b, c, d)"


def test_the_pixels_of_each_class_are_counted(tiny_folder: Path) -> None:
    folder = open_folder(tiny_folder)
    counts = folder.class_counts("train")
    assert counts.shape == (6, 3)
    assert (counts.sum(axis=1) == 48 * 64).all()
    _, label_map = folder.read_pair(folder.pairs("train")[2])
    np.testing.assert_array_equal(counts[2], np.bincount(label_map.ravel()))


def test_images_are_checked_before_they_are_needed(tiny_folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    used: dict[tuple[str, int], RGBImage] = {}
    folder = open_folder(tiny_folder)
    folder.check_images(
        lambda done, of: steps.append((done, of)),
        use=lambda split, number, image: used.__setitem__((split, number), image),
    )
    assert steps == [(i, 9) for i in range(1, 10)]
    assert len(used) == 9
    for (split, number), image in used.items():
        np.testing.assert_array_equal(image, folder.read_pair(folder.pairs(split)[number])[0])


def test_sizes_are_known_before_an_image_is_decoded(tiny_folder: Path) -> None:
    assert open_folder(tiny_folder).sizes == {"train": [(48, 64)] * 6, "val": [(48, 64)] * 3}


def test_masks_are_read_once(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tiny_folder)
    expected = [folder.encoding.read(pair.mask) for pair in folder.pairs("train")]
    monkeypatch.setattr(encoding, "mask_pixels", None)
    for pair, label_map in zip(folder.pairs("train"), expected, strict=True):
        np.testing.assert_array_equal(folder.read_label_map(pair), label_map)


def test_masks_that_need_too_much_memory_are_read_again(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = open_folder(tiny_folder)
    room = sum(fact.kept.nbytes for fact in list(kept.facts.values())[:4] if fact.kept)
    monkeypatch.setattr(encoding, "MAX_KEPT_BYTES", room)
    folder = open_folder(tiny_folder)
    assert [bool(fact.kept) for fact in folder.facts.values()] == [True] * 4 + [False] * 5
    for pair in folder.pairs("val"):
        np.testing.assert_array_equal(folder.read_label_map(pair), kept.read_label_map(pair))


def test_the_search_reports_its_progress(tiny_folder: Path) -> None:
    heard: list[tuple[int, int]] = []
    open_folder(tiny_folder, report=lambda done, of: heard.append((done, of)))
    assert heard == [(i, 9) for i in range(1, 10)]


def test_a_mask_of_another_size_is_an_error_that_names_both(save_files) -> None:
    root = save_files(pairs(2, IMAGE, MASK) | {"masks/1.png": MASK[:3]})
    folder = open_folder(root)
    (pair,) = (pair for pairs in folder.splits.values() for pair in pairs if pair.name == "1")
    message = r"masks/1\.png: is 6 x 3 pixels, but its image 1\.png is 6 x 4; save the mask at that size"
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
