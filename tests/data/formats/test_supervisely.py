import base64
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.helpers import left_out
from tests.mask_codes import supervisely_code

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.supervisely import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
BLOB = np.hypot(*(np.indices((15, 15)) - 7)) < 7
CLASSES = (("car", "polygon", "#FF0000"), ("road", "any", "#00FF00"))


def meta(*classes: tuple[str, str, str]) -> str:
    entries = [{"title": t, "shape": s, "color": c, "id": n} for n, (t, s, c) in enumerate(classes or CLASSES)]
    return json.dumps({"classes": entries, "tags": [], "projectType": "images"})


def ann(*objects: dict[str, Any], size: tuple[int, int] = SIZE) -> str:
    return json.dumps(
        {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]}, "objects": list(objects)}
    )


def figure(title: str, kind: str, exterior: Any = None, interior: Any = (), **more: Any) -> dict[str, Any]:
    points = {} if exterior is None else {"points": {"exterior": exterior, "interior": list(interior)}}
    return {"id": 1, "classTitle": title, "geometryType": kind, "tags": [], **points, **more}


def bitmap(title: str, mask: npt.NDArray[np.bool_], x: int, y: int, how: str = "palette", packed: bool = True) -> Any:
    return figure(title, "bitmap", bitmap={"data": supervisely_code(mask, how, packed=packed), "origin": [x, y]})


CAR = figure("car", "polygon", [[10, 5], [19, 5], [19, 14], [10, 14]])


@pytest.fixture
def open_with(save_files):
    """Open a project of the images a and b, with these objects in both."""

    def open_project(*objects: dict[str, Any], **files: Any) -> DataFolder:
        content = {f"ds/{kind}": IMAGE for kind in ("img/a.png", "img/b.png")}
        texts = {f"ds/ann/{name}.png.json": ann(*objects) for name in "ab"}
        folder = open_folder(save_files({**content, **texts, "meta.json": meta(), **files}))
        folder.check_images()
        return folder

    return open_project


def drawn(folder: DataFolder) -> npt.NDArray[np.uint8]:
    return folder.read_pair(folder.pairs("val")[0])[1]


def test_borders_of_polygons_belong_to_them_and_those_of_holes_do_not(open_with) -> None:
    hole = [[13, 8], [16, 8], [16, 11], [13, 11]]
    folder = open_with(figure("car", "polygon", [[10, 5], [19, 5], [19, 14], [10, 14]], [hole]))
    assert "read as Supervisely: 3 classes (background, car, road)" in folder.notes
    assert folder.classes.palette == ((0, 0, 0), (255, 0, 0), (0, 255, 0))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[8:12, 13:17] = 0
    np.testing.assert_array_equal(drawn(folder), expected)


def test_the_last_row_and_column_of_a_rectangle_belong_to_it(open_with) -> None:
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[4:9, 3:12] = 2
    for corners in ([[3, 4], [11, 8]], [[11, 8], [3, 4]], [[3.7, 4.2], [11.4, 8.9]]):
        np.testing.assert_array_equal(drawn(open_with(figure("road", "rectangle", corners))), expected)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("how", ["palette", "alpha", "gray"])
def test_masks_are_png_of_any_kind_packed_or_not(open_with, how: str, packed: bool) -> None:
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[6:21, 20:35][BLOB] = 2
    np.testing.assert_array_equal(drawn(open_with(bitmap("road", BLOB, 20, 6, how, packed))), expected)


def test_alpha_masks_are_cut_at_one_half(open_with) -> None:
    levels = np.linspace(0, 255, 48).astype(np.uint8)[None].repeat(32, axis=0)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, format="PNG")
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    label_map = drawn(open_with(figure("car", "alpha_mask", bitmap={"data": data, "origin": [0, 0]})))
    np.testing.assert_array_equal(label_map, np.where(levels >= 128, 1, 0))


