"""Collect images and the areas that annotation files draw on them, and turn them into pairs."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from maskpencil.classes import Color
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Bitmap, Drawing, Polygon, RunLengths
from maskpencil.data.faults import EXAMPLES
from maskpencil.data.formats.annotations import Entry, Labels, classes_of_labels
from maskpencil.data.formats.base import TURNED, Recognized
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below, find_image, layout_of
from maskpencil.data.layout.splits import SPLIT_ALIASES, SPLITS
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError, ImageError
from maskpencil.images import IMAGE_SUFFIXES, read_header

SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}

LEAST_CORNERS = 3

PEEKED = 3
FEW = 32
"""Files of a folder: all of so few are looked into; of more the first `PEEKED`, and all where one of these fits."""


@dataclass(frozen=True)
class Area:
    """A labeled area of an image; the class of its shape is set when all labels are known."""

    label: str
    shape: Polygon | Bitmap | RunLengths


def files_in_format(root: Path, suffixes: Collection[str], fits: Callable[[Path], bool]) -> list[Path]:
    """Return the files below `root` with one of the lower-case suffixes that are in a format, quickly.

    Args:
        root: the folder, which may be missing.
        suffixes: of the files.
        fits: whether a file is in the format.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    if root.is_dir():
        for path in files_below(root, suffixes):
            by_folder[path.parent].append(path)
    return [
        path
        for paths in by_folder.values()
        if len(paths) <= FEW or any(map(fits, paths[:PEEKED]))
        for path in paths
        if fits(path)
    ]


