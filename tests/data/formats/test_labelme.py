import base64
import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from PIL import Image
from tests.helpers import (
    BACKGROUND_FIRST,
    BACKGROUND_LAST,
    CORNERS,
    NESTED,
    NO_BACKGROUND,
    assert_reads_back,
    class_sets,
    drawn,
    label_maps,
    left_out,
    write_blank_images,
)

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats import labelme
from maskpencil.data.formats.labelme import write_labelme
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
ROWS, COLUMNS = np.indices(SIZE) + 0.5  # the middles of the pixels
BOX = [[10, 5], [30, 25]]


def shape(label: Any, points: Any, kind: Any = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def file(shapes: Any, image: Any = "1.png", **more: Any) -> str:
    height, width = SIZE
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    return json.dumps({**content, "imageHeight": height, "imageWidth": width, **more})


def png(mask: npt.NDArray[np.bool_]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pairs(folder: DataFolder) -> dict[str, npt.NDArray[np.uint8]]:
    """The label maps by name."""
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


def two(*shapes: Any, **more: Any) -> dict[str, Any]:
    """An image with the shapes, and one without."""
    return {"1.png": IMAGE, "1.json": file(shapes, **more), "2.png": IMAGE, "2.json": file([], "2.png")}


def label_map(save_files: Callable[..., Path], *shapes: Any, **more: Any) -> npt.NDArray[np.uint8]:
    return pairs(open_folder(save_files(two(*shapes, **more))))["1"]


def test_later_shapes_lie_over_earlier_ones_and_classes_are_the_sorted_labels(save_files) -> None:
    root = save_files(
        two(
            shape("tree", [[0, 0], [48, 0], [48, 16], [0, 16]]),
            shape("car", BOX, "rectangle"),
            shape("__ignore__", [[20, 10], [48, 10], [48, 12], [20, 12]]),
            shape("_background_", [[0, 0], [4, 0], [4, 4], [0, 4]], None),
        )
    )
    folder = open_folder(root)
    assert folder.classes.names == ("background", "car", "tree")
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[:16] = 2
    expected[5:25, 10:30] = 1
    expected[10:12, 20:] = IGNORE_INDEX
    expected[:4, :4] = 0
    np.testing.assert_array_equal(pairs(folder)["1"], expected)
    np.testing.assert_array_equal(pairs(folder)["2"], np.zeros(SIZE))
    assert "read as labelme: 3 classes (background, car, tree)" in folder.notes


DISTANCE_TO_LINE = np.abs(np.cos(0.3) * (ROWS - 8) - np.sin(0.3) * (COLUMNS - 10))
ALONG_LINE = np.sin(0.3) * (ROWS - 8) + np.cos(0.3) * (COLUMNS - 10)
LINE_END = [10 + 25.25 * np.cos(0.3), 8 + 25.25 * np.sin(0.3)]
SHAPES = {
    "a rectangle from any corner": (
        shape("a", [[30.2, 5], [9.6, 24.6]], "rectangle"),
        (ROWS > 5) & (ROWS < 24.6) & (COLUMNS > 9.6) & (COLUMNS < 30.2),
    ),
    "a triangle": (
        shape("a", [[5.1, 4.3], [40.2, 4.3], [5.1, 30.9]], "polygon"),
        (COLUMNS > 5.1) & (ROWS > 4.3) & ((COLUMNS - 5.1) / 35.1 + (ROWS - 4.3) / 26.6 < 1),
    ),
    "a circle": (
        shape("a", [[20.3, 15.2], [26.3, 23.2]], "circle"),
        (ROWS - 15.2) ** 2 + (COLUMNS - 20.3) ** 2 < 100,
    ),
    "a circle half outside": (
        shape("a", [[0.3, 0.2], [-20.1, 0.2]], "circle"),
        (ROWS - 0.2) ** 2 + (COLUMNS - 0.3) ** 2 < 20.4**2,
    ),
    "a point": (
        shape("a", [[20.2, 15.4]], "point"),  # no pixel's middle lies within 0.05 of the rim
        (ROWS - 15.4) ** 2 + (COLUMNS - 20.2) ** 2 < labelme.POINT_RADIUS**2,
    ),
    "a line": (
        shape("a", [[10, 8], LINE_END], "line"),
        (DISTANCE_TO_LINE < labelme.LINE_WIDTH / 2) & (ALONG_LINE > 0) & (ALONG_LINE < 25.25),
    ),
    "a strip with a round corner": (
        shape("a", [[10.3, 0], [10.3, 20.2], [48, 20.2]], "linestrip"),
        ((np.abs(COLUMNS - 10.3) < 5) & (ROWS < 20.2))
        | ((np.abs(ROWS - 20.2) < 5) & (COLUMNS > 10.3))
        | ((ROWS - 20.2) ** 2 + (COLUMNS - 10.3) ** 2 < 25),
    ),
    "a turned rectangle": (
        shape("a", [[20.5, 3.3], [32.7, 15.5], [20.5, 27.7], [8.3, 15.5]], "rotation"),
        np.abs(ROWS - 15.5) + np.abs(COLUMNS - 20.5) < 12.2,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_cover_the_pixels_whose_middles_lie_in_them(name: str, save_files) -> None:
    drawn, expected = SHAPES[name]
    assert expected.any()
    np.testing.assert_array_equal(label_map(save_files, drawn), expected)


@pytest.mark.parametrize("half_open", [0, 1])
def test_masks_lie_in_their_boxes_and_are_cut_at_the_rim(half_open: int, save_files) -> None:
    mask = np.random.default_rng(0).random((20, 12)) < 0.5
    box = [[40, -3], [51 + half_open, 16 + half_open]]
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[:17, 40:] = mask[3:, :8]
    np.testing.assert_array_equal(label_map(save_files, shape("a", box, "mask", mask=png(mask))), expected)


def test_how_lines_and_points_are_drawn_is_reported(save_files) -> None:
    notes = open_folder(save_files(two(shape("a", BOX, "line"), shape("a", [[1, 1]], "point")))).notes
    assert "lines are drawn 10 pixels thick" in notes
    assert "points are drawn as discs of 10 pixels" in notes


def test_a_class_file_orders_the_classes_and_must_name_all(save_files) -> None:
    root = save_files({**two(shape("car", BOX, "rectangle")), "classes.yaml": "names: [tree, car]"})
    folder = open_folder(root)
    assert folder.classes.names == ("tree", "car")
    expected = np.full(SIZE, IGNORE_INDEX)  # there is no background class
    expected[5:25, 10:30] = 1
    np.testing.assert_array_equal(pairs(folder)["1"], expected)
    (root / "classes.yaml").write_text("names: [tree, bus]")
    with pytest.raises(DataError, match=r"classes\.yaml: does not name 'car'"):
        open_folder(root)


def corner(number: int) -> list[Any]:
    """Draw one rectangle in the upper left."""
    return [shape("a", [[0, 0], [number, 1]], "rectangle")]


@pytest.mark.parametrize(
    ("image", "annotation", "named"),
    [
        ("{}.png", "{}.json", "{}.png"),
        ("images/{}.png", "annotations/{}.json", "../images/{}.png"),
        ("images/{}.png", "annotations/{}.json", "{}.png"),
        ("images/{}.png", "labels/{}.json", "..\\images\\{}.png"),
        ("Images/{}.png", "json/{}.json", "C:\\Users\\anna\\images\\{}.png"),
        ("photos/{}.png", "drawn/{}.json", "/home/anna/{}.png"),
        ("{}.png", "{}.json", "IMG_{}.jpg"),  # both were renamed
    ],
)
def test_images_are_found_where_they_lie_now(image: str, annotation: str, named: str, save_files) -> None:
    files: dict[str, Any] = {}
    for number in (1, 2, 3):
        files[image.format(number)] = IMAGE
        files[annotation.format(number)] = file(corner(number), named.format(number))
    root = save_files(files)
    folder = open_folder(root)
    assert len(pairs(folder)) == 3
    for pair in (pair for pairs in folder.splits.values() for pair in pairs):
        number = int(pair.image.stem)
        assert pair.image == root / image.format(number)
        assert (folder.read_pair(pair)[1] > 0).sum() == number


@pytest.mark.parametrize(
    ("image", "annotation"),
    [
        ("{}/1.png", "{}/1.json"),
        ("{}/images/1.png", "{}/annotations/1.json"),
        ("images/{}/1.png", "annotations/{}/1.json"),
    ],
)
def test_folders_of_splits_are_splits(image: str, annotation: str, save_files) -> None:
    files: dict[str, Any] = {}
    for number, split in enumerate(("train", "valid", "test"), start=1):
        files[image.format(split)] = IMAGE
        files[annotation.format(split)] = file(corner(number))
    root = save_files(files)
    folder = open_folder(root)
    assert list(folder.splits) == ["train", "val", "test"]
    for number, (split, called) in enumerate(
        zip(("train", "val", "test"), ("train", "valid", "test"), strict=True), start=1
    ):
        (pair,) = folder.pairs(split)
        assert pair.name == "1"
        assert pair.image == root / image.format(called)
        assert (folder.read_pair(pair)[1] == 1).sum() == number


def test_folders_that_are_no_splits_are_part_of_the_names(save_files) -> None:
    files: dict[str, Any] = {}
    for place in ("a", "b"):
        files[f"images/{place}/1.png"] = IMAGE
        files[f"annotations/{place}/1.json"] = file([], f"../../images/{place}/1.png")
    assert set(pairs(open_folder(save_files(files)))) == {"a/1", "b/1"}


def test_files_without_a_partner_are_left_out_and_reported(save_files) -> None:
    files = {**two(), "3.png": IMAGE, "4.json": file([shape("alone", BOX, "rectangle")], "4.png"), "via.json": "{}"}
    folder = open_folder(save_files(files))
    assert set(pairs(folder)) == {"1", "2"}
    assert folder.classes.names == ("background",)
    assert left_out(folder.notes, "images without a mask") == ["3.png"]
    assert left_out(folder.notes, "masks without an image") == ["4.json"]


def test_the_size_is_the_images_where_the_file_has_none_and_must_be_it_where_it_has(save_files) -> None:
    root = save_files(two(shape("a", BOX, "rectangle"), imageHeight=None, imageWidth=None))
    assert pairs(open_folder(root))["1"].shape == SIZE
    (root / "1.json").write_text(file([shape("a", BOX, "rectangle")], imageHeight=SIZE[0] * 2, imageWidth=SIZE[1] * 2))
    with pytest.raises(DataError, match=r"1\.json: is 96 x 64 pixels, but its image 1\.png is 48 x 32"):
        open_folder(root).check_images()
    (root / "1.json").write_text(file([shape("a", BOX, "rectangle")], imageHeight=SIZE[1], imageWidth=SIZE[0]))
    with pytest.raises(
        DataError, match=r"1\.json is 32 x 48 in the file, but the image is shown as 48 x 32, and the outlines do not"
    ):
        open_folder(root)


def test_files_without_any_image_are_an_error_that_names_one(save_files) -> None:
    with pytest.raises(
        DataError, match=r"has 1 labelme files, but all their images are missing \(1\.json names 'photo\.jpg'\); put"
    ):
        open_folder(save_files({"1.json": file([], "photo.jpg")}))


def test_two_files_of_one_image_are_an_error(save_files) -> None:
    root = save_files({**two(), "3.png": IMAGE, "3.json": file([], "1.png")})
    with pytest.raises(DataError, match=re.escape(f"3.json: names the image '1.png', as does {root / '1.json'}")):
        open_folder(root)


@pytest.mark.parametrize("name", ["../../etc/x.png", "/etc/x.png", "..\\..\\etc\\x.png", "C:\\etc\\x.png"])
def test_images_outside_of_the_folder_are_never_taken(name: str, tmp_path: Path, save_files) -> None:
    outside = tmp_path / "etc" / "x.png"
    outside.parent.mkdir()
    Image.fromarray(IMAGE).save(outside)
    root = save_files({"in/1.json": file([], name if name[0] != "/" else str(outside))})
    with pytest.raises(DataError, match=r"is outside|all their images are missing"):
        open_folder(root / "in")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (file({}), r"1\.json: 'shapes' is \{\}; expected a list"),
        (file([], 7), r"1\.json: 'imagePath' is 7; expected the name"),
        (file([], imageWidth=1e9), r"1\.json: is 1000000000.0 x 32 pixels; at most 134 million"),
        (file([], imageHeight=10**400), r"1\.json: is 48 x .* pixels; at most 134 million"),
        (file([], imageHeight="32"), r"1\.json: has the height '32' and the width 48; expected whole numbers"),
        (file([], imageHeight=float("nan")), "has the height nan"),
        (file([], imageHeight=-3), "has the height -3"),
        (file([], imageHeight=None), "has the height None"),
        (file([[]]), r"1\.json: shape 1 is \[\]; expected an object"),
        (file([shape(None, BOX)]), "shape 1: 'label' is None; expected a text"),
        (file([shape("", BOX)]), "shape 1: 'label' is ''; expected a text"),
        (file([shape("a", [[1, 2]] * 3, "rectangle")]), "is a rectangle of 3 points; expected 2 or 4"),
        (file([shape("a", BOX * 2, "circle")]), "is a circle of 4 points; expected 2"),
        (file([shape("a", None)]), r"has the points None; expected a list of \[x, y\]"),
        (file([shape("a", [[1, 2], [3], [4, 5]])]), "has the points"),
        (file([shape("a", [[1, "2"], [3, 4], [4, 5]])]), "has the points"),
        (file([shape("a", [[1, None], [3, 4], [4, 5]])]), "has the points"),
        (file([shape("a", [[1, float("nan")], [3, 4], [4, 5]])]), "has a point at nan"),
        (file([shape("a", [[1, 1e300], [3, 4], [4, 5]])]), r"has a point at 1e\+300"),
        (file([shape("a", [[1, 10**400], [3, 4], [4, 5]])]), "has a point at 1000"),
        (file([shape("a", BOX, "cuboid")]), "'shape_type' is 'cuboid'; expected polygon, rectangle"),
        (file([shape("a", BOX, ["mask"])]), r"'shape_type' is \['mask'\]"),
        (file([shape("a", BOX, "mask")]), "'mask' is missing; expected a PNG"),
        (file([shape("a", BOX, "mask", mask="%%%=")]), "its mask"),
        (file([shape("a", BOX, "mask", mask="é")]), "its mask is not base64"),
        (file([shape("a", BOX, "mask", mask="AAAA")]), "its mask cannot be read"),
        (
            file([shape("a", BOX, "mask", mask=png(np.ones((4, 4), dtype=bool)))]),
            r"is 4 x 4 pixels, but its box is 21 x 21",
        ),
        (file([shape("a", BOX[:1], "mask", mask=png(np.ones((1, 1), dtype=bool)))]), "is a mask with 1 point"),
        ('{"imagePath": "1.png", "shapes": ' + "[" * 100_000, "is nested too deeply"),
        (file([])[:-1], "is not valid JSON"),
        (file([])[:-1] + ', "shapes": [1]}', r"is not valid JSON \(the name 'shapes' occurs twice in one mapping"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(text: str, message: str, save_files) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_folder(save_files({"1.png": IMAGE, "1.json": text}))
    assert "1.json: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_folders_are_left_alone(tiny_folder: Path, save_files, tmp_path: Path) -> None:
    root = save_files({"images/1.png": IMAGE, "masks/1.png": IMAGE[..., 0], "images/1.json": file([])})
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "1.json").write_text('["shapes", "imagePath"]')
    for folder in (root, tiny_folder, tmp_path / "lists", tmp_path / "nowhere"):
        assert labelme.recognize(folder) is None


def test_of_many_files_of_another_tool_few_are_looked_into(save_files, monkeypatch: pytest.MonkeyPatch) -> None:
    root = save_files({f"{number}.json": '{"objects": []}' for number in range(50)} | {"1.png": IMAGE})
    looked: list[Path] = []
    monkeypatch.setattr(labelme, "mentions", lambda path, _: looked.append(path))
    assert labelme.recognize(root) is None
    assert [path.name for path in looked] == ["1.json"]


written = partial(write_blank_images, write_labelme)


def shapes(path: Path) -> list[Any]:
    return list(json.loads(path.read_text(encoding="utf-8"))["shapes"])


@pytest.mark.slow
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
    maps = {("train", "a/1"): one, ("val", "2.b"): other}
    assert_reads_back(written(tmp_path_factory.mktemp("out") / "data", classes, maps), classes, maps)


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
    assert (outer["label"], sorted(outer["points"])) == (
        "tree",
        [[1.01, 1.01], [1.01, 3.99], [3.99, 1.01], [3.99, 3.99]],
    )
    assert (hole["label"], sorted(hole["points"])) == (
        "background",
        [[2.01, 2.01], [2.01, 2.99], [2.99, 2.01], [2.99, 2.99]],
    )
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
