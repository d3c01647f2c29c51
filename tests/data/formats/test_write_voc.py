import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.base import LabeledImage
from maskpencil.data.formats.voc import write_voc
from maskpencil.errors import DataError

LABEL_MAP = np.array([[0, 1, 2, 255]] * 3, dtype=np.uint8)
CLASSES = ClassSet(("background", "street", "car"), ((0, 0, 0), (128, 64, 128), (0, 0, 142)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((3, 4, 3), dtype=np.uint8)).save(tmp_path / "source.jpeg")
    return tmp_path / "source.jpeg"


def test_the_folders_lists_and_palette_are_vocs(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "out"
    with write_voc(root, CLASSES) as add:
        for split, name in (("train", "1"), ("val", "2"), ("test", "3")):
            add(LabeledImage(split, name, source, LABEL_MAP))
    lists = {path.stem: path.read_text() for path in (root / "ImageSets" / "Segmentation").iterdir()}
    assert lists == {"train": "1\n", "val": "2\n", "test": "3\n", "trainval": "1\n2\n"}
    assert (root / "JPEGImages" / "1.jpeg").read_bytes() == source.read_bytes()
    mask = Image.open(root / "SegmentationClass" / "3.png")
    np.testing.assert_array_equal(np.array(mask), LABEL_MAP)
    colors = np.array(mask.convert("RGB"))[0].tolist()
    assert colors == [[0, 0, 0], [128, 64, 128], [0, 0, 142], [224, 224, 192]]
    assert (root / "labelmap.txt").read_text().splitlines() == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "street:128,64,128::",
        "car:0,0,142::",
        "ignored:224,224,192::",
    ]


def test_without_ignored_pixels_there_is_no_label_for_them(tmp_path: Path, source: Path) -> None:
    with write_voc(tmp_path / "out", CLASSES) as add:
        add(LabeledImage("train", "1", source, np.zeros((3, 4), dtype=np.uint8)))
    assert "ignored" not in (tmp_path / "out" / "labelmap.txt").read_text()


def test_images_of_one_name_in_several_splits_get_that_of_the_split_before_it(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "out"
    images = [("train", "video/a"), ("train", "video/val_a"), ("val", "video/a"), ("val", "video/A"), ("val", "b")]
    with write_voc(root, CLASSES) as add:
        for number, (split, name) in enumerate(images):
            add(LabeledImage(split, name, source, np.full((3, 4), number % 3, dtype=np.uint8)))
    folder = open_folder(root)
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["video/a", "video/val_a"],
        "val": ["video/val_a_2", "video/val_A_3", "b"],
    }
    read = [folder.read_pair(pair)[1][0, 0] for split in ("train", "val") for pair in folder.pairs(split)]
    assert read == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("name", ["a:b", "#a", " a", "a ", "a\nb", "a\x85b"])
def test_a_name_that_a_labelmap_cannot_hold_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    message = re.escape(f"the class name {name!r} cannot stand in a labelmap.txt")
    with pytest.raises(DataError, match=message), write_voc(tmp_path, ClassSet(("road", name))):
        pass
    assert not list(tmp_path.iterdir())


def test_a_class_called_ignored_is_an_error(tmp_path: Path) -> None:
    message = "'ignored' means ignored pixels in a labelmap.txt; rename the class"
    with pytest.raises(DataError, match=message), write_voc(tmp_path, ClassSet(("road", "ignored"))):
        pass
