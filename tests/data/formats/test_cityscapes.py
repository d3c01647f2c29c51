import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import recognize
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES

SIZE = (34, 48)
FRAMES = {
    "train": ("aachen/aachen_000000_000019", "bochum/bochum_000000_000313"),
    "val": ("lindau/lindau_000000_000019",),
    "test": ("berlin/berlin_000000_000019",),
}
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

Files = dict[str, npt.NDArray[np.uint8] | str]


def label_ids() -> npt.NDArray[np.uint8]:
    """A row of each label: (34, W)."""
    return np.repeat(np.arange(34, dtype=np.uint8)[:, None], SIZE[1], axis=1)


def train_ids() -> npt.NDArray[np.uint8]:
    expected = np.full(SIZE, IGNORE_INDEX, dtype=np.uint8)
    for train_id, label_id in enumerate(EVALUATED):
        expected[label_id] = train_id
    return expected


def unpacked(*, with_train_ids: bool = False) -> Files:
    files: Files = {}
    for split, frames in FRAMES.items():
        for frame in frames:
            files[f"leftImg8bit/{split}/{frame}_leftImg8bit.png"] = np.zeros((*SIZE, 3), dtype=np.uint8)
            mask = np.full(SIZE, 3, dtype=np.uint8) if split == "test" else label_ids()
            files[f"gtFine/{split}/{frame}_gtFine_labelIds.png"] = mask
            files[f"gtFine/{split}/{frame}_gtFine_instanceIds.png"] = mask.astype(np.uint16) * 1000
            files[f"gtFine/{split}/{frame}_gtFine_color.png"] = np.zeros((*SIZE, 3), dtype=np.uint8)
            files[f"gtFine/{split}/{frame}_gtFine_polygons.json"] = "{}"
            if with_train_ids:
                files[f"gtFine/{split}/{frame}_gtFine_labelTrainIds.png"] = np.zeros(SIZE, dtype=np.uint8)
    return files


@pytest.mark.parametrize("with_train_ids", [False, True])
def test_the_data_set_is_read_as_its_19_classes_by_the_published_label_ids(save_files, with_train_ids: bool) -> None:
    folder = open_folder(save_files(unpacked(with_train_ids=with_train_ids)))
    assert folder.classes == CITYSCAPES
    splits = {split: tuple(pair.name for pair in pairs) for split, pairs in folder.splits.items()}
    assert splits == {"train": FRAMES["train"], "val": FRAMES["val"]}
    for pair in (*folder.pairs("train"), *folder.pairs("val")):
        np.testing.assert_array_equal(folder.read_pair(pair)[1], train_ids())
    assert "test left out, its masks are dummies" in folder.notes
    assert not any("without an image" in note for note in folder.notes)


def test_train_ids_are_read_where_there_are_no_label_ids(save_files) -> None:
    files = {name: content for name, content in unpacked().items() if "labelIds" not in name}
    for split in ("train", "val"):
        for frame in FRAMES[split]:
            files[f"gtFine/{split}/{frame}_gtFine_labelTrainIds.png"] = train_ids()
    folder = open_folder(save_files(files))
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], train_ids())


def test_files_without_a_partner_are_reported(save_files) -> None:
    root = save_files(unpacked())
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    assert left_out(open_folder(root).notes, "images without a mask") == ["aachen_000000_000019_leftImg8bit.png"]


def test_the_test_split_alone_is_an_error_that_says_why(save_files) -> None:
    root = save_files(unpacked())
    for split in ("train", "val"):
        shutil.rmtree(root / "leftImg8bit" / split)
        shutil.rmtree(root / "gtFine" / split)
    with pytest.raises(DataError, match="holds only the test split of Cityscapes, whose masks were never published"):
        open_folder(root)


def test_other_folders_are_left_alone(save_files, tiny_folder: Path) -> None:
    root = save_files({name.replace("_gtFine_", "_gtOther_"): content for name, content in unpacked().items()})
    for folder in (root, root / "gtFine", tiny_folder, root / "nowhere"):
        assert recognize(folder) is None
