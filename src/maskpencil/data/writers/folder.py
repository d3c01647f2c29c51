"""This package's own form: `images/[SPLIT/]NAME.EXT`, `masks/[SPLIT/]NAME.png` and classes.yaml."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskpencil.classes import ClassSet, write_classes
from maskpencil.data.writers.base import AddPicture, LabelledPicture, copy_picture
from maskpencil.data.writers.palettes import told_apart
from maskpencil.label_maps import write_label_map


@contextmanager
def write_folder(root: Path, classes: ClassSet) -> Iterator[AddPicture]:
    """Write pictures as `base.copy_picture` does and masks as palette PNG, whose index is the class and 255 ignored.

    Colours that repeat are replaced, see `palettes.told_apart`.

    Raises:
        OutputError: a file cannot be written.
    """
    classes = told_apart(classes)

    def add(picture: LabelledPicture) -> None:
        below = Path(picture.split) / picture.name
        copy_picture(picture, root / "images" / below.with_name(below.name + picture.image.suffix))
        write_label_map(root / "masks" / below.with_name(below.name + ".png"), picture.label_map, classes.colors)

    yield add
    write_classes(root / "classes.yaml", classes)
