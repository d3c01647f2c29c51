import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.data.formats.base import LabeledImage
from maskpencil.data.formats.cvat import write_cvat
from maskpencil.errors import DataError

SIZE = (32, 48)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\nroad:51,221,255::\n"
CLASSES = ClassSet(("background", "car", "road"), ((0, 0, 0), (250, 50, 83), (51, 221, 255)))
LISTS = "ImageSets/Segmentation"

Files = dict[str, npt.NDArray[np.uint8] | str]


def label_map(number: int) -> npt.NDArray[np.uint8]:
    """A car on a road; the first is of background alone: (H, W)."""
    drawn = np.zeros(SIZE, dtype=np.uint8)
    if number:
        drawn[16:] = 2
        drawn[12 : 14 + number, 10:20] = 1
    return drawn


def export(images: str = "JPEGImages/") -> Files:
    files: Files = {"labelmap.txt": LABELMAP, f"{LISTS}/default.txt": "frame_0\nframe_1\nframe_2\n"}
    for number in range(3):
        files[f"SegmentationClass/frame_{number}.png"] = CLASSES.colors[label_map(number)]
        files[f"SegmentationObject/frame_{number}.png"] = CLASSES.colors[(label_map(number) > 0).astype(int)]
        files[f"{images}frame_{number}.png"] = np.full((*SIZE, 3), number, dtype=np.uint8)
    return files


def read_all(folder) -> dict[str, npt.NDArray[np.uint8]]:
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


@pytest.mark.parametrize("images", ["JPEGImages/", "images/", ""])
def test_an_export_is_read_wherever_its_images_are(save_files, images: str) -> None:
    folder = open_folder(save_files(export(images)))
    assert folder.classes == CLASSES
    assert "read as CVAT segmentation masks: 3 classes (background, car, road)" in folder.notes
    read = read_all(folder)
    assert set(read) == {"frame_0", "frame_1", "frame_2"}
    for number in range(3):
        np.testing.assert_array_equal(read[f"frame_{number}"], label_map(number))


def test_subsets_called_after_splits_are_splits(save_files) -> None:
    lists = {f"{LISTS}/train.txt": "frame_0\nframe_2\n", f"{LISTS}/val.txt": "frame_1\nframe_7\n"}
    folder = open_folder(save_files({**export(), **lists}))
    splits = {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()}
    assert splits == {"train": ["frame_0", "frame_2"], "val": ["frame_1"]}
    assert "splits from train.txt, val.txt" in folder.notes
    assert "1 of 2 names in val.txt has no image with a mask and is left out (frame_7)" in folder.notes
    files = {**export(), f"{LISTS}/train.txt": "frame_0\nframe_2\n", f"{LISTS}/val.txt": "frame_7\n"}
    assert "1 pair that no list names is left out (frame_1)" in open_folder(save_files(files)).notes


def test_a_label_ignored_counts_nowhere_wherever_it_stands(save_files) -> None:
    files = export()
    files["labelmap.txt"] = LABELMAP.replace("car:", "ignored:7,7,7::\ncar:")
    mask = CLASSES.colors[label_map(1)]
    mask[:4] = 7
    files["SegmentationClass/frame_1.png"] = mask
    folder = open_folder(save_files(files))
    assert folder.classes == CLASSES
    expected = label_map(1)
    expected[:4] = IGNORE_INDEX
    np.testing.assert_array_equal(read_all(folder)["frame_1"], expected)


@pytest.mark.parametrize("gray_palette", [False, True])
def test_masks_of_numbers_mean_the_line_of_the_label(save_files, gray_palette: bool) -> None:
    files = export()
    files["labelmap.txt"] = LABELMAP.replace("car:", "ignored:7,7,7::\ncar:")  # so car is 2 and road is 3
    numbers = np.array([0, 2, 3], dtype=np.uint8)
    for number in range(3):
        files[f"SegmentationClass/frame_{number}.png"] = numbers[label_map(number)]
    files["SegmentationClass/frame_2.png"][0] = 1
    files["SegmentationClass/frame_2.png"][1] = 255
    root = save_files(files)
    if gray_palette:
        for path in (root / "SegmentationClass").iterdir():
            mask = Image.open(path)
            mask.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
            mask.save(path)
    folder = open_folder(root)
    assert folder.classes.names == CLASSES.names
    read = read_all(folder)
    expected = label_map(2)
    expected[:2] = IGNORE_INDEX
    np.testing.assert_array_equal(read["frame_2"], expected)
    np.testing.assert_array_equal(read["frame_1"], label_map(1))


