"""labelme's files: `OUT/[SPLIT/]NAME.json` beside a copy of each image."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.drawing import Polygon
from maskpencil.data.writers.base import AddImage, LabeledImage, copy_image
from maskpencil.data.writers.undrawn import undrawn_class, with_ignore_label
from maskpencil.files import written_whole
from maskpencil.label_maps import LabelMap
from maskpencil.regions import Region, find_regions
from maskpencil.regions.outlines import Ring

VERSION = "5.5.0"
"""The release of labelme whose form this is."""


@contextmanager
def write_labelme(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images, their shapes, and `classes.yaml` with the classes' order and colors.

    A shape is the polygon around pixels of one class that hang together by their sides, along the pixels' edges. It
    covers its holes, and what lies in them comes later in the list, over it: larger ones first. What a reader takes for
    undrawn (see `undrawn_class`) is a shape of its own only in such holes. Ignored pixels have the label `__ignore__`.
    Shapes that meet at corners have one group_id.

    Raises:
        OutputError: a file cannot be written.
        DataError: there are too many classes, see `with_ignore_label`.
    """
    labels = with_ignore_label(classes)
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)

    def add(image: LabeledImage) -> None:
        place = folder / image.split / image.name
        copy = place.with_name(place.name + image.image.suffix)
        copy_image(image, copy)
        height, width = image.label_map.shape
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": _shapes(image.label_map, labels, undrawn),
            "imagePath": copy.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with written_whole(place.with_name(f"{place.name}.json")) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    yield add


@dataclass(frozen=True)
class _Part:
    """One polygon of a region, as the reader fills it: without its holes."""

    region: Region
    outer: Ring
    holes: Sequence[Ring]

    @property
    def area(self) -> int:
        """Twice the area, holes included."""
        x, y = np.array(self.outer).T
        return int(abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)))


def _shapes(label_map: LabelMap, labels: ClassSet, undrawn: int) -> list[dict[str, Any]]:
    ignored = len(labels) - 1
    numbers = np.where(label_map == IGNORE_INDEX, ignored, label_map).astype(np.uint8)
    background = ignored if undrawn == IGNORE_INDEX else undrawn
    parts = [
        _Part(region, outer, holes) for region in find_regions(numbers, labels) for outer, *holes in region.polygons
    ]
    # polygons lie apart or one in a hole of the other, never across, so the later covers nothing but its own holes
    covered = _covered([part for part in parts if part.region.class_index != background], label_map.shape)
    drawn = [part for part in parts if part.region.class_index != background or covered[_pixel_in(part.outer)]]
    return [
        {
            "label": part.region.class_name,
            "points": [list(point) for point in part.outer],
            "group_id": part.region.number if len(part.region.polygons) > 1 else None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for part in sorted(drawn, key=lambda part: -part.area)
    ]


def _covered(parts: Sequence[_Part], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels that lie in a part or in its holes, (H, W), as far as parts with holes go: others cover none else."""
    covered = np.zeros(size, dtype=bool)
    for part in parts:
        if part.holes:
            window, inside = Polygon(0, (np.array(part.outer, dtype=np.float32),)).fill(size)
            covered[window] |= inside
    return covered


def _pixel_in(ring: Ring) -> tuple[int, int]:
    """The (row, column) of a pixel in the polygon: right below the left end of its top."""
    y, x = min((y, x) for x, y in ring)
    return y, x
