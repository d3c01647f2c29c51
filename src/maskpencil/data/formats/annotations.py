"""Read and check the fields of annotation tools' JSON files, and assign a class to each label."""

import codecs
import json
import mmap
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet
from maskpencil.data.class_files import find_own_class_file
from maskpencil.data.drawing import Points
from maskpencil.data.layout import IMAGE_FOLDERS, MASK_FOLDERS, files_below
from maskpencil.errors import DataError
from maskpencil.images import MAX_PIXELS
from maskpencil.regular_files import decode_text, refuse_special, without_conflicts

MAX_JSON_BYTES = 2**30

FARTHEST = 2**24
"""The largest accepted coordinate in pixels; 32-bit floats represent every whole number up to this coordinate."""

MASKS_ALONE = frozenset(MASK_FOLDERS) - {"annotations"}
"""Names of folders that hold only masks; `annotations` is left out, since tools also put annotation files there."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: the file cannot be read, is larger than `MAX_JSON_BYTES`, is not JSON or is nested too deeply, or an
            object in it has a key twice with different values.
    """
    refuse_special(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: is larger than {MAX_JSON_BYTES >> 20} MiB; split it into several files")
        return json.loads(decode_text(path.read_bytes(), path, "JSON"), object_pairs_hook=without_conflicts)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); expected JSON") from error
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); export it again") from error
    except RecursionError as error:
        raise DataError(f"{path}: is nested too deeply to be read as annotations; export it again") from error


def checked_size(height: object, width: object, where: str) -> tuple[int, int]:
    """Check the size that an annotation file states for an image, and return it as (height, width) in pixels.

    Args:
        height: the height in the file, of any JSON type.
        width: the width in the file, of any JSON type.
        where: the file and the entry, for the beginning of error messages.

    Raises:
        DataError: a value is not a positive whole number, or the image has more pixels than `MAX_PIXELS`.
    """
    sides = [
        int(side)
        for side in (height, width)
        if isinstance(side, int | float) and not isinstance(side, bool) and side >= 1 and side % 1 == 0
    ]
    if len(sides) != 2:
        raise DataError(
            f"{where}: has the height {shown(height)} and the width {shown(width)}; expected whole numbers of pixels; "
            "export it again"
        )
    if sides[0] * sides[1] > MAX_PIXELS:
        raise DataError(
            f"{where}: is {shown(width)} x {shown(height)} pixels; at most {MAX_PIXELS / 1e6:.0f} million can be read "
            "at once; correct the size, or cut the image into smaller images"
        )
    return sides[0], sides[1]


def checked_numbers(values: object, where: str) -> npt.NDArray[np.float32]:
    """Check a list of coordinates from an annotation file, and return it as a float32 array (n,).

    Args:
        values: the value in the file, of any JSON type.
        where: the file and the entry, for the beginning of error messages.

    Raises:
        DataError: `values` is not a list of numbers, or the absolute value of a number is above `FARTHEST` (2^24).
    """
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
        raise DataError(f"{where}: has the points {shown(values)}; expected a list of numbers; export it again")
    near = not values or (min(values) >= -FARTHEST and max(values) <= FARTHEST)
    numbers = np.array(values if near else (), dtype=np.float32)
    if not near or np.isnan(numbers).any():
        strange = next(value for value in values if not -FARTHEST <= value <= FARTHEST)
        raise DataError(
            f"{where}: has a point at {shown(strange)}; expected coordinates from -{FARTHEST} to {FARTHEST}; correct "
            "or remove it"
        )
    return numbers


def checked_points(pairs: object, where: str) -> Points:
    """Check a list of points [x, y] from an annotation file, and return it as a float32 array (n, 2).

    Args:
        pairs: the value in the file, of any JSON type.
        where: the file and the entry, for the beginning of error messages.

    Raises:
        DataError: `pairs` is not a list of points, or `checked_numbers` rejects a coordinate.
    """
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise DataError(f"{where}: has the points {shown(pairs)}; expected a list of [x, y]; export it again")
    return checked_numbers([value for pair in pairs for value in pair], where).reshape(-1, 2)


