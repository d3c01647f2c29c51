"""Mask files beside annotated images are not images without a mask."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from maskpencil.data.check import check
from maskpencil.data.convert import write_fixed
from maskpencil.data.folder import open_folder

SIZE = (32, 48)
NAMES = ("0", "1", "2", "3")
BOX = [[10, 5], [30, 5], [30, 25], [10, 25]]
Files = dict[str, Any]
SaveFiles = Callable[[Files], Path]
RANDOM = np.random.default_rng(0)


def photo() -> npt.NDArray[np.uint8]:
    return RANDOM.integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def mask() -> npt.NDArray[np.uint8]:
    values = np.zeros(SIZE, dtype=np.uint8)
    values[5:25, 10 + int(RANDOM.integers(0, 9)) : 30] = 1
    return values


def coco(place: str) -> Files:
    images = [{"id": n, "file_name": f"{name}.jpg", "height": 32, "width": 48} for n, name in enumerate(NAMES)]
    outline = [[number for point in BOX for number in point]]
    areas = [{"id": n, "image_id": n, "category_id": 1, "segmentation": outline} for n, _ in enumerate(NAMES)]
    content = {"images": images, "annotations": areas, "categories": [{"id": 1, "name": "car"}]}
    return {f"{place}coco.json": json.dumps(content)}


def labelme(place: str) -> Files:
    shapes = [{"label": "car", "points": BOX, "shape_type": "polygon"}]
    content = {"shapes": shapes, "imageHeight": 32, "imageWidth": 48}
    return {f"{place}{name}.json": json.dumps({**content, "imagePath": f"{name}.jpg"}) for name in NAMES}


def label_studio(place: str) -> Files:
    points = [[100 * x / 48, 100 * y / 32] for x, y in BOX]
    result = [{"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["car"]}}]
    return {
        f"{place}tasks.json": json.dumps(
            [{"id": n, "data": {"image": f"{n}.jpg"}, "annotations": [{"result": result}]} for n in range(4)]
        )
    }


def via(place: str) -> Files:
    shape = {"name": "polygon", "all_points_x": [x for x, _ in BOX], "all_points_y": [y for _, y in BOX]}
    regions = [{"shape_attributes": shape, "region_attributes": {"class": "car"}}]
    entries = {f"{n}.jpg1": {"filename": f"{n}.jpg", "size": 1, "regions": regions} for n in NAMES}
    return {f"{place}via.json": json.dumps(entries)}


def cvat(place: str) -> Files:
    points = ";".join(f"{x},{y}" for x, y in BOX)
    images = "".join(
        f'<image id="{n}" name="{n}.jpg" width="48" height="32"><polygon label="car" points="{points}" z_order="0"/>'
        "</image>"
        for n in NAMES
    )
    labels = "<labels><label><name>car</name></label></labels>"
    content = f"<annotations><version>1.1</version><meta><task>{labels}</task></meta>{images}</annotations>"
    return {f"{place}annotations.xml": content}


READ = (coco, labelme, label_studio, via, cvat)


def kinds(root: Path) -> dict[str, tuple[str, ...]]:
    found = {each.kind: each.files for each in check(root).faults}
    named = ("images-without-mask", "masks-not-read", "images-not-read")
    return {kind: files for kind, files in found.items() if kind in named}


@pytest.mark.parametrize("annotations", READ)
@pytest.mark.parametrize("ending", [".png", "_mask.png", "_label.jpg"])
@pytest.mark.parametrize("place", ["", "data/"])
def test_masks_beside_annotated_images_are_named_as_masks(
    save_files: SaveFiles, annotations: Callable[[str], Files], ending: str, place: str, tmp_path: Path
) -> None:
    images = {f"{place}{name}.jpg": photo() for name in (*NAMES, "more")}
    root = save_files(images | {f"{place}{name}{ending}": mask() for name in NAMES} | annotations(place))
    report = check(root)
    assert report.splits == {"train": 3, "val": 1}
    place = "" if report.root.name == "data" and report.root != root else place
    assert kinds(root) == {
        "images-without-mask": (f"{place}more.jpg",),
        "masks-not-read": tuple(f"{place}{name}{ending}" for name in NAMES),
    }
    changes = {change.file: change.change for change in write_fixed(report, tmp_path / "fixed")}
    assert changes[f"{place}more.jpg"] == "left out: has no mask"
    assert changes[f"{place}0{ending}"] == "left out: its image has another mask"


def test_the_note_on_masks_names_their_folder_as_it_is_typed(save_files: SaveFiles) -> None:
    images = {f"my data/{name}.jpg": photo() for name in NAMES}
    root = save_files(images | {f"my data/{name}.png": mask() for name in NAMES} | labelme("my data/"))
    (note,) = (each.line for each in check(root).faults if each.kind == "masks-not-read")
    files = ", ".join(f"my data/{name}.png" for name in NAMES)
    folder = f"'{root / 'my data'}'"
    assert note == (
        f"note: 4 mask files are not read, since their images have annotations ({files}); to read them: --images "
        f"{folder} --masks {folder}"
    )


def test_the_masks_of_images_without_annotations_are_masks_too(save_files: SaveFiles) -> None:
    names = (*NAMES, "more", "most")
    files = {f"{name}.jpg": photo() for name in names} | {f"{name}.png": mask() for name in names}
    assert kinds(save_files(files | labelme(""))) == {
        "images-without-mask": ("more.jpg", "most.jpg"),
        "masks-not-read": tuple(f"{name}.png" for name in names),
    }


def test_other_files_named_after_images_are_no_images_without_a_mask(save_files: SaveFiles) -> None:
    files = {f"{name}.jpg": photo() for name in NAMES} | {f"{name}_overlay.jpg": photo() for name in NAMES}
    assert kinds(save_files(files | {"2.tif": photo(), "22.jpg": photo(), "2b.jpg": photo()} | coco(""))) == {
        "images-without-mask": ("22.jpg", "2b.jpg"),
        "images-not-read": ("0_overlay.jpg", "1_overlay.jpg", "2.tif", "2_overlay.jpg", "3_overlay.jpg"),
    }


def test_a_dark_image_whose_name_extends_that_of_another_image_is_an_image(save_files: SaveFiles) -> None:
    files = {f"{name}.jpg": photo() for name in NAMES} | {"3_night.jpg": np.zeros((*SIZE, 3), dtype=np.uint8)}
    assert kinds(save_files(files | labelme(""))) == {"images-without-mask": ("3_night.jpg",)}


@pytest.mark.parametrize("more", [(), ("8", "9")])
@pytest.mark.parametrize("annotations", [coco, labelme, via, cvat])
def test_images_in_another_folder_with_masks_beside_it_have_masks(
    save_files: SaveFiles, annotations: Callable[[str], Files], more: tuple[str, ...]
) -> None:
    names = [*NAMES, *more]
    files = {f"drawn/{name}.jpg": photo() for name in NAMES} | annotations("drawn/")
    files |= {f"voc/JPEGImages/{name}.jpg": photo() for name in names}
    files |= {f"voc/SegmentationClassPNG/{name}.png": mask() for name in names}
    root = save_files(files)
    assert kinds(root) == {}
    what = "images in voc/JPEGImages/ left out: their masks are in voc/SegmentationClassPNG/, not in the annotations"
    assert f"{len(names)} {what}" in open_folder(root).notes
