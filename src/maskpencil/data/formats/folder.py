"""This package's own form: `images/[SPLIT/]NAME.EXT`, `masks/[SPLIT/]NAME.png` and classes.yaml."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.formats.base import AddImage, LabeledImage, copy_image, with_distinct_colors
from maskpencil.label_maps import write_label_map


@contextmanager
def write_folder(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write images as `base.copy_image` does and masks as palette PNG, whose index is the class and 255 ignored.

    Colors that repeat are replaced, see `base.with_distinct_colors`.

    Raises:
        OutputError: a file cannot be written.
    """
    classes = with_distinct_colors(classes)

    def add(image: LabeledImage) -> None:
        below = Path(image.split) / image.name
        copy_image(image, root / "images" / below.with_name(below.name + image.image.suffix))
        write_label_map(root / "masks" / below.with_name(below.name + ".png"), image.label_map, classes.colors)

    yield add
    write_classes(root / "classes.yaml", classes)
