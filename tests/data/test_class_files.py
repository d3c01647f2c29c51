import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskpencil.classes import ClassSet
from maskpencil.data.class_files import find_class_file, find_own_class_file, read_labelmap
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError
from maskpencil.known_classes import ADE20K, voc_color

ROAD, CAR = (128, 64, 128), (64, 0, 128)
TWO = ClassSet(("road", "car"), (ROAD, CAR))
PLAIN = ClassSet(("road", "car"))

BLACK = (0, 0, 0)
HASTY = (
    {"png_index": 1, "class_name": "road", "color": "#804080", "class_type": "background"},
    {"png_index": 2, "class_name": "car", "color": "#400080ff", "class_type": "object"},
)
BEHIND = ClassSet(("background", "road", "car"), (BLACK, ROAD, CAR))
OTHER = ClassSet(("none", "road", "car"), ((9, 9, 9), ROAD, CAR))
VISTAS = ({"name": "road", "color": list(ROAD), "evaluate": True}, {"name": "car", "color": list(CAR)})
VOID_FIRST = ClassSet(("void", "road", "car"), (BLACK, ROAD, CAR))
VOID = {"name": "void", "color": list(BLACK), "evaluate": False}

META = {
    "labels": ["car", "road"],
    "label_map": {"0": "road", "1": "car"},
    "segmentation_colors": [[128, 64, 128], [64, 0, 128]],
    "background_label": "0",
}


@pytest.mark.parametrize(
    ("name", "text", "classes"),
    [
        ("classes.yml", "names: [road, car]\npalette: [[128, 64, 128], [64, 0, 128]]", TWO),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,64,128::\n\ncar:64,0,128:wheel,door:\n", TWO),
        ("labelmap.txt", "road:128,64,128:: # color index 0\ncar:64, 0, 128::", TWO),
        ("labelmap.txt", "road:::\ncar:::", ClassSet(("road", "car"), (voc_color(0), voc_color(1)))),
        ("labelmap.txt", "road:128,64,128::\ncar:64,0,128::\nignored:9,9,9::", ClassSet(*(TWO.names, TWO.palette, 2))),
        ("labelmap.txt", "ignored:9,9,9::\nroad:128,64,128::\ncar:64,0,128::", TWO),
        ("dataset_meta.json", json.dumps(META), TWO),
        ("dataset_meta.json", '\ufeff{"labels": ["road", "car"]}', PLAIN),
        ("_classes.csv", "Pixel Value, Class\n0, road\n1, car\n", PLAIN),
        ("_classes.csv", "Pixel Value,Class\n1,car\n0,road", PLAIN),
        ("_classes.csv", 'Pixel Value, Class\n0, "road, wet"\n1, car', ClassSet(("road, wet", "car"))),
        ("id2label.json", '{"1": "car", "0": "road"}', PLAIN),
        (
            "label_colors.txt",
            "128 64 128\tRoad\n64 0 128\t\tParked car\n",
            ClassSet(("Road", "Parked car"), (ROAD, CAR)),
        ),
        ("codes.txt", "road\ncar\n\n", PLAIN),
        ("data.yaml", "path: ../data\nnames:\n  0: road\n  1: car\n", PLAIN),
        ("dataset.yaml", "nc: 2\nnames: [road, car]\nignore_index: 1\npalette: 3", PLAIN),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,128\ncar,64,0,128\n", TWO),
        ("class_dict.csv", "\ufeffname, r, g, b, class_11\r\nroad, 128, 64, 128, 1\r\ncar, 64, 0, 128, 0\r\n", TWO),
        ("class_dict.csv", "name;r;g;b\nroad;128;64;128\ncar;64;0;128\n", TWO),
        ("class_dict.csv", "name\tr\tg\tb\nroad\t128\t64\t128\ncar\t64\t0\t128\n", TWO),
        ("classes.csv", "Name,R,G,B\nroad,128,64,128\ncar,64,0,128\n", TWO),
        ("label_class_dict.csv", "r,g,b,Name\n128,64,128,road\n64,0,128,car", TWO),
        ("class_dict_seg.csv", "name, r, g, b\nroad, 128, 64, 128\n\ncar, 64, 0, 128", TWO),
        ("label_classes.json", json.dumps([*HASTY[::-1]]), BEHIND),
        ("label_classes.json", json.dumps([{"png_index": 0, "class_name": "none", "color": "#090909"}, *HASTY]), OTHER),
        ("label_classes.json", json.dumps([{**entry, "color": None} for entry in HASTY]), ClassSet(BEHIND.names)),
        ("config.json", json.dumps({"labels": VISTAS}), TWO),
        ("config_v2.0.json", json.dumps({"labels": [*VISTAS, VOID], "version": "2.0"}), replace(TWO, ignore_index=2)),
        (
            "config_v1.2.json",
            json.dumps({"labels": [VOID, *VISTAS]}),
            ClassSet(("void", *TWO.names), (BLACK, ROAD, CAR)),
        ),
        ("class_names.txt", "__ignore__\nroad\ncar", PLAIN),
        ("class_names.txt", "road\ncar\n", PLAIN),
        ("obj.names", "road\ncar\n", PLAIN),
        ("classes.txt", "road\r\ncar", PLAIN),
        ("classes.txt", "0 road\n1 car", PLAIN),
        ("classes.txt", "1: car\n0: road\n", PLAIN),
        ("classes.txt", "0 - road\n1 - car\n", PLAIN),
        ("classes.txt", "0.road\n1.car\n", PLAIN),
        ("classes.txt", "0.5 mm\n1.5 mm\n", ClassSet(("0.5 mm", "1.5 mm"))),
        ("classes.csv", '\n"name","r","g","b"\r"road",128,64,128\r"car",64,0,128\r', TWO),
        ("codes.txt", "0,road\n1,car", PLAIN),
        ("class_names.txt", "__ignore__\n0 = road\n1 = car", PLAIN),
        ("classes.txt", "1 road\n2 car", ClassSet(("1 road", "2 car"))),
        ("classes.txt", "2\n1", ClassSet(("2", "1"))),
    ],
)
def test_the_class_files_of_other_tools_are_read(tmp_path: Path, name: str, text: str, classes: ClassSet) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = find_class_file(tmp_path)
    assert found is not None
    assert found.path == tmp_path / name
    assert found.classes == classes