def test_later_shapes_lie_over_earlier_ones_and_parts_are_one_shape(open_with) -> None:
    parts = [{"exterior": [[x, 0], [x + 9, 0], [x + 9, 9], [x, 9]], "interior": []} for x in (0, 20)]
    label_map = drawn(open_with(CAR, figure("road", "multipolygon", parts=parts)))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[:10, :10] = expected[:10, 20:30] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_shapes_are_cut_off_at_the_image(open_with) -> None:
    far = figure("car", "polygon", [[-20, -20], [5, -20], [5, 90], [-20, 90]])
    label_map = drawn(open_with(far, bitmap("road", BLOB, 40, -8)))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[:, :6] = 1
    expected[:7, 40:][BLOB[8:, :8]] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_the_kind_is_the_class_s_where_the_object_names_none(open_with) -> None:
    bare = {key: value for key, value in CAR.items() if key != "geometryType"}
    assert (drawn(open_with(bare)) == 1).sum() == 100
    old = {**bare, "shape": "polygon", "bitmap": None}
    assert (drawn(open_with(old)) == 1).sum() == 100
    with pytest.raises(DataError, match=r"object 1: has no shape type, and its class 'road' has no shape type either"):
        open_with({**bare, "classTitle": "road"})


def test_what_has_no_area_is_left_out_with_a_warning(open_with) -> None:
    line = figure("car", "line", [[1, 1], [9, 9]])
    two = figure("car", "polygon", [[1, 1], [9, 9]])
    strange = figure("car", "hologram")
    nothing = bitmap("car", np.zeros((4, 4), dtype=bool), 1, 1)
    folder = open_with(line, two, strange, nothing, CAR)
    assert (drawn(folder) == 1).sum() == 100
    warnings = [note for note in folder.notes if note.startswith("warning")]
    assert [re.sub(r" \(.*?\);.*", "", warning) for warning in warnings] == [
        "warning: 2 shapes of the type line, which have no area, left out",
        "warning: 2 shapes of the unknown type 'hologram' left out",
        "warning: 4 shapes without an area left out",
    ]
    assert "ds/ann/a.png.json: object 1" in warnings[0]


def test_datasets_named_for_splits_are_the_splits(save_files) -> None:
    files: dict[str, Any] = {"meta.json": meta()}
    for split in ("train", "val"):
        files |= {f"{split}/img/{name}.jpg": IMAGE for name in "ab"}
        files |= {f"{split}/ann/{name}.jpg.json": ann(CAR) for name in "ab"}
    folder = open_folder(save_files(files))
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "b"],
        "val": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("image", "annotation"),
    [
        ("ds/img/a.png", "ds/ann/a.json"),  # of older exports
        ("ds/datasets/inner/img/a.png", "ds/datasets/inner/ann/a.png.json"),
        ("project/ds/img/a.png", "project/ds/ann/a.png.json"),
        ("img/a.png", "ann/a.png.json"),
        ("ds/img/a.PNG", "ds/ann/a.png.json"),
    ],
)
def test_datasets_lie_at_any_place_and_names_may_lack_the_suffix(save_files, image: str, annotation: str) -> None:
    image = image.replace("PNG", "png")
    other, theirs = image.replace("a.png", "b.png"), annotation.replace("a.", "b.")
    place = "project/meta.json" if image.startswith("project") else "meta.json"
    folder = open_folder(save_files({image: IMAGE, annotation: ann(CAR), other: IMAGE, theirs: ann(), place: meta()}))
    assert {Path(pair.name).name for pairs in folder.splits.values() for pair in pairs} == {"a", "b"}
    assert folder.classes.names == ("background", "car", "road")


def test_the_titles_are_the_classes_where_meta_json_is_missing(save_files) -> None:
    files = {f"ds/img/{name}.png": IMAGE for name in "ab"} | {f"ds/ann/{name}.png.json": ann(CAR) for name in "ab"}
    assert open_folder(save_files(files)).classes.names == ("background", "car")


def test_classes_of_lines_and_points_are_no_classes(open_with) -> None:
    classes = (("lane", "line", "#000001"), ("nose", "point", "#000002"), ("car", "polygon", "#000003"))
    assert open_with(CAR, **{"meta.json": meta(*classes)}).classes.names == ("background", "car")


