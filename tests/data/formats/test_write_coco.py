import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from PIL import Image

from maskpencil.classes import ClassSet
from maskpencil.data.folder import open_folder
from maskpencil.data.formats import LabeledImage
from maskpencil.data.formats.coco import write_coco
from maskpencil.errors import DataError

from .conftest import BACKGROUND_FIRST, BACKGROUND_LAST, CORNERS, NESTED, NO_BACKGROUND, class_sets, drawn, label_maps


def written(out: Path, classes: ClassSet, label_maps: Mapping[tuple[str, str], npt.NDArray[np.uint8]]) -> Path:
    """The folder with an image for each label map, by split and name."""
    source = out.with_name(f"{out.name} source.png")
    with write_coco(out, classes) as add:
        for (split, name), label_map in label_maps.items():
            Image.fromarray(np.zeros((*label_map.shape, 3), dtype=np.uint8)).save(source)
            add(LabeledImage(split, name, source, label_map))
    return out


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@example(NESTED, CORNERS, BACKGROUND_FIRST)
@example(NESTED, CORNERS, BACKGROUND_LAST)
@example(NESTED, CORNERS, NO_BACKGROUND)
@example(drawn("."), drawn("."), BACKGROUND_FIRST)  # nothing to annotate
@settings(max_examples=60)
@given(label_maps, label_maps, class_sets)
def test_label_maps_and_classes_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    one: npt.NDArray[np.uint8],
    other: npt.NDArray[np.uint8],
    classes: ClassSet,
) -> None:
    out = written(tmp_path_factory.mktemp("out") / "data", classes, {("train", "a/1"): one, ("val", "2.b"): other})
    folder = open_folder(out)
    assert folder.classes == classes
    for split, name, label_map in (("train", "a/1", one), ("val", "2.b", other)):
        (pair,) = folder.pairs(split)
        assert pair.name == name
        np.testing.assert_array_equal(folder.read_pair(pair)[1], label_map)


def test_a_file_a_split_lies_beside_copies_of_the_images(tmp_path: Path) -> None:
    maps = {("train", "a/1"): NESTED, ("val", "a/1"): CORNERS, ("train", "2"): CORNERS}
    out = written(tmp_path / "out", BACKGROUND_FIRST, maps)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "classes.yaml",
        "images/train/2.png",
        "images/train/a/1.png",
        "images/val/a/1.png",
    ]
    train = content(out / "annotations" / "instances_train.json")
    assert [(image["file_name"], image["height"], image["width"]) for image in train["images"]] == [
        ("a/1.png", 7, 7),
        ("2.png", 5, 5),
    ]


def test_images_without_splits_come_back_by_their_names(tmp_path: Path) -> None:
    maps = {("", f"train/{number}"): NESTED for number in range(3)}
    out = written(tmp_path / "out", BACKGROUND_FIRST, maps)
    assert (out / "annotations" / "instances_default.json").is_file()
    names = {pair.name for pairs in open_folder(out).splits.values() for pair in pairs}
    assert names == {"train/0", "train/1", "train/2"}


@pytest.mark.parametrize(
    ("classes", "used"),
    [
        (BACKGROUND_FIRST, {"tree", "car", "__ignore__"}),
        (BACKGROUND_LAST, {"tree", "car", "__ignore__"}),
        (NO_BACKGROUND, {"tree", "car", "road"}),
    ],
)
def test_what_is_undrawn_has_no_annotation(classes: ClassSet, used: set[str], tmp_path: Path) -> None:
    out = written(tmp_path / "out", classes, {("", "1"): NESTED, ("", "2"): CORNERS})
    data = content(out / "annotations" / "instances_default.json")
    names = {category["id"]: category["name"] for category in data["categories"]}
    assert {names[annotation["category_id"]] for annotation in data["annotations"]} == used
    assert list(names.values()) == [*classes.names, *(["__ignore__"] if "__ignore__" in used else [])]


def test_classes_that_leave_no_label_for_ignored_pixels_are_refused(tmp_path: Path) -> None:
    names = tuple(f"c{i}" for i in range(254))
    message = "there are 255 classes, which leaves no label for ignored pixels"
    with pytest.raises(DataError, match=message), write_coco(tmp_path, ClassSet(("background", *names))):
        pass
    with write_coco(tmp_path, ClassSet(("sky", *names))):  # ignored pixels stay undrawn
        pass


def test_when_an_image_fails_no_annotations_are_left(tmp_path: Path) -> None:
    def fail() -> None:
        with write_coco(tmp_path / "out", BACKGROUND_FIRST) as add:
            Image.fromarray(np.zeros((7, 7, 3), dtype=np.uint8)).save(tmp_path / "1.png")
            add(LabeledImage("train", "1", tmp_path / "1.png", NESTED))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((tmp_path / "out" / "annotations").iterdir()) == []
