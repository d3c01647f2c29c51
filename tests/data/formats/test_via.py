import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.helpers import left_out

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.data.formats.via import recognize
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)

Region = dict[str, Any]


def region(shape: dict[str, Any], **attributes: Any) -> Region:
    return {"shape_attributes": shape, "region_attributes": attributes}


def rect(left: float, top: float, width: float, height: float) -> dict[str, Any]:
    return {"name": "rect", "x": left, "y": top, "width": width, "height": height}


def polygon(*points: tuple[float, float], name: str = "polygon") -> dict[str, Any]:
    return {"name": name, "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}


def image(name: str, *regions: Region, size: int = 1, **more: Any) -> dict[str, Any]:
    entry = {"filename": name, "size": size, "regions": list(regions), "file_attributes": {}, **more}
    return {f"{name}{size}": entry}


def project(*images: dict[str, Any], options: dict[str, Any] | None = None) -> str:
    metadata = {key: value for each in images for key, value in each.items()}
    attribute = {"type": "dropdown", "description": "", "options": options or {}, "default_options": {}}
    return json.dumps(
        {
            "_via_settings": {"ui": {}, "core": {"default_filepath": ""}, "project": {"name": "x"}},
            "_via_img_metadata": metadata,
            "_via_attributes": {"region": {"class": attribute}, "file": {}},
            "_via_data_format_version": "2.0.10",
            "_via_image_id_list": list(metadata),
        }
    )


def annotations(*images: dict[str, Any]) -> str:
    return json.dumps({key: value for each in images for key, value in each.items()})


def of_version_1(*images: dict[str, Any]) -> str:
    content = {key: value for each in images for key, value in each.items()}
    for entry in content.values():
        entry["regions"] = {str(number): each for number, each in enumerate(entry["regions"])}
        entry |= {"fileref": "", "base64_img_data": ""}
    return json.dumps(content)


HEADING = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"


def table(*images: dict[str, Any], heading: str = HEADING, delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow(heading.split(","))
    for entry in (value for each in images for value in each.values()):
        regions = entry["regions"]
        for number, each in enumerate(regions or [region({})]):
            shape, attributes = json.dumps(each["shape_attributes"]), json.dumps(each["region_attributes"])
            writer.writerow([entry["filename"], entry["size"], "{}", len(regions), number, shape, attributes])
    return file.getvalue()


CAR = region(rect(10, 5, 10, 10), **{"class": "car"})
ROAD = region(polygon((0, 20), (48, 20), (48, 32), (0, 32)), **{"class": "road"})

EXPECTED = np.zeros(SIZE, dtype=np.uint8)
EXPECTED[5:15, 10:20] = 1
EXPECTED[20:] = 2


@pytest.fixture
def open_with(save_files):
    """Open annotations of the images a and b, with these regions in both."""

    def open_annotations(*regions: Region, **files: Any) -> DataFolder:
        text = annotations(image("a.png", *regions), image("b.png", *regions))
        content = {"a.png": IMAGE, "b.png": IMAGE, "via.json": text, **files}
        folder = open_folder(save_files({name: text for name, text in content.items() if text is not None}))
        folder.check_images()
        return folder

    return open_annotations


def drawn(folder: DataFolder) -> npt.NDArray[np.uint8]:
    return folder.read_pair(folder.pairs("val")[0])[1]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("via_project_9Mar2024.json", project),
        ("via_region_data.json", annotations),
        ("via_region_data.json", of_version_1),
        ("via_region_data.csv", table),
        ("old.csv", lambda *images: table(*images, heading="#" + HEADING)),
        ("excel.csv", lambda *images: table(*images, delimiter=";")),
    ],
)
def test_every_form_gives_the_same_label_maps(save_files, name: str, write: Any) -> None:
    images = [image("a.png", CAR, ROAD), image("b.png", CAR, ROAD), image("c.png")]
    folder = open_folder(save_files({f"{n}.png": IMAGE for n in "abc"} | {name: write(*images)}))
    assert "read as VIA: 3 classes (background, car, road)" in folder.notes
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    np.testing.assert_array_equal(np.stack([maps["a"], maps["b"]]), np.stack([EXPECTED, EXPECTED]))
    assert not maps["c"].any()
    assert "warning: 1 image has no annotated area and is read as background only (c.png); remove images that " in (
        " ".join(folder.notes)
    )


