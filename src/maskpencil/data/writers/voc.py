"""Pascal VOC's form, with a labelmap.txt as Datumaro writes it, so that the classes keep their names and colors.

    JPEGImages/NAME.EXT, SegmentationClass/NAME.png, labelmap.txt, ImageSets/Segmentation/{train,val,test,trainval}.txt

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html,
https://open-edge-platform.github.io/datumaro/, data formats, Pascal VOC
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import IGNORED_LABELS
from maskpencil.data.formats.voc import IMAGES, LISTS, MASKS
from maskpencil.data.writers.base import AddImage, LabeledImage, copy_image
from maskpencil.data.writers.palettes import told_apart
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.label_maps import IGNORE_COLOR, write_label_map


@contextmanager
def write_voc(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write masks as palette PNG in the classes' colors, ignored pixels as 255 in the cream of VOC's borders.

    Images keep their suffix, also where it is not .jpg. All lie in one folder: of images of one name in several
    splits the later ones are called SPLIT_NAME. Colors that repeat are replaced, see `palettes.told_apart`.

    Raises:
        DataError: a class name that labelmap.txt cannot hold.
        OutputError: a file cannot be written.
    """
    form = VocForm(root, classes)

    def add(image: LabeledImage) -> None:
        name = form.add(image)
        write_label_map(root / MASKS / f"{name}.png", image.label_map, form.classes.colors)

    yield add
    in_splits = {split: names for split, names in form.names.items() if split}
    trainval = [name for split in ("train", "val", "") for name in form.names.get(split, ())]
    form.finish({**in_splits, "trainval": trainval})


class VocForm:
    """What Pascal VOC and CVAT have in common: the copies of the images, the lists of names, labelmap.txt.

    `classes` are those given, in colors that are all different. `names` are the images' by split; no two are the
    same, not even but for upper and lower case.

    Raises:
        DataError: a class name that labelmap.txt cannot hold.
    """

    def __init__(self, root: Path, classes: ClassSet) -> None:
        self.root, self.classes = root, told_apart(classes)
        check_label_names(self.classes)
        self.names: dict[str, list[str]] = {}
        self._taken: set[str] = set()
        self._ignored = False

    def add(self, image: LabeledImage) -> str:
        """Copy an image; returns its name: its own, or with its split before the last part, or with a number after.

        Raises:
            OutputError: the copy cannot be written.
        """
        folder, slash, last = image.name.rpartition("/")
        name, number = image.name, 1
        while name.lower() in self._taken:
            prefix = f"{image.split}_" if image.split else ""
            name = f"{folder}{slash}{prefix}{last}" + (f"_{number}" if number > 1 else "")
            number += 1
        self._taken.add(name.lower())
        self.names.setdefault(image.split, []).append(name)
        copy_image(image, self.root / IMAGES / f"{name}{image.image.suffix}")
        self._ignored |= bool((image.label_map == IGNORE_INDEX).any())
        return name

    def finish(self, lists: Mapping[str, Iterable[str]]) -> None:
        """Write labelmap.txt, and a list file, a name a line, for each entry.

        Raises:
            OutputError: a file cannot be written.
        """
        write_labelmap(self.root / "labelmap.txt", self.classes, ignored=self._ignored)
        for name, lines in lists.items():
            write_text(self.root / LISTS / f"{name}.txt", lines)


def check_label_names(classes: ClassSet) -> None:
    """Refuse names that a labelmap.txt cannot hold, or that it takes for ignored pixels.

    Raises:
        DataError: such a name.
    """
    for name in classes.names:
        if ":" in name or name.startswith("#") or name != name.strip() or len(name.splitlines()) != 1:
            raise DataError(
                f"the class name {name!r} cannot stand in a labelmap.txt, whose names have no ':', no '#' before, no "
                "spaces around and no line breaks; rename the class"
            )
        if name in IGNORED_LABELS:
            raise DataError(f"the class name {name!r} means ignored pixels in a labelmap.txt; rename the class")


def write_labelmap(path: Path, classes: ClassSet, *, ignored: bool) -> None:
    """Write a line a class, and one for ignored pixels where there are any: CVAT takes every line for a label.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [*zip(classes.names, classes.palette, strict=True)]
    if ignored:
        rows.append((IGNORED_LABELS[0], IGNORE_COLOR))
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:{','.join(map(str, color))}::" for name, color in rows)]
    write_text(path, lines)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write lines, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
