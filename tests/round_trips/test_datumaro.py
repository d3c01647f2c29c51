"""Data sets that Datumaro writes and reads; CVAT's exports are made by it as well."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from tests.round_trips.pairs import (
    CLASSES,
    EXAMPLES,
    IGNORED,
    NAMES,
    LabelMap,
    Pair,
    assert_reads_as,
    assert_same,
    converted,
    empty_folder,
    library,
    masks,
    two_pairs,
)

from maskpencil.classes import IGNORE_INDEX

dm, coding = library("datumaro"), library("pycocotools.mask")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library

LABELS = (*CLASSES.names, IGNORED)
FORMATS = {
    "voc_segmentation": 0,
    "coco_instances": 0,
    "coco_stuff": 0,
    "coco_panoptic": IGNORE_INDEX,
    "cvat": 0,
    "datumaro": 0,
    "camvid": 0,
    "cityscapes": 0,
    "kitti_segmentation": 0,
    "label_me": 0,
}
"""The formats with masks that are read, and what pixels without a mask are in them."""


def write(root: Path, pairs: Sequence[Pair], file_format: str, labels: Sequence[str]) -> None:
    items = [
        dm.DatasetItem(
            id=pair.name,
            subset=subset,
            media=dm.components.media.Image.from_file(path=str(pair.save(root.with_name("images")))),
            annotations=[
                dm.Mask(image=mask, label=LABELS.index(name), id=number, group=number)
                for number, (name, mask) in enumerate(masks(pair.label_map).items(), start=1)
            ],
        )
        for subset, pair in zip(("train", "val"), pairs, strict=True)
    ]
    dm.Dataset.from_iterable(items, categories=list(labels)).export(str(root), file_format, save_media=True)


@pytest.mark.parametrize("file_format", FORMATS)
@given(pairs=two_pairs(turned=False, ignored=False, empty=False))  # it writes no mask without an object
@EXAMPLES
def test_masks_of_datumaro_are_read(file_format: str, pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs, file_format, LABELS[:3])
        assert_reads_as(root, pairs, undrawn=FORMATS[file_format])


@pytest.mark.parametrize("file_format", ["coco_instances", "cvat", "datumaro", "voc_segmentation"])
@given(pairs=two_pairs(empty=False))
@EXAMPLES
def test_ignored_pixels_and_turned_images_of_datumaro_are_read(file_format: str, pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs, file_format, LABELS)
        assert_reads_as(root, pairs)


READ = {"voc": "voc_segmentation", "cvat": "voc_segmentation", "coco": "coco_instances"}


@pytest.mark.parametrize("file_format", READ)
@given(pairs=two_pairs())
@EXAMPLES
def test_datumaro_reads_what_is_written(file_format: str, pairs: list[Pair]) -> None:
    with converted(pairs, file_format) as root:
        data = dm.Dataset.import_from(str(root), READ[file_format])
        found = dict(drawn(data))
        for pair in pairs:
            lost = file_format == "cvat"  # ignored pixels are no object of SegmentationObject/, which CVAT reads
            expected = np.where(pair.label_map == IGNORE_INDEX, 0, pair.label_map) if lost else pair.label_map
            assert_same(found[pair.name], expected)


def drawn(data: Any) -> Iterator[tuple[str, LabelMap]]:
    """The label maps of Datumaro's masks and polygons."""
    names = [label.name for label in data.categories()[dm.AnnotationType.label]]
    numbers: Mapping[str, int] = {"background": 0, "ignored": IGNORE_INDEX} | {n: v for v, n in NAMES.items()}
    for item in data:
        height, width = item.media.size
        label_map = np.zeros((height, width), dtype=np.uint8)
        for annotation in item.annotations:
            if annotation.type in (dm.AnnotationType.mask, dm.AnnotationType.polygon):
                pixels = annotation.image if annotation.type == dm.AnnotationType.mask else filled(annotation, item)
                label_map[pixels > 0] = numbers[names[annotation.label]]
        yield Path(item.id).name, label_map


def filled(polygon: Any, item: Any) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = coding.decode(coding.frPyObjects([polygon.points], *item.media.size))[..., 0]
    return pixels
