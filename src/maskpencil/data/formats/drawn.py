"""Collect the images and labeled areas of annotation files, and pair each image with the mask drawn from its areas."""

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
"""If a folder has more files than this, only the first `PEEKED` files are examined, and all others only if one of the
first is in the format."""


@dataclass(frozen=True)
class Area:
    """A labeled area of an image; the `class_index` of its shape is set later, when all labels are known."""

    label: str
    shape: Outline


def files_in_format(root: Path, suffixes: Collection[str], fits: Callable[[Path], bool]) -> list[Path]:
    """Return the files below `root` that are in a format.

    To be quick, a folder with more than `MAX_SAMPLED` files with these suffixes is left out if none of its first
    `PEEKED` files is in the format.

    Args:
        root: the data folder, which may be missing.
        suffixes: the suffixes of files in the format, in lower case, such as ".json".
        fits: returns whether a file is in the format.
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
    """The areas of an image and the entry that describes the image.

    Attributes:
        entry: the entry in the annotation file.
        split: the split that the annotation file states, "" if it states no split.
        areas: the labeled areas, from bottom to top.
        size: the (height, width) in pixels that the entry states; None if the entry does not state a size.
    """

    entry: Entry
    split: str
    areas: Sequence[Area]
    size: tuple[int, int] | None


class DrawnImages:
    """Collects the images of a data set with their labeled areas, and then pairs each image with its mask.

    A reader calls `add` for each image, and at the end `recognized`. Errors in entries are collected as well; the
    images of these entries are left out.

    Args:
        root: the folder with the annotations.
        tool: the name of the format, for messages.
        images: the folder of the images that the user gave; if None, images are searched for below `root`.
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
        self._partly: set[Path] = set()  # images some of whose annotations were left out
        self._any_left_out = False

    @contextmanager
    def collecting_errors(self) -> Iterator[None]:
        """Collect a `DataError` of the `with` block in `problems` instead of raising it; blocks may be nested."""
        self._any_left_out = self._any_left_out and bool(self._errors_before)
        self._errors_before.append(len(self.problems.errors))
        try:
            with self.problems.collected():
                yield
        finally:
            self._errors_before.pop()

    @property
    def has_masks(self) -> bool:
        """Whether the root has a folder of images and a folder of masks; then readers ignore annotation files in it.

        False if the user gave the folder of the images.
        """
        return self.search.given is None and are_images_and_masks(self.root, self.search.files)

    def find(self, entry: Entry, name: str, *folders: Path) -> Path | None:
        """Find the image that an entry calls `name`; return None if the image is missing, which `recognized` reports.

        `folders` are searched first, then the folder of the annotation file and the folders above it up to the root,
        each with its subfolders of images, such as images/. Finally the image may be anywhere, see `ImageSearch.find`.

        Raises:
            DataError: the name leads out of the root by "..", and no image below the root has this name.
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
        """Record an annotation that is left out, for a warning in `recognized`.

        Args:
            entry: the annotation.
            what: the kind of annotation in the singular and in the plural, such as "{line|lines}", see `worded`.
            remedy: what the user can do about annotations of this kind, such as "draw them as polygons".
        """
        self._any_left_out = True
        self._left_out[what, remedy].append(self.name_of(entry))

    def without_area(self, entry: Entry) -> None:
        """Record a shape without an area, for a warning in `recognized`."""
        self.problems.without_area.append(self.name_of(entry))

    def name_of(self, entry: Entry) -> str:
        """Return the position of an entry for messages: its file, relative to the root, and its place in the file."""
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
        """Add an image with the areas of its entry; adding it again with equal annotations has no effect.

        If an error was collected in the current block of `collecting_errors`, the image is left out.

        Args:
            image: the image.
            entry: the entry.
            areas: the labeled areas; later areas are drawn over earlier areas.
            split: the split that the annotation file states, "" if it states no split.
            size: the (height, width) in pixels that the entry states; None if the entry does not state a size.
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
        """Return the pairs of images and masks by split, with warnings about what was left out.

        Args:
            remedy: how to get the images, for the error message if all images are missing.
            labels: the labels that the files declare, in order. They are followed by all other labels of areas, sorted.
            colors: the colors of labels, used if there is no classes.yaml and every class except the background has a
                color.
            use_lists: whether list files such as train.txt assign images to splits.

        Raises:
            DataError: all images are missing or have errors, or a classes.yaml does not name a label.
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
        """Yield each image and its pair; if its size is not the size in its entry, collect an error instead."""
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
        """Return the pair of an image and the mask drawn from its areas.

        Args:
            image: the image.
            own: its areas.
            header: the header of the image; None if it cannot be read.
            reading: the coordinate system of the areas if the entry exchanges the height and width of the image as
                shown, see `orientation.Exchanged`; otherwise None.
            labels: the classes of the labels.

        Raises:
            DataError: the size of the image is unknown, or is not the size in the entry.
        """
        size = header.shown_size if header else own.size
        if size is None:
            raise DataError(f"{own.entry}: does not state a size, and its image cannot be read; replace the image")
        if own.size not in (None, size) and not are_exchanged(own.size, header):
            raise DataError(
                f"{own.entry}: states {own.size[1]} x {own.size[0]} pixels, but {image.name} is {size[1]} x {size[0]}; "
                "replace the image by the image that was annotated, in its full size"
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
        """Return the split named by a folder above an image, or else by a folder above its annotation file.

        Return "" if none of these folders has the name of a split, such as train.

        Args:
            image: the image.
            source: the annotation file.
        """
        folders = [*self._below(image).parts[:-1], *source.relative_to(self.root).parts[:-1]]
        return next((SPLIT_OF[folder.lower()] for folder in folders if folder.lower() in SPLIT_OF), "")


def _colored(labels: Labels, root: Path, colors: Mapping[str, Color]) -> Labels:
    """Return the labels with `colors` as the palette of their classes, or unchanged, see `DrawnImages.recognized`."""
    names = labels.classes.names
    given = {"background": (0, 0, 0), **colors}
    if not colors or find_own_class_file(root) or not all(name in given for name in names):
        return labels
    return replace(labels, classes=replace(labels.classes, palette=tuple(given[name] for name in names)))


def polygon_of(*rings: npt.ArrayLike) -> Polygon | None:
    """Return a polygon of several rings, (n, 2) each, such as an outer ring and its holes; None if none has an area."""
    closed = [np.asarray(ring, dtype=np.float32).reshape(-1, 2) for ring in rings]
    areas = tuple(ring for ring in closed if not covers_nothing(ring))
    return Polygon(0, areas) if areas else None


def color_of(text: object) -> Color | None:
    """Return the color (red, green, blue) of a text such as "#8040ff", with or without alpha; None for other values."""
    if not isinstance(text, str) or len(text) not in (7, 9) or not text.startswith("#"):
        return None
    try:
        red, green, blue = bytes.fromhex(text[1:7])
    except ValueError:
        return None
    return red, green, blue
