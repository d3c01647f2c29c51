import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.labelme_voc import recognize
from maskpencil.errors import DataError

SIZE = (16, 24)


def label_map(seed: int) -> npt.NDArray[np.uint8]:
    """Areas of three classes, and an ignored one."""
    found = np.zeros(SIZE, dtype=np.uint8)
    found[2:9, 2 + seed : 10] = 1
    found[8:14, 12:20] = 2
    found[:2] = IGNORE_INDEX
    return found


def data_set(masks: str, arrays: str, names: str = "_background_\ncat\ndog", stems: str = "abcde") -> dict[str, Any]:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    files: dict[str, Any] = {"class_names.txt": names}
    for number, name in enumerate(stems):
        files[f"JPEGImages/{name}.jpg"] = noise
        if masks:
            files[f"{masks}/{name}.png"] = label_map(number)
        files[f"{arrays}/{name}.npy"] = "an array"
        files[f"SegmentationClassVisualization/{name}.jpg"] = noise // 2
        files[f"SegmentationObjectPNG/{name}.png"] = label_map(number) * 3
    return files


@pytest.mark.parametrize(
    ("masks", "arrays"),
    [("SegmentationClassPNG", "SegmentationClass"), ("SegmentationClass", "SegmentationClassNpy")],
)
@pytest.mark.parametrize("names", ["_background_\ncat\ndog", "__ignore__\n_background_\r\ncat\ndog\n"])
def test_both_forms_are_read_with_their_names(save_files, masks: str, arrays: str, names: str) -> None:
    folder = open_folder(save_files(data_set(masks, arrays, names)))
    folder.check_images()
    assert folder.classes.names == ("_background_", "cat", "dog")
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    for number, name in enumerate("abcde"):
        np.testing.assert_array_equal(maps[name], label_map(number))
    assert f"masks from {masks}/" in folder.notes


def test_images_named_as_pascal_voc_s_keep_their_own_names(save_files) -> None:
    files = data_set("SegmentationClass", "SegmentationClassNpy", stems="0123")
    numbered = {re.sub(r"/(\d)\.", r"/2011_00000\1.", name): content for name, content in files.items()}
    assert open_folder(save_files(numbered)).classes.names == ("_background_", "cat", "dog")


def test_arrays_alone_are_named_with_what_to_do(save_files) -> None:
    with pytest.raises(DataError, match=r"holds labelme2voc's masks only as arrays \(\.npy\), .* run labelme2voc\.py"):
        open_folder(save_files(data_set("", "SegmentationClass")))


def test_a_number_without_a_name_is_an_error(save_files) -> None:
    with pytest.raises(DataError, match=r"a\.png: .*2"):
        open_folder(save_files(data_set("SegmentationClass", "SegmentationClassNpy", "_background_\ncat")))
    with pytest.raises(DataError, match=r"class_names\.txt: class names must differ"):
        open_folder(save_files({"class_names.txt": "cat\ncat\ndog"}))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    files = data_set("SegmentationClass", "SegmentationClassNpy")
    bare = {f"../bare/{name}": content for name, content in files.items() if name != "class_names.txt"}
    empty = {f"../empty/{name}": content for name, content in files.items() if not name.startswith("SegmentationClass")}
    root = save_files(bare | empty | {"../empty/SegmentationClass/readme.txt": ""}).parent
    for folder in (root / "bare", root / "empty", tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
