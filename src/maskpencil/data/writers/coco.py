"""COCO: `OUT/annotations/instances_SPLIT.json` and copies of the pictures in `OUT/images/[SPLIT/]`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from maskpencil.classes import IGNORE_INDEX, ClassSet, write_classes
from maskpencil.data.writers.base import AddPicture, LabelledPicture, copy_picture
from maskpencil.data.writers.undrawn import undrawn_class, with_ignore_label
from maskpencil.regions import PictureRegions, find_regions, regions_file


@contextmanager
def write_coco(folder: Path, classes: ClassSet) -> Iterator[AddPicture]:
    """Write pictures, one file of annotations a split, and `classes.yaml` with the classes' order and colours.

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
        add_to: dict[str, Callable[[PictureRegions], None]] = {}

        def add(picture: LabelledPicture) -> None:
            if picture.split not in add_to:
                path = folder / "annotations" / f"instances_{picture.split or 'default'}.json"
                add_to[picture.split] = files.enter_context(regions_file(path, labels, file_format="coco"))
            name = f"{picture.name}{picture.image.suffix}"
            copy_picture(picture, folder / "images" / picture.split / name)
            height, width = picture.label_map.shape
            numbers = np.where(picture.label_map == IGNORE_INDEX, ignored, picture.label_map).astype(np.uint8)
            regions = find_regions(numbers, labels, wanted=wanted)
            add_to[picture.split](PictureRegions(name, (height, width), regions))

        yield add
