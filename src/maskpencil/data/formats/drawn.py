"""Collect the images and the labeled areas of annotation files, and pair each image with the mask of its areas."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import numpy as np
import numpy.typing as npt

from maskpencil.classes import Color
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Drawing, Polygon
from maskpencil.data.formats.annotations import Entry, Labels, are_images_and_masks, classes_of_labels, covers_nothing
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.image_search import ImageSearch, without_query
from maskpencil.data.formats.orientation import (
    Exchanged,
    Outline,
    Reading,
    are_exchanged,
    as_shown,
    find_reading,
    known_header,
    reaches_out,
    undecided,
)
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, Header
from maskpencil.plain_text import counted

SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}

PEEKED = 3
MAX_SAMPLED = 32
"""If a folder has at most this many files, all are examined; otherwise the first `PEEKED`, and the rest if one of these
is in the format."""


@dataclass(frozen=True)
class Area:
    """A labeled area of an image; the class of its shape is set when all labels are known."""

    label: str
    shape: Outline


def files_in_format(root: Path, suffixes: Collection[str], fits: Callable[[Path], bool]) -> list[Path]:
    """Return the files below `root` that are in a format.

    If a folder has more than `MAX_SAMPLED` files with one of the `suffixes`, and none of the first `PEEKED` of them is
    in the format, no file of this folder is returned.

    Args:
        root: the folder, which may be missing.
        suffixes: the lower-case suffixes of files in the format.
        fits: a function that returns whether a file is in the format.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    if root.is_dir():
        for path in files_below(root, suffixes):
            by_folder[path.parent].append(path)
    return [
        path
        for paths in by_folder.values()
        if len(paths) <= MAX_SAMPLED or any(map(fits, paths[:PEEKED]))
        for path in paths
        if fits(path)
    ]


@dataclass(frozen=True)
class _Drawn:
    """The areas of an image, the entry that describes it, and the (height, width) that the entry states, if any."""

    entry: Entry
    split: str
    areas: Sequence[Area]
    size: tuple[int, int] | None


