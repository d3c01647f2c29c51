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
from maskpencil.data.formats.labelme import write_labelme
from maskpencil.errors import DataError

from .conftest import BACKGROUND_FIRST, BACKGROUND_LAST, CORNERS, NESTED, NO_BACKGROUND, class_sets, drawn, label_maps


def written(out: Path, classes: ClassSet, label_maps: Mapping[tuple[str, str], npt.NDArray[np.uint8]]) -> Path:
    """The folder with an image for each label map, by split and name."""
    source = out.with_name(f"{out.name} source.png")
    with write_labelme(out, classes) as add:
        for (split, name), label_map in label_maps.items():
            Image.fromarray(np.zeros((*label_map.shape, 3), dtype=np.uint8)).save(source)
            add(LabeledImage(split, name, source, label_map))
    return out


def shapes(path: Path) -> list[Any]:
    return list(json.loads(path.read_text(encoding="utf-8"))["shapes"])


@example(NESTED, CORNERS, BACKGROUND_FIRST)
@example(NESTED, CORNERS, BACKGROUND_LAST)
@example(NESTED, CORNERS, NO_BACKGROUND)
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


def test_files_lie_beside_copies_of_the_images(tmp_path: Path) -> None:
    out = written(tmp_path / "out", BACKGROUND_FIRST, {("", "a/1.x"): NESTED, ("", "2"): CORNERS})
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "2.json",
        "2.png",
        "a/1.x.json",
        "a/1.x.png",
        "classes.yaml",
    ]
    content = json.loads((out / "a" / "1.x.json").read_text(encoding="utf-8"))
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("1.x.png", 7, 7)
    names = {pair.name for pairs in open_folder(out).splits.values() for pair in pairs}
    assert names == {"a/1.x", "2"}


def test_background_is_drawn_only_where_something_else_would_cover_it(tmp_path: Path) -> None:
    ring = drawn(".....", ".###.", ".#.#.", ".###.", ".....")
    out = written(tmp_path / "out", BACKGROUND_FIRST, {("", "1"): ring, ("", "2"): drawn("..", "# ")})
    outer, hole = shapes(out / "1.json")
    assert (outer["label"], sorted(outer["points"])) == ("tree", [[1, 1], [1, 4], [4, 1], [4, 4]])
    assert (hole["label"], sorted(hole["points"])) == ("background", [[2, 2], [2, 3], [3, 2], [3, 3]])
    assert [shape["label"] for shape in shapes(out / "2.json")] == ["tree", "__ignore__"]


def test_without_a_background_class_all_but_ignored_pixels_are_drawn(tmp_path: Path) -> None:
    out = written(tmp_path / "out", NO_BACKGROUND, {("", "1"): drawn(". ", "  "), ("", "2"): NESTED})
    assert [shape["label"] for shape in shapes(out / "1.json")] == ["tree"]
    assert [shape["label"] for shape in shapes(out / "2.json")] == ["car", "tree", "road", "__ignore__"]


def test_shapes_that_meet_at_corners_are_one_group(tmp_path: Path) -> None:
    out = written(tmp_path / "out", BACKGROUND_FIRST, {("", "1"): drawn("#.o", ".#."), ("", "2"): NESTED})
    groups = [(shape["label"], shape["group_id"]) for shape in shapes(out / "1.json")]
    assert sorted(groups, key=str) == [("car", None), ("tree", 1), ("tree", 1)]


def test_classes_that_leave_no_label_for_ignored_pixels_are_refused(tmp_path: Path) -> None:
    for classes in (ClassSet(tuple(f"c{i}" for i in range(255))), ClassSet(("a", "__ignore__"))):
        with pytest.raises(DataError, match="leaves no label for ignored pixels"), write_labelme(tmp_path, classes):
            pass
