import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.data.layout.splits import split_names, write_splits
from maskpencil.errors import DataError

RED, MAGENTA, BLACK = (255, 0, 0), (255, 0, 255), (0, 0, 0)
SIZES = {"um_000000": (37, 124), "um_000001": (37, 122), "umm_000000": (38, 124), "uu_000000": (37, 123)}
"""(height, width), a tenth of what the data set has: they differ a little from drive to drive."""

Files = dict[str, npt.NDArray[np.uint8]]


def road_mask(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Ignored above, road in the lower half but for its left third: (H, W, 3)."""
    mask = np.full((*size, 3), RED, dtype=np.uint8)
    mask[: size[0] // 4] = BLACK
    mask[size[0] // 2 :, size[1] // 3 :] = MAGENTA
    return mask


def training(folder: str = "") -> Files:
    """Images and masks of SIZES, and the ego-lane masks that only um images have."""
    files = {}
    for number, (name, size) in enumerate(SIZES.items()):
        road, index = name.split("_")
        files[f"{folder}image_2/{name}.png"] = np.full((*size, 3), 10 * number, dtype=np.uint8)
        files[f"{folder}gt_image_2/{road}_road_{index}.png"] = road_mask(size)
        if road == "um":
            files[f"{folder}gt_image_2/um_lane_{index}.png"] = np.full((*size, 3), RED, dtype=np.uint8)
    return files


def data_road() -> dict[str, npt.NDArray[np.uint8] | str]:
    """The whole data set as it is unpacked."""
    testing = {f"testing/image_2/{name}.png": np.zeros((*size, 3), dtype=np.uint8) for name, size in SIZES.items()}
    calibration = {f"{part}/calib/{name}.txt": "P0: 1 0 0" for part in ("training", "testing") for name in SIZES}
    return {**training("training/"), **testing, **calibration}


@pytest.fixture
def root(save_files) -> Path:
    return save_files(data_road())


@pytest.mark.parametrize("below", ["", "training"])
def test_the_data_set_is_understood_as_it_was_unpacked(root: Path, below: str) -> None:
    folder = open_folder(root / below)
    assert folder.classes.names == ("not road", "road")
    pairs = {pair.name: pair for pairs in folder.splits.values() for pair in pairs}
    assert set(pairs) == set(SIZES)
    assert pairs["umm_000000"].image == root / "training" / "image_2" / "umm_000000.png"
    assert pairs["umm_000000"].mask == root / "training" / "gt_image_2" / "umm_road_000000.png"


@pytest.mark.parametrize("below", ["", "training"])
def test_the_split_is_the_packages_own_whichever_folder_is_opened(root: Path, below: str) -> None:
    splits = {split: [pair.name for pair in pairs] for split, pairs in open_folder(root / below).splits.items()}
    train, val = split_names(sorted(SIZES))
    assert splits == {"train": list(train), "val": list(val)}


def test_the_notes_say_how_it_was_read_and_what_was_left_out(root: Path) -> None:
    assert open_folder(root).notes == (
        "read as KITTI Road: 2 classes (not road, road)",
        "2 um_lane masks left out, they are for another task",
        "testing/ left out, its images have no masks",
        "no validation images: 1 of 4 set aside by the hash of their names",
        "masks are read as color",
    )
    assert "testing/ left out, its images have no masks" not in open_folder(root / "training").notes


def test_red_is_not_road_magenta_is_and_black_is_ignored_at_each_images_size(root: Path) -> None:
    folder = open_folder(root)
    for pair in (pair for pairs in folder.splits.values() for pair in pairs):
        height, width = SIZES[pair.name]
        image, label_map = folder.read_pair(pair)
        assert image.shape == (height, width, 3)
        expected = np.zeros((height, width), dtype=np.uint8)
        expected[: height // 4] = IGNORE_INDEX
        expected[height // 2 :, width // 3 :] = 1
        np.testing.assert_array_equal(label_map, expected)
    folder.check_images()
    assert sorted(size for sizes in folder.sizes.values() for size in sizes) == sorted(SIZES.values())


def test_the_pixels_of_each_class_are_counted(root: Path) -> None:
    folder = open_folder(root)
    for pair, counts in zip(folder.pairs("train"), folder.class_counts("train"), strict=True):
        _, label_map = folder.read_pair(pair)
        assert counts.tolist() == np.bincount(label_map.ravel(), minlength=256)[:2].tolist()


def test_a_mask_of_one_color_is_read_as_the_others(save_files) -> None:
    files = training()
    for name, color in zip(("um_road_000000", "um_road_000001", "uu_road_000000"), (RED, MAGENTA, BLACK), strict=True):
        files[f"gt_image_2/{name}.png"][:] = color
    folder = open_folder(save_files(files))
    read = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    assert [np.unique(read[name]).tolist() for name in ("um_000000", "um_000001", "uu_000000")] == [
        [0],
        [1],
        [IGNORE_INDEX],
    ]


@pytest.mark.parametrize("color", [(255, 0, 254), (0, 0, 255), (255, 255, 255), (224, 224, 192)])
def test_any_other_color_is_an_error_that_names_it(save_files, color: tuple[int, int, int]) -> None:
    files = training()
    files["gt_image_2/uu_road_000000.png"][3, 5] = color
    message = (
        f"uu_road_000000.png: holds the color {color}, which has no meaning in this data set; expected (255, 0, 0), "
        "(255, 0, 255), (0, 0, 0); correct the mask or remove it with its image"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        open_folder(save_files(files))


def test_a_class_file_renames_the_classes_and_the_masks_are_read_as_before(root: Path) -> None:
    (root / "classes.yaml").write_text("names: [background, street]\npalette: [[9, 9, 9], [128, 64, 128]]\n")
    folder = open_folder(root)
    assert folder.classes == ClassSet(("background", "street"), ((9, 9, 9), (128, 64, 128)))
    assert "2 classes from classes.yaml" in folder.notes
    assert set(np.unique(folder.read_pair(folder.pairs("val")[0])[1])) == {0, 1, IGNORE_INDEX}
    (root / "classes.yaml").write_text("names: [background, road, lane]\n")
    with pytest.raises(DataError, match=r"classes\.yaml: names 3 classes \(background, road, lane\), but the masks"):
        open_folder(root)


def test_the_classes_of_a_model_do_not_rename_those_of_the_data_set(root: Path) -> None:
    assert open_folder(root, classes=ClassSet(("a", "b"))).classes.names == ("not road", "road")


def test_list_files_share_the_images_out(root: Path) -> None:
    write_splits(root, {"train": ["um_000000", "umm_000000"], "val": ["um_000001"], "test": ["uu_000000"]})
    splits = open_folder(root).splits
    assert {split: [pair.name for pair in pairs] for split, pairs in splits.items()} == {
        "train": ["um_000000", "umm_000000"],
        "val": ["um_000001"],
        "test": ["uu_000000"],
    }


def test_files_without_a_partner_are_left_out_and_reported(root: Path) -> None:
    (root / "training/gt_image_2/um_road_000001.png").unlink()
    (root / "training/image_2/umm_000000.png").unlink()
    (root / "training/gt_image_2/uu_000000.png").write_bytes(b"")
    folder = open_folder(root)
    assert {pair.name for pairs in folder.splits.values() for pair in pairs} == {"um_000000", "uu_000000"}
    assert left_out(folder.notes, "images without a mask") == ["um_000001.png"]
    assert left_out(folder.notes, "masks without an image") == ["uu_000000.png", "umm_road_000000.png"]


def test_lane_masks_alone_are_an_error_that_names_what_is_missing(root: Path) -> None:
    for mask in (root / "training" / "gt_image_2").glob("*_road_*"):
        mask.unlink()
    with pytest.raises(DataError, match=r"training: no image .* expected image_2/um_000000\.png and gt_image_2/um_r"):
        open_folder(root)


def test_the_testing_folder_is_an_error_that_names_the_other(root: Path) -> None:
    with pytest.raises(DataError, match=r"testing: holds images of KITTI Road .* open the folder training/ of the"):
        open_folder(root / "testing")


def test_other_folders_are_left_to_the_general_rule(root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "training" / "gt_image_2")
    (tmp_path / "object" / "image_2").mkdir(parents=True)
    (tmp_path / "object" / "image_2" / "000000.png").touch()  # of another KITTI benchmark
    for folder in (root, root / "training" / "calib", tiny_folder, tmp_path / "object", tmp_path / "nowhere"):
        assert recognize(folder) is None
