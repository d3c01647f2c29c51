import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.mapillary import recognize
from maskpencil.errors import DataError

SIZE = (12, 20)
NAMES = ("animal--bird", "construction--flat--road", "object--vehicle--car", "void--unlabeled")
COLORS = ([165, 42, 42], [128, 64, 128], [0, 0, 142], [0, 0, 0])


def config(names: tuple[str, ...] = NAMES, **changed: Any) -> str:
    labels = [
        {"name": name, "readable": name.split("--")[-1], "color": color, "evaluate": not name.startswith("void")}
        for name, color in zip(names, COLORS, strict=True)
    ]
    return json.dumps({"labels": labels, "version": "1.1", "mapping": "public", **changed})


def mask(seed: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 4, SIZE).astype(np.uint8)


def data_set(*releases: str) -> dict[str, Any]:
    """The files of the data set with these folders of labels, "" for the first release."""
    noise = np.random.default_rng(0)
    files: dict[str, Any] = {}
    for split, names in (("training", "abc"), ("validation", "de"), ("testing", "f")):
        for number, name in enumerate(names):
            files[f"{split}/images/{name}.jpg"] = noise.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            for release in releases if split != "testing" else ():
                folder = f"{split}/{release}/" if release else f"{split}/"
                files[f"{folder}labels/{name}.png"] = mask(number)
                files[f"{folder}instances/{name}.png"] = mask(number).astype(np.uint16) * 256 + number
                files[f"{folder}panoptic/{name}.png"] = noise.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    return files | {f"config_{release}.json" if release else "config.json": config() for release in releases}


@pytest.mark.parametrize("releases", [("",), ("v1.2",), ("v2.0",), ("v1.2", "v2.0")])
def test_every_release_is_read_with_names_colors_and_splits(save_files, releases: tuple[str, ...]) -> None:
    folder = open_folder(save_files(data_set(*releases)))
    folder.check_images()
    assert folder.classes.names == NAMES[:3]
    assert folder.classes.palette == tuple(map(tuple, COLORS[:3]))
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "b", "c"],
        "val": ["d", "e"],
    }
    for number, pair in enumerate(folder.pairs("train")):
        expected = np.where(mask(number) == 3, IGNORE_INDEX, mask(number))
        np.testing.assert_array_equal(folder.read_pair(pair)[1], expected)
    assert "testing/ left out, its images have no masks" in folder.notes
    name = f"Mapillary Vistas {releases[-1]}".strip()
    assert any(note.startswith(f"read as {name}: 3 classes") for note in folder.notes)


def test_of_two_releases_the_newest_is_read_and_the_remedy_gives_the_other(save_files, tmp_path: Path) -> None:
    files = data_set("v1.2", "v2.0") | {"config_v1.2.json": config(("bird", "road", "car", "void"))}
    root = save_files(files)
    notes = open_folder(root).notes
    assert "v1.2 left out; to read it, move v2.0/ and config_v2.0.json away" in notes
    for place in ("training/v2.0", "validation/v2.0", "config_v2.0.json"):
        (root / place).rename(tmp_path / place.replace("/", "-"))
    assert open_folder(root).classes.names == ("bird", "road", "car")


def test_labels_alone_are_enough_and_panoptic_alone_is_not(save_files) -> None:
    files = data_set("v2.0")
    labels = {name: content for name, content in files.items() if "instances" not in name and "panoptic" not in name}
    assert len(open_folder(save_files(labels)).classes) == 3
    others = {f"../other/{name}": content for name, content in files.items() if "labels/" not in name}
    assert recognize(save_files(others).parent / "other") is None


def test_images_without_labels_are_named(save_files) -> None:
    files = data_set("") | {"training/images/alone.jpg": np.zeros((*SIZE, 3), dtype=np.uint8)}
    assert left_out(open_folder(save_files(files)).notes, "images without a mask") == ["alone.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"config\.json: is not valid JSON"),
        (config().replace("[165, 42, 42]", "[165, 42]"), r"config\.json: label 1 has the color '165 42'"),
        (config().replace("[165, 42, 42]", '"red"'), r"config\.json: label 1 has the color 'red'"),
        (config().replace('"animal--bird"', "7"), r"config\.json: label 1 has the name '7'; expected a text"),
        (config().replace('{"name"', '"x", {"name"', 1), r"config\.json: label 1 is 'x'; expected an object"),
        (config().replace("false", "0"), r"config\.json: 'evaluate' of label 4 is '0'; expected true or false"),
        (config(("a", "a", "b", "c")), r"config\.json: class names must differ"),
    ],
)
def test_a_file_of_labels_that_cannot_be_is_an_error(save_files, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_folder(save_files(data_set("") | {"config.json": text}))


def test_a_release_without_its_labels_is_an_error(save_files) -> None:
    with pytest.raises(DataError, match=r"config_v2\.0\.json: has no labels with names and colors"):
        open_folder(save_files(data_set("v2.0") | {"config_v2.0.json": '{"labels": []}'}))


def test_a_number_without_a_label_is_an_error(save_files) -> None:
    with pytest.raises(DataError, match=r"a\.png: .*4"):
        open_folder(save_files(data_set("") | {"training/labels/a.png": np.full(SIZE, 4, dtype=np.uint8)}))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    files = data_set("")
    bare = {f"../bare/{name}": content for name, content in files.items() if name != "config.json"}
    strange = {f"../strange/{name}": content for name, content in files.items()} | {
        "../strange/config.json": '{"a": 1}'
    }
    root = save_files(bare | strange).parent
    for folder in (root / "bare", root / "strange", tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