def covers_nothing(ring: npt.NDArray[np.floating]) -> bool:
    """Return whether a polygon (n, 2) has no area: it has fewer than 3 points, or all its points are on one line."""
    if len(ring) < 3:
        return True
    (left, top), (other_x, other_y), (third_x, third_y) = ring[:3].tolist()  # the first 3 corners usually decide
    if (other_x - left) * (third_y - top) != (other_y - top) * (third_x - left):
        return False
    x, y = (ring - ring[0]).astype(np.float64).T
    farthest = int(np.argmax(np.abs(x) + np.abs(y)))
    return not np.any(x * y[farthest] - y * x[farthest])


def shown(value: object) -> str:
    """Return the `repr` of a value for a message, shortened if it is long."""
    return reprlib.repr(value)


ENDING_BYTES = 256
FEW_FILES = 20
"""If a data set has at most this many JSON files, all are parsed to find a damaged file."""


def mentions(path: Path, keys: Iterable[str]) -> bool:
    """Return whether the text of a JSON file contains all keys, each in quotes; False if the file cannot be read.

    The file is searched but not parsed, so the result is quick even for large files.
    """
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            encoding = json.detect_encoding(content[:4])
            own = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}  # these add no byte order mark
            if encoding == "utf-16" and content[:2] == codecs.BOM_UTF16_BE:
                encoding = "utf-16-be"
            return all(content.find(f'"{key}"'.encode(own.get(encoding, encoding))) >= 0 for key in keys)
    except OSError:
        return False


def refuse_cut_json(root: Path) -> None:
    """Check that no JSON file below `root` was cut short, since readers skip such a file without notice.

    The last character must be "}" or "]". If there are at most `FEW_FILES` JSON files, all are parsed as well.

    Raises:
        DataError: a file was cut short, or a parsed file is not JSON.
    """
    files = list(files_below(root, {".json"}))
    for path in files:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - ENDING_BYTES))
            ending = file.read().rstrip(b"\0 \t\r\n")
        if not ending.endswith((b"}", b"]")):
            raise DataError(f"{path}: is cut short: it does not end with '}}' or ']'; export or download it again")
    for path in files if len(files) <= FEW_FILES else ():
        read_json(path)


def are_images_and_masks(root: Path, images: Iterable[Path]) -> bool:
    """Return whether `root` has a folder of images and a folder of masks, such as images/ and masks/.

    If so, readers ignore annotation files in `root`, and `layout` pairs the images with the masks. Only the names of
    folders that hold image files, at any depth below `root`, are examined.

    Args:
        root: the folder.
        images: all image files below `root`, including masks.
    """
    words = {part.lower() for folder in {path.parent for path in images} for part in folder.relative_to(root).parts}
    return not words.isdisjoint(IMAGE_FOLDERS) and not words.isdisjoint(MASKS_ALONE)


