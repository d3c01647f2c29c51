"""Projects that Supervisely's library writes."""

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
    empty_folder,
    library,
    masks,
    two_pairs,
)

sly = library("supervisely")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the library

COLORS = dict(zip((*CLASSES.names, IGNORED), (*CLASSES.palette, (1, 2, 3)), strict=True))
VALUES = {name: value for value, name in NAMES.items()}


def write(root: Path, pairs: Sequence[Pair], labels: Sequence[Sequence[Any]], classes: dict[str, Any]) -> list[Pair]:
    """Write a project; return the pairs with the label maps that the library draws."""
    project = sly.Project(str(root), sly.OpenMode.CREATE)
    project.set_meta(sly.ProjectMeta(obj_classes=sly.ObjClassCollection(list(classes.values()))))
    dataset = project.create_dataset("ds0")
    drawn = []
    for pair, own in zip(pairs, labels, strict=True):
        annotation = sly.Annotation(pair.label_map.shape, labels=list(own))
        image = pair.save(root.with_name("images"))
        dataset.add_item_file(pair.file, str(image), ann=annotation, _validate_item=False)
        rendered = np.zeros((*pair.label_map.shape, 3), dtype=np.uint8)
        annotation.draw_class_idx_rgb(rendered, VALUES)
        drawn.append(Pair(pair.name, rendered[..., 0], pair.orientation))
    return drawn


@pytest.mark.parametrize("geometry", ["Bitmap", "AlphaMask"])
@given(pairs=two_pairs())
@EXAMPLES
def test_masks_of_supervisely_are_read(geometry: str, pairs: list[Pair]) -> None:
    kind = getattr(sly, geometry)
    classes = {name: sly.ObjClass(name, kind, color=list(COLORS[name])) for name in NAMES.values()}
    labels = [
        [
            sly.Label(kind(mask if geometry == "Bitmap" else mask.astype(np.uint8) * 255), classes[name])
            for name, mask in masks(pair.label_map).items()
        ]
        for pair in pairs
    ]
    with empty_folder() as root:
        write(root, pairs, labels, classes)
        assert_reads_as(root, pairs)


places = st.tuples(st.integers(-2, 26), st.integers(-2, 34))
rings = st.lists(places, min_size=3, max_size=8)


def at(ring: Sequence[tuple[int, int]]) -> list[Any]:
    return [sly.PointLocation(*place) for place in ring]


@given(st.lists(st.tuples(st.sampled_from(["tree", "car"]), rings, st.lists(rings, max_size=2)), max_size=4))
@EXAMPLES
def test_polygons_with_holes_are_drawn_as_by_supervisely(polygons: list[Any]) -> None:
    classes = {name: sly.ObjClass(name, sly.AnyGeometry, color=list(COLORS[name])) for name in NAMES.values()}
    labels = [sly.Label(sly.Polygon(at(outer), [*map(at, holes)]), classes[name]) for name, outer, holes in polygons]
    pairs = [Pair(name, np.zeros((24, 32), dtype=np.uint8)) for name in "ab"]
    with empty_folder() as root:
        drawn = write(root, pairs, [labels, []], classes)
        assert_reads_as(root, drawn)


@given(st.lists(st.tuples(st.sampled_from(["tree", "car"]), places, places), max_size=4))
@EXAMPLES
def test_rectangles_are_drawn_as_by_supervisely(rectangles: list[Any]) -> None:
    classes = {name: sly.ObjClass(name, sly.Rectangle, color=list(COLORS[name])) for name in NAMES.values()}
    labels = [
        sly.Label(
            sly.Rectangle(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])),
            classes[name],
        )
        for name, a, b in rectangles
    ]
    pairs = [Pair(name, np.zeros((24, 32), dtype=np.uint8)) for name in "ab"]
    with empty_folder() as root:
        drawn = write(root, pairs, [labels, []], classes)
        assert_reads_as(root, drawn)
