"""Exports of Label Studio that its own converter writes, from tasks with brushes and polygons."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from tests.round_trips.pairs import EXAMPLES, Pair, assert_reads_as, empty_folder, library, masks, two_pairs

from maskpencil.data.folder import open_folder
from maskpencil.errors import DataError

brush = library("label_studio_sdk.converter.brush")
converter = library("label_studio_sdk.converter")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library

BRUSHES = """<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">
<Label value="tree"/><Label value="car"/><Label value="__ignore__"/></BrushLabels></View>"""
POLYGONS = BRUSHES.replace("BrushLabels", "PolygonLabels")


def region(pair: Pair, number: int, kind: str, **value: Any) -> dict[str, Any]:
    height, width = pair.label_map.shape
    common = {"from_name": "tag", "to_name": "image", "image_rotation": 0, "origin": "manual"}
    size = {"original_width": width, "original_height": height}
    return common | size | {"id": f"r{number}", "type": kind, "value": value}


def tasks(pairs: Sequence[Pair], regions: Sequence[Sequence[dict[str, Any]]]) -> str:
    listed = []
    for number, (pair, own) in enumerate(zip(pairs, regions, strict=True), start=1):
        annotation = {"id": number, "completed_by": 1, "result": list(own), "was_cancelled": False}
        listed.append({"id": number, "data": {"image": f"/data/upload/1/{pair.file}"}, "annotations": [annotation]})
    return json.dumps(listed)


def brushed(pair: Pair) -> list[dict[str, Any]]:
    """Regions whose masks the library encodes."""
    return [
        region(
            pair,
            number,
            "brushlabels",
            format="rle",
            rle=brush.mask2rle(mask.astype(np.uint8) * 255),
            brushlabels=[name],
        )
        for number, (name, mask) in enumerate(masks(pair.label_map).items())
    ]


def write(root: Path, pairs: Sequence[Pair], regions: Sequence[Any], *exports: str, config: str = BRUSHES) -> None:
    """Write the images, and what the library makes of the tasks."""
    for pair in pairs:
        pair.save(root / "images")
    source = root.with_name("tasks.json")
    source.write_text(tasks(pairs, regions))
    for export in exports:
        library_of = converter.Converter(config, project_dir=None, download_resources=False)
        library_of.convert(str(source), str(root), export, is_dir=False)


@pytest.mark.parametrize("exports", [["JSON"], ["JSON_MIN"], ["JSON", "BRUSH_TO_PNG"]])
@given(pairs=two_pairs(empty=False))
@EXAMPLES
def test_brushes_of_label_studio_are_read(exports: list[str], pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs, [brushed(pair) for pair in pairs], *exports)
        if len(exports) > 1:  # tasks without their annotations name the images of the masks
            for path in root.glob("*.json"):
                bare = [{**task, "annotations": []} for task in json.loads(path.read_text())]
                path.write_text(json.dumps(bare))
        assert_reads_as(root, pairs)


@given(pairs=two_pairs(empty=False))
@EXAMPLES
def test_what_is_read_is_what_the_library_decodes(pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs, [brushed(pair) for pair in pairs], "JSON")
        decoded = []
        for pair in pairs:
            label_map = np.zeros_like(pair.label_map)
            for (name, _), own in zip(masks(pair.label_map).items(), brushed(pair), strict=True):
                levels = brush.decode_rle(own["value"]["rle"]).reshape(*label_map.shape, 4)[..., 3]
                label_map[levels > 0] = {"tree": 1, "car": 2}.get(name, 255)
            decoded.append(Pair(pair.name, label_map, pair.orientation))
        assert_reads_as(root, decoded)


def rectangles(pair: Pair) -> list[tuple[str, list[list[float]]]]:
    """A polygon for each run of equal pixels in a row, in percent of the sides."""
    height, width = pair.label_map.shape
    found = []
    for name, mask in masks(pair.label_map).items():
        for row in np.flatnonzero(mask.any(axis=1)).tolist():
            edges = np.flatnonzero(np.diff(mask[row].astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
            for left, right in edges.tolist():
                corners = ((left, row), (right, row), (right, row + 1), (left, row + 1))
                found.append((name, [[x / width * 100, y / height * 100] for x, y in corners]))
    return found


@pytest.mark.parametrize("exports", [["JSON"], ["JSON_MIN"], ["COCO"], ["YOLO"]])
@given(pairs=two_pairs(turned=False, ignored=False, empty=False))
@EXAMPLES
def test_polygons_of_label_studio_are_read(exports: list[str], pairs: list[Pair]) -> None:
    regions = [
        [region(pair, n, "polygonlabels", points=points, polygonlabels=[name], closed=True)
         for n, (name, points) in enumerate(rectangles(pair))]
        for pair in pairs
    ]  # fmt: skip
    with empty_folder() as root:
        write(root, pairs, regions, *exports, config=POLYGONS)
        assert_reads_as(root, pairs)


def test_boxes_as_pascal_voc_hold_no_masks_and_are_refused() -> None:
    pairs = [Pair(name, np.eye(9, dtype=np.uint8)) for name in "ab"]
    with empty_folder() as root:
        boxes = [[region(p, 0, "rectanglelabels", x=0, y=0, width=50, height=50, rotation=0, rectanglelabels=["tree"])]
                 for p in pairs]  # fmt: skip
        write(root, pairs, boxes, "VOC", config=BRUSHES.replace("BrushLabels", "RectangleLabels"))
        with pytest.raises(DataError, match=r"has no pairs of images and masks \(found Annotations/, images/\)"):
            open_folder(root)
