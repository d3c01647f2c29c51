"""Label maps of any size, with ignored pixels, as CVAT, Supervisely, Hasty and Darwin write masks, read back whole."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from PIL import Image
from tests.data.formats import test_cvat_xml, test_darwin, test_hasty, test_supervisely
from tests.helpers import label_maps

from maskpencil.classes import IGNORE_INDEX
from maskpencil.data.folder import open_folder

LABELS = {1: "tree", 2: "car", IGNORE_INDEX: "__ignore__"}
ORIENTATION, TURNED = 0x0112, 6

LabelMap = npt.NDArray[np.uint8]
Masks = Mapping[str, npt.NDArray[np.bool_]]


def masks_of(label_map: LabelMap) -> Masks:
    return {name: label_map == value for value, name in LABELS.items() if (label_map == value).any()}


def write_cvat(maps: Mapping[str, LabelMap]) -> dict[str, str]:
    images = [
        test_cvat_xml.image(name, *(test_cvat_xml.mask(*each) for each in masks_of(own).items()), size=own.shape)
        for name, own in maps.items()
    ]
    labels = tuple((name, "#102030", "mask") for name in ("tree", "car"))
    return {"annotations.xml": test_cvat_xml.content(*images, labels=labels)}


def write_supervisely(maps: Mapping[str, LabelMap]) -> dict[str, str]:
    texts = {"meta.json": test_supervisely.meta(("tree", "bitmap", "#102030"), ("car", "any", "#302010"))}
    for name, own in maps.items():
        objects = [test_supervisely.bitmap(label, mask, 0, 0) for label, mask in masks_of(own).items()]
        texts[f"ann/{name}.json"] = test_supervisely.ann(*objects, size=own.shape)
    return texts


def write_hasty(maps: Mapping[str, LabelMap]) -> dict[str, str]:
    images = []
    for name, own in maps.items():
        height, width = own.shape
        labels = [
            test_hasty.label(label, bbox=[0, 0, width, height], mask=test_hasty.runs(mask))
            for label, mask in masks_of(own).items()
        ]
        images.append(test_hasty.image(name, *labels, width=width, height=height))
    classes = [{"class_name": name, "color": "#10203040"} for name in ("tree", "car")]
    return {"hasty.json": test_hasty.content(*images, label_classes=classes)}


def write_darwin(maps: Mapping[str, LabelMap]) -> dict[str, str]:
    texts = {}
    for name, own in maps.items():
        names = {label: number for number, label in enumerate(masks_of(own), start=1)}
        values = sum((mask * names[label] for label, mask in masks_of(own).items()), np.zeros(own.shape, dtype=int))
        masks = [test_darwin.annotation(label, id=label, mask={}) for label in names]
        texts[f"{name}.json"] = test_darwin.version_2(name, *masks, test_darwin.raster(values, **names), size=own.shape)
    return texts


@pytest.mark.parametrize("write", [write_cvat, write_supervisely, write_hasty, write_darwin])
@given(label_maps, label_maps)
@settings(max_examples=25)
def test_masks_read_back(
    write: Callable[[Mapping[str, LabelMap]], Mapping[str, str]], first: LabelMap, second: LabelMap
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
    order = np.full(256, IGNORE_INDEX, dtype=np.uint8)  # in some formats the classes are sorted
    for index, name in enumerate(data.classes.names):
        order[index] = ("background", "tree", "car").index(name)
    np.testing.assert_array_equal(order[read["a.jpg"]], first)
    np.testing.assert_array_equal(order[read["b.png"]], second)