class ImageSearch:
    """Finds the images below a folder that annotation files name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.paths = list(files_below(root, IMAGE_SUFFIXES))
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._by_name[path.name.lower()].append(path)
            self._by_stem[path.stem.lower()].append(path)

    def find(self, name: str, source: Path, *folders: Path) -> Path | None:
        """Return the image that the file `source` calls `name`; None where it is not there.

        It is looked for below `folders`, then beside `source`, in its folders of images, and in those above it up to
        the root; then by its name alone, at last without its suffix, where only one image below the root has it.

        Raises:
            DataError: the name leads out of the root.
        """
        above = [folder for folder in (source.parent, *source.parent.parents) if folder.is_relative_to(self._root)]
        around = [place for folder in above for place in (folder, *(folder / inside for inside in IMAGE_FOLDERS))]
        for text in dict.fromkeys((name, unquote(name.partition("?")[0]))):
            if found := find_image(self._root, [*folders, *around], text, source=source):
                return found if found.suffix.lower() in IMAGE_SUFFIXES else self._alone(text)
            if found := self._alone(text):
                return found
        return None

    def named(self, name: str) -> list[Path]:
        """Return all images below the root with the last part of a name."""
        return self._by_name.get(PureWindowsPath(name).name.lower(), [])

    def _alone(self, name: str) -> Path | None:
        """Return the only image with the longest end of the path, with or without its suffix."""
        last = PureWindowsPath(name).name.lower()
        parts = tuple(part.lower() for part in PureWindowsPath(name).parts)
        stem = PurePosixPath(last).stem if PurePosixPath(last).suffix in IMAGE_SUFFIXES else last
        for candidates in (self._by_name.get(last, []), self._by_stem.get(stem, [])):
            shared = {path: _shared(path, parts) for path in candidates}
            best = [path for path in candidates if shared[path] == max(shared.values())]
            if len(best) == 1:
                return best[0]
        return None


def _shared(path: Path, parts: Sequence[str]) -> int:
    """Return the number of folders at the end of a path that are those of `parts`."""
    own = [part.lower() for part in path.parts[-2::-1]]
    return next((n for n, (a, b) in enumerate(zip(own, parts[-2::-1], strict=False)) if a != b), len(parts) - 1)


@dataclass(frozen=True)
class _Drawn:
    """An image with its areas, and the entry that describes it."""

    entry: Entry
    split: str
    areas: Sequence[Area]


class DrawnImages:
    """The images of a data set in the format of `tool`, as its reader finds them.

    Everything that cannot be understood is collected as well, and raised as one error by `recognized`.
    """

    def __init__(self, root: Path, tool: str) -> None:
        self.root, self.tool = root, tool
        self.search = ImageSearch(root)
        self.notes: list[str] = []
        self._drawn: dict[Path, _Drawn] = {}
        self._absent: list[tuple[Entry, str]] = []
        self._left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.errors: list[str] = []

    @contextmanager
    def collecting_errors(self) -> Iterator[None]:
        """Keep a `DataError` for later; what follows in the block is left out."""
        try:
            yield
        except (DataError, ImageError) as error:
            self.errors.append(str(error))

    def find(self, entry: Entry, name: str, *folders: Path) -> Path | None:
        """Return the image of an entry by its name, see `ImageSearch.find`; one that is not there is reported later.

        Raises:
            DataError: the name leads out of the root.
        """
        image = self.search.find(name, entry.path, *folders)
        if image is None:
            self._absent.append((entry, name))
        return image

    def leave_out(self, entry: Entry, what: str, remedy: str) -> None:
        """Report an annotation that is left out: `what` it is, in the plural, and what to do about it."""
        self._left_out[what, remedy].append(self.name_of(entry))

    def name_of(self, entry: Entry) -> str:
        """Return file and place of an entry, for messages."""
        path = entry.path.relative_to(self.root) if entry.path.is_relative_to(self.root) else entry.path
        return f"{path}: {entry.place}" if entry.place else str(path)

    def add(self, image: Path, entry: Entry, areas: Sequence[Area], split: str = "") -> None:
        """Add an image with the areas of its entry, bottom first; an entry that is repeated counts once.

        Raises:
            DataError: another entry has the same image and says something else.
        """
        other = self._drawn.get(image)
        if other is None:
            self._drawn[image] = _Drawn(entry, split or self._split(image, entry.path), areas)
        elif other.entry.fields != entry.fields:
            raise DataError(
                f"{entry}: has the image {image.relative_to(self.root)}, as has {self.name_of(other.entry)}, "
                "with other annotations; remove one of the two"
            )

    def recognized(
        self,
        remedy: str,
        *,
        labels: Iterable[str] = (),
        colors: Mapping[str, Color] | None = None,
        use_lists: bool = True,
    ) -> Recognized:
        """Turn the images into pairs.

        Args:
            remedy: where to get the images, if none is there.
            labels: the labels that the format declares, in their order; those of areas follow, sorted.
            colors: the colors of labels; they count where there is no class file and all classes have one.
            use_lists: whether list files such as train.txt assign images to splits.

        Raises:
            DataError: anything could not be understood, or no image is there.
        """
        self.refuse_errors()
        if not self._drawn and self._absent:
            (entry, name), *_ = self._absent
            names = f"{len(self._absent)} images ({name!r}{', ...' if len(self._absent) > 1 else ''})"
            raise DataError(f"{entry.path}: names {names}, none of which is below {self.root}; {remedy}")
        used = sorted({area.label for drawn in self._drawn.values() for area in drawn.areas})
        known = _colored(classes_of_labels(self.root, [*labels, *used]), self.root, colors or {})
        found = Found({split: {} for split in ("", *SPLITS)}, list(self.notes))
        for image, drawn in self._drawn.items():
            found.add(drawn.split, self._pair(image, drawn, known))
        found.images_alone = [path for path in self.search.paths if path not in self._drawn]
        found.masks_alone = [Path(PureWindowsPath(name).as_posix()) for _, name in self._absent]
        for (what, remedy_of), places in self._left_out.items():
            found.warn("annotations-left-out", places, f"{{n}} {what} left out", remedy_of)
        empty = [image.relative_to(self.root) for image, drawn in self._drawn.items() if not drawn.areas]
        if len(empty) < len(self._drawn):
            what = "{n} images have no annotated area and are read as background alone"
            found.warn("images-without-area", empty, what, "remove those that nobody has annotated")
        return Recognized(
            self.tool, layout_of(self.root, found, use_lists=use_lists), MaskEncoding("index", known.classes)
        )

    def refuse_errors(self) -> None:
        """Raise everything that could not be understood, if anything.

        Raises:
            DataError: the one error, or how many there are and the first.
        """
        if len(self.errors) == 1:
            raise DataError(self.errors[0])
        if self.errors:
            shown = " | ".join(self.errors[:EXAMPLES]) + (" | ..." if len(self.errors) > EXAMPLES else "")
            raise DataError(f"{len(self.errors)} entries cannot be read: {shown}")

    def _split(self, image: Path, source: Path) -> str:
        """Return the split that a folder of the image, or else of the file that describes it, is named for."""
        folders = [*image.relative_to(self.root).parts[:-1], *source.relative_to(self.root).parts[:-1]]
        return next((SPLIT_OF[folder.lower()] for folder in folders if folder.lower() in SPLIT_OF), "")

    def _pair(self, image: Path, drawn: _Drawn, labels: Labels) -> Pair:
        *folders, stem = image.relative_to(self.root).with_suffix("").parts
        kept = [folder for folder in folders if folder.lower() not in IMAGE_FOLDERS and folder.lower() not in SPLIT_OF]
        name = "/".join((*kept, stem))
        shapes = [replace(area.shape, class_index=labels.index_of[area.label]) for area in drawn.areas]
        size = read_header(image).shown_size
        return Pair(name, image, Drawing(drawn.entry.path, image.name, size, shapes, labels.background))


def _colored(labels: Labels, root: Path, colors: Mapping[str, Color]) -> Labels:
    names = labels.classes.names
    given = {"background": (0, 0, 0), **colors}
    if not colors or find_own_class_file(root) or not all(name in given for name in names):
        return labels
    return replace(labels, classes=replace(labels.classes, palette=tuple(given[name] for name in names)))


def size_of(image: Path, stated: tuple[int, int] | None, entry: Entry) -> tuple[int, int]:
    """Return the (height, width) of an image as it is seen, which must be that of its entry, if it states one.

    Raises:
        DataError: the entry states another size.
        ImageError: the image cannot be read.
    """
    header = read_header(image)
    size = header.shown_size
    if stated in (None, size):
        return size
    said = f"{entry}: says {stated[1]} x {stated[0]} pixels, but {image.name} is {size[1]} x {size[0]}"
    if header.orientation in TURNED and stated == header.size:
        raise DataError(
            f"{said} as EXIF turns it; save the image without EXIF's turn, as the tool saw it, or annotate it upright"
        )
    raise DataError(f"{said}; put the image there that was annotated, in its full size")


def polygon_of(*rings: npt.ArrayLike) -> Polygon | None:
    """Return the polygon of rings, each (n, 2), such as an outer one and its holes; None where none has an area."""
    closed = [ring for each in rings if len(ring := np.asarray(each, np.float32).reshape(-1, 2)) >= LEAST_CORNERS]
    has_area = any(np.linalg.matrix_rank(ring - ring[0]) == 2 for ring in closed)  # otherwise all are on one line
    return Polygon(0, tuple(closed)) if has_area else None


def color_of(text: object) -> Color | None:
    """Return the color of a text such as "#8040ff"; None where it is none."""
    if not isinstance(text, str) or len(text) not in (7, 9) or not text.startswith("#"):
        return None
    try:
        red, green, blue = bytes.fromhex(text[1:7])
    except ValueError:
        return None
    return red, green, blue