def test_ade20ks_list_numbers_from_1_so_that_0_is_other(tmp_path: Path) -> None:
    rows = "".join(f"{i}\t0.1\t5\t6\t{name}, {name} thing\n" for i, name in enumerate(ADE20K.names, start=1))
    (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + rows)
    found = find_class_file(tmp_path)
    assert found is not None
    assert found.classes == ClassSet(("other", *ADE20K.names), ((0, 0, 0), *ADE20K.palette))


def test_classes_yaml_wins(tmp_path: Path) -> None:
    assert find_class_file(tmp_path) is None
    (tmp_path / "codes.txt").write_text("a\nb")
    assert find_own_class_file(tmp_path) is None
    (tmp_path / "labelmap.txt").write_text("c:1,2,3::")
    for path, names in ((tmp_path / "labelmap.txt", ("c",)), (tmp_path / "classes.yaml", ("d", "e", "f"))):
        if path.suffix == ".yaml":
            path.write_text("names: [d, e, f]")
        found = find_class_file(tmp_path)
        assert found is not None
        assert (found.path, found.classes.names) == (path, names)
    assert find_own_class_file(tmp_path) == find_class_file(tmp_path)


@pytest.mark.parametrize("text", ["train: images/train\n", "- a\n- b\n", ""])
def test_a_data_yaml_without_names_is_about_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert find_class_file(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labelmap.txt", "road", "line 1 is 'road'; expected 'name:red,green,blue::'"),
        ("labelmap.txt", "\n:1,2,3::", "line 2 is ':1,2,3::'"),
        ("labelmap.txt", "road:1,2::", "line 1 has the color '1 2'; expected red, green and blue from 0 to 255"),
        ("labelmap.txt", "road:1,2,256::", "line 1 has the color '1 2 256'"),
        ("labelmap.txt", "road:1,2,-3::", "line 1 has the color '1 2 -3'"),
        ("labelmap.txt", f"road:1,2,{'9' * 9000}::", "line 1 has the color"),
        ("labelmap.txt", "road:1,2,3::\nroad:4,5,6::", "line 2 repeats the name 'road'"),
        ("labelmap.txt", "road:1,2,3::\ncar:::", "has no color for 'car'"),
        ("labelmap.txt", "# nothing", "has no labels"),
        ("labelmap.txt", "ignored:1,2,3::", "names 0 classes; expected 1 to 255"),
        ("labelmap.txt", "".join(f"{i}:::\n" for i in range(256)), "names 256 classes"),
        ("labelmap.txt", b"road:\xff", "cannot be read"),
        ("labelmap.txt", "x" * (2**20 + 1), "is larger than 1 MiB"),
        ("dataset_meta.json", "[1]", "holds list; expected an object with 'labels'"),
        ("dataset_meta.json", "{}", "'names' must be a list of class names, but got None"),
        ("dataset_meta.json", '{"labels": ["a", null]}', "each of the 'names' must be a string or a number"),
        ("dataset_meta.json", '{"label_map": ["a"]}', "must map numbers to names"),
        ("dataset_meta.json", '{"labels": ["a"], "segmentation_colors": [null]}', "'palette' must be a list"),
        ("dataset_meta.json", '{"labels": ["a"], "segmentation_colors": [["1", 2, 3]]}', "whole numbers from 0 to 255"),
        ("dataset_meta.json", '{"labels": ', "is not valid JSON"),
        ("dataset_meta.json", "[" * 200_000, "nested too deeply"),
        ("id2label.json", '{"0": "a", "1": "b", "255": "c"}', "names the value 255, but class numbers are 0 to 254"),
        ("id2label.json", '{"a": 0}', "must map numbers to names"),
        ("id2label.json", '{"' + "9" * 9000 + '": "a"}', "must map numbers to names"),
        ("id2label.json", '["a"]', "must map numbers to names"),
        ("id2label.json", "9" * 9000, "is not valid JSON"),
        ("id2label.json", '{"0": "a", "0": "b"}', "the name '0' occurs twice in one mapping, with different values"),
        ("_classes.csv", "", "is empty; expected a first line 'Pixel Value, Class'"),
        ("_classes.csv", "filename, cat, dog", "begins with 'filename, cat, dog'"),
        ("_classes.csv", "Pixel Value, Class\n0", "row 2 is '0'; expected a pixel value and a class"),
        ("_classes.csv", "Pixel Value, Class\n0, a\n1, b\n255, c", "255 means ignored pixels; remove its entry"),
        ("_classes.csv", "Pixel Value, Class", "1 to 255 classes, but got 0"),
        ("label_colors.txt", "1 2 3\n", "line 1 is '1 2 3'; expected red, green, blue and a name"),
        ("label_colors.txt", "1 2 x\tRoad", "line 1 has the color '1 2 x'"),
        ("codes.txt", "a\nb\na", "'a' occurs more than once"),
        ("objectInfo150.txt", "Idx\tName\n1\twall", "line 2 has too few columns"),
        ("objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tName\n2\t0\t0\t0\twall", "from 1 without gaps, but got [2]"),
        ("data.yaml", "names: 3", "'names' must be a list"),
        ("data.yaml", "names: &a [*a]", "anchor"),
    ],
)
def test_a_malformed_class_file_is_one_line_that_names_it(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        find_class_file(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)


def test_a_labelmap_keeps_the_ignored_label_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("a:1,2,3::\nignored:4,5,6::\nb:7,8,9::")
    labels = read_labelmap(tmp_path / "labelmap.txt")
    assert [(label.name, label.color) for label in labels] == [
        ("a", (1, 2, 3)),
        ("ignored", (4, 5, 6)),
        ("b", (7, 8, 9)),
    ]


def test_colored_masks_are_read_by_the_class_file_of_another_tool(save_files) -> None:
    label_map = np.arange(32 * 48).reshape(32, 48) // 100 % 2
    mask = np.array([ROAD, CAR], dtype=np.uint8)[label_map]
    image = np.zeros((32, 48, 3), dtype=np.uint8)
    files = {f"{side}/{i}.png": a for i in range(3) for side, a in (("images", image), ("masks", mask))}
    folder = open_folder(save_files({**files, "labelmap.txt": "road:128,64,128::\ncar:64,0,128::"}))
    assert folder.classes == TWO
    assert "2 classes from labelmap.txt" in folder.notes
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("train")[0])[1], label_map)


