import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.mask_codes import darwin_code

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.darwin import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)
BLOB = np.hypot(*(np.indices(SIZE) - np.array([15, 20])[:, None, None])) < 8

Annotation = dict[str, Any]


def path(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in points]


def square(left: float, top: float, right: float, bottom: float) -> list[dict[str, float]]:
    return path((left, top), (right, top), (right, bottom), (left, bottom))


def annotation(name: str, **fields: Any) -> Annotation:
    return {"id": fields.pop("id", name), "name": name, "slot_names": ["0"], "properties": [], **fields}


def raster(values: npt.NDArray[np.integer], **owners: int) -> Annotation:
    layer = {
        "dense_rle": darwin_code(values),
        "mask_annotation_ids_mapping": owners,
        "total_pixels": values.size,
    }
    return annotation("__raster_layer__", id="layer", raster_layer=layer)


def version_2(name: str, *annotations: Any, size: tuple[int, int] = SIZE, **more: Any) -> str:
    source = [{"file_name": name, "url": "https://darwin.v7labs.com/x"}]
    slot = {"type": "image", "slot_name": "0", "width": size[1], "height": size[0], "source_files": source}
    item = {"name": name, "path": "/", "source_info": {"item_id": "1"}, "slots": [slot], **more}
    return json.dumps({"version": "2.0", "schema_ref": "x", "item": item, "annotations": list(annotations)})


def version_1(name: str, *annotations: Any) -> str:
    own = {"width": SIZE[1], "height": SIZE[0], "filename": "1.png", "original_filename": name, "path": "/"}
    return json.dumps({"dataset": "x", "image": own, "annotations": list(annotations)})


CAR = annotation("car", polygon={"paths": [square(10, 5, 20, 15)]}, bounding_box={"x": 10, "y": 5, "w": 10, "h": 10})


@pytest.fixture
def open_with(save_files):
    def open_data_set(*annotations: Any, write: Any = version_2, **files: Any) -> DataFolder:
        texts = {f"releases/latest/annotations/{name}.json": write(f"{name}.png", *annotations) for name in "ab"}
        content = {"images/a.png": IMAGE, "images/b.png": IMAGE, **texts, **files}
        folder = open_folder(save_files(content))
        folder.check_images()
        return folder

    return open_data_set


def drawn(folder: DataFolder) -> npt.NDArray[np.uint8]:
    return folder.read_pair(folder.pairs("val")[0])[1]


def test_polygons_with_holes_boxes_and_ellipses(open_with) -> None:
    hole = annotation("car", polygon={"paths": [square(10, 5, 20, 15), square(12, 7, 15, 10)]})
    box = annotation("sign", bounding_box={"x": 30, "y": 2, "w": 10, "h": 4})
    turned = {"center": {"x": 30, "y": 22}, "radius": {"x": 9, "y": 4}, "angle": 0.5}
    folder = open_with(hole, box, annotation("wheel", ellipse=turned))
    assert "read as V7 Darwin: 4 classes (background, car, sign, wheel)" in folder.notes
    rows, columns = np.indices(SIZE) + 0.5
    x, y = columns - 30, rows - 22
    places = np.hypot((x * math.cos(0.5) + y * math.sin(0.5)) / 9, (y * math.cos(0.5) - x * math.sin(0.5)) / 4)
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[7:10, 12:15] = 0
    expected[2:6, 30:40] = 2
    expected[places < 1] = 3
    clear = abs(places - 1) > 0.02  # the ellipse is a polygon
    np.testing.assert_array_equal(drawn(folder)[clear], expected[clear])


def test_polygons_of_version_1(open_with) -> None:
    simple = annotation("car", polygon={"path": square(10, 5, 20, 15)})
    more = {"path": square(10, 5, 20, 15), "additional_paths": [square(12, 7, 15, 10)]}
    label_map = drawn(open_with(annotation("sign", polygon=more), write=version_1))
    assert (label_map == 1).sum() == 100 - 9
    assert (drawn(open_with(simple, write=version_1)) == 1).sum() == 100


