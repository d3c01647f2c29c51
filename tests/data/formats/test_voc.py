import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.helpers import left_out

from maskpencil.classes import ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.data.formats.base import LabeledImage
from maskpencil.data.formats.voc import write_voc
from maskpencil.data.layout.splits import split_names
from maskpencil.errors import DataError
from maskpencil.known_classes import VOC

SIZE = (32, 48)
NAMES = ("2007_000032", "2008_000008", "2011_003255")
CREAM = (224, 224, 192)


def label_map(number: int) -> npt.NDArray[np.uint8]:
    """A box of one class on background, with the border that VOC ignores: (H, W)."""
    drawn = np.zeros(SIZE, dtype=np.uint8)
    drawn[5:25, 8:30] = 255
    drawn[6:24, 9:29] = (1, 15, 20)[number % 3]
    return drawn


def palette_mask(drawn: npt.NDArray[np.uint8], colors: npt.NDArray[np.uint8] = VOC.colors) -> Image.Image:
    mask = Image.fromarray(drawn)
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(colors)] = colors
    palette[255] = CREAM
    mask.putpalette(palette.tobytes())
    return mask


def save_voc(folder: Path, names: tuple[str, ...] = NAMES, *, colored: bool = False) -> Path:
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "Annotations"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((*SIZE, 3), 40 * number, dtype=np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg")
        mask = palette_mask(label_map(number))
        (mask.convert("RGB") if colored else mask).save(folder / "SegmentationClass" / f"{name}.png")
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(folder / "JPEGImages" / "2009_000001.jpg")  # for boxes
    return folder


def write_list(folder: Path, split: str, *names: str) -> None:
    (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.mark.parametrize("below", ["", "VOC2012"])
@pytest.mark.parametrize("colored", [False, True])
def test_the_data_set_is_read_with_its_classes_lists_and_borders(tmp_path: Path, below: str, colored: bool) -> None:
    folder = save_voc(tmp_path / "data" / below, colored=colored)
    write_list(folder, "train", *NAMES[:2])
    write_list(folder, "val", NAMES[2])
    write_list(folder, "trainval", *NAMES)
    opened = open_folder(tmp_path / "data")
    assert opened.classes == VOC
    assert opened.root == tmp_path / "data"
    assert {split: [pair.name for pair in pairs] for split, pairs in opened.splits.items()} == {
        "train": list(NAMES[:2]),
        "val": [NAMES[2]],
    }
    for number, name in enumerate(NAMES):
        pair = next(pair for pairs in opened.splits.values() for pair in pairs if pair.name == name)
        np.testing.assert_array_equal(opened.read_pair(pair)[1], label_map(number))
    assert "read as Pascal VOC: 21 classes (background, aeroplane, bicycle, bird, boat, bottle, ...)" in opened.notes
    assert "splits from train.txt, val.txt" in opened.notes


def test_without_lists_the_split_is_the_packages_own_and_other_images_are_reported(tmp_path: Path) -> None:
    opened = open_folder(save_voc(tmp_path))
    train, val = split_names(NAMES)
    assert [[pair.name for pair in opened.pairs(split)] for split in ("train", "val")] == [list(train), list(val)]
    assert left_out(opened.notes, "images without a mask") == ["2009_000001.jpg"]


def test_listed_images_without_masks_as_in_the_test_set_are_reported(tmp_path: Path) -> None:
    folder = save_voc(tmp_path)
    write_list(folder, "train", *NAMES[:2], "2010_000001")
    write_list(folder, "val", NAMES[2])
    write_list(folder, "test", "2009_000001", "2010_000002")
    opened = open_folder(folder)
    assert set(opened.splits) == {"train", "val"}
    assert "1 of 3 names in train.txt has no image with a mask and is left out (2010_000001)" in opened.notes
    assert (
        "2 of 2 names in test.txt have no image with a mask and are left out (2009_000001, 2010_000002)" in opened.notes
    )


def test_the_names_of_2007_need_the_annotations_beside_them(tmp_path: Path) -> None:
    folder = save_voc(tmp_path / "VOC2007", ("000032", "000033", "000039"))
    found = recognize(folder)
    assert found is not None
    assert found.name == "Pascal VOC"
    (folder / "Annotations").rmdir()
    assert recognize(folder) is None


def test_the_newest_year_is_read_and_the_others_are_reported(tmp_path: Path) -> None:
    save_voc(tmp_path / "VOC2007", ("000032", "000033", "000039"))
    save_voc(tmp_path / "VOC2012")
    opened = open_folder(tmp_path)
    assert {pair.name for pairs in opened.splits.values() for pair in pairs} == set(NAMES)
    assert "VOC2007 left out; open each year's folder on its own" in opened.notes


@pytest.mark.parametrize(
    ("name", "text"),
    [("classes.yaml", "names: [street, car]"), ("codes.txt", "street\ncar"), ("data.yaml", "names: [street, car]")],
)
def test_a_folder_with_classes_of_its_own_is_read_by_the_general_rule(tmp_path: Path, name: str, text: str) -> None:
    folder = save_voc(tmp_path)
    for number, image in enumerate(NAMES):
        drawn = np.minimum(label_map(number), 1)
        palette_mask(drawn).save(folder / "SegmentationClass" / f"{image}.png")
    (folder / name).write_text(text)
    opened = open_folder(folder)
    assert opened.classes.names == ("street", "car")
    assert recognize(folder) is None


def test_a_classes_yaml_of_21_names_renames_the_classes(tmp_path: Path) -> None:
    folder = save_voc(tmp_path)
    names = tuple(f"class {i}" for i in range(21))
    (folder / "classes.yaml").write_text(f"names: {list(names)}")
    opened = open_folder(folder)
    assert opened.classes.names == names
    assert any(note.startswith("read as Pascal VOC: 21 classes (class 0") for note in opened.notes)


def test_folders_of_other_names_in_this_form_are_read_by_the_general_rule(tmp_path: Path) -> None:
    folder = save_voc(tmp_path, ("street_1", "street_2", "street_3"))
    for number in range(3):
        path = folder / "SegmentationClass" / f"street_{number + 1}.png"
        palette_mask(np.minimum(label_map(number), 2)).save(path)
    assert recognize(folder) is None
    opened = open_folder(folder)
    assert opened.classes == ClassSet(("class_0", "class_1", "class_2"), VOC.palette[:3])


def test_a_value_that_voc_does_not_have_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = save_voc(tmp_path)
    palette_mask(np.full(SIZE, 21, dtype=np.uint8)).save(folder / "SegmentationClass" / f"{NAMES[1]}.png")
    with pytest.raises(DataError, match=re.escape(f"{NAMES[1]}.png: holds the value 21, which has no meaning")):
        open_folder(folder)


def test_a_list_that_is_no_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = save_voc(tmp_path)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt: cannot be read .*; expected the name of an image per line"):
        open_folder(folder)


def test_other_folders_are_left_alone(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "empty" / "SegmentationClass").mkdir()
    (tmp_path / "file").touch()
    for folder in (tiny_folder, tmp_path, tmp_path / "empty", tmp_path / "file", tmp_path / "nowhere"):
        assert recognize(folder) is None


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
    message = re.escape(f"the class name {name!r} cannot be written to a labelmap.txt")
    with pytest.raises(DataError, match=message), write_voc(tmp_path, ClassSet(("road", name))):
        pass
    assert not list(tmp_path.iterdir())


def test_a_class_called_ignored_is_an_error(tmp_path: Path) -> None:
    message = "'ignored' means ignored pixels in a labelmap.txt; rename the class"
    with pytest.raises(DataError, match=message), write_voc(tmp_path, ClassSet(("road", "ignored"))):
        pass