def test_images_without_file_and_files_without_image_are_named(open_with) -> None:
    notes = open_with(CAR, **{"ds/ann/gone.png.json": ann(CAR), "ds/img/alone.png": IMAGE}).notes
    assert left_out(notes, "images without a mask") == ["alone.png"]
    assert left_out(notes, "masks without an image") == ["gone.png"]


PNG = supervisely_code(BLOB)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (5, "object 1 is 5; expected an object"),
        ({"geometryType": "polygon"}, "object 1: 'classTitle' is missing; expected a text"),
        (figure("car", "polygon"), "object 1: 'points' is missing; expected an object"),
        ({**CAR, "geometryType": {"a": 1}}, "'geometryType' is {'a': 1}; expected the name of a shape"),
        (figure("car", "polygon", 5), "object 1: points: has the points 5"),
        (figure("car", "polygon", [[1, 2], [3, "4"], [5, 6]]), "object 1: points: has the points"),
        (figure("car", "polygon", [[1, 2], [3, 1e30], [5, 6]]), "object 1: points: has a point at"),
        (figure("car", "polygon", [[1, 2], [3, 4], [5, 6]], [5]), "object 1: points: hole 1: has the points 5"),
        (
            {**CAR, "points": {"exterior": CAR["points"]["exterior"], "interior": {"a": 1}}},
            "'interior' is {'a': 1}; expected a list of holes",
        ),
        (figure("car", "rectangle", [[1, 2], [3, 4], [5, 6]]), "expected two corners"),
        (figure("car", "bitmap"), "object 1: 'bitmap' is missing"),
        (figure("car", "bitmap", bitmap={"data": PNG, "origin": [1]}), "'origin' is [1]; expected a column and a row"),
        (figure("car", "bitmap", bitmap={"data": PNG[:40], "origin": [1, 1]}), "object 1: bitmap: its mask cannot be"),
        (figure("car", "bitmap", bitmap={"data": "a", "origin": [1, 1]}), "object 1: bitmap: its mask is not base64"),
        (figure("car", "bitmap", bitmap={"data": "", "origin": [1, 1]}), "'data' is ''; expected a text"),
        (figure("car", "multipolygon", parts=5), "'parts' is 5; expected a list"),
    ],
)
def test_an_object_that_cannot_be_is_an_error_that_names_it(open_with, entry: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_with(entry)
    text = str(caught.value)
    assert re.search(r"ds/ann/a\.png\.json: object 1.*" + re.escape(message) + "|" + re.escape(message), text)
    assert "a.png.json: object 1" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"meta.json": '{"classes": 5}'}, r"meta\.json: 'classes' is 5; expected a list"),
        ({"meta.json": '{"classes": [{"title": 5}]}'}, r"meta\.json: class 1: 'title' is 5; expected a text"),
        ({"ds/ann/a.png.json": ann(CAR, size=(8, 8))}, r"states 8 x 8 pixels, but a\.png is 48 x 32"),
        ({"ds/ann/a.png.json": '{"size": 5, "objects": []}'}, r"'size' is 5; expected an object"),
        ({"ds/ann/a.png.json": '{"size": {}, "objects": 5}'}, r"'objects' is 5; expected a list"),
        ({"ds/ann/a.png.json": ann(CAR)[:-1]}, r"a\.png\.json: is not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_is_an_error(open_with, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_with(CAR, **files)


def test_a_project_without_its_images_says_what_to_do(save_files) -> None:
    root = save_files({"meta.json": meta(), "ds/ann/a.png.json": ann(CAR), "ds/ann/b.png.json": ann(CAR)})
    with pytest.raises(DataError, match=r"names 2 images \('a\.png', \.\.\.\), but none .* download the project from"):
        open_folder(root)


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    root = save_files({"img/a.png": IMAGE, "ann/a.png": IMAGE[..., 0], "ann/notes.json": '{"size": 3}'})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
