import json
import math
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.helpers import left_out

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder
from maskpencil.data.formats.label_studio import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
BLOB = np.hypot(*(np.indices(SIZE) - np.array([15, 20])[:, None, None])) < 8


def packed(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The mask as Label Studio's brush has it: runs of 16 bits over red, green, blue and alpha."""
    bits = f"{mask.size * 4:032b}00111" + "0010001101111111"
    bits += "".join(f"111{4 * len(list(run)) - 1:016b}{255 * value:08b}" for value, run in groupby(mask.ravel()))
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def polygon(label: str, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    """A rectangle of pixels; points are in percent of width and height."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {"points": [[100 * x / 48, 100 * y / 32] for x, y in corners], "closed": True, "polygonlabels": [label]}


def result(value: Any, kind: str = "polygonlabels", **more: Any) -> dict[str, Any]:
    size = {"original_width": 48, "original_height": 32, "image_rotation": 0}
    return {
        "id": "x",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **size,
        "value": value,
    } | more


def annotation(*results: Any, when: str = "2024-03-09T21:52:49.5Z", **more: Any) -> dict[str, Any]:
    times = {"created_at": "2020-01-01T00:00:00Z", "updated_at": when}
    return {"id": 7, "completed_by": 1, "result": list(results), "was_cancelled": False, **times, **more}


def task(image: str, *annotations: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": list(annotations), "drafts": [], "predictions": [], "data": {"image": image}} | more


CAR = result(polygon("car", 10, 5, 20, 15))
ROAD = result(polygon("road", 0, 20, 48, 32))


def save(
    save_files, *tasks: Any, images: tuple[str, ...] = ("images/a.png", "images/b.png"), name: str = "p.json"
) -> Path:
    return save_files({name: json.dumps(tasks), **dict.fromkeys(images, IMAGE)})


def read(root: Path) -> dict[str, npt.NDArray[np.uint8]]:
    folder = open_folder(root)
    folder.check_images()
    return {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}


def drawn(save_files, *values: Any) -> npt.NDArray[np.uint8]:
    """The label map of an image with these regions; the classes are "background" and those of the alphabet."""
    tasks = [task(name, annotation(*map(result, values))) for name in ("a.png", "b.png")]
    return read(save(save_files, *tasks))["a"]


def test_polygons_become_label_maps_of_the_labels_in_the_order_of_the_alphabet(save_files) -> None:
    root = save(save_files, task("a.png", annotation(ROAD, CAR)), task("b.png", annotation(CAR)))
    folder = open_folder(root)
    assert folder.classes.names == ("background", "car", "road")
    assert "read as Label Studio: 3 classes (background, car, road)" in folder.notes
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[20:] = 2
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(read(root)["a"], expected)


def test_brushes_become_label_maps_and_later_regions_lie_over_earlier_ones(save_files) -> None:
    brush = {"format": "rle", "rle": packed(BLOB), "brushlabels": ["road"]}
    erased = {"format": "rle", "rle": packed(np.zeros(SIZE, dtype=bool)), "brushlabels": ["car"]}
    label_map = drawn(save_files, polygon("car", 0, 0, 48, 16), brush, erased)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[:16] = 1
    expected[BLOB] = 2
    np.testing.assert_array_equal(label_map, expected)


def test_rectangles_turn_about_their_upper_left_corner_in_pixels(save_files) -> None:
    sides = {"x": 100 * 20 / 48, "y": 100 * 4 / 32, "width": 100 * 10 / 48, "height": 100 * 6 / 32}
    label_map = drawn(save_files, {**sides, "rotation": 0, "rectanglelabels": ["car"]})
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[4:10, 20:30] = 1
    np.testing.assert_array_equal(label_map, expected)
    label_map = drawn(save_files, {**sides, "rotation": 90, "rectanglelabels": ["car"]})
    expected[:] = 0
    expected[4:14, 14:20] = 1
    np.testing.assert_array_equal(label_map, expected)


def test_ellipses_turn_about_their_middle_in_pixels(save_files) -> None:
    value = {
        "x": 50,
        "y": 50,
        "radiusX": 100 * 16 / 48,
        "radiusY": 100 * 6 / 32,
        "rotation": 40,
        "ellipselabels": ["car"],
    }
    label_map = drawn(save_files, value)
    rows, columns = np.indices(SIZE) + 0.5
    x, y, angle = columns - 24, rows - 16, math.radians(40)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    places = np.hypot(along / 16, across / 6)
    clear = abs(places - 1) > 0.01  # the ellipse is a polygon
    np.testing.assert_array_equal(label_map[clear], (places < 1)[clear])


def test_regions_with_a_separate_tag_for_labels_are_read(save_files) -> None:
    shape = {key: value for key, value in polygon("", 10, 5, 20, 15).items() if key != "polygonlabels"}
    results = [result(shape, "polygon"), result({**shape, "labels": ["car"]}, "labels")]
    root = save(save_files, *(task(name, annotation(*results)) for name in ("a.png", "b.png")))
    assert (read(root)["a"] == 1).sum() == 100
    assert "results that are not labeled areas left out: 2 polygon" in open_folder(root).notes


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/data/upload/1/0a1b2c3d-photo.png", "images/photo.png"),
        ("/data/upload/1/0a1b2c3d-photo.png", "0a1b2c3d-photo.png"),
        ("/data/upload/1/0a1b2c3d-my_photo.png", "my photo.png"),
        ("/data/local-files/?d=set%201/photo.png", "set 1/photo.png"),
        ("/data/local-files/?d=other/photo.png&x=1", "photo.png"),
        ("https://example.com/x/y/photo.png?token=1", "y/photo.png"),
        ("s3://bucket/photo.PNG", "photo.PNG"),
        ("C:\\data\\photo.png", "photo.png"),
        ("photo.png", "upload/0a1b2c3d-photo.png"),
    ],
)
def test_images_are_found_by_the_names_that_label_studio_has_for_them(save_files, image: str, file: str) -> None:
    root = save(save_files, task(image, annotation(CAR)), task("b.png", annotation(CAR)), images=(file, "b.png"))
    found = {pair.image for pairs in open_folder(root).splits.values() for pair in pairs}
    assert root / file in found


def test_of_images_of_one_name_the_one_in_the_named_folders_counts(save_files) -> None:
    images = ("one/p.png", "two/p.png")
    tasks = [task(f"/data/local-files/?d=work/{name}", annotation(CAR)) for name in images]
    assert set(read(save(save_files, *tasks, images=images))) == {"one/p", "two/p"}
    root = save(save_files, task("/data/upload/0a1b2c3d-p.png", annotation(CAR)), images=images)
    with pytest.raises(DataError, match=r"p\.json: task 1: the image .* may be one/p\.png or two/p\.png; rename"):
        open_folder(root)


def test_the_newest_annotation_counts_that_was_not_canceled(save_files) -> None:
    newest = annotation(CAR, when="2024-03-10T01:00:00+03:00")  # 22:00 the day before
    older = annotation(ROAD, when="2024-03-09T21:59:00Z")
    canceled = annotation(ROAD, when="2025-01-01T00:00:00Z", was_cancelled=True)
    draft = {"drafts": [{"result": [ROAD]}], "predictions": [{"result": [ROAD]}]}
    root = save(save_files, task("a.png", canceled, newest, older, **draft), task("b.png", annotation(ROAD)))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(read(root)["a"], expected)
    notes = open_folder(root).notes
    assert "1 image has several annotations, the newest is used" in notes
    assert "1 canceled annotations left out" in notes


def test_without_times_the_last_annotation_counts(save_files) -> None:
    tasks = [task(name, {"result": [ROAD]}, {"result": [CAR]}) for name in ("a.png", "b.png")]
    assert open_folder(save(save_files, *tasks)).classes.names == ("background", "car")


def test_a_newer_export_of_the_same_images_counts(save_files) -> None:
    tasks = [task(name, annotation(ROAD, when="2023-01-01T00:00:00Z")) for name in ("a.png", "b.png")]
    save(save_files, *tasks, name="project-1-at-2023.json")
    root = save(save_files, task("a.png", annotation(CAR)), name="project-1-at-2024.json")
    maps = read(root)
    assert open_folder(root).classes.names == ("background", "car", "road")
    assert set(np.unique(maps["a"])) == {0, 1}
    assert set(np.unique(maps["b"])) == {0, 2}


def test_an_annotation_without_regions_is_all_background_and_none_is_left_out(save_files) -> None:
    images = ("a.png", "b.png", "c.png", "d.png", "e.png")
    tasks = [task("a.png", annotation(CAR)), task("b.png", annotation()), task("c.png")]
    tasks.append(task("d.png", annotation(CAR, was_cancelled=True)))
    root = save(save_files, *tasks, task("gone.png", annotation(CAR)), images=images)
    maps = read(root)
    assert set(maps) == {"a", "b"}
    assert not maps["b"].any()
    notes = open_folder(root).notes
    assert left_out(notes, "images without a mask") == ["c.png", "d.png", "e.png"]
    assert left_out(notes, "masks without an image") == ["gone.png"]


def test_the_notes_mention_other_results_and_of_several_labels(save_files) -> None:
    keypoint = result({"x": 5, "y": 5, "width": 0.3, "keypointlabels": ["nose"]}, "keypointlabels")
    point = result({"x": 5, "y": 5, "width": 0.3, "labels": ["nose"]}, "labels")
    choice = result({"choices": ["day"]}, "choices")
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}
    several = result({**polygon("car", 10, 5, 20, 15), "polygonlabels": ["car", "road"]})
    root = save(
        save_files, *(task(n, annotation(keypoint, point, choice, relation, several)) for n in ("a.png", "b.png"))
    )
    assert open_folder(root).classes.names == ("background", "car")
    notes = open_folder(root).notes
    assert "results that are not labeled areas left out: 2 choices, 2 keypointlabels, 2 labels, 2 relation" in notes
    assert "2 regions have several labels, the first of each is used" in notes


def test_the_short_form_is_read_as_well(save_files) -> None:
    size = {"original_width": 48, "original_height": 32}
    brush = {"format": "rle", "rle": packed(BLOB), "brushlabels": ["road"], **size}
    common = {"annotator": 1, "annotation_id": 1, "lead_time": 5.1}
    tasks = [
        {
            "image": "/data/upload/1/0a1b2c3d-a.png",
            "id": 1,
            "label": [polygon("car", 10, 5, 20, 15) | size, brush],
            **common,
        },
        {
            "image": "/data/upload/1/0a1b2c3d-a.png",
            "id": 1,
            "label": [],
            "updated_at": "2020-01-01T00:00:00Z",
            **common,
        },
        {"image": "/data/upload/1/1a1b2c3d-b.png", "id": 2, "choice": "day", **common},
    ]
    tasks[0]["updated_at"] = "2024-01-01T00:00:00Z"
    maps = read(save(save_files, *tasks))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[BLOB] = 2
    np.testing.assert_array_equal(maps["a"], expected)
    assert not maps["b"].any()


def test_the_old_name_of_annotations_is_understood(save_files) -> None:
    tasks = [{"id": 1, "completions": [{"result": [CAR]}], "data": {"photo": name}} for name in ("a.png", "b.png")]
    assert (read(save(save_files, *tasks))["a"] == 1).sum() == 100


def test_percent_are_of_the_image_as_it_is_shown(save_files) -> None:
    root = save(save_files, task("a.jpg", annotation(CAR)), task("b.png", annotation(CAR)))
    exif = Image.Exif()
    exif[274] = 8  # to be turned by 90 degrees
    Image.fromarray(np.zeros((48, 32, 3), dtype=np.uint8)).save(root / "a.jpg", exif=exif)
    (root / "images/a.png").unlink()
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(read(root)["a"], expected)


def test_a_class_file_gives_the_order(save_files) -> None:
    root = save(save_files, task("a.png", annotation(CAR)), task("b.png", annotation(ROAD)))
    save_files({"classes.yaml": "names: [road, car]"})
    assert open_folder(root).classes.names == ("road", "car")
    assert set(np.unique(read(root)["a"])) == {1, IGNORE_INDEX}


def changed(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return result(value | more)


BRUSH = {"format": "rle", "rle": packed(BLOB), "brushlabels": ["car"]}
BOX = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["car"]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (5, " is 5; expected an object"),
        (changed(polygon("car", 1, 1, 5, 5), points=[1, 2, 3, 4, 5, 6, 7]), "expected at least 3 points"),
        (changed(polygon("car", 1, 1, 5, 5), points=[[1, 2], [3, 4], [5]]), "expected a list of [x, y]"),
        (changed(polygon("car", 1, 1, 5, 5), points=[[1, 2], [3, 4], [5, None]]), "expected a list of numbers"),
        (changed(polygon("car", 1, 1, 5, 5), points=[[1, 2], [3, 4], [5, math.nan]]), "has a point at nan"),
        (changed(polygon("car", 1, 1, 5, 5), points="M 0 0"), "expected a list of numbers"),
        (
            changed(polygon("car", 1, 1, 5, 5), polygonlabels="car"),
            "'polygonlabels' is 'car'; expected a list that begins with",
        ),
        (changed(polygon("car", 1, 1, 5, 5), polygonlabels=[]), "'polygonlabels' is []"),
        (changed(polygon("car", 1, 1, 5, 5), polygonlabels=[5]), "'polygonlabels' is [5]"),
        (changed(BOX, height="5%"), "'height' is '5%'; expected a number"),
        (changed(BOX, x="1"), "'x' is '1'; expected a number"),
        (changed(BOX, rotation=math.inf), "'rotation' is inf; expected a number"),
        (changed(BOX, width=True), "'width' is True; expected a number"),
        ({**result(BOX), "image_rotation": 90}, "'image_rotation' is 90; expected 0: turn the image back"),
        ({**result(BOX), "image_rotation": "left"}, "'image_rotation' is 'left'; expected a number"),
        (changed(BRUSH, rle=BRUSH["rle"][:-3]), "the brush is cut short"),
        (changed(BRUSH, rle=packed(BLOB[:16])), "the brush holds 3072 values; expected 6144"),
        (changed(BRUSH, rle=[255] * 50), "the brush holds 4294967295 values"),
        (changed(BRUSH, rle=[256]), "'rle' is [256]; expected a list of whole numbers from 0 to 255"),
        (changed(BRUSH, rle=[1.5]), "'rle' is [1.5]"),
        (changed(BRUSH, rle=["0"]), "'rle' is ['0']"),
        (changed(BRUSH, rle={"counts": []}), "'rle' is {'counts': []}"),
    ],
)
def test_a_region_that_cannot_be_is_an_error_that_names_it(save_files, wrong: Any, message: str) -> None:
    root = save(save_files, task("b.png", annotation(CAR)), task("a.png", annotation(wrong)))
    with pytest.raises(DataError, match=rf"p\.json: task 2: annotation 1: result 1.*{re.escape(message)}") as caught:
        open_folder(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("task", "task 2 is 'task'; expected an object"),
        (task("a.png", 5), "task 2: annotation 1 is 5"),
        (task("a.png", {"result": None}), "task 2: annotation 1: 'result' is None; expected a list"),
        (task("a.png", annotation(CAR, when="yesterday")), "'updated_at' is 'yesterday'; expected a date"),
        (task("a.png", annotation(CAR, when=5)), "'updated_at' is 5; expected a text"),  # type: ignore[arg-type] - wrong on purpose
        (task("a.png", annotations=None), "task 2: 'annotations' is None; expected a list"),
        (
            task("a.txt", annotation(CAR)),
            "task 2: does not name an image; expected the path of an image",
        ),
        (task("a.png", annotation(CAR), data=[]), "task 2: does not name an image"),
        (task("a.png", annotation(CAR), data={"image": 5}), "task 2: does not name an image"),
    ],
)
def test_a_task_that_cannot_be_is_an_error_that_names_it(save_files, wrong: Any, message: str) -> None:
    root = save(save_files, task("b.png", annotation(CAR)), wrong)
    with pytest.raises(DataError, match=rf"p\.json: .*{re.escape(message)}"):
        open_folder(root)


def test_an_export_without_its_images_is_an_error_that_names_where_they_are(save_files) -> None:
    root = save(save_files, task("/data/upload/1/0a1b2c3d-x.png", annotation(CAR)))
    with pytest.raises(DataError, match=r"p\.json: names 1 image \(0a1b2c3d-x\.png\), but none of them is below"):
        open_folder(root)


def test_images_outside_of_the_folder_are_not_read(save_files, tmp_path: Path) -> None:
    save_files({"../secret/s.png": IMAGE})
    outside = [task(name, annotation(CAR)) for name in ("../../secret/s.png", str(tmp_path / "secret" / "s.png"))]
    root = save(save_files, *outside, task("a.png", annotation(CAR)), task("b.png", annotation(CAR)))
    assert set(read(root)) == {"a", "b"}


def test_images_that_differ_in_their_suffix_alone_are_refused(save_files) -> None:
    tasks = [task(name, annotation(CAR)) for name in ("a.png", "a.bmp")]
    with pytest.raises(DataError, match=r"has the same name as .*a\.\w+; rename or remove one of them"):
        open_folder(save(save_files, *tasks, images=("a.png", "a.bmp")))


def test_an_image_that_claims_too_many_pixels_is_refused(save_files) -> None:
    root = save(save_files, task("a.png", annotation(result(BRUSH))), task("b.png", annotation(CAR)))
    header = bytearray((root / "images/a.png").read_bytes())
    header[16:24] = (70000).to_bytes(4, "big") * 2
    (root / "images/a.png").write_bytes(header)
    with pytest.raises(DataError, match=r"a\.png"):
        open_folder(root)


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    others = {
        "coco.json": json.dumps({"annotations": [], "data": {"image": "a.png"}}),
        "list.json": json.dumps([{"data": 5, "annotations": 5}, ["brushlabels"], "annotations"]),
        "texts.json": json.dumps([{"data": {"text": "good"}, "annotations": [{"result": []}]}]),
        "empty.json": "",
    }
    root = save_files({**others, "a.png": IMAGE})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None


@pytest.mark.parametrize(("size", "fits"), [((16, 24), True), ((33, 49), True), ((64, 97), True), ((32, 32), False)])
def test_an_image_of_another_shape_than_the_one_drawn_on_is_refused(save_files, size, fits: bool) -> None:
    files = {"images/a.png": IMAGE, "images/b.png": np.zeros((*size, 3), dtype=np.uint8)}
    tasks = [task(f"{name}.png", annotation(CAR)) for name in "ab"]
    root = save_files({"p.json": json.dumps(tasks), **files})
    if fits:
        assert read(root)["b"].any()
    else:
        with pytest.raises(DataError, match=r"task 2.*was drawn on 48 x 32 pixels, but its image is shown as 32 x 32"):
            open_folder(root)