@pytest.mark.parametrize("name", ["labelmap.txt", "dataset_meta.json", "id2label.json", "codes.txt", "data.yaml"])
def test_the_error_of_a_damaged_class_file_is_not_its_own_cause(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe names:")
    with pytest.raises(DataError, match=re.escape(name)) as caught:
        find_class_file(tmp_path)
    error: BaseException | None = caught.value
    seen = []
    while error is not None:
        assert error not in seen
        seen.append(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "class_dict.csv",
            "road,128,64,128\n",
            "class_dict.csv: begins with 'road, 128, 64, 128'; expected 'name,r,g,b'",
        ),
        ("class_dict.csv", "", "class_dict.csv: begins with ''; expected 'name,r,g,b'"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64\n", "row 2 is 'road, 128, 64'; expected the columns name, r, g, b"),
        ("class_dict.csv", "name,r,g,b\nroad,128,64,x\n", "row 2 has the color '128 64 x'"),
        ("class_dict.csv", "name,r,g,b\na,1,1,1\na,2,2,2\n", "class_dict.csv: class names must differ"),
        (
            "label_classes.json",
            '[{"png_index": "a", "class_name": "b"}]',
            "has a 'png_index' that is not a whole number",
        ),
        ("label_classes.json", '[{"png_index": 5, "class_name": "b"}]', "must number the names from 0 without gaps"),
        ("label_classes.json", '[{"png_index": 1}]', "label_classes.json: "),
        ("config_v2.0.json", '{"labels": [{"name": "a", "color": [1, 2, 300]}]}', "label 1 has the color '1 2 300'"),
        ("classes.txt", "a\na\n", "classes.txt: class names must differ"),
    ],
)
def test_tables_of_other_tools_that_cannot_be_are_errors(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(message)):
        find_class_file(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"model_type": "fcn"}'),
        ("config.json", "// no JSON"),
        ("config.json", '{"labels": ["road", "car"]}'),
        ("config.json", '{"labels": [{"name": "a", "color": "red"}]}'),
        ("config.json", '{"labels": [{"name": "a", "color": [1, 2, 3, 4]}]}'),
        ("label_classes.json", '["road", "car"]'),
        ("label_classes.json", '{"road": 1}'),
        ("classes.csv", "id,name,count\n0,road,7\n"),
    ],
)
def test_files_of_the_same_names_for_another_purpose_do_not_count(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert find_class_file(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["bild,größe\n1,2\n".encode("cp1252"), b"name;r\n" * 2**18], ids=["cp1252", "large"]
)
def test_a_table_for_another_purpose_may_have_any_text_and_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "classes.csv").write_bytes(content)
    assert find_class_file(tmp_path) is None


