"""COCO files that are written and read by pycocotools."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.round_trips.pairs import (
    CLASSES,
    EXAMPLES,
    IGNORED,
    NAMES,
    Pair,
    assert_reads_as,
    assert_same,
    converted,
    empty_folder,
    library,
    masks,
    two_pairs,
)

coding, api = library("pycocotools.mask"), library("pycocotools.coco")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library

NUMBERS = {name: number for number, name in enumerate((*CLASSES.names[1:], IGNORED), start=1)}


def write(root: Path, pairs: Sequence[Pair], segmentation: Any) -> None:
    images, annotations = [], []
    for number, pair in enumerate(pairs, start=1):
        pair.save(root / "images")
        height, width = pair.label_map.shape
        images.append({"id": number, "file_name": pair.file, "height": height, "width": width})
        for name, mask in masks(pair.label_map).items():
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": NUMBERS[name], "iscrowd": 0}
            encoded = coding.encode(np.asfortranarray(mask.astype(np.uint8)))
            box = coding.toBbox(encoded).tolist()
            annotations.append(
                own | {"bbox": box, "area": int(coding.area(encoded)), "segmentation": segmentation(encoded, mask)}
            )
    categories = [{"id": number, "name": name} for name, number in NUMBERS.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


def as_text(encoded: Any, mask: Any) -> dict[str, Any]:
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def as_numbers(encoded: Any, mask: Any) -> dict[str, Any]:
    """The runs as COCO's crowds have them, which pycocotools itself turns into text."""
    edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False, append=not mask.ravel(order="F")[-1]))
    runs = {"size": encoded["size"], "counts": np.diff(edges, prepend=0).tolist()}
    assert coding.frPyObjects(runs, *encoded["size"])["counts"] == encoded["counts"]
    return runs


@pytest.mark.parametrize("form", [as_text, as_numbers])
@given(pairs=two_pairs())
@EXAMPLES
def test_run_lengths_of_pycocotools_are_read(form: Any, pairs: list[Pair]) -> None:
    with empty_folder() as root:
        write(root, pairs, form)
        assert_reads_as(root, pairs)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
@EXAMPLES
def test_rectangles_are_filled_as_by_pycocotools(height: int, width: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    ring = [left, top, right, top, right, bottom, left, bottom]
    pair = Pair("a", coding.decode(coding.frPyObjects([ring], height, width))[..., 0])
    with empty_folder() as root:
        write(root, [pair, Pair("b", pair.label_map)], lambda *_: [ring])
        assert_reads_as(root, [pair, Pair("b", pair.label_map)])


@given(two_pairs())
@EXAMPLES
def test_pycocotools_reads_what_is_written(pairs: list[Pair]) -> None:
    with converted(pairs, "coco") as root, contextlib.redirect_stdout(io.StringIO()):
        for split, pair in zip(("train", "val"), pairs, strict=True):
            coco = api.COCO(root / "annotations" / f"instances_{split}.json")
            names = {number: category["name"] for number, category in coco.cats.items()}
            (image,) = coco.imgs.values()
            assert Path(image["file_name"]).stem == pair.name
            found = np.zeros((image["height"], image["width"]), dtype=np.uint8)
            for annotation in coco.imgToAnns[image["id"]]:
                value = next(v for v, name in NAMES.items() if name == names[annotation["category_id"]])
                assert not found[coco.annToMask(annotation) > 0].any()  # objects do not overlap
                found[coco.annToMask(annotation) > 0] = value
            assert_same(found, pair.label_map)
