"""Label maps of any size, with ignored pixels, as CVAT, Supervisely, Hasty and Darwin write masks, read back whole."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from PIL import Image
from tests.helpers import label_maps
from tests.mask_codes import cvat_code, darwin_code, hasty_code, supervisely_code

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder

pytestmark = pytest.mark.slow

LABELS = {1: "tree", 2: "car", IGNORE_INDEX: "__ignore__"}
ORIENTATION, TURNED = 0x0112, 6

Maps = Mapping[str, npt.NDArray[np.uint8]]


def masks_of(label_map: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.bool_]]:
    return {name: label_map == value for value, name in LABELS.items() if (label_map == value).any()}


def write_cvat(maps: Maps) -> dict[str, str]:
    lines = ["<annotations><version>1.1</version>"]
    for name, own in maps.items():
        lines.append(f'<image id="0" name={quoteattr(name)} width="{own.shape[1]}" height="{own.shape[0]}">')
        for label, mask in masks_of(own).items():
            code, (left, top, width, height) = cvat_code(mask)
            place = f'left="{left}" top="{top}" width="{width}" height="{height}"'
            lines.append(f'<mask label="{label}" rle="{code}" {place} z_order="0"></mask>')
        lines.append("</image>")
    return {"annotations.xml": "\n".join([*lines, "</annotations>"])}


def write_supervisely(maps: Maps) -> dict[str, str]:
    texts = {}
    for name, own in maps.items():
        objects = [
            {
                "classTitle": label,
                "geometryType": "bitmap",
                "bitmap": {"data": supervisely_code(mask), "origin": [0, 0]},
            }
            for label, mask in masks_of(own).items()
        ]
        size = {"height": own.shape[0], "width": own.shape[1]}
        texts[f"ann/{name}.json"] = json.dumps({"size": size, "objects": objects})
    return texts


def write_hasty(maps: Maps) -> dict[str, str]:
    images = []
    for name, own in maps.items():
        height, width = own.shape
        labels = [
            {"class_name": label, "bbox": [0, 0, width, height], "mask": hasty_code(mask)}
            for label, mask in masks_of(own).items()
        ]
        images.append({"image_name": name, "width": width, "height": height, "labels": labels})
    return {"hasty.json": json.dumps({"export_format_version": "1.1", "label_classes": [], "images": images})}


def write_darwin(maps: Maps) -> dict[str, str]:
    texts = {}
    for name, own in maps.items():
        owners = {label: number for number, label in enumerate(masks_of(own), start=1)}
        values = sum((mask * owners[label] for label, mask in masks_of(own).items()), np.zeros(own.shape, dtype=int))
        layer = {"dense_rle": darwin_code(values), "mask_annotation_ids_mapping": owners, "total_pixels": own.size}
        slot = {"type": "image", "width": own.shape[1], "height": own.shape[0]}
        masks = [{"id": label, "name": label, "mask": {}} for label in owners]
        annotations = [*masks, {"id": "layer", "name": "__raster_layer__", "raster_layer": layer}]
        item = {"name": name, "path": "/", "slots": [slot]}
        texts[f"{name}.json"] = json.dumps({"version": "2.0", "item": item, "annotations": annotations})
    return texts


@pytest.mark.parametrize("write", [write_cvat, write_supervisely, write_hasty, write_darwin])
@given(label_maps, label_maps)
@settings(max_examples=25)
def test_masks_read_back(
    write: Callable[[Maps], Mapping[str, str]], first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "img").mkdir()
        (root / "ann").mkdir()
        exif = Image.Exif()
        exif[ORIENTATION] = TURNED
        Image.fromarray(np.zeros((*first.T.shape, 3), dtype=np.uint8)).save(root / "img" / "a.jpg", exif=exif)
        Image.fromarray(np.zeros((*second.shape, 3), dtype=np.uint8)).save(root / "img" / "b.png")
        for name, text in write({"a.jpg": first, "b.png": second}).items():
            (root / name).write_text(text, encoding="utf-8")
        data = open_folder(root)
        data.check_images()
        read = {pair.image.name: data.read_pair(pair)[1] for pairs in data.splits.values() for pair in pairs}
    order = np.full(256, IGNORE_INDEX, dtype=np.uint8)  # the classes are sorted
    for index, name in enumerate(data.classes.names):
        order[index] = ("background", "tree", "car").index(name)
    np.testing.assert_array_equal(order[read["a.jpg"]], first)
    np.testing.assert_array_equal(order[read["b.png"]], second)