@pytest.mark.parametrize("name", ["classes.txt", "obj.names", "class_names.txt"])
def test_plain_lists_of_names_count_only_where_the_masks_fit(save_files, name: str) -> None:
    masks = {f"masks/{n}.png": np.arange(64, dtype=np.uint8).reshape(8, 8) // 22 for n in range(3)}
    images = {f"images/{n}.png": np.zeros((8, 8, 3), dtype=np.uint8) for n in range(3)}
    root = save_files({**masks, **images, name: "sky\nroad\ncar"})
    folder = open_folder(root)
    assert folder.classes.names == ("sky", "road", "car")
    assert f"3 classes (sky, road, car) from {name}" in folder.notes
    (root / name).write_text("road\ncar", encoding="utf-8")
    folder = open_folder(root)
    assert folder.classes.names == ("class_0", "class_1", "class_2")
    assert not folder.declared
    assert f"2 classes (road, car) from {name} left out: the masks hold other classes" in folder.notes


def test_a_table_of_colors_gives_its_names_to_masks_of_these_colors(save_files) -> None:
    label_map = np.arange(64).reshape(8, 8) // 32
    colors = np.array([ROAD, CAR], dtype=np.uint8)
    files = {f"masks/{n}.png": colors[label_map] for n in range(3)}
    files |= {f"images/{n}.png": np.zeros((8, 8, 3), dtype=np.uint8) for n in range(3)}
    folder = open_folder(save_files({**files, "class_dict.csv": "name,r,g,b\ncar,64,0,128\nroad,128,64,128"}))
    assert folder.classes.names == ("car", "road")
    np.testing.assert_array_equal(folder.read_pair(folder.pairs("val")[0])[1], 1 - label_map)


def test_hasty_s_masks_have_the_names_of_their_numbers(save_files) -> None:
    files = {f"masks/{n}.png": np.arange(64, dtype=np.uint8).reshape(8, 8) // 22 for n in range(3)}
    files |= {f"images/{n}.png": np.zeros((8, 8, 3), dtype=np.uint8) for n in range(3)}
    folder = open_folder(save_files({**files, "label_classes.json": json.dumps(HASTY)}))
    assert folder.classes == BEHIND
    assert folder.declared