def test_circles_and_ellipses(open_with) -> None:
    circle = region({"name": "circle", "cx": 10, "cy": 12, "r": 8}, **{"class": "car"})
    turned = {"name": "ellipse", "cx": 34, "cy": 16, "rx": 12, "ry": 5, "theta": 0.5}
    label_map = drawn(open_with(circle, region(turned, **{"class": "road"})))
    rows, columns = np.indices(SIZE) + 0.5
    x, y = columns - 34, rows - 16
    along, across = x * math.cos(0.5) + y * math.sin(0.5), y * math.cos(0.5) - x * math.sin(0.5)
    discs = np.hypot(columns - 10, rows - 12) / 8, np.hypot(along / 12, across / 5)
    expected = np.where(discs[1] < 1, 2, np.where(discs[0] < 1, 1, 0))
    clear = (abs(discs[0] - 1) > 0.02) & (abs(discs[1] - 1) > 0.02)  # they are polygons
    np.testing.assert_array_equal(label_map[clear], expected[clear])


def test_a_closed_polyline_is_an_area_and_what_has_none_is_left_out(open_with) -> None:
    corners = [(10, 5), (20, 5), (20, 15), (10, 15)]
    closed = region(polygon(*corners, corners[0], name="polyline"), **{"class": "car"})
    opened = region(polygon(*corners, name="polyline"), **{"class": "car"})
    dot = region({"name": "point", "cx": 3, "cy": 3}, **{"class": "car"})
    flat = region(rect(3, 3, 0, 9), **{"class": "car"})
    folder = open_with(closed, opened, dot, flat)
    assert (drawn(folder) == 1).sum() == 100
    warnings = [note for note in folder.notes if note.startswith("warning")]
    assert [re.sub(r" \(.*?\);.*", "", warning) for warning in warnings] == [
        "warning: 2 open polylines, which have no area, left out",
        "warning: 2 regions of the shape point, which have no area, left out",
        "warning: 2 shapes without an area left out",
    ]


def classes(folder: DataFolder) -> tuple[str, ...]:
    return folder.classes.names


def test_the_class_is_the_only_attribute_whatever_it_is_called(open_with) -> None:
    shapes = CAR["shape_attributes"], ROAD["shape_attributes"]
    one, two = (region(shape, Food=food) for shape, food in zip(shapes, ("1", " 2\n"), strict=True))
    assert classes(open_with(one, two)) == ("background", "1", "2")
    assert classes(open_with(region(shapes[0], name="balloon"))) == ("background", "balloon")
    assert classes(open_with(region(shapes[0], kind=3))) == ("background", "3")
    assert classes(open_with(region(shapes[0], a="cat", b="black"))) == ("background", "cat")


def test_attributes_that_say_the_same_or_are_alike_everywhere_do_not_count(open_with) -> None:
    shapes = CAR["shape_attributes"], ROAD["shape_attributes"]
    same = [
        region(shape, name=name, label=name.upper(), qualities={"turned": True}, quality="good", note="")
        for shape, name in zip(shapes, ("cat", "dog"), strict=True)
    ]
    folder = open_with(*same)
    assert classes(folder) == ("background", "CAT", "DOG")
    assert "the class is the region attribute 'label', not name, qualities, quality" in folder.notes


def test_checked_boxes_are_the_class_where_one_is_checked(open_with) -> None:
    shapes = CAR["shape_attributes"], ROAD["shape_attributes"]
    one, two = (region(shape, kind={name: True}) for shape, name in zip(shapes, ("cat", "dog"), strict=True))
    assert classes(open_with(one, two)) == ("background", "cat", "dog")
    both = region(shapes[0], kind={"cat": True, "dog": True, "cow": False})
    notes = open_with(one, both).notes
    assert any(note.startswith("warning: 2 regions without a value of 'kind' left out") for note in notes)


