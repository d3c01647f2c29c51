"""YOLO: `OUT/data.yaml`, copies of the images in `OUT/images/[SPLIT/]`, their polygons in `OUT/labels/[SPLIT/]`.

Source: https://docs.ultralytics.com/datasets/segment
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.formats.base import AddImage, LabeledImage, copy_image
from maskpencil.data.formats.labels import undrawn_class
from maskpencil.data.formats.rings import bridged
from maskpencil.data.formats.yolo.folders import beside
from maskpencil.data.splits import SPLITS
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.regions import find_regions

DIGITS = 6
"""Of a coordinate, as Ultralytics' converters write them."""


@contextmanager
def write_yolo(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images, their polygons, `data.yaml`, and `classes.yaml` with the classes' order and colors.

    A line is a part of a region that hangs together by sides, along the edges of its pixels; lines of no width lead to
    its holes, see `rings.bridged`. Coordinates have 6 digits, and more where an image has a million columns or rows:
    so they are off by less than half a pixel, and pixel centers give back exactly the same label map.

    A background (see `labels.undrawn_class`) is not written. YOLO has no word for ignored pixels, so they become
    background; where no class is one, no polygon covers them, and by classes.yaml they come back as ignored.
    Without splits `data.yaml` has `train` alone; Ultralytics asks for `val` as well.

    Raises:
        OutputError: a file cannot be written.
        DataError: there is no class but the background.
    """
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)
    names = [name for index, name in enumerate(classes.names) if index != undrawn]
    if not names:
        raise DataError(f"the only class is {classes.names[0]!r}, which YOLO does not write; expected one more")
    number_of = {name: number for number, name in enumerate(names)}
    splits = set()

    def add(image: LabeledImage) -> None:
        splits.add(image.split)
        copy = folder / "images" / image.split / f"{image.name}{image.image.suffix}"
        copy_image(image, copy)
        height, width = image.label_map.shape
        digits = max(DIGITS, len(str(max(height, width))))
        with (
            written_whole(beside(folder, copy, "labels").with_suffix(".txt")) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            for region in find_regions(image.label_map, classes, wanted=names):
                for polygon in region.polygons:
                    shares = (f"{x / width:.{digits}g} {y / height:.{digits}g}" for x, y in bridged(polygon))
                    file.write(f"{number_of[region.class_name]} {' '.join(shares)}\n")

    yield add
    places = {split: f"images/{split}" for split in SPLITS if split in splits} or {"train": "images"}
    content = {**places, "names": dict(enumerate(names))}
    with written_whole(folder / "data.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
