"""Read Label Studio: tasks exported as JSON or JSON-MIN, with the images anywhere below the same folder.

Sources: https://labelstud.io/guide/task_format, https://labelstud.io/tags/brushlabels and, for the meaning of `x` and
`y` of rectangles and ellipses, https://docs.humansignal.com/templates/image_bbox and EllipseRegion.jsx in
https://github.com/HumanSignal/label-studio
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from maskpencil.data.drawing import Bitmap, Drawing, Polygon, Ring, Shape, box, ellipse, turned
from maskpencil.data.formats.annotations import (
    Entry,
    Labels,
    classes_of_labels,
    covers_nothing,
    mentions,
    read_json,
)
from maskpencil.data.formats.base import Recognized
from maskpencil.data.formats.image_search import ImageSearch
from maskpencil.data.formats.orientation import reaches_out
from maskpencil.data.formats.problems import Problems
from maskpencil.data.layout import IMAGE_FOLDERS, Found, Pair, files_below
from maskpencil.data.masks.encoding import MaskEncoding
from maskpencil.errors import DataError
from maskpencil.images import IMAGE_SUFFIXES, read_header
from maskpencil.plain_text import counted, worded

BRUSH_MASK = re.compile(r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-.*-tag-(?P<label>.*)-\d+\.png")
"""Matches the names of masks in the export "Brush labels to PNG", which contain the task but not the image."""


def image_name(task: Entry) -> str | None:
    """Return the path of the image that a task names, with "/" between folders; None if the task names no image.

    Since each project chooses the name of the field with the image, the field `image` is examined first, then all other
    fields, until a text ends with the suffix of an image file. Examples of texts in fields, and of the resulting paths:

        /data/upload/1/1a2b3c4d-photo.jpg           /data/upload/1/1a2b3c4d-photo.jpg
        https://example.com/photos/photo.jpg?v=2    https:/example.com/photos/photo.jpg
        /data/local-files/?d=photos/photo.jpg       photos/photo.jpg
    """
    data = task.inside("data").fields if isinstance(task.fields.get("data"), dict) else task.fields
    texts = [value for _, value in sorted(data.items(), key=lambda item: item[0] != "image") if isinstance(value, str)]
    names = map(_path, texts)
    return next((name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES), None)


class Images:
    """The images below `root`, or below `given` if it is not None, except masks that Label Studio exported."""

    def __init__(self, root: Path, given: Path | None = None) -> None:
        self._search = ImageSearch(root, given)
        self._names: dict[str, Path] = {}

    def __iter__(self) -> Iterator[Path]:
        return (path for path in self._search.files if not BRUSH_MASK.fullmatch(path.name))

    def list_others(self, found: Found, used: Collection[Path]) -> None:
        """Add the images that are not `used` to `found`, see `ImageSearch.list_others`."""
        self._search.list_others(found, used, self)

    @property
    def place(self) -> Path:
        """The folder that is searched for images: the folder that the user gave, or else the root."""
        return self._search.place

    def find(self, name: str, task: Entry) -> Path | None:
        """Find the image that a task names; return None if the image is missing.

        The name of the file may be the name in the task with or without the changes that Label Studio makes to uploads.
        Of several files with this name, the file whose path shares the most folders with `name` is used.

        Args:
            name: the path of the image in the task.
            task: the task, for the error message.

        Raises:
            DataError: several images match equally well.
        """
        best = self._search.candidates(name)
        if len(best) > 1:
            one, other = (path.relative_to(self.place) for path in best[:2])
            raise DataError(f"{task}: the image {name!r} may be {one} or {other}; rename or remove one of them")
        return best[0] if best else None

    def short_name(self, path: Path) -> str:
        """Return the name for the pair of an image: its path below `place`, without suffix.

        If the first folder of the path is a folder of images, such as images, it is left out too.

        Raises:
            DataError: an earlier image has the same name.
        """
        below = path.relative_to(self.place).with_suffix("")
        name = PurePosixPath(
            *below.parts[below.parts[0].lower() in IMAGE_FOLDERS and len(below.parts) > 1 :]
        ).as_posix()
        if self._names.setdefault(name, path) != path:
            raise DataError(f"{path}: has the same name as {self._names[name]}; rename or remove one of them")
        return name


def _path(text: str) -> str:
    """Return the path in a text of a task, see `image_name`."""
    text, _, query = text.strip().partition("?")
    if query.startswith("d="):
        text = query[2:].partition("&")[0]
    return PureWindowsPath(unquote(text)).as_posix()


LABEL_KEYS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
SHAPE_KEYS = ("rle", "points", "radiusX", "height")
"""The keys by which brushes, polygons, ellipses and rectangles are recognized."""

LIST = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*\[")
"""Matches the beginning of a JSON list, such as an export, with or without a byte order mark."""


@dataclass(frozen=True)
class Annotation:
    """The annotation of an image by one person.

    Attributes:
        canceled: whether the annotation was canceled (`was_cancelled`).
        when: the time of the last change, or else of the creation; the earliest possible time if both are missing.
        regions: the labeled areas.
        others: the number of all other results, such as choices, by their types.
    """

    canceled: bool
    when: datetime
    regions: Sequence[Entry]
    others: Counter[str]


def recognize(root: Path, images: Path | None = None) -> Recognized | None:
    """Read `root` if JSON files in it hold lists of Label Studio's tasks on images; otherwise return None.

    Images are found by their names, with and without the 8 hexadecimal digits that Label Studio adds before them. Brush
    strokes, polygons, rectangles and ellipses are drawn in the order of the file. Of several annotations of an image
    only the newest that was not canceled is read; drafts and predictions are not used. The classes are in alphabetical
    order, after the background. Unless list files assign the images to splits, one in five images is set aside for
    validation.

    None is also returned if no task has a labeled area and `root` holds masks of the export "Brush labels to PNG".

    Args:
        root: the data folder.
        images: the folder of the images; if None, images are searched for below `root`.

    Raises:
        DataError: a task is not in Label Studio's format or does not name an image, several images match a name, or all
            images are missing.
    """
    if not root.is_dir():
        return None
    contents = {path: content for path in sorted(root.glob("*.json")) if path.is_file() and (content := _tasks(path))}
    problems = Problems()
    tasks: list[Entry] = []
    for path, content in contents.items():
        for n, task in enumerate(content, start=1):
            with problems.collected():
                tasks.append(Entry.of(path, f"task {n}", task))
    if not any(map(image_name, tasks)):
        return None
    known = Images(root, images)
    by_image: dict[Path, list[Annotation]] = {}
    broken: set[Path] = set()
    absent: list[Path] = []
    for task in tasks:
        with problems.collected():
            name = image_name(task)
            if name is None:
                raise DataError(
                    f"{task}: does not name an image; expected the path of an image in its field 'data', such as "
                    "'image': '/data/upload/1/photo.jpg'"
                )
            image = known.find(name, task)
            if image is None:
                absent.append(Path(PurePosixPath(name).name))
                continue
            broken.add(image)
            own = list(_annotations(task))
            broken.discard(image)
            by_image.setdefault(image, []).extend(own)
    if not by_image:
        problems.refuse()
        raise DataError(
            f"{tasks[0].path}: names {counted(len(absent), 'image')} ({absent[0]}{', ...' * (len(absent) > 1)}), "
            f"but none of them is below {known.place}; "
            "put them there, from Label Studio's media/upload/ or an export with images, or say where they are: "
            "--images FOLDER"
        )
    if not any(each.regions for own in by_image.values() for each in own) and _has_masks(root):
        return None  # `label_studio_brush` reads the masks
    usable = {path: annotations for path, annotations in by_image.items() if path not in broken}
    return _recognized(root, usable, absent, known, problems)


def _has_masks(root: Path) -> bool:
    """Return whether `root` holds masks of the export "Brush labels to PNG"."""
    return any(BRUSH_MASK.fullmatch(path.name) for path in files_below(root, IMAGE_SUFFIXES))


def _recognized(
    root: Path, by_image: Mapping[Path, Sequence[Annotation]], absent: list[Path], images: Images, problems: Problems
) -> Recognized:
    kept = {path: [a for a in annotations if not a.canceled] for path, annotations in by_image.items()}
    # of several annotations with the same time, the last is used
    newest = {path: max(reversed(own), key=lambda a: a.when) for path, own in kept.items() if own}
    labels_of: dict[Path, list[str]] = {}
    for path, annotation in newest.items():
        errors, names = len(problems.errors), []
        for region in annotation.regions:
            with problems.collected():
                names.append(_label(region))
        if len(problems.errors) == errors:
            labels_of[path] = names
    labels = classes_of_labels(root, sorted({name for names in labels_of.values() for name in names}))
    found = Found(masks_alone=absent)
    images.list_others(found, newest)
    for path in labels_of:
        annotation, errors, shapes = newest[path], len(problems.errors), []
        for region in annotation.regions:
            with problems.collected():
                shapes += _shape(region, labels, read_header(path).shown_size, problems)
        with problems.collected():
            name = images.short_name(path)
            if len(problems.errors) == errors:
                source = annotation.regions[0].path if annotation.regions else root
                size = read_header(path).shown_size
                found.add("", Pair(name, path, Drawing(source, path.name, size, tuple(shapes), labels.background)))
    layout = problems.layout(root, found)
    notes = _notes(by_image, kept, {path: newest[path] for path in labels_of})
    return Recognized(
        "Label Studio", replace(layout, notes=(*notes, *layout.notes)), MaskEncoding("index", labels.classes)
    )


def _notes(
    by_image: Mapping[Path, Sequence[Annotation]],
    kept: Mapping[Path, Sequence[Annotation]],
    newest: Mapping[Path, Annotation],
) -> Iterator[str]:
    several = sum(len(annotations) > 1 for annotations in kept.values())
    if several:
        yield worded("{n} {image has|images have} several annotations, the newest {|of each }is used", several)
    canceled = sum(annotation.canceled for annotations in by_image.values() for annotation in annotations)
    if canceled:
        yield f"{canceled} canceled annotations left out"
    others = sum((annotation.others for annotation in newest.values()), Counter[str]())
    if others:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        yield f"results that are not labeled areas left out: {counts}"
    manifold = sum(len(region.fields[_label_key(region)]) > 1 for a in newest.values() for region in a.regions)
    if manifold:
        yield f"{manifold} regions have several labels, the first of each is used"


def _tasks(path: Path) -> list[Any]:
    """Return the tasks in a JSON file; [] if the file is not an export of Label Studio."""
    with path.open("rb") as file:
        if not LIST.match(file.read(64)):
            return []
    full = any(mentions(path, ("data", key)) for key in ("annotations", "completions"))
    if not full and not any(mentions(path, (key,)) for key in (*LABEL_KEYS, "annotation_id")):
        return []
    content = read_json(path)
    likely = isinstance(content, list) and any(isinstance(task, dict) and _is_task(task) for task in content)
    return content if likely else []


def _is_task(task: dict[str, Any]) -> bool:
    """Return whether an object is a task of the export JSON or JSON-MIN."""
    if isinstance(task.get("data"), dict):
        return isinstance(task.get("annotations", task.get("completions")), list)
    return bool(_short_regions(task)) or {"annotation_id", "lead_time"} <= task.keys()


def _short_regions(task: Mapping[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """Return the regions of a JSON-MIN task, each as (field, number, region).

    A field holds a list of regions; the number is the position of the region in this list, from 1. The fields are named
    after the tags of the project's labeling interface.
    """
    return [
        (key, number, value)
        for key, values in task.items()
        if isinstance(values, list)
        for number, value in enumerate(values, start=1)
        if isinstance(value, dict) and any(label in value for label in LABEL_KEYS)
    ]


def _annotations(task: Entry) -> Iterator[Annotation]:
    """Yield the annotations of a task, of the export JSON or JSON-MIN.

    Raises:
        DataError: an annotation is not in Label Studio's format.
    """
    if "data" not in task:
        regions = [Entry(task.path, f"{task.place}: {key} {n}", value) for key, n, value in _short_regions(task.fields)]
        yield _annotation(task, [(region, "results") for region in regions])
        return
    for entry in task.entries("completions" if "completions" in task else "annotations", "annotation"):
        results = []
        for result in entry.entries("result", "result"):
            value = result.fields.get("value")
            turn = {key: result.fields.get(key) for key in ("image_rotation", *SIZE_KEYS)}
            own = Entry(result.path, result.place, {**value, **turn} if isinstance(value, dict) else {})
            results.append((own, str(result.fields.get("type"))))
        yield _annotation(entry, results)


def _annotation(entry: Entry, results: Iterable[tuple[Entry, str]]) -> Annotation:
    regions, others = [], Counter[str]()
    for result, kind in results:
        if any(key in result for key in LABEL_KEYS) and any(key in result for key in SHAPE_KEYS):
            regions.append(result)
        else:
            others[kind] += 1
    return Annotation(entry.fields.get("was_cancelled") is True, _when(entry), regions, others)


def _when(entry: Entry) -> datetime:
    """Return the time of the last change of an annotation, see `Annotation`.

    Raises:
        DataError: the field is not a date and time.
    """
    key = next((key for key in ("updated_at", "created_at") if key in entry), None)
    if key is None:
        return datetime.min.replace(tzinfo=UTC)
    try:
        when = datetime.fromisoformat(entry.text(key))
    except ValueError as error:
        raise entry.wrong(key, "a date and time such as 2024-03-09T21:52:49Z") from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _label_key(region: Entry) -> str:
    return next(key for key in LABEL_KEYS if key in region)


def _label(region: Entry) -> str:
    """Return the first label of a region.

    Raises:
        DataError: the field is not a list that begins with a label.
    """
    key = _label_key(region)
    labels = region.fields[key]
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str) or not labels[0]:
        raise region.wrong(key, "a list that begins with a label")
    return labels[0]


SIZE_KEYS = ("original_height", "original_width")
SAME_SHAPE = 0.02
"""The largest relative difference between the aspect ratios of an image and of a scaled copy of it."""


def _shape(region: Entry, labels: Labels, size: tuple[int, int], problems: Problems) -> list[Shape]:
    """Return a list with the shape of a region; if the region has no area, add it to `problems` and return [].

    Args:
        region: the region.
        labels: the classes of the labels.
        size: the (height, width) of the image.
        problems: collects regions without an area, and regions that extend beyond the image.

    Raises:
        DataError: the region is not in Label Studio's format, or was drawn on another image or a rotated image.
    """
    if region.number("image_rotation", 0) % 360:
        raise region.wrong("image_rotation", "0: turn the image back in Label Studio before drawing on it")
    _refuse_other_shape(region, size)
    index = labels.index_of[_label(region)]
    if "rle" in region:
        return [_bitmap(region, index, size)]
    ring = _ring(region, size).astype(np.float32)
    if covers_nothing(ring):
        problems.without_area.append(f"{region} ({_label(region)!r}): an outline of {counted(len(ring), 'point')}")
        return []
    polygon = Polygon(index, (ring,))
    if reaches_out(polygon, size):
        problems.clipped.append(f"{region} ({_label(region)!r})")
    return [polygon]


def _refuse_other_shape(region: Entry, size: tuple[int, int]) -> None:
    """Check that a region was drawn on the image of `size` (height, width) or on a scaled copy of it.

    Raises:
        DataError: the image on which the region was drawn has another aspect ratio.
    """
    if any(region.fields.get(key) is None for key in SIZE_KEYS):
        return
    height, width = (region.number(key) for key in SIZE_KEYS)
    across, along = height * size[1], width * size[0]
    if abs(across - along) > max(SAME_SHAPE * along, height + width, *size):  # rounding may change a side by a pixel
        raise DataError(
            f"{region}: was drawn on {width:g} x {height:g} pixels, but its image is shown as {size[1]} x {size[0]}; "
            "expected the same aspect ratio; export the task again, with the image it was drawn on"
        )


def _ring(region: Entry, size: tuple[int, int]) -> Ring:
    """Return the outline of a region, (n, 2), as (x, y) in pixels of the image.

    Args:
        region: a polygon, a rectangle or an ellipse, in percent of the width and height of the image; `rotation` is in
            degrees, clockwise.
        size: the (height, width) of the image.

    Raises:
        DataError: a number is missing or wrong.
    """
    height, width = size
    scale = np.array((width, height)) / 100
    if "points" in region:
        return region.points("points", least=0) * scale
    x, y = region.number("x") * scale[0], region.number("y") * scale[1]
    angle = region.number("rotation", 0)
    if "radiusX" in region:
        radii = region.number("radiusX") * scale[0], region.number("radiusY") * scale[1]
        return turned(ellipse((x, y), radii), angle, (x, y))  # (x, y) is the center of the ellipse and of the rotation
    sides = region.number("width") * scale[0], region.number("height") * scale[1]
    return turned(box(x, y, *sides), angle, (x, y))  # (x, y) is the upper left corner and the center of the rotation


def _bitmap(region: Entry, index: int, size: tuple[int, int]) -> Bitmap:
    """Return the pixels of a brush stroke as a bitmap of the class `index`; `size` is the (height, width) of the image.

    Raises:
        DataError: the field `rle` is damaged or belongs to an image of another size.
    """
    values = region.fields["rle"]
    if not isinstance(values, list) or not {*map(type, values)} <= {int} or not all(0 <= v <= 255 for v in values):
        raise region.wrong("rle", "a list of whole numbers from 0 to 255")
    try:
        mask = unpack_alpha(bytes(values), size)
    except DataError as error:
        raise DataError(
            f"{region}: the brush {error}; export the task again, with the image it was drawn on"
        ) from error
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):  # the whole stroke was erased
        return Bitmap.of(index, mask[:1, :1])
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Bitmap.of(index, mask[window], (int(rows[0]), int(columns[0])))


CHANNELS = 4
ALPHA = 3
VALUE_BITS = 8


def unpack_alpha(packed: bytes, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Decompress the RGBA image of a brush stroke, and return a boolean mask (H, W): where alpha is above 0.

    Memory is allocated only for `size`, even if the compressed data state another size.

    Args:
        packed: the numbers in the field `rle`, Label Studio's run-length encoding of RGBA values, as bytes.
        size: the (height, width) of the image.

    Raises:
        DataError: the compressed image has another size, its values do not have 8 bits, or the data are cut short.
    """
    height, width = size
    bits = _Bits(packed)
    count = bits.take(32)
    value_bits = bits.take(5) + 1
    if count != CHANNELS * height * width:
        raise DataError(
            f"holds {count} values; expected {CHANNELS * height * width}, red, green, blue and alpha of "
            f"{width} x {height} pixels"
        )
    if value_bits != VALUE_BITS:
        raise DataError(f"holds values of {value_bits} bits; expected {VALUE_BITS}")
    length_bits = [bits.take(4) + 1 for _ in range(4)]
    alpha = np.zeros(height * width, dtype=np.bool_)
    place = 0
    while place < count:
        repeats = bits.take(1)
        after = min(count, place + bits.take(length_bits[bits.take(2)]) + 1)
        pixels = slice(place // CHANNELS, after // CHANNELS)  # the pixels whose alpha value is between place and after
        if repeats:
            alpha[pixels] = bits.take(VALUE_BITS) > 0
        else:
            alpha[pixels] = bits.take_bytes(after - place)[(ALPHA - place) % CHANNELS :: CHANNELS] > 0
        place = after
    return alpha.reshape(height, width)


class _Bits:
    """Reads bytes in groups of any number of bits, the highest bit first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits, at most 32, as a number without sign."""
        first, within = divmod(self._advance(count), 8)
        window = int.from_bytes(self._content[first : first + 5].ljust(5, b"\0"), "big")
        return window >> (40 - within - count) & ((1 << count) - 1)

    def take_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """Return the next `count` numbers of 8 bits each, (count,) uint8."""
        first, within = divmod(self._advance(8 * count), 8)
        content = np.frombuffer(self._content[first : first + count + 1], dtype=np.uint8)
        return np.packbits(np.unpackbits(content)[within : within + 8 * count])

    def _advance(self, count: int) -> int:
        """Move forward by `count` bits, and return the position before, in bits.

        Raises:
            DataError: fewer than `count` bits are left.
        """
        place = self._place
        self._place += count
        if self._place > 8 * len(self._content):
            raise DataError("is cut short")
        return place
