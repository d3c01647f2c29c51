"""Entries that cannot be drawn: what has no area is left out alone, what cannot be understood is named all at once."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import left_out

from maskpencil.cli import main
from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

SIZE = (32, 48)
IMAGE = np.random.default_rng(0).integers(0, 255, (3, *SIZE, 3), dtype=np.uint8)
BOX = [10, 5, 30, 5, 30, 25, 10, 25]
PAIRS = [[x, y] for x, y in zip(BOX[::2], BOX[1::2], strict=True)]
BOXED = np.zeros(SIZE, dtype=np.uint8)
BOXED[5:25, 10:30] = 1
Files = dict[str, Any]


def coco(*segmentations: Any) -> Files:
    """The first image has the outlines, the last two a good one each."""
    images = [{"id": n, "file_name": f"{n}.png", "height": 32, "width": 48} for n in range(3)]
    own = [(0, each) for each in segmentations] + [(1, [BOX]), (2, [BOX])]
    annotations = [{"id": n, "image_id": m, "category_id": 1, "segmentation": each} for n, (m, each) in enumerate(own)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    return {"coco.json": json.dumps(content)} | {f"{n}.png": IMAGE[n] for n in range(3)}


def labelme(*points: Any) -> Files:
    files: Files = {f"{n}.png": IMAGE[n] for n in range(3)}
    for n, own in enumerate((points, (PAIRS,), (PAIRS,))):
        shapes = [{"label": "car", "points": each, "shape_type": "polygon"} for each in own]
        files[f"{n}.json"] = json.dumps(
            {"shapes": shapes, "imagePath": f"{n}.png", "imageHeight": 32, "imageWidth": 48}
        )
    return files


def label_studio(*points: Any) -> Files:
    tasks = []
    for n, own in enumerate((points, (PAIRS,), (PAIRS,))):
        shares = [[[100 * x / 48, 100 * y / 32] for x, y in each] if isinstance(each, list) else each for each in own]
        results = [{"type": "polygonlabels", "value": {"points": s, "polygonlabels": ["car"]}} for s in shares]
        tasks.append({"id": n, "data": {"image": f"{n}.png"}, "annotations": [{"result": results}]})
    return {"tasks.json": json.dumps(tasks)} | {f"{n}.png": IMAGE[n] for n in range(3)}


def datumaro(*points: Any) -> Files:
    items = [
        {
            "id": str(n),
            "image": {"path": f"{n}.png"},
            "annotations": [{"type": "polygon", "label_id": 0, "points": each} for each in own],
        }
        for n, own in enumerate((points, (BOX,), (BOX,)))
    ]
    content = {"categories": {"label": {"labels": [{"name": "car"}]}}, "items": items}
    return {"annotations/default.json": json.dumps(content)} | {f"images/default/{n}.png": IMAGE[n] for n in range(3)}


def yolo(*lines: str) -> Files:
    good = "0 " + " ".join(f"{x / 48:.6f} {y / 32:.6f}" for x, y in PAIRS)
    files: Files = {"data.yaml": "train: images\nnames: [car]"} | {f"images/{n}.png": IMAGE[n] for n in range(3)}
    return files | {f"labels/{n}.txt": "\n".join(own) for n, own in enumerate(((*lines, good), (good,), (good,)))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "places"),
    [
        (
            coco([BOX], [[4.0, 9.0, 8.0, 9.0]], [[]], [[3, 3]], [[5, 5] * 4]),
            [
                "coco.json: annotation 1: a polygon of 2 points",
                "coco.json: annotation 2: a polygon of 0 points",
                "coco.json: annotation 3: a polygon of 1 point",
                "coco.json: annotation 4: a polygon of 4 points",
            ],
        ),
        (
            coco([BOX, [], [1, 2]]),
            [
                "coco.json: annotation 0: part 2 of 3 is a polygon of 0 points",
                "coco.json: annotation 0: part 3 of 3 is a polygon of 1 point",
            ],
        ),
        (
            labelme(PAIRS, [[1, 2], [3, 4]], []),
            ["0.json: shape 2 ('car'): a polygon of 2 points", "0.json: shape 3 ('car'): a polygon of 0 points"],
        ),
        (
            label_studio(PAIRS, [], [[1, 2], [1, 2], [1, 2]]),
            [
                "tasks.json: task 1: annotation 1: result 2 ('car'): an outline of 0 points",
                "tasks.json: task 1: annotation 1: result 3 ('car'): an outline of 3 points",
            ],
        ),
        (datumaro(BOX, [1, 2, 1, 2]), ["default.json: item 1: annotation 2: a polygon of 2 points"]),
        (
            yolo("0", "0 0.5 0.5", "0 0.5 0.5 0 0.2"),
            ["0.txt: line 1: '0'", "0.txt: line 2: '0 0.5 0.5'", "0.txt: line 3: '0 0.5 0.5 0 0.2'"],
        ),
    ],
    ids=["coco", "coco parts", "labelme", "label studio", "datumaro", "yolo"],
)
def test_shapes_without_an_area_are_left_out_and_all_named(
    files: Files, places: list[str], save_files, tmp_path
) -> None:
    root = save_files(files)
    folder = open_folder(root)
    for pairs in folder.splits.values():
        for pair in pairs:
            np.testing.assert_array_equal(folder.read_pair(pair)[1], BOXED)
    report = check(root)
    assert report.usable
    (fault,) = (fault for fault in report.faults if fault.kind == "annotations-without-area")
    assert [name.rpartition("/")[2] for name in fault.files] == places
    changes = write_fixed(report, tmp_path / "fixed")
    assert sum(change.change == "left out: has no area" for change in changes) == len(places)
    assert len(open_folder(tmp_path / "fixed").facts) == 3


BROKEN = [
    (
        coco([BOX], [[1, 2, 3, 4, 5]], ["x"], {"counts": [1]}),
        3,
        "annotation 1: has a polygon of 5 numbers",
        "annotation 3: segmentation: 'size' is missing",
    ),
    (
        labelme(PAIRS, "x", [[1, 2, 3]]),
        2,
        "shape 2 ('car'): has the points 'x'",
        "shape 3 ('car'): has the points [[1,",
    ),
    (label_studio(PAIRS, "M 0 0", 7), 2, "result 2: has the points 'M 0 0'", "result 3: has the points 7"),
    (
        datumaro(BOX, [1, 2, 3], ["x"]),
        2,
        "item 1: annotation 2: 'points' is [1, 2, 3]",
        "annotation 3: has the points ['x']",
    ),
    (yolo("7 0 0 1 0 1 1", "0 0 0 31 0 1 1", "car 0 0"), 3, "line 1 has the class 7", "line 3 is 'car 0 0'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("files", "count", "first", "last"), BROKEN, ids=["coco", "labelme", "ls", "datumaro", "yolo"])
def test_all_that_cannot_be_understood_is_named_at_once_and_fixed_without_its_image(
    files: Files, count: int, first: str, last: str, save_files, tmp_path: Path
) -> None:
    root = save_files(files)
    with pytest.raises(DataError, match=f"^{count} annotations cannot be understood ") as caught:
        open_folder(root)
    assert first in str(caught.value)
    assert last in str(caught.value)
    assert "\n" not in str(caught.value)
    report = check(root)
    assert not report.usable
    assert report.splits == {"train": 1, "val": 1}
    write_fixed(report, tmp_path / "fixed")
    fixed = open_folder(tmp_path / "fixed")
    assert sorted(pair.name.rpartition("/")[2] for pairs in fixed.splits.values() for pair in pairs) == ["1", "2"]
    for pairs in fixed.splits.values():
        for pair in pairs:
            np.testing.assert_array_equal(fixed.read_pair(pair)[1], BOXED)


def test_the_command_of_the_remedy_works_as_it_is_said(save_files, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_files(coco([BOX], [[1, 2, 3, 4, 5]]))
    assert main(["convert", "data", "--to", "folder", "--out", "out"]) == 1
    said = capsys.readouterr().err
    found = re.search(r"maskpencil (check DATA --fix OUT) writes the data without their images", said)
    assert found
    assert main(found[1].replace("DATA", "data").replace("OUT", "fixed").split()) == 0
    assert "annotations-not-understood" not in capsys.readouterr().err
    assert main(["convert", "fixed", "--to", "folder", "--out", "out"]) == 0
    changes = (tmp_path / "fixed" / "changes.csv").read_text()
    assert "annotation 1: has a polygon of 5 numbers" in changes
    assert "left out with its image: cannot be understood" in changes


def test_of_many_entries_five_are_named_with_their_number(save_files) -> None:
    with pytest.raises(DataError, match=r"^40 annotations cannot be understood \(.*, \.\.\.\); ") as caught:
        open_folder(save_files(coco([BOX], *([[1, 2, 3, 4, 5]] for _ in range(40)))))
    assert str(caught.value).count("annotation ") == 5


@pytest.mark.parametrize(
    "files",
    [
        coco([BOX], [[40, 0, 55, 0, 55, 3, 40, 3]]),
        labelme(PAIRS, [[40, 0], [55, 0], [55, 3], [40, 3]]),
        label_studio(PAIRS, [[40, 0], [55, 0], [55, 3], [40, 3]]),
        datumaro(BOX, [40, 0, 55, 0, 55, 3, 40, 3]),
        yolo("0 0.8333333333 0 1.07 0 1.07 0.09375 0.8333333333 0.09375"),
    ],
)
def test_shapes_over_the_edge_are_cut_off_and_named(files: Files, save_files) -> None:
    folder = open_folder(save_files(files))
    (line,) = (line for line in folder.notes if "extends beyond its image and is cut off" in line)
    assert line.startswith("warning: 1 shape ")
    pair = next(pair for pairs in folder.splits.values() for pair in pairs if pair.name == "0")
    expected = BOXED.copy()
    expected[:3, 40:] = 1
    np.testing.assert_array_equal(folder.read_pair(pair)[1], expected)


@pytest.mark.parametrize(
    ("lines", "others", "read"),
    [
        ((0.9, 0.8), (0.7,), True),
        ((0.9,), (), False),  # one line may be damaged
        ((0.9, None), (0.7,), False),  # lines with and without in one file
        ((0.9, 5), (0.7,), False),  # no share
    ],
)
def test_a_confidence_is_taken_for_one_only_if_all_lines_of_files_have_it(
    lines, others, read: bool, save_files
) -> None:
    def text(confidences: Any) -> str:
        good = yolo()["labels/1.txt"]
        return "\n".join(good if each is None else f"{good} {each}" for each in confidences)

    root = save_files(yolo() | {"labels/0.txt": text(lines)} | ({"labels/1.txt": text(others)} if others else {}))
    if not read:
        with pytest.raises(DataError, match=r"cannot be understood|line . is "):
            open_folder(root)
        return
    folder = open_folder(root)
    assert left_out(folder.notes, "x") == []
    (line,) = (line for line in folder.notes if "counts as a confidence" in line)
    assert "2 label files" in line
    for pairs in folder.splits.values():
        for pair in pairs:
            np.testing.assert_array_equal(folder.read_pair(pair)[1], BOXED)