class DrawnImages:
    """The images of a data set with their labeled areas, collected entry by entry and then paired with their masks.

    Errors of entries that cannot be understood are collected as well; the images of such entries are left out.

    Args:
        root: the folder with the annotations.
        tool: the name of the format.
        images: the folder of the images, if the user named one.
    """

    def __init__(self, root: Path, tool: str, images: Path | None = None) -> None:
        self.root, self.tool = root, tool
        self.search = ImageSearch(root, images)
        self.problems = Problems()
        self.notes: list[str] = []
        self._drawn: dict[Path, _Drawn] = {}
        self._broken: set[Path] = set()
        self._absent: list[tuple[Entry, str]] = []
        self._left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._errors_before: list[int] = []
        self._partly: set[Path] = set()  # images of which annotations were left out
        self._any_left_out = False

    @contextmanager
    def collecting_errors(self) -> Iterator[None]:
        """Collect the `DataError` raised in the block instead of raising it. Blocks may be nested."""
        self._any_left_out = self._any_left_out and bool(self._errors_before)
        self._errors_before.append(len(self.problems.errors))
        try:
            with self.problems.collected():
                yield
        finally:
            self._errors_before.pop()

    @property
    def has_masks(self) -> bool:
        """Whether the root has folders of images and of masks, so that annotation files in it are not read.

        False if the user named the folder of the images.
        """
        return self.search.given is None and are_images_and_masks(self.root, self.search.files)

    def find(self, entry: Entry, name: str, *folders: Path) -> Path | None:
        """Find the image that an entry calls `name`; return None if it is missing, which `recognized` reports.

        First `folders` are searched. Then follow the folder of the annotation file and the folders above it up to the
        root, each with its subfolders of images, such as images/. Last, the image may be anywhere, see
        `ImageSearch.find`.

        Raises:
            DataError: the name leads out of the root by "..", and no image below the root has it.
        """
        source = entry.path.parent
        above = [folder for folder in (source, *source.parents) if folder.is_relative_to(self.root)]
        around = [place for folder in above for place in (folder, *(folder / inside for inside in IMAGE_FOLDERS))]
        plain = without_query(name)
        image = self.search.find(plain, [*folders, *around], source=entry.path)
        if image is None:
            self._absent.append((entry, plain))
        return image if image is None or image.suffix.lower() in IMAGE_SUFFIXES else None

    def leave_out(self, entry: Entry, what: str, remedy: str) -> None:
        """Report an annotation that is left out.

        Args:
            entry: the annotation.
            what: the kind of annotation in the singular and in the plural, such as "{line|lines}", see `worded`.
            remedy: what the user can do, such as "draw them as polygons".
        """
        self._any_left_out = True
        self._left_out[what, remedy].append(self.name_of(entry))

    def without_area(self, entry: Entry) -> None:
        """Report a shape without an area."""
        self.problems.without_area.append(self.name_of(entry))

    def name_of(self, entry: Entry) -> str:
        """Return where an entry is, for messages: its file, relative to the root, and its place in the file."""
        path = entry.path.relative_to(self.root) if entry.path.is_relative_to(self.root) else entry.path
        return f"{path}: {entry.place}" if entry.place else str(path)

    def add(
        self,
        image: Path,
        entry: Entry,
        areas: Sequence[Area],
        *,
        split: str = "",
        size: tuple[int, int] | None = None,
        same: object = None,
    ) -> None:
        """Add an image with the areas of its entry; an image that was already added with equal annotations is ignored.

        Args:
            image: the image.
            entry: the entry; if an error was collected in the current block of `collecting_errors`, the image is left
                out.
            areas: the labeled areas; later areas lie over earlier areas.
            split: the split, if the format names one.
            size: the (height, width) that the entry states.
            same: the annotations, which must be equal in all entries of the image; if None, all fields of the entries
                must be equal.

        Raises:
            DataError: the image was already added with other annotations.
        """
        left_out, self._any_left_out = self._any_left_out, False
        if len(self.problems.errors) > self._errors_before[-1]:
            self._broken.add(image)
            return
        if left_out:
            self._partly.add(image)
        drawn = _Drawn(replace(entry, fields={"": entry.fields if same is None else same}), split, areas, size)
        other = self._drawn.setdefault(image, drawn)
        if other.entry.fields != drawn.entry.fields:
            self._broken.add(image)
            raise DataError(
                f"{entry}: has the image {image.name}, for which {self.name_of(other.entry)} has other annotations; "
                "remove one of the two entries"
            )

    def recognized(
        self,
        remedy: str,
        *,
        labels: Iterable[str] = (),
        colors: Mapping[str, Color] | None = None,
        use_lists: bool = True,
    ) -> Recognized:
        """Return the pairs of images and masks, by splits.

        Args:
            remedy: where to get the images, for the error message if all are missing.
            labels: the labels that the files declare, in their order; labels that only areas have follow, sorted.
            colors: the colors of labels, used if there is no class file and every class has a color.
            use_lists: whether list files such as train.txt assign images to splits.

        Raises:
            DataError: all images are missing, or all have errors.
        """
        if not self._drawn and not self._broken and self._absent:
            self.problems.refuse()
            (entry, name), *_ = self._absent
            names = f"{counted(len(self._absent), 'image')} ({name!r}{', ...' if len(self._absent) > 1 else ''})"
            raise DataError(
                f"{entry.path}: names {names}, but none of them is below {self.search.place}; {remedy}, or say where "
                "the images are: --images FOLDER"
            )
        drawn = {image: own for image, own in self._drawn.items() if image not in self._broken}
        used = sorted({area.label for own in drawn.values() for area in own.areas})
        known = _colored(classes_of_labels(self.root, [*labels, *used]), self.root, colors or {})
        found = Found({split: {} for split in ("", *SPLITS)}, list(self.notes))
        for image, pair in self._pairs(drawn, known):
            found.add(drawn[image].split or self._split(image, drawn[image].entry.path), pair)
        found.masks_alone = [Path(PureWindowsPath(name).as_posix()) for _, name in self._absent]
        for (what, remedy_of), places in self._left_out.items():
            found.warn("annotations-left-out", places, f"{{n}} {what} left out", remedy_of)
        empty = [self._below(image) for image, own in drawn.items() if not own.areas and image not in self._partly]
        what = "{n} {image has|images have} no annotated area and {is|are} read as background only"
        found.warn("images-without-area", empty, what, "remove images that nobody has annotated")
        self.search.list_others(found, {*self._drawn, *self._broken})
        self.search.warn(found)
        layout = self.problems.layout(self.root, found, use_lists=use_lists)
        return Recognized(self.tool, layout, MaskEncoding("index", known.classes))

    def _pairs(self, drawn: Mapping[Path, _Drawn], labels: Labels) -> Iterator[tuple[Path, Pair]]:
        """Yield each image and its pair; an image whose size is not the size in its entry is reported instead."""
        headers = {image: known_header(image) for image in drawn}
        exchanged = {
            image: Exchanged(own.size, header, [area.shape for area in own.areas])
            for image, own in drawn.items()
            if (header := headers[image]) and own.size and are_exchanged(own.size, header)
        }
        reading = find_reading(list(exchanged.values()), Reading.STORED)
        for image, own in drawn.items():
            with self.problems.collected():
                if image in exchanged and own.areas and reading is None:
                    raise undecided(str(own.entry), exchanged[image])
                yield image, self._pair(image, own, headers[image], reading if image in exchanged else None, labels)

    def _pair(self, image: Path, own: _Drawn, header: Header | None, reading: Reading | None, labels: Labels) -> Pair:
        size = header.shown_size if header else own.size
        if size is None:
            raise DataError(f"{own.entry}: states no size, and its image cannot be read; replace the image")
        if own.size not in (None, size) and not are_exchanged(own.size, header):
            raise DataError(
                f"{own.entry}: states {own.size[1]} x {own.size[0]} pixels, but {image.name} is {size[1]} x {size[0]}; "
                "replace the image by the one that was annotated, in its full size"
            )
        shapes: list[Outline] = []
        for area in own.areas:
            shape = as_shown(area.shape, reading, header) if header and reading else area.shape
            if isinstance(shape, Polygon) and reaches_out(shape, size):
                self.problems.clipped.append(f"{self.name_of(own.entry)}: a shape of {area.label!r}")
            shapes.append(replace(shape, class_index=labels.index_of[area.label]))
        *folders, stem = self._below(image).with_suffix("").parts
        kept = [folder for folder in folders if folder.lower() not in IMAGE_FOLDERS and folder.lower() not in SPLIT_OF]
        drawing = Drawing(own.entry.path, image.name, size, shapes, labels.background)
        return Pair("/".join((*kept, stem)), image, drawing)

    def _below(self, image: Path) -> Path:
        return image.relative_to(self.search.place)

    def _split(self, image: Path, source: Path) -> str:
        """Return the split of an image by the names of the folders above it, or else above its annotation file.

        Return "" if none of these folders has the name of a split, such as train.

        Args:
            image: the image.
            source: the annotation file.
        """
        folders = [*self._below(image).parts[:-1], *source.relative_to(self.root).parts[:-1]]
        return next((SPLIT_OF[folder.lower()] for folder in folders if folder.lower() in SPLIT_OF), "")


def _colored(labels: Labels, root: Path, colors: Mapping[str, Color]) -> Labels:
    names = labels.classes.names
    given = {"background": (0, 0, 0), **colors}
    if not colors or find_own_class_file(root) or not all(name in given for name in names):
        return labels
    return replace(labels, classes=replace(labels.classes, palette=tuple(given[name] for name in names)))


def polygon_of(*rings: npt.ArrayLike) -> Polygon | None:
    """Return the polygon of rings (n, 2), such as an outer ring and its holes; None if no ring has an area."""
    closed = [np.asarray(ring, dtype=np.float32).reshape(-1, 2) for ring in rings]
    areas = tuple(ring for ring in closed if not covers_nothing(ring))
    return Polygon(0, areas) if areas else None


def color_of(text: object) -> Color | None:
    """Return the color that a text such as "#8040ff" names; None for anything else."""
    if not isinstance(text, str) or len(text) not in (7, 9) or not text.startswith("#"):
        return None
    try:
        red, green, blue = bytes.fromhex(text[1:7])
    except ValueError:
        return None
    return red, green, blue
