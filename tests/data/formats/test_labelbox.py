import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import left_out

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.labelbox import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)


def entry(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"feature_id": "x", "name": name, "value": name.lower(), "annotation_kind": kind, **fields}


def polygon(name: str, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return entry(name, "ImagePolygon", polygon=[{"x": x, "y": y} for x, y in corners])


def box(name: str, left: float, top: float, width: float, height: float) -> dict[str, Any]:
    sides = {"top": top, "left": left, "height": height, "width": width}
    return entry(name, "ImageBoundingBox", bounding_box=sides)


def label(*objects: Any, when: str = "2024-03-09T10:00:00.000+00:00") -> dict[str, Any]:
    return {
        "label_kind": "Default",
        "label_details": {"created_at": when},
        "annotations": {"objects": list(objects), "classifications": [], "relationships": []},
    }


def row(name: str, *labels: Any, size: tuple[int, int] = SIZE, **data: Any) -> str:
    content = {
        "data_row": {"id": "x", "external_id": name, "row_data": f"https://storage/{name}?token=1", **data},
        "media_attributes": {"height": size[0], "width": size[1], "mime_type": "image/png"},
        "projects": {"p": {"name": "x", "labels": list(labels)}},
    }
    return json.dumps(content)


CAR = polygon("Car", 10, 5, 20, 15)
SIGN = box("Sign", 30, 2, 10, 4)
EXPECTED = np.zeros(SIZE, dtype=np.uint8)
EXPECTED[5:15, 10:20] = 1
EXPECTED[2:6, 30:40] = 2


@pytest.fixture
def open_with(save_files):
    def open_export(*rows: str, name: str = "export.ndjson", **files: Any) -> DataFolder:
        folder = open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, name: "\n".join(rows), **files}))
        folder.check_images()
        return folder

    return open_export


@pytest.mark.parametrize("name", ["export.ndjson", "export.jsonl", "export.json"])
def test_polygons_and_boxes_are_read_from_lines_or_a_list(open_with, name: str) -> None:
    rows = [row(f"{image}.png", label(CAR, SIGN)) for image in "ab"]
    folder = open_with(*([f"[{', '.join(rows)}]"] if name.endswith(".json") else rows), name=name)
    assert "read as Labelbox: 3 classes (background, Car, Sign)" in folder.notes
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], EXPECTED)


def test_images_without_a_name_are_found_by_their_address(open_with) -> None:
    addresses = [row("", label(CAR), external_id=None, row_data=f"https://x/{n}.png?token=1") for n in "ab"]
    assert {pair.name for pairs in open_with(*addresses).splits.values() for pair in pairs} == {"a", "b"}


def test_of_several_labels_of_an_image_the_newest_counts(open_with) -> None:
    old, new = label(CAR, when="2023-01-01"), label(SIGN, when="2024-01-01")
    folder = open_with(row("a.png", new, old), row("b.png", new, old))
    assert folder.classes.names == ("background", "Sign")
    assert "images have several labels, the newest of each is used" in folder.notes


def test_masks_behind_addresses_are_named_with_what_to_do(open_with) -> None:
    mask = entry("Car", "ImageSegmentationMask", mask={"url": "https://api.labelbox.com/masks/x"})
    composite = entry("Car", "ImageSegmentationMask", composite_mask={"url": "https://x", "color_rgb": [1, 2, 3]})
    with pytest.raises(DataError, match=r"export\.ndjson: 2 of 3 objects are masks at web addresses \(row 1: .*key"):
        open_with(row("a.png", label(mask, CAR)), row("b.png", label(composite)))


def test_the_older_form_is_named(open_with) -> None:
    old = [{"ID": "x", "DataRow ID": "y", "Labeled Data": "https://x/a.png", "Label": {"objects": []}}]
    with pytest.raises(DataError, match=r"export\.json: is an older export of Labelbox \(v1\); export .* as NDJSON"):
        open_with(json.dumps(old), name="export.json")


def test_what_has_no_area_or_no_image_is_named(open_with) -> None:
    line = entry("Lane", "ImagePolyline", line=[{"x": 1, "y": 1}, {"x": 9, "y": 9}])
    flat = box("Car", 1, 1, 0, 5)
    notes = open_with(row("a.png", label(line, flat, CAR)), row("b.png", label()), row("gone.png", label(CAR))).notes
    warnings = [re.sub(r" \(export.*?\);.*", "", note) for note in notes if note.startswith("warning")]
    assert "warning: 1 object of the type ImagePolyline, which has no area, left out" in warnings
    assert "warning: 1 shape without an area left out" in warnings
    assert left_out(notes, "masks without an image") == ["gone.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row("a.png", label(5)), "row 1: projects: p: label 1: annotations: object 1 is 5; expected an object"),
        (row("a.png", label({"polygon": []})), "'value' is missing; expected a text"),
        (row("a.png", label(entry("a", "x", polygon=[{"x": 1}]))), "has the points [1, None]"),
        (row("a.png", label(entry("a", "x", bounding_box={"top": 1}))), "'left' is missing; expected a number"),
        (row("a.png", 5), "label 1 is 5; expected an object"),
        (row("a.png", label(CAR), size=(9, 9)), "states 9 x 9 pixels, but a.png is 48 x 32"),
        (row("a.png", label(CAR))[:-3], "line 1 is not valid JSON"),
    ],
)
def test_a_row_that_cannot_be_is_an_error_that_names_it(open_with, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        open_with(text, row("b.png", label(CAR)))


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    root = save_files({"a.json": '{"data_row": 1}', "b.ndjson": ""})
    for folder in (root, tiny_folder, tmp_path / "nowhere"):
        assert recognize(folder) is None