@dataclass(frozen=True)
class Entry:
    """A JSON object in an annotation file, with methods that check its fields.

    Attributes:
        path: the file.
        place: where the object is in the file, such as "task 12", for messages; "" for the whole content of the file.
        fields: the fields of the object.
    """

    path: Path
    place: str
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path, place: str, value: object) -> Self:
        """Check that `value` is a JSON object, and return it as an entry.

        Raises:
            DataError: `value` is not an object.
        """
        if not isinstance(value, dict):
            raise DataError(
                f"{path}: {place or 'the content'} is {shown(value)}; expected an object with fields; export it again"
            )
        return cls(path, place, value)

    def __contains__(self, key: str) -> bool:
        """Return whether the entry has the field `key` with a value other than null."""
        return self.fields.get(key) is not None

    def __str__(self) -> str:
        return f"{self.path}: {self.place}" if self.place else str(self.path)

    def wrong(self, key: str, expected: str) -> DataError:
        """Return the error for a field with a wrong value; the message states the place, the value and `expected`."""
        found = shown(self.fields[key]) if key in self.fields else "missing"
        return DataError(f"{self}: {key!r} is {found}; expected {expected}; correct it or export the file again")

    def inside(self, key: str) -> Self:
        """Return the JSON object in a field as an entry.

        Raises:
            DataError: the field is missing or is not an object.
        """
        value = self.fields.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object with fields")
        return type(self)(self.path, self._below(key), value)

    def entries(self, key: str, what: str, *, id_key: str | None = None) -> list[Self]:
        """Return the JSON objects in a field that holds a list of objects, as entries.

        Args:
            key: the field with the list.
            what: the kind of object, such as "image", for messages: the first object of the list is "image 1".
            id_key: the field of each object that holds its id; None if objects have no ids. With ids, an image with the
                id 42 is "image 42" in messages, and the first image of the list, if its id is missing, is "image number
                1".

        Raises:
            DataError: the field is missing or is not a list of objects.
        """
        value = self.fields.get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        number = what if id_key is None else f"{what} number"
        places = (
            f"{what} {shown(entry[id_key])}" if isinstance(entry, dict) and id_key in entry else f"{number} {n}"
            for n, entry in enumerate(value, start=1)
        )
        return [type(self).of(self.path, self._below(p), entry) for p, entry in zip(places, value, strict=True)]

    def text(self, key: str, *, blank: bool = False) -> str:
        """Return the text in a field; an empty text is an error.

        Args:
            key: the field.
            blank: whether a text of only spaces is accepted.

        Raises:
            DataError: the field is missing, or its value is not a text, or is an empty text.
        """
        value = self.fields.get(key)
        if not isinstance(value, str) or not (value if blank else value.strip()):
            raise self.wrong(key, "a text")
        return value

    def identifier(self, key: str) -> int | str:
        """Return the id in a field: a whole number or a text; the text "7" and the number 7.0 become the number 7.

        Raises:
            DataError: the field is missing, or its value is neither a whole number nor a text.
        """
        value = self.fields.get(key)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.wrong(key, "a whole number or a text")
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return the number in a field; if the field is missing or null, return `default`.

        Raises:
            DataError: the field is missing or null and `default` is None, its value is not a number, or the absolute
                value is above `FARTHEST` (2^24).
        """
        value = self.fields.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:  # NaN is not
            raise self.wrong(key, f"a number from -{FARTHEST} to {FARTHEST}")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int:
        """Return the whole number in a field; if the field is missing or null, return `default`.

        Raises:
            DataError: the field is missing or null and `default` is None, its value is not a whole number, or the
                absolute value is above `FARTHEST` (2^24).
        """
        value = self.number(key, default)
        if value != int(value):
            raise self.wrong(key, "a whole number")
        return int(value)

    def numbers(self, key: str) -> npt.NDArray[np.float32]:
        """Return the list of numbers in a field as a float32 array (n,).

        Raises:
            DataError: the field is missing or is not a list of numbers, see `checked_numbers`.
        """
        return checked_numbers(self.fields.get(key), str(self))

    def size(self, height: str, width: str) -> tuple[int, int] | None:
        """Return the size of an image from two fields, as (height, width) in pixels.

        Return None if both fields are missing or null.

        Args:
            height: the field with the height.
            width: the field with the width.

        Raises:
            DataError: one field is missing, or `checked_size` rejects the values.
        """
        if height not in self and width not in self:
            return None
        return checked_size(self.fields.get(height), self.fields.get(width), str(self))

    def pairs(self, key: str) -> Points:
        """Return the points in a field, a list [[x, y], ...], as a float32 array (n, 2).

        Raises:
            DataError: the field is missing or is not a list of points, see `checked_points`.
        """
        return checked_points(self.fields.get(key), str(self))

    def points(self, key: str, *, least: int = 3) -> Points:
        """Return the corners of the polygon in a field as a float32 array (n, 2) of (x, y).

        Args:
            key: the field, a list [[x, y], ...] or [x, y, x, y, ...].
            least: the smallest accepted number of points.

        Raises:
            DataError: the field is missing, is not a list of points, or has fewer than `least` points.
        """
        value = self.fields.get(key)
        pairs = isinstance(value, list) and any(isinstance(point, list) for point in value)
        numbers = self.pairs(key).ravel() if pairs else self.numbers(key)
        if len(numbers) < 2 * least or len(numbers) % 2:
            raise self.wrong(key, "at least 3 points, two numbers each")
        return numbers.reshape(-1, 2)

    def _below(self, place: str) -> str:
        return f"{self.place}: {place}" if self.place else place


_WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")

BACKGROUND_LABELS = ("background", "_background_", "__background__")
IGNORE_LABELS = ("__ignore__", "_ignore_")
"""labelme's labels for ignored pixels; the writers of this package use the first, `__ignore__`."""