def test_options_that_are_numbers_have_the_names_of_the_project(save_files) -> None:
    regions = [region(each["shape_attributes"], **{"class": str(n)}) for n, each in enumerate((CAR, ROAD))]
    images = [image(f"{name}.png", *regions) for name in "ab"]
    files = {f"{name}.png": IMAGE for name in "ab"}
    folder = open_folder(save_files({**files, "via.json": project(*images, options={"0": "car", "1": "road"})}))
    assert folder.classes.names == ("background", "car", "road")
    np.testing.assert_array_equal(drawn(folder), EXPECTED)
    words = project(image("a.png", CAR), image("b.png", ROAD), options={"car": "any vehicle", "road": "asphalt"})
    assert open_folder(save_files({"via.json": words})).classes.names == ("background", "car", "road")


@pytest.mark.parametrize(
    "attributes",
    [
        [{"class": "car", "color": "red"}, {"class": "road", "color": "gray"}, {"class": "car", "color": "gray"}],
        [{"class": "car", "hidden": "yes"}, {"class": "car", "hidden": "no"}],  # the varying one is no class
    ],
)
def test_several_attributes_that_may_be_the_class_are_asked_about(open_with, attributes: list[dict[str, Any]]) -> None:
    regions = [region(rect(n, n, 9, 9), **own) for n, own in enumerate(attributes)]
    with pytest.raises(DataError) as caught:
        open_with(*regions)
    text = str(caught.value)
    assert "regions have several attributes that may be the class (" in text
    example = text.partition(", for example: ")[2]
    assert example.startswith("names: [background, ")
    for wanted in attributes[0]:  # either answer works
        values = sorted({own[wanted] for own in attributes})
        folder = open_with(*regions, **{"classes.yaml": f"names: {['background', *values]}"})
        assert folder.classes.names == ("background", *values)
    assert open_with(*regions, **{"classes.yaml": example}).classes.names[0] == "background"


def test_regions_without_attributes_are_one_class(open_with) -> None:
    folder = open_with(region(rect(10, 5, 10, 10)))
    assert classes(folder) == ("background", "object")
    assert "regions have no attributes, so all have the same class" in folder.notes
    named = open_with(region(rect(10, 5, 10, 10)), **{"classes.yaml": "names: [background, balloon]"})
    assert classes(named) == ("background", "balloon")
    assert (drawn(named) == 1).sum() == 100


def test_regions_without_the_attribute_are_left_out_with_a_warning(open_with) -> None:
    bare, empty = region(rect(0, 0, 5, 5)), region(rect(0, 0, 5, 5), **{"class": " "})
    folder = open_with(CAR, ROAD, bare, empty)
    np.testing.assert_array_equal(drawn(folder), EXPECTED)
    warning = next(note for note in folder.notes if note.startswith("warning"))
    assert warning.startswith(
        "warning: 4 regions without a value of 'class' left out (via.json: image 'a.png1': region"
    )
    assert warning.endswith("these regions are read as background; give them a value in VIA, or remove their images")


def test_folders_named_for_splits_are_the_splits(save_files) -> None:
    files: dict[str, Any] = {}
    for split in ("train", "val"):
        files |= {f"{split}/{name}.png": IMAGE for name in "ab"}
        files[f"{split}/via_region_data.json"] = annotations(*(image(f"{name}.png", CAR) for name in "ab"))
    folder = open_folder(save_files(files))
    assert {split: [pair.name for pair in pairs] for split, pairs in folder.splits.items()} == {
        "train": ["a", "b"],
        "val": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "images/a.png"),
        ("https://example.org/x/a.png?size=9", "a.png"),
        ("https://example.org/x/a%20b.png", "photos/a b.png"),
        ("/home/me/photos/a.png", "photos/a.png"),
        ("A.PNG", "a.png"),
    ],
)
def test_images_are_found_by_the_end_of_their_path_or_address(save_files, name: str, place: str) -> None:
    text = annotations(image(name, CAR), image("other.png", CAR))
    folder = open_folder(save_files({place: IMAGE, "other.png": IMAGE, "via.json": text}))
    assert {pair.image.name for pairs in folder.splits.values() for pair in pairs} == {Path(place).name, "other.png"}


