"""COCO: `OUT/annotations/instances_SPLIT.json` and copies of the images in `OUT/images/[SPLIT/]`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.writers.base import AddImage, LabeledImage, copy_image
from maskpencil.data.writers.undrawn import undrawn_class, with_ignore_label
from maskpencil.regions import ImageRegions, find_regions, regions_file


@contextmanager
def write_coco(folder: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images, one file of annotations a split, and `classes.yaml` with the classes' order and colors.

    Without splits the file is `instances_default.json`. An annotation is a region of one class as
    `regions.write_regions` writes it: polygons along the pixels' edges, or run lengths where it has holes. What a
    reader takes for undrawn (see `undrawn.undrawn_class`) has none. Ignored pixels are of the category `__ignore__`.

    Raises:
        OutputError: a file cannot be written.
        DataError: there are too many classes, see `undrawn.with_ignore_label`.
    """
    write_classes(folder / "classes.yaml", classes)
    undrawn = undrawn_class(folder)
    labels = classes if undrawn == IGNORE_INDEX else with_ignore_label(classes)
    ignored = IGNORE_INDEX if undrawn == IGNORE_INDEX else len(classes)
    wanted = [name for index, name in enumerate(labels.names) if index != undrawn]
    with ExitStack() as files:
        add_to: dict[str, Callable[[ImageRegions], None]] = {}

        def add(image: LabeledImage) -> None:
            if image.split not in add_to:
                path = folder / "annotations" / f"instances_{image.split or 'default'}.json"
                add_to[image.split] = files.enter_context(regions_file(path, labels, file_format="coco"))
            name = f"{image.name}{image.image.suffix}"
            copy_image(image, folder / "images" / image.split / name)
            height, width = image.label_map.shape
            numbers = np.where(image.label_map == IGNORE_INDEX, ignored, image.label_map).astype(np.uint8)
            regions = find_regions(numbers, labels, wanted=wanted)
            add_to[image.split](ImageRegions(name, (height, width), regions))

        yield add