@dataclass(frozen=True)
class Labels:
    """The classes of a data set, and the class of each label in its annotations.

    Attributes:
        classes: the classes.
        index_of: the class index of each label; `IGNORE_INDEX` for a label of ignored pixels.
        background: the class index of pixels outside all shapes; `IGNORE_INDEX` if these pixels are ignored.
    """

    classes: ClassSet
    index_of: Mapping[str, int]
    background: int


def classes_of_labels(root: Path, labels: Sequence[str]) -> Labels:
    """Assign a class to each label of the annotations in `root`.

    A classes.yaml in `root` sets the classes and their order. Without a classes.yaml, "background" is class 0, and the
    labels follow in the given order. Pixels outside all shapes, and the `BACKGROUND_LABELS` in any case, get the
    background class. If a classes.yaml has no background class, pixels outside all shapes are ignored. Pixels with one
    of the `IGNORE_LABELS` are ignored.

    Args:
        root: the folder of the data set.
        labels: the labels; repeated labels count once.

    Raises:
        DataError: the classes.yaml does not name one of the labels, or is not valid, or the labels are not valid
            classes, see `ClassSet`.
    """
    named = list(dict.fromkeys(label for label in labels if label not in IGNORE_LABELS))
    index_of = dict.fromkeys(IGNORE_LABELS, IGNORE_INDEX)
    given = find_own_class_file(root)
    if given is None:
        others = [label for label in named if label.lower() not in BACKGROUND_LABELS]
        classes = ClassSet(("background", *others))
        index_of |= {label: 0 for label in named if label not in others}
        index_of |= {label: index for index, label in enumerate(others, start=1)}
        return Labels(classes, index_of, 0)
    names = given.classes.names
    background = next((i for i, name in enumerate(names) if name.lower() in BACKGROUND_LABELS), IGNORE_INDEX)
    index_of |= {name: index for index, name in enumerate(names)}
    for label in named:
        if label not in index_of:
            if label.lower() not in BACKGROUND_LABELS or background == IGNORE_INDEX:
                raise DataError(
                    f"{given.path}: does not name {label!r}, which the annotations use; it names "
                    f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}; add this label"
                )
            index_of[label] = background
    return Labels(given.classes, index_of, background)


def undrawn_class(folder: Path) -> int:
    """Return the class index of pixels outside all shapes, see `Labels`, for the classes.yaml in `folder`.

    Writers call this function, since they need not draw shapes of this class. The result is 0 if there is no
    classes.yaml, and `IGNORE_INDEX` if the classes.yaml has no background class.
    """
    return classes_of_labels(folder, ()).background


def with_ignore_label(classes: ClassSet) -> ClassSet:
    """Append the class `__ignore__` for ignored pixels to the classes.

    Raises:
        DataError: there are already `MAX_CLASSES` classes, or a class is called `__ignore__`.
    """
    ignore = IGNORE_LABELS[0]
    if len(classes) == MAX_CLASSES or ignore in classes.names:
        problem = f"a class is called {ignore!r}" if ignore in classes.names else f"there are {len(classes)} classes"
        raise DataError(
            f"{problem}, which leaves no label for ignored pixels; expected at most {MAX_CLASSES - 1} classes, none of "
            f"them called {ignore!r}; write another format, or rename or merge classes"
        )
    return ClassSet((*classes.names, ignore))
