"""Files that are written and read by labelme itself."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.round_trips.pairs import (
    EXAMPLES,
    NAMES,
    Mask,
    Pair,
    assert_reads_as,
    assert_same,
    converted,
    empty_folder,
    library,
    masks,
    two_pairs,
)

from maskpencil.data.folder import open_folder

labelme = library("labelme")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library

VALUES = {"background": 0, **{name: value for value, name in NAMES.items()}}


def mask_shape(label: str, mask: Mask) -> dict[str, Any]:
    """A shape as labelme's tools of artificial intelligence draw it: a PNG of the box around it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    file = io.BytesIO()
    Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(file, format="PNG")
    corners = [[float(left), float(top)], [float(right), float(bottom)]]
    return shape(label, corners, "mask") | {"mask": base64.b64encode(file.getvalue()).decode()}


def shape(label: str, points: Any, kind: str = "polygon") -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}


def write(root: Path, pair: Pair, shapes: Sequence[dict[str, Any]], *, inside: bool = False) -> None:
    """Let labelme write a file, as it does for an image that it opened, which it turns as EXIF says."""
    image = pair.save(root)
    height, width = pair.label_map.shape
    data = labelme.LabelFile.load_image_file(str(image))
    labelme.LabelFile().save(
        str(root / f"{pair.name}.json"),
        shapes=list(shapes),
        image_path=pair.file,
        image_height=height,
        image_width=width,
        image_data=data if inside else None,
    )


@given(pairs=two_pairs(), inside=st.booleans())
@EXAMPLES
def test_masks_of_labelme_are_read(pairs: list[Pair], inside: bool) -> None:
    with empty_folder() as root:
        for pair in pairs:
            write(root, pair, [mask_shape(*each) for each in masks(pair.label_map).items()], inside=inside)
        assert_reads_as(root, pairs)


OUTLINE = 1.5
"""How far from its outline, in pixels, a polygon may be drawn otherwise."""

coordinates = st.floats(-3, 33, width=32)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7))
@EXAMPLES
def test_polygons_differ_from_labelme_at_their_outlines_only(ring: list[tuple[float, float]]) -> None:
    """labelme cuts fractions off and draws the outline; pixels count here if their centers are inside."""
    points = [list(point) for point in ring]
    theirs = labelme.utils.shape_to_mask((30, 30), points)
    with empty_folder() as root:
        for name in "ab":
            write(root, Pair(name, np.zeros((30, 30), np.uint8)), [shape("tree", points)])
        data = open_folder(root)
        (pair, *_), *_ = data.splits.values()
        ours = data.read_pair(pair)[1] == 1
    near = distances(points) <= OUTLINE
    assert_same(np.where(near, False, ours), np.where(near, False, theirs))


def distances(points: Any) -> npt.NDArray[np.float64]:
    """The distance of the center of each of 30 x 30 pixels from a closed ring."""
    center = np.stack(np.indices((30, 30))[::-1], axis=-1) + 0.5
    ring = np.array(points, dtype=np.float64)
    best = np.full((30, 30), np.inf)
    for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        way = end - start
        share = np.clip(((center - start) @ way) / max(float(way @ way), 1e-9), 0, 1)
        best = np.minimum(best, np.hypot(*np.moveaxis(center - start - share[..., None] * way, -1, 0)))
    return best


@given(two_pairs())
@EXAMPLES
def test_labelme_reads_what_is_written(pairs: list[Pair]) -> None:
    with converted(pairs, "labelme") as root:
        for split, pair in zip(("train", "val"), pairs, strict=True):
            path = root / split / f"{pair.name}.json"
            file = labelme.LabelFile(str(path))  # it compares the size with that of the image
            size = json.loads(path.read_text())["imageHeight"], json.loads(path.read_text())["imageWidth"]
            found, _ = labelme.utils.shapes_to_label(size, file.shapes, VALUES)
            assert_same(found, pair.label_map)