def test_masks_are_the_runs_of_their_raster_layer(open_with) -> None:
    values = np.where(BLOB, 2, 0)
    values[:4] = 5
    masks = [annotation(name, id=key, mask={"sparse_rle": None}) for name, key in (("road", "r"), ("car", "c"))]
    folder = open_with(*masks, raster(values, r=5, c=2))
    assert folder.classes.names == ("background", "car", "road")
    np.testing.assert_array_equal(drawn(folder), np.select([values == 2, values == 5], [1, 2]))


def test_later_shapes_lie_over_earlier_ones(open_with) -> None:
    over = annotation("road", polygon={"paths": [square(15, 5, 48, 15)]})
    label_map = drawn(open_with(CAR, over))
    assert (label_map == 1).sum() == 50
    assert (drawn(open_with(over, CAR)) == 1).sum() == 100


def test_what_has_no_area_is_left_out_with_a_warning(open_with) -> None:
    tag, line = annotation("night", tag={}), annotation("lane", line={"path": path((1, 1), (9, 9))})
    flat = annotation("car", polygon={"paths": [path((1, 1), (5, 5), (9, 9))]})
    folder = open_with(tag, line, flat, annotation("car", polygon={"paths": []}), CAR)
    assert (drawn(folder) == 1).sum() == 100
    assert folder.classes.names == ("background", "car")
    warnings = [re.sub(r" \(.*?\);.*", "", note) for note in folder.notes if note.startswith("warning")]
    assert warnings == [
        "warning: 2 annotations of the kind line, which have no area, left out",
        "warning: 4 shapes without an area left out",
    ]


def test_images_are_below_the_folders_of_their_items(save_files) -> None:
    files = {f"images/day {n}/a.png": IMAGE for n in (1, 2)}
    texts = {f"{n}.json": version_2("a.png", *([CAR] if n == 1 else []), path=f"/day {n}") for n in (1, 2)}
    folder = open_folder(save_files({**files, **texts}))
    maps = {pair.image.parent.name: folder.read_pair(pair)[1].max() for s in folder.splits.values() for pair in s}
    assert maps == {"day 1": 1, "day 2": 0}


def test_videos_are_left_out_with_a_warning(open_with) -> None:
    moving = annotation("car", frames={"0": {"polygon": {"paths": [square(1, 1, 5, 5)]}}})
    notes = open_with(CAR, **{"video.json": version_2("v.mp4", moving)}).notes
    assert any(note.startswith("warning: 1 file of videos or of several images side by side") for note in notes)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (5, "annotation 1 is 5; expected an object"),
        ({"polygon": {"paths": []}}, "annotation 1: 'name' is missing"),
        (annotation("a", polygon={"paths": 5}), "'paths' is 5; expected a list of paths"),
        (annotation("a", polygon={"paths": [[5]]}), "has a path that is not a list of points"),
        (annotation("a", polygon={"paths": [[*path((1, 2), (3, 4)), {"x": 1}]]}), "has the points"),
        (annotation("a", bounding_box={"x": 1, "y": 2, "w": 3}), "'h' is missing; expected a number"),
        (annotation("a", ellipse={"center": {"x": 1, "y": 2}}), "'radius' is missing; expected an object"),
        (raster(np.zeros((4, 4), dtype=int)), "its runs add up to 16 pixels, but the image of 48 x 32 has 1536"),
        (raster(np.ones(SIZE, dtype=int), nobody=1), "the value 1 belongs to no mask of the file"),
        (annotation("__raster_layer__", raster_layer={"dense_rle": [1]}), "'dense_rle' is [1]; expected pairs"),
    ],
)
def test_an_annotation_that_cannot_be_is_an_error_that_names_it(open_with, entry: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_with(entry)
    assert re.search(r"2 annotations cannot be understood \(.*annotations/a\.json: annotation 1", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (version_2("a.png", CAR, size=(8, 8)), r"states 8 x 8 pixels, but a\.png is 48 x 32"),
        (version_2("gone.png", CAR), r"names 1 image \('gone\.png'\), but none .* pull the data set with its images"),
        (version_2("", CAR), r"item: 'name' is ''; expected a text"),
    ],
)
def test_a_file_that_cannot_be_is_an_error(save_files, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_folder(save_files({"images/a.png": IMAGE, "images/b.png": IMAGE, "x.json": text}))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    datumaro = {"annotations": 1, "item": {"slots": 2}}
    root = save_files({"a.json": json.dumps(datumaro)})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
