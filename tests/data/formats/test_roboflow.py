import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.published import recognize_roboflow as recognize
from maskpencil.errors import DataError

CLASSES = "Pixel Value, Class\n0, background\n2, road\n1, car, red\n".replace("car, red", '"car, red"')
IMAGE = np.zeros((32, 48, 3), dtype=np.uint8)


def mask(*values: int) -> npt.NDArray[np.uint8]:
    """Stripes of the values, (32, 48)."""
    return np.repeat(np.array(values, dtype=np.uint8), 48 // len(values))[None].repeat(32, axis=0)


@pytest.fixture
def files() -> dict[str, npt.ArrayLike]:
    masks = {"train/a_jpg.rf.0a": (0, 1, 2, 255), "train/b": (2, 2), "valid/c": (0, 1), "test/d": (1, 1)}
    return {
        **{f"{split}/_classes.csv": CLASSES for split in ("train", "valid", "test")},
        **{f"{name}.jpg": IMAGE for name in masks},
        **{f"{name}_mask.png": mask(*values) for name, values in masks.items()},
    }


def test_masks_are_read_by_the_values_that_the_table_names(save_files, files) -> None:
    folder = open_folder(save_files(files))
    folder.check_images()
    assert folder.classes.names == ("background", "car, red", "road")
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a_jpg.rf.0a", "b"],
        "val": ["c"],
        "test": ["d"],
    }
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("train")[0])[1], mask(0, 1, 2, IGNORE_INDEX))


def test_values_with_gaps_are_numbered_in_their_order(save_files, files) -> None:
    files = {
        name: "Pixel Value,Class\n7,road\n3,other\n" if "csv" in name else content for name, content in files.items()
    }
    files |= {name: mask(3, 7, 255, 3) for name in files if name.endswith("_mask.png")}
    folder = open_folder(save_files(files))
    assert folder.classes.names == ("other", "road")
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], mask(0, 1, 255, 0))


def test_a_single_folder_is_read_and_some_of_it_validates(save_files, files) -> None:
    folder = open_folder(save_files(files) / "train")
    assert {split: len(pairs) for split, pairs in folder.splits.items()} == {"train": 1, "val": 1}


def test_files_without_a_partner_are_reported(save_files, files) -> None:
    notes = open_folder(save_files({**files, "train/x.jpg": IMAGE, "test/y_mask.png": mask(0, 1)})).notes
    assert left_out(notes, "images without a mask") == ["x.jpg"]
    assert left_out(notes, "masks without an image") == ["y_mask.png"]


def test_a_value_that_the_table_does_not_name_is_an_error(save_files, files) -> None:
    root = save_files({**files, "test/d_mask.png": mask(0, 9)})
    with pytest.raises(DataError, match=r"d_mask\.png: holds the value 9, which has no meaning in this data set"):
        open_folder(root)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "is empty; expected a first line 'Pixel Value, Class'"),
        ("filename, class\n0, a", "begins with 'filename, class'"),
        ("Pixel Value, Class", "1 to 255 classes"),
        ("Pixel Value, Class\n0", "row 2 is '0'; expected a pixel value and a class"),
        ("Pixel Value, Class\nroad, 1", "row 2 is 'road, 1'"),
        ("Pixel Value, Class\n-1, road", "row 2 is '-1, road'"),
        ("Pixel Value, Class\n1, ", "row 2 is '1, '"),
        ("Pixel Value, Class\n0, a\n0, b", "row 3: the pixel value 0 is repeated"),
        ("Pixel Value, Class\n256, a", "row 2: the pixel value 256 is over 255"),
        (f"Pixel Value, Class\n{'9' * 5000}, a", "row 2 is '9999"),
        ("Pixel Value, Class\n0, a\n1, a", "occurs more than once"),
        ('Pixel Value, Class\n0, "a' + "x" * 200_000, "cannot be read (field larger than field limit"),
    ],
)
def test_a_table_that_cannot_be_is_an_error_that_names_it(save_files, files, table: str, message: str) -> None:
    files |= {name: table for name in files if name.endswith(".csv")}
    with pytest.raises(DataError, match=rf"_classes\.csv: .*{re.escape(message)}"):
        open_folder(save_files(files))


def test_splits_of_different_tables_are_an_error(save_files, files) -> None:
    root = save_files({**files, "valid/_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, car"})
    with pytest.raises(
        DataError, match=r"valid/_classes\.csv: has other classes or pixel values than .*train/_classes\.csv"
    ):
        open_folder(root)


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    labels = save_files({"train/_classes.csv": "filename, road, car\na.jpg, 1, 0", "train/a.jpg": IMAGE})
    for folder in (labels, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None  # the first is of images with labels, without masks


def test_a_folder_of_masks_without_a_table_is_named(save_files, files) -> None:
    del files["valid/_classes.csv"]
    root = save_files(files)
    assert any(
        line.startswith("warning: 1 folder with masks, but without _classes.csv left out (")
        and line.endswith("valid); copy _classes.csv there from another split")
        for line in open_folder(root).notes
    )
    (root / "valid/_classes.csv").write_bytes((root / "train/_classes.csv").read_bytes())
    folder = open_folder(root)
    assert [pair.name for pair in folder.pairs("val")] == ["c"]
    assert not any(line.startswith("warning: ") for line in folder.notes)