def test_palette_masks_are_read_by_their_colors_not_their_numbers(save_files) -> None:
    root = save_files(export())
    for number in range(3):
        mask = Image.fromarray(2 - label_map(number))
        mask.putpalette(CLASSES.colors[::-1].tobytes())
        mask.save(root / "SegmentationClass" / f"frame_{number}.png")
    np.testing.assert_array_equal(read_all(open_folder(root))["frame_2"], label_map(2))


def test_a_classes_yaml_gives_other_names(save_files) -> None:
    folder = open_folder(save_files({**export(), "classes.yaml": "names: [rest, vehicle, street]"}))
    assert folder.classes.names == ("rest", "vehicle", "street")
    np.testing.assert_array_equal(read_all(folder)["frame_2"], label_map(2))


def test_names_in_folders_are_kept(save_files) -> None:
    files = {name.replace("frame_", "video/frame_"): content for name, content in export().items()}
    files[f"{LISTS}/train.txt"] = "video/frame_0\nvideo/frame_1\n"
    files[f"{LISTS}/val.txt"] = "video/frame_2\n"
    folder = open_folder(save_files(files))
    assert [pair.name for pair in folder.pairs("val")] == ["video/frame_2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labelmap.txt": "road"}, "labelmap.txt: line 1 is 'road'; expected 'name:red,green,blue::'"),
        (
            {"labelmap.txt": LABELMAP + "truck:51,221,255::"},
            "labelmap.txt: 'road' and 'truck' have the same color, (51, 221, 255), so the masks do not distinguish",
        ),
        (
            {"labelmap.txt": LABELMAP.replace("51,", "52,")},
            "frame_1.png: holds the color (51, 221, 255), which has no meaning in this data set",
        ),
    ],
)
def test_faults_are_one_line_that_names_the_file(save_files, changes: Files, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        open_folder(save_files({**export(), **changes}))
    assert "\n" not in str(caught.value)


def test_an_export_without_images_is_an_error_that_says_so(save_files) -> None:
    files = {name: content for name, content in export().items() if not name.startswith("JPEGImages")}
    with pytest.raises(DataError, match=r"has masks in SegmentationClass/ but no images; export again with images"):
        open_folder(save_files(files))


def test_other_folders_are_left_alone(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    root = save_files(export())
    (root / "labelmap.txt").unlink()
    assert recognize(root) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "labelmap.txt").write_text("item { name: 'a' }")  # of another tool
    for folder in (tiny_folder, tmp_path / "other", tmp_path / "nowhere"):
        assert recognize(folder) is None


LABEL_MAP = np.array([[0, 1, 2, 255]] * 3, dtype=np.uint8)


def write(root: Path, classes: ClassSet, *splits: str) -> None:
    source = root.parent / "source.png"
    Image.fromarray(np.zeros((3, 4, 3), dtype=np.uint8)).save(source)
    with write_cvat(root, classes) as add:
        for split in splits:
            add(LabeledImage(split, f"{split}1", source, LABEL_MAP))


def row(path: Path) -> list[list[int]]:
    image = Image.open(path)
    assert image.mode == "RGB"  # Datumaro would read a palette's numbers as gray levels
    return np.array(image)[0].tolist()


def test_the_masks_show_classes_and_objects_in_the_colors_that_the_importer_expects(tmp_path: Path) -> None:
    classes = ClassSet(("background", "street", "car"), ((0, 0, 0), (9, 64, 128), (0, 0, 142)))
    write(tmp_path / "out", classes, "")
    out = tmp_path / "out"
    assert row(out / "SegmentationClass" / "1.png") == [[0, 0, 0], [9, 64, 128], [0, 0, 142], [224, 224, 192]]
    # the second and third object; black is none, so that background and ignored pixels become no masks
    assert row(out / "SegmentationObject" / "1.png") == [[0, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 0]]
    assert (out / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::",
        "street:9,64,128::",
        "car:0,0,142::",
        "ignored:224,224,192::",
    ]
    assert (out / "ImageSets" / "Segmentation" / "default.txt").read_text() == "1\n"


def test_a_first_class_that_is_not_background_is_an_object(tmp_path: Path) -> None:
    classes = ClassSet(("sky", "street", "car"), ((0, 0, 0), (0, 0, 0), (224, 224, 192)))
    write(tmp_path / "out", classes, "train", "val")
    out = tmp_path / "out"
    assert row(out / "SegmentationObject" / "train1.png")[0] == [128, 0, 0]
    shown = row(out / "SegmentationClass" / "val1.png")
    assert len({tuple(color) for color in shown}) == 4
    assert [shown[0], shown[3]] == [[0, 0, 0], [224, 224, 192]]
    lists = {path.name: path.read_text() for path in (out / "ImageSets" / "Segmentation").iterdir()}
    assert lists == {"train.txt": "train1\n", "val.txt": "val1\n"}