def test_of_images_with_one_name_the_size_of_the_file_tells_which(save_files) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    root = save_files({"day1/a.png": IMAGE, "day2/a.png": noise})
    first, second = (image("a.png", each, size=(root / day / "a.png").stat().st_size) for each, day in (
        (ROAD, "day1"), (CAR, "day2")))  # fmt: skip
    (root / "via.json").write_text(annotations(second, first), encoding="utf-8")
    folder = open_folder(root)
    maps = {pair.name: folder.read_pair(pair)[1] for pairs in folder.splits.values() for pair in pairs}
    assert (maps["day1/a"] == 2).sum() == 12 * 48
    assert (maps["day2/a"] == 1).sum() == 100


def test_json_and_csv_of_the_same_annotations_are_one(save_files) -> None:
    images = [image(f"{name}.png", CAR, ROAD) for name in "ab"]
    files = {"a.png": IMAGE, "b.png": IMAGE, "x.json": project(*images), "x.csv": table(*images)}
    np.testing.assert_array_equal(drawn(open_folder(save_files(files))), EXPECTED)
    with pytest.raises(DataError, match=r"has the image a\.png, for which x\.csv: .* has other annotations; remove"):
        open_folder(save_files({"x.json": project(image("a.png", CAR), image("b.png", CAR, ROAD))}))


def version_3(*regions: tuple[int, list[float], dict[str, str]], **changed: Any) -> str:
    attribute = {"aname": "Class", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"K": "car", "R": "road"}}
    content = {
        "project": {"pid": "x", "data_format_version": "3.1.1", "vid_list": ["1", "2"]},
        "config": {"file": {"loc_prefix": {"1": "", "2": ""}}},
        "attribute": {"1": attribute},
        "file": {
            "1": {"fid": 1, "fname": "x/a.png", "type": 2, "loc": 1},
            "2": {"fid": 2, "fname": "b.png", "type": 2},
        },
        "view": {"1": {"fid_list": [1]}, "2": {"fid_list": ["2"]}},
        "metadata": {
            f"k{n}": {"vid": str(view), "flg": 0, "z": [], "xy": xy, "av": av}
            for n, (view, xy, av) in enumerate(regions)
        },
    }
    return json.dumps({**content, **changed})


REGIONS_OF_VERSION_3: list[tuple[int, list[float], dict[str, str]]] = [
    (1, [2, 10, 5, 10, 10], {"1": "K"}),
    (1, [7, 0, 20, 48, 20, 48, 32, 0, 32], {"1": "R"}),
    (2, [8, 10, 5, 10, 10], {"1": "K"}),
    (2, [6, 0, 20, 48, 20, 48, 32, 0, 32, 0, 20], {"1": "R"}),
    (1, [], {"2": "about the whole image"}),
]


def test_projects_of_version_3(save_files) -> None:
    folder = open_folder(
        save_files({"x/a.png": IMAGE, "b.png": IMAGE, "via_project.json": version_3(*REGIONS_OF_VERSION_3)})
    )
    assert folder.classes.names == ("background", "car", "road")
    for pair in (*folder.pairs("train"), *folder.pairs("val")):
        np.testing.assert_array_equal(folder.read_pair(pair)[1], EXPECTED)


