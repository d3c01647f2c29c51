from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.bdd100k import recognize
from maskpencil.errors import DataError
from maskpencil.known_classes import CITYSCAPES

SIZE = (21, 30)
NAMES = {"train": ("0004a4c0-d4dff0ad", "7d06fefd-f7be05a6"), "val": ("80a9e37d-e4548ac1",)}


def train_ids() -> npt.NDArray[np.uint8]:
    """A row of each class, and two rows of ignored pixels."""
    rows = np.arange(SIZE[0], dtype=np.uint8)
    return np.repeat(np.where(rows < 19, rows, 255).astype(np.uint8)[:, None], SIZE[1], axis=1)


def data_set(images: str = "images/10k", masks: str = "labels/sem_seg/masks", ending: str = "") -> dict[str, Any]:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    files: dict[str, Any] = {f"{images}/test/cabc30fc-e7726578.jpg": noise}
    for split, names in NAMES.items():
        for name in names:
            files[f"{images}/{split}/{name}.jpg"] = noise
            files[f"{masks}/{split}/{name}{ending}.png"] = train_ids()
    return files


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        ("images/10k", "labels/sem_seg/masks", ""),
        ("images/100k", "labels/sem_seg/masks", ""),
        ("images", "labels/sem_seg/masks", ""),
        ("bdd100k/images/10k", "bdd100k/labels/sem_seg/masks", ""),
        ("images", "labels", "_train_id"),
        ("bdd100k/seg/images", "bdd100k/seg/labels", "_train_id"),
    ],
)
def test_every_form_is_read_as_the_19_classes_of_cityscapes(save_files, images: str, masks: str, ending: str) -> None:
    colors = {f"{masks}/../colormaps/train/{NAMES['train'][0]}.png": np.zeros((*SIZE, 3), dtype=np.uint8)}
    folder = open_folder(save_files(data_set(images, masks, ending) | colors))
    folder.check_images()
    assert folder.classes == CITYSCAPES
    assert {split: tuple(pair.name for pair in pairs) for split, pairs in folder.splits.items()} == NAMES
    for pair in (*folder.pairs("train"), *folder.pairs("val")):
        label_map = folder.read_pair(pair)[1]
        np.testing.assert_array_equal(label_map, train_ids())
        assert IGNORE_INDEX in label_map
    assert "test/ left out, its images have no masks" in folder.notes


def test_files_without_a_partner_are_named(save_files) -> None:
    noise = np.zeros((*SIZE, 3), dtype=np.uint8)
    more = {"images/10k/train/alone.jpg": noise, "labels/sem_seg/masks/val/lonely.png": train_ids()}
    notes = open_folder(save_files(data_set() | more)).notes
    assert left_out(notes, "images without a mask") == ["alone.jpg"]
    assert left_out(notes, "masks without an image") == ["lonely.png"]


def test_the_drivable_area_is_read_where_it_is_alone(save_files) -> None:
    files = data_set("images/100k", "labels/drivable/masks")
    rows = np.repeat(np.arange(SIZE[0], dtype=np.uint8)[:, None] % 3, SIZE[1], axis=1)
    masks = {name: rows for name in files if name.startswith("labels")}
    folder = open_folder(save_files(files | masks))
    assert folder.classes.names == ("direct", "alternative", "background")
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], rows)


def test_a_value_that_is_no_class_is_an_error(save_files) -> None:
    wrong = {f"labels/sem_seg/masks/val/{NAMES['val'][0]}.png": np.full(SIZE, 40, dtype=np.uint8)}
    with pytest.raises(DataError, match=r"80a9e37d-e4548ac1\.png: .*40"):
        open_folder(save_files(data_set() | wrong))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    mixed = save_files(data_set("images", "labels", "_train_id") | {"labels/train/x.png": train_ids()})
    no_images = {f"../bare/{name}": c for name, c in data_set().items() if name.startswith("labels")}
    bare = save_files(no_images).parent / "bare"
    for folder in (mixed, bare, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
