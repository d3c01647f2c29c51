import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.errors import DataError
from maskpencil.known_classes import CAMVID_11, CAMVID_31, CAMVID_32

SIZE = (32, 48)
FRAMES = ("0001TP_006690", "0006R0_f00930", "0016E5_00390", "Seq05VD_f00000")
VOID, WALL = 30, 31  # in the order of label_colors.txt
COLORS = "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in zip(CAMVID_32.names, CAMVID_32.palette, strict=True))
CODES = "".join(f"{name}\n" for name in CAMVID_32.names)

Files = dict[str, npt.NDArray[np.uint8] | str]


def numbers() -> npt.NDArray[np.uint8]:
    """A row of each of the 32 labels: (32, W)."""
    return np.repeat(np.arange(32, dtype=np.uint8)[:, None], SIZE[1], axis=1)


def expected() -> npt.NDArray[np.uint8]:
    """The same as classes: without Void, Wall moves up."""
    label_map = numbers()
    label_map[VOID], label_map[WALL] = IGNORE_INDEX, 30
    return label_map


def image() -> npt.NDArray[np.uint8]:
    return np.zeros((*SIZE, 3), dtype=np.uint8)


def original() -> Files:
    files: Files = {"label_colors.txt": COLORS}
    for frame in FRAMES:
        files[f"701_StillsRaw_full/{frame}.png"] = image()
        files[f"LabeledApproved_full/{frame}_L.png"] = CAMVID_32.colors[numbers()]
    return files


def by_splits() -> Files:
    files: Files = {"class_dict.csv": "name,r,g,b\n"}
    for split, frame in zip(("train", "train", "val", "test"), FRAMES, strict=True):
        files[f"{split}/{frame}.png"] = image()
        files[f"{split}_labels/{frame}_L.png"] = CAMVID_32.colors[numbers()]
    return files


def fastai() -> Files:
    files: Files = {"codes.txt": CODES, "valid.txt": f"{FRAMES[2]}.png\n0016E5_99999.png\n"}
    for frame in FRAMES:
        files[f"images/{frame}.png"] = image()
        files[f"labels/{frame}_P.png"] = numbers()
    return files


def segnet() -> Files:
    files: Files = {}
    for split, frame in zip(("train", "train", "val", "test"), FRAMES, strict=True):
        files[f"{split}/{frame}.png"] = image()
        files[f"{split}annot/{frame}.png"] = np.minimum(numbers(), 11)
        line = f"/SegNet/CamVid/{split}/{frame}.png /SegNet/CamVid/{split}annot/{frame}.png;\n"
        files[f"{split}.txt"] = str(files.get(f"{split}.txt", "")) + line
    return files


@pytest.mark.parametrize("below", ["", "CamVid/"])
@pytest.mark.parametrize("form", [original, by_splits, fastai])
def test_the_32_labels_are_read_as_31_classes_and_void_ignored(save_files, form, below: str) -> None:
    folder = open_folder(save_files({below + name: content for name, content in form().items()}))
    assert folder.classes == CAMVID_31
    assert any(note.startswith("read as CamVid") for note in folder.notes)
    assert any("31 classes (Animal, Archway, Bicyclist, Bridge, Building, Car, ...)" in note for note in folder.notes)
    pairs = [pair for pairs in folder.splits.values() for pair in pairs]
    assert sorted(pair.name for pair in pairs) == sorted(FRAMES)
    for pair in pairs:
        np.testing.assert_array_equal(folder.read_pair(pair)[1], expected())


@pytest.mark.parametrize("below", ["", "CamVid/"])
def test_the_segnet_form_is_read_as_11_classes_by_its_folders(save_files, below: str) -> None:
    folder = open_folder(save_files({below + name: content for name, content in segnet().items()}))
    assert folder.classes == CAMVID_11
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": list(FRAMES[:2]),
        "val": [FRAMES[2]],
        "test": [FRAMES[3]],
    }
    label_map = np.minimum(numbers(), 11)
    label_map[label_map == 11] = IGNORE_INDEX
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("test")[0])[1], label_map)


def test_fastais_list_names_the_images_for_validation(save_files) -> None:
    folder = open_folder(save_files(fastai()))
    assert [pair.name for pair in folder.pairs("val")] == [FRAMES[2]]
    assert [pair.name for pair in folder.pairs("train")] == [FRAMES[0], FRAMES[1], FRAMES[3]]
    assert "splits from valid.txt" in folder.notes


def test_splits_of_the_colored_form_are_its_folders(save_files) -> None:
    splits = open_folder(save_files(by_splits())).splits
    assert {split: len(pairs) for split, pairs in splits.items()} == {"train": 2, "val": 1, "test": 1}


def test_a_color_that_is_no_label_is_an_error_that_names_it(save_files) -> None:
    files = original()
    files[f"LabeledApproved_full/{FRAMES[1]}_L.png"][0, 0] = (1, 2, 3)
    with pytest.raises(DataError, match=re.escape(f"{FRAMES[1]}_L.png: holds the color (1, 2, 3), which has no mean")):
        open_folder(save_files(files))


def test_a_classes_yaml_gives_other_names(save_files) -> None:
    names = ", ".join(f"c{i}" for i in range(11))
    folder = open_folder(save_files({**segnet(), "classes.yaml": f"names: [{names}]"}))
    assert folder.classes.names[10] == "c10"


def test_a_validation_list_that_is_no_text_is_an_error(save_files) -> None:
    root = save_files(fastai())
    (root / "valid.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"valid\.txt: cannot be read .*; expected the name of an image per line"):
        open_folder(root)


@pytest.mark.parametrize("form", [original, by_splits, fastai, segnet])
def test_folders_with_other_images_are_left_to_the_general_rule(save_files, form) -> None:
    files = {name.replace("0016E5_", "street_"): content for name, content in form().items()}
    assert recognize(save_files(files)) is None


def test_own_data_in_the_segnet_form_is_read_by_the_general_rule(save_files) -> None:
    files = {
        re.sub("0001TP|0006R0|0016E5|Seq05VD", "street", name): c for name, c in segnet().items() if ".txt" not in name
    }
    folder = open_folder(save_files(files))
    assert folder.classes.names == tuple(f"class_{i}" for i in range(12))
    assert len(folder.pairs("train")) == 2


def test_fastais_folders_with_other_codes_are_left_to_the_general_rule(save_files, tiny_folder: Path) -> None:
    root = save_files({**fastai(), "codes.txt": CODES.replace("Animal", "Beast")})
    assert recognize(root) is None
    assert recognize(tiny_folder) is None
    assert recognize(root / "nowhere") is None