def test_circles_ellipses_and_points_of_version_3(save_files) -> None:
    regions: list[tuple[int, list[float], dict[str, str]]] = [
        (1, [3, 20, 16, 8], {"1": "K"}),
        (2, [4, 20, 16, 8, 8], {"1": "K"}),
        (2, [1, 20, 16], {"1": "K"}),
        (2, [5, 2, 3, 8, 9], {"1": "K"}),
    ]
    folder = open_folder(save_files({"x/a.png": IMAGE, "b.png": IMAGE, "via.json": version_3(*regions)}))
    maps = [folder.read_pair(pair)[1] for pair in (*folder.pairs("train"), *folder.pairs("val"))]
    np.testing.assert_array_equal(maps[0], maps[1])
    distances = np.hypot(*(np.indices(SIZE) + 0.5 - np.array([16, 20])[:, None, None]))
    np.testing.assert_array_equal(maps[0], distances < 8)
    assert sum("which has no area, left out" in note for note in folder.notes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (version_3((1, [2, 1, 1, 5], {})), r"'xy' is \[2, 1, 1, 5\]; expected the number of the shape and x, y, width"),
        (version_3((1, [99, 1, 1, 5], {})), r"'xy' is .*; expected the number of a shape, 1 to 9, first"),
        (version_3((9, [2, 1, 1, 5, 5], {})), r"k0: 'vid' is '9'; expected a key of 'view'"),
        (version_3(view={"1": {"fid_list": [1, 2]}}), r"1: 'fid_list' is \[1, 2\]; expected the key of one file"),
        (version_3(view={"1": {"fid_list": ["7"]}}), r"expected the key of one file"),
        (version_3(metadata=[]), r"'metadata' is \[\]; expected an object"),
        ("# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id,file_list\n", r"is a CSV of VIA 3"),
    ],
)
def test_a_file_of_version_3_that_cannot_be_is_an_error(save_files, text: str, message: str) -> None:
    name = "via.csv" if text.startswith("#") else "via.json"
    with pytest.raises(DataError, match=message):
        open_folder(save_files({"x/a.png": IMAGE, "b.png": IMAGE, name: text}))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (5, "region 1 is 5; expected an object"),
        ({}, "region 1: 'shape_attributes' is missing"),
        (region({}), "shape_attributes: 'name' is missing; expected a text"),
        (region({"name": "rect", "x": 1, "y": 2, "width": "3"}), "'width' is '3'; expected a number"),
        (region({"name": "circle", "cx": 1, "cy": 2}), "'r' is missing; expected a number"),
        (region({"name": "polygon", "all_points_x": [1, 2, 3]}), "has the points None"),
        (
            region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}),
            "'all_points_y' is [1, 2]; expected 3 numbers, as many as in 'all_points_x'",
        ),
        (
            region({"name": "polygon", "all_points_x": [1, 2, math.inf], "all_points_y": [1, 2, 3]}),
            "has a point at inf",
        ),
    ],
)
def test_a_region_that_cannot_be_is_an_error_that_names_it(open_with, entry: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        open_with(entry)
    text = str(caught.value)
    assert text.startswith("2 annotations cannot be understood (")
    assert "via.json: image 'a.png1': region 1" in text
    assert message in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(image("a.png", CAR)) + "b.png,1\n", r"via\.csv: line 3 has 2 columns; expected 7"),
        (table(image("a.png", CAR)).replace("rect", 'rect""x'), r"via\.csv: line 2 holds .*; expected JSON"),
        (table(image("", CAR)), r"'filename' is ''; expected a text"),
        (table(image("a.png", CAR)).replace(",region_attributes", ",9region_attributes"), r"has no column 'region_att"),
    ],
)
def test_a_line_that_cannot_be_is_an_error_that_names_it(save_files, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, "via.csv": text}))


def test_a_project_with_a_strange_entry_is_an_error_that_names_it(save_files) -> None:
    text = project(image("a.png", CAR), {"b.png1": {"filename": "b.png"}}, {"c.png1": 7})
    with pytest.raises(
        DataError, match=r"2 annotations cannot be understood \(.*'b\.png1' is .*expected an image with 'filename'"
    ):
        open_folder(save_files({"a.png": IMAGE, "b.png": IMAGE, "via.json": text}))


def test_images_that_are_not_there_and_others_are_named(open_with) -> None:
    text = annotations(image("a.png", CAR), image("b.png", CAR), image("gone.png", CAR))
    notes = open_with(**{"via.json": text, "alone.png": IMAGE}).notes
    assert left_out(notes, "images without a mask") == ["alone.png"]
    assert left_out(notes, "masks without an image") == ["gone.png"]
    with pytest.raises(DataError, match=r"names 1 image \('gone\.png'\), but none of them is below"):
        open_with(**{"via.json": annotations(image("gone.png", CAR))})


def test_other_folders_are_left_to_other_rules(save_files, tiny_folder: Path, tmp_path: Path) -> None:
    alike = '{"filename": {"regions": 1, "file_attributes": 2}}'
    root = save_files({"a.json": alike, "b.csv": "filename,class\na.png,car\n", "c.csv": ""})
    ready = save_files({f"../ready/{kind}/a.png": IMAGE[..., 0] for kind in ("images", "masks")}).parent / "ready"
    (ready / "via.json").write_text(annotations(image("a.png", CAR)), encoding="utf-8")
    for folder in (tiny_folder, tmp_path / "nowhere", ready, root):
        assert recognize(folder) is None
