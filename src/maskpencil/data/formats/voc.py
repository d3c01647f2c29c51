"""Read and write Pascal VOC: `JPEGImages/2007_000032.jpg` and its mask `SegmentationClass/2007_000032.png`.

The writer adds `ImageSets/Segmentation/{train,val,test,trainval}.txt` with the names of the images, and a labelmap.txt
in Datumaro's format with the names and colors of the classes.

Sources: Everingham and Winn, "The PASCAL Visual Object Classes Challenge 2012 Development Kit",
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html; for labelmap.txt
https://open-edge-platform.github.io/datumaro/, data formats, Pascal VOC
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from maskpencil.classes import IGNORE_INDEX, ClassSet
from maskpencil.data.class_files import CLASS_FILES, IGNORED_LABELS, find_class_file
from maskpencil.data.faults import EXAMPLES
from maskpencil.data.formats.base import AddImage, LabeledImage, Recognized, copy_image, with_distinct_colors
from maskpencil.data.layout import Found, Pair, image_files, layout_of
from maskpencil.data.layout.splits import find_lists, unlisted
from maskpencil.data.masks.encoding import MaskEncoding, color_number
from maskpencil.errors import DataError
from maskpencil.files import written_whole
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.known_classes import VOC
from maskpencil.label_maps import IGNORE_COLOR, write_label_map
from maskpencil.plain_text import counted, worded
from maskpencil.regular_files import read_lines

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"

AUGMENTED = "SegmentationClassAug"
"""The folder of masks from the Semantic Boundaries Dataset (SBD), converted to PNG. SBD annotates more images of Pascal
VOC than Pascal VOC itself."""

FOLDERS = ((IMAGES, AUGMENTED), (IMAGES, MASKS), ("img", "cls_png"))
"""Pairs (folder of images, folder of masks); the last pair has the folder names of SBD itself, after its masks were
converted to PNG."""

AUGMENTED_LISTS = ("trainaug.txt", "train_aug.txt")
"""Names of the list of training images that is used with the masks of SBD."""

NAME = re.compile(r"20\d\d_\d{6}")
NAME_OF_2007 = re.compile(r"\d{6}")

BY_NUMBER = MaskEncoding("index", VOC, codes={IGNORE_INDEX: IGNORE_INDEX} | {index: index for index in range(len(VOC))})
BY_COLOR = MaskEncoding(
    "color",
    VOC,
    codes={color_number(IGNORE_COLOR): IGNORE_INDEX}
    | {color_number(color): index for index, color in enumerate(VOC.palette)},
)
"""The encoding of masks that were converted to RGB; the color `IGNORE_COLOR` at the borders of objects is ignored."""


def recognize(root: Path) -> Recognized | None:
    """Read `root`, or a folder in it such as `VOC2012/`, if the masks have file names such as 2007_000032.png.

    Otherwise return None. File names of 2007 are only six digits, which other data sets use too; they are accepted only
    if there is a folder `Annotations/`, as in Pascal VOC. Return None also if the folder has a class file of other
    classes; a classes.yaml of 21 names only renames Pascal VOC's classes. If there are both SegmentationClass/ and
    SegmentationClassAug/, the folder with more masks is read. Masks in subfolders of the folder of masks are left out.

    Raises:
        DataError: no image has a mask, or a list cannot be read.
    """
    years = sorted(root.glob("VOC20[0-9][0-9]"), reverse=True)
    both = [(f, i, m) for f in (root, *years) for i, m in FOLDERS if (f / i).is_dir() and (f / m).is_dir()]
    if not both or _has_own_classes(root) or _has_own_classes(both[0][0]):
        return None
    folder = both[0][0]
    inside = {(i, m): image_files(f / m) for f, i, m in both if f == folder}
    files = {key: {name: path for name, path in each.items() if "/" not in name} for key, each in inside.items()}
    images, chosen = max(files, key=lambda key: len(files[key]))
    masks = files[images, chosen]
    of_2007 = (folder / "Annotations").is_dir()
    if not masks or not all(NAME.fullmatch(name) or (of_2007 and NAME_OF_2007.fullmatch(name)) for name in masks):
        return None
    augmented = AUGMENTED_LISTS if chosen != MASKS else ()
    found, notes = pair_by_lists(folder, image_files(folder / images), masks, train=augmented)
    layout = layout_of(folder, found, use_lists=False)
    if others := [year.name for year in years if year != folder]:
        notes.append(f"{', '.join(others)} left out; open each year's folder on its own")
    notes += [f"{key[1]}/ left out: {chosen}/ has more masks" for key in files if key[1] != chosen]
    nested = {name.partition("/")[0] for name in inside[images, chosen] if "/" in name}
    notes += [f"{chosen}/{name}/ left out" for name in sorted(nested)]
    layout = replace(layout, root=root, notes=(*notes, *layout.notes))
    return Recognized("Pascal VOC", layout, BY_NUMBER, (BY_COLOR,), published=True)


def _has_own_classes(folder: Path) -> bool:
    given = find_class_file(folder)
    if given is None or not given.certain:
        return False
    return given.path.name not in CLASS_FILES or len(given.classes) != len(VOC)


def pair_by_lists(
    folder: Path, images: Mapping[str, Path], masks: Mapping[str, Path], *, train: Sequence[str] = ()
) -> tuple[Found, list[str]]:
    """Pair images and masks of equal names, and assign the pairs to splits by the lists in ImageSets/Segmentation/.

    The lists may also be in `folder` itself. Each line is the name of an image, the path of an image, or the paths of
    an image and its mask. Pairs that no list names are left out. If no list names a pair, all pairs get the
    split "".

    Args:
        folder: the folder of the data set.
        images: the images by their names.
        masks: the masks by their names.
        train: file names of lists; the first list that exists is read instead of train.txt.

    Returns:
        The pairs, and notes for the user. A note says, for example, how many names in a list have no image with a mask,
        since the lists of Pascal VOC and CVAT also name images without masks.

    Raises:
        DataError: a list cannot be read.
    """
    found = Found()
    notes = []
    lists = _lists(folder, train)
    for split, path in lists.items():
        lines = [line for _, line in read_lines(path, "the name of an image per line")]
        names = {line: _name_in(line, images) for line in lines}
        for name in names.values():
            if name in images and name in masks:
                found.add(split, Pair(name, images[name], masks[name]))
        if absent := [line for line, name in names.items() if name not in images or name not in masks]:
            few = ", ".join(absent[:EXAMPLES]) + (", ..." if absent[EXAMPLES:] else "")
            count = f"{len(absent)} of {counted(len(names), 'name')} in {path.name}"
            notes.append(
                worded(f"{count} {{has|have}} no image with a mask and {{is|are}} left out", len(absent)) + f" ({few})"
            )
    if found:
        notes += unlisted((images.keys() & masks.keys()).difference(*found.splits.values()))
        return found, [f"splits from {', '.join(path.name for path in lists.values())}", *notes]
    found.match("", images, masks)
    return found, notes


def _lists(folder: Path, train: Sequence[str]) -> dict[str, Path]:
    """Return the list file of each split, from ImageSets/Segmentation/ or else from `folder`; {} if there are no lists.

    The first existing list of `train` replaces train.txt.
    """
    for place in (folder / LISTS, folder):
        if lists := find_lists(place, folders=(".",)):
            named = next((place / name for name in train if (place / name).is_file()), None)
            return lists | ({"train": named} if named else {})
    return {}


def _name_in(line: str, images: Mapping[str, Path]) -> str:
    """Return the name of the image that a line of a list names; the line itself if the image is not in `images`."""
    for entry in (line, line.split()[0]):  # names may hold spaces
        parts = [part for part in PureWindowsPath(entry).parts if part not in ("\\", "/")]
        path = Path(*parts)
        names = {"/".join(parts[start:]) for start in range(len(parts))}
        if path.suffix.lower() in IMAGE_SUFFIXES:
            names |= {"/".join((*parts[start:-1], path.stem)) for start in range(len(parts))}
        if name := max(names & images.keys(), key=len, default=""):
            return name
    return line


@contextmanager
def write_voc(root: Path, classes: ClassSet) -> Iterator[AddImage]:
    """Write copies of the images, and masks as palette PNG; used as a context manager, see `base.Writer`.

    A mask holds class indices, and its palette the colors of the classes; ignored pixels are 255, in Pascal VOC's color
    for the borders of objects. Images keep their suffix, even if it is not .jpg. All images are written to one folder;
    if a name occurs in several splits, later images are named SPLIT_NAME. Repeated colors are replaced, see
    `base.with_distinct_colors`.

    Raises:
        DataError: labelmap.txt cannot hold the name of a class.
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
    """A writer of the parts that Pascal VOC and CVAT have in common: copies of images, lists of names, labelmap.txt.

    `classes` are the given classes in unique colors, see `base.with_distinct_colors`. `names` are the names of the
    written images by split, unique even if case is ignored.

    Raises:
        DataError: labelmap.txt cannot hold the name of a class.
    """

    def __init__(self, root: Path, classes: ClassSet) -> None:
        self.root, self.classes = root, with_distinct_colors(classes)
        check_label_names(self.classes)
        self.names: dict[str, list[str]] = {}
        self._taken: set[str] = set()
        self._ignored = False

    def add(self, image: LabeledImage) -> str:
        """Copy an image to JPEGImages/ and return its name there, without suffix.

        If another image already has this name, the split is prepended; if necessary, a number is appended as well.

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
        """Write labelmap.txt and the list files; `lists` maps the name of a list, such as "train", to its lines.

        Raises:
            OutputError: a file cannot be written.
        """
        write_labelmap(self.root / "labelmap.txt", self.classes, ignored=self._ignored)
        for name, lines in lists.items():
            write_text(self.root / LISTS / f"{name}.txt", lines)


def check_label_names(classes: ClassSet) -> None:
    """Check that a labelmap.txt can hold the names of all classes, and that no name means ignored pixels there.

    Raises:
        DataError: a name contains ":" or a line break, begins with "#", has spaces at an end, or means ignored pixels.
    """
    for name in classes.names:
        if ":" in name or name.startswith("#") or name != name.strip() or len(name.splitlines()) != 1:
            raise DataError(
                f"the class name {name!r} cannot be written to a labelmap.txt; expected a name without ':' and line "
                "breaks, without '#' at the beginning, and without spaces at either end; rename the class"
            )
        if name in IGNORED_LABELS:
            raise DataError(f"the class name {name!r} means ignored pixels in a labelmap.txt; rename the class")


def write_labelmap(path: Path, classes: ClassSet, *, ignored: bool) -> None:
    """Write a labelmap.txt with one line per class, and a line for ignored pixels only if `ignored` is True.

    The line for ignored pixels is left out if they do not occur, since CVAT creates a label for every line.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [*zip(classes.names, classes.palette, strict=True)]
    if ignored:
        rows.append((IGNORED_LABELS[0], IGNORE_COLOR))
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:{','.join(map(str, color))}::" for name, color in rows)]
    write_text(path, lines)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a text file in UTF-8; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
