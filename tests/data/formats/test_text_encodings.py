"""Annotations and class files in other encodings than UTF-8: read by their mark, else named with the remedy."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskpencil.data.class_files import READERS, find_class_file
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

pytestmark = pytest.mark.slow

IMAGE = np.full((32, 48, 3), 50, dtype=np.uint8)
POINTS = [[0, 0], [9, 0], [9, 9], [0, 9]]
FLAT = [value for point in POINTS for value in point]
NAME = "汽车"


def coco() -> str:
    images = [{"id": n, "file_name": f"{n}.png", "height": 32, "width": 48} for n in (1, 2)]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "segmentation": [FLAT]} for n in (1, 2)]
    return dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": NAME}]})


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def labelme(number: int) -> str:
    return dumps({"shapes": [{"label": NAME, "points": POINTS}], "imagePath": f"{number}.png"})


def tasks() -> str:
    points = [[100 * x / 48, 100 * y / 32] for x, y in POINTS]
    result = {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [NAME]}}
    return dumps([{"data": {"image": f"{n}.png"}, "annotations": [{"result": [result]}]} for n in (1, 2)])


def datumaro() -> str:
    annotation = {"type": "polygon", "label_id": 0, "points": FLAT}
    items = [{"id": str(n), "image": {"path": f"{n}.png"}, "annotations": [annotation]} for n in (1, 2)]
    return dumps({"categories": {"label": {"labels": [{"name": NAME}]}}, "items": items})


LINE = "0 " + " ".join(f"{x / 48} {y / 32}" for x, y in POINTS)
FORMS = {
    "COCO": {"coco.json": coco()},
    "labelme": {"1.json": labelme(1), "2.json": labelme(2)},
    "Label Studio": {"tasks.json": tasks()},
    "Datumaro": {"annotations/default.json": datumaro()},
    "YOLO": {"data.yaml": f"train: images\nnames: [{NAME}]\n", "labels/1.txt": LINE, "labels/2.txt": LINE},
}


@pytest.fixture
def write(save_files):
    def save(form: str, encoding: str, mark: bytes = b"") -> Path:
        root = save_files({f"images/{n}.png": IMAGE for n in (1, 2)})
        for name, text in FORMS[form].items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(mark + text.encode(encoding))
        return Path(root)

    return save


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8-sig", b""),
        ("utf-16", b""),
        ("utf-16-le", b""),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-16-be", b""),
        ("utf-32", b""),
    ],
)
def test_annotations_are_read_in_every_encoding_that_shows_itself(form: str, encoding: str, mark: bytes, write) -> None:
    folder = open_folder(write(form, encoding, mark))
    assert folder.classes.names == ("background", NAME)
    for pairs in folder.splits.values():
        for pair in pairs:
            assert folder.read_pair(pair)[1].sum() == 81
    assert any(note.startswith(f"read as {form}: ") for note in folder.notes)


@pytest.mark.skipif(shutil.which("iconv") is None, reason="the remedy is a command that is not here")
@pytest.mark.parametrize("form", FORMS)
def test_other_encodings_are_named_with_a_command_that_mends_them(form: str, write) -> None:
    root = write(form, "gb18030")
    with pytest.raises(DataError, match=r"its text is not UTF-8 at byte \d+, perhaps GB18030") as caught:
        open_folder(root)
    for path in [root / name for name in FORMS[form]]:
        command = re.search(r"or type (iconv -f \S+ -t UTF-8) FILE > NEW", str(caught.value))
        assert command
        converted = subprocess.run(
            [*command[1].split(), path.name], cwd=path.parent, capture_output=True, check=True
        ).stdout
        path.write_bytes(converted)
    assert open_folder(root).classes.names == ("background", NAME)


TABLE = f"name,r,g,b\n背景,0,0,0\n{NAME},1,2,3\n"
VISTAS = dumps({"labels": [{"name": name, "color": [n, n, n]} for n, name in enumerate(("背景", NAME))]})
CLASS_FILES = {
    "labelmap.txt": f"背景:0,0,0::\n{NAME}:1,2,3::\n",
    "dataset_meta.json": dumps({"labels": ["背景", NAME]}),
    "_classes.csv": f"Pixel Value, Class\n0, 背景\n1, {NAME}\n",
    "id2label.json": dumps({"0": "背景", "1": NAME}),
    "label_colors.txt": f"0 0 0\t背景\n1 2 3\t{NAME}\n",
    "codes.txt": f"背景\n{NAME}\n",
    "data.yaml": f"names: [背景, {NAME}]\n",
    "dataset.yaml": f"names:\n  0: 背景\n  1: {NAME}\n",
    "classes.yaml": f"names: [背景, {NAME}]\n",
    "class_dict.csv": TABLE,
    "label_class_dict.csv": TABLE,
    "class_dict_seg.csv": TABLE,
    "classes.csv": TABLE,
    "label_classes.json": dumps([{"png_index": 0, "class_name": "背景"}, {"png_index": 1, "class_name": NAME}]),
    "config.json": VISTAS,
    "config_v1.2.json": VISTAS,
    "config_v2.0.json": VISTAS,
    "class_names.txt": f"背景\n{NAME}\n",
    "obj.names": f"背景\n{NAME}\n",
    "classes.txt": f"背景\n{NAME}\n",
}


@pytest.mark.parametrize("name", CLASS_FILES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_class_files_are_read_in_every_encoding_that_shows_itself(name: str, encoding: str, tmp_path: Path) -> None:
    assert set(READERS) - {"objectInfo150.txt"} == set(CLASS_FILES) - {"classes.yaml"}
    (tmp_path / name).write_bytes(CLASS_FILES[name].encode(encoding))
    found = find_class_file(tmp_path)
    assert found
    assert found.classes.names == ("背景", NAME)


@pytest.mark.parametrize("name", [name for name in CLASS_FILES if name != "config.json"])  # which may be anything
@pytest.mark.parametrize(("encoding", "text"), [("gbk", NAME), ("cp1252", "Gebüsch"), ("cp932", "自動車")])
def test_class_files_in_other_encodings_are_named(name: str, encoding: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CLASS_FILES[name].replace("背景", "other").replace(NAME, text).encode(encoding))
    with pytest.raises(
        DataError, match=r"its text is not UTF-8 at byte \d+.*; save it as UTF-8 in an editor"
    ) as caught:
        find_class_file(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
