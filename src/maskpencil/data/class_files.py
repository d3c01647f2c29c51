"""Read class files, which name the classes of a data set, in the format of this package or of another tool."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskpencil.classes import IGNORE_INDEX, MAX_CLASSES, ClassSet, Color, read_classes, read_yaml
from maskpencil.errors import DataError
from maskpencil.known_classes import ADE20K, voc_color
from maskpencil.regular_files import decode_text, numbered_lines, without_conflicts

CLASS_FILES = ("classes.yaml", "classes.yml")

IGNORED_LABELS = ("ignored", "__ignore__", "_ignore_")
"""Labels of ignored pixels in a labelmap.txt; Datumaro writes "ignored" for the borders of Pascal VOC."""

MAX_BYTES = 2**20

NUMBERED = re.compile(r"(\d{1,3})(?:\s*[:;=)]\s*|\s*[.,](?!\d)\s*|\s+-\s+|\s+)(\S.*)")
"""A line with the number of a class and its name."""


COLUMNS = frozenset({"name", "r", "g", "b"})
"""The columns of a class_dict.csv."""


@dataclass(frozen=True)
class ClassFile:
    """A class file and its classes; a file that is not `certain` is used only if the masks fit its classes."""

    path: Path
    classes: ClassSet
    certain: bool = True


def find_class_file(root: Path) -> ClassFile | None:
    """Find and read the class file in a folder: a classes.yaml, or else a file of another tool.

    Return None if the folder has no class file. A data.yaml or dataset.yaml without `names` is skipped.

    Raises:
        DataError: the file does not describe classes.
    """
    own = find_own_class_file(root)
    if own:
        return own
    for name, read in READERS.items():
        path = root / name
        if path.is_file() and (classes := _named(path, read)):
            return ClassFile(path, classes, name not in UNCERTAIN)
    return None


def find_own_class_file(root: Path) -> ClassFile | None:
    """Find and read the classes.yaml in a folder; return None if the folder has no classes.yaml.

    Raises:
        DataError: the file does not describe classes.
    """
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    return ClassFile(path, read_classes(path)) if path else None


@dataclass(frozen=True)
class Label:
    """A label in a labelmap.txt; `color` is the color in the file or, if it has none, a color of Pascal VOC."""

    name: str
    color: Color


def read_labelmap(path: Path) -> tuple[Label, ...]:
    """Read the labels in a labelmap.txt of CVAT or Datumaro, with one line `name:red,green,blue:parts:actions` each.

    Lines that begin with "#" are comments. If no label has a color, the labels get the colors of Pascal VOC.
    https://docs.cvat.ai/docs/dataset_management/formats/format-smask

    Raises:
        DataError: there are no labels, a line has another form, a name is repeated, or only some labels have a color.
    """
    rows: list[tuple[str, Color | None]] = []
    for number, line in numbered_lines(_text(path)):
        if line.startswith("#"):
            continue
        name, *others = (part.strip() for part in line.split(":"))
        if not name or not others:
            raise DataError(f"{path}: line {number} is {line!r}; expected 'name:red,green,blue::'")
        if any(name == other for other, _ in rows):
            raise DataError(f"{path}: line {number} repeats the name {name!r}; give each label one line")
        rows.append((name, _color(path, f"line {number}", others[0].split(",")) if others[0] else None))
    if not rows:
        raise DataError(f"{path}: has no labels; expected lines such as 'road:128,64,128::'")
    bare = [name for name, color in rows if color is None]
    if bare and len(bare) < len(rows):
        raise DataError(f"{path}: has no color for {bare[0]!r}; give all labels colors, or none")
    return tuple(Label(name, color or voc_color(index)) for index, (name, color) in enumerate(rows))


def classes_of_labelmap(path: Path, labels: Sequence[Label]) -> ClassSet:
    """Return the labels as classes, except the labels of ignored pixels.

    The ignore index is the number after the last class if the last label marks ignored pixels, else `IGNORE_INDEX`.

    Raises:
        DataError: no label is left, or there are too many; the message names the file `path`.
    """
    kept = [label for label in labels if label.name not in IGNORED_LABELS]
    if not 1 <= len(kept) <= MAX_CLASSES:
        raise DataError(f"{path}: names {len(kept)} classes; expected 1 to {MAX_CLASSES}")
    ignore_index = len(kept) if labels[-1].name in IGNORED_LABELS else IGNORE_INDEX
    return ClassSet(tuple(label.name for label in kept), tuple(label.color for label in kept), ignore_index)


def read_codes(path: Path) -> ClassSet:
    """Read the classes in fastai's codes.txt, one name per line, in their order or numbered from 0.

    Raises:
        DataError: there are no names or too many, or a name is repeated.
    """
    return ClassSet(_in_order([line for _, line in numbered_lines(_text(path))]))


def read_class_names(path: Path) -> ClassSet:
    """Read the classes in labelme2voc's class_names.txt, one name per line; `__ignore__` in the first line is skipped.

    Raises:
        DataError: there are no names or too many, or a name is repeated.
    """
    lines = [line for _, line in numbered_lines(_text(path))]
    return ClassSet(_in_order(lines[1:] if lines[:1] == ["__ignore__"] else lines))


def _in_order(lines: Sequence[str]) -> tuple[str, ...]:
    """Return names by their numbers if the lines are numbered from 0, such as `0: road` or `0 road`; else the lines."""
    matches = [NUMBERED.fullmatch(line) for line in lines]
    names = {int(match[1]): match[2] for match in matches if match}
    return tuple(names[number] for number in sorted(names)) if {*names} == {*range(len(lines))} else tuple(lines)


@dataclass(frozen=True)
class VistasLabel:
    """A label of Mapillary Vistas; `evaluated` is whether the benchmark evaluates it."""

    name: str
    color: Color
    evaluated: bool


def read_vistas_labels(path: Path) -> tuple[VistasLabel, ...] | None:
    """Read the `labels` of Mapillary Vistas' config.json; return None if they are missing or not a list of objects.

    Raises:
        DataError: a label has another form.
    """
    entries = _json(path)
    labels = entries.get("labels") if isinstance(entries, Mapping) else None
    if not isinstance(labels, list) or not any(isinstance(label, Mapping) for label in labels):
        return None
    found = []
    for number, label in enumerate(labels, start=1):
        if not isinstance(label, Mapping):
            raise DataError(f"{path}: label {number} is {str(label)[:40]!r}; expected an object with name and color")
        name, evaluated = label.get("name"), label.get("evaluate", True)
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: label {number} has the name {str(name)[:40]!r}; expected a text")
        if not isinstance(evaluated, bool):
            raise DataError(f"{path}: 'evaluate' of label {number} is {str(evaluated)[:40]!r}; expected true or false")
        found.append(VistasLabel(name, _rgb(path, f"label {number}", label.get("color")), evaluated))
    return tuple(found)


def vistas_classes(labels: Sequence[VistasLabel]) -> ClassSet:
    """Return the evaluated labels as classes.

    Raises:
        DataError: there are no evaluated labels or too many, or a name is repeated.
    """
    kept = [label for label in labels if label.evaluated]
    return ClassSet(tuple(label.name for label in kept), tuple(label.color for label in kept))


def read_pixel_values(path: Path) -> dict[int, str]:
    """Read Roboflow's `_classes.csv`, a table `Pixel Value, Class`, as {pixel value: class name}, sorted by value.

    Raises:
        DataError: the file is not such a table, or a value is over 255 or repeated.
    """
    try:
        rows = _table(path)
    except csv.Error as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected 'Pixel Value, Class' and one class per line"
        ) from error
    if not rows or [cell.lower() for cell in rows[0]] != ["pixel value", "class"]:
        found = f"begins with {', '.join(rows[0])[:60]!r}" if rows else "is empty"
        raise DataError(f"{path}: {found}; expected a first line 'Pixel Value, Class'")
    table: dict[int, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[1] or not row[0].isascii() or not row[0].isdigit() or len(row[0]) > 3:
            raise DataError(f"{path}: row {number} is {', '.join(row)[:60]!r}; expected a pixel value and a class")
        value = int(row[0])
        if value > IGNORE_INDEX or value in table:
            problem = "is repeated" if value in table else f"is over {IGNORE_INDEX}"
            raise DataError(f"{path}: row {number}: the pixel value {value} {problem}; export the data set again")
        table[value] = row[1]
    return dict(sorted(table.items()))


def _named(path: Path, read: Callable[[Path], ClassSet | None]) -> ClassSet | None:
    try:
        return read(path)
    except DataError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise DataError(f"{path}: {error}") from error


def _labelmap(path: Path) -> ClassSet:
    return classes_of_labelmap(path, read_labelmap(path))


def _dataset_meta(path: Path) -> ClassSet:
    """Read Datumaro's dataset_meta.json: names in `label_map`, {index: name}, or else in the list `labels`.

    The list `segmentation_colors`, if present, holds the colors of the classes.

    https://github.com/openvinotoolkit/datumaro, util/meta_file_util.py
    """
    entries = _json(path)
    if not isinstance(entries, Mapping):
        raise DataError(f"holds {type(entries).__name__}; expected an object with 'labels'")
    names = entries.get("labels")
    if entries.get("label_map"):
        names = _numbered(entries["label_map"])
    palette = entries.get("segmentation_colors") or ()
    return ClassSet.from_dict({"names": names, "palette": palette})


def _roboflow(path: Path) -> ClassSet:
    """Read the classes of Roboflow's `_classes.csv`, see `read_pixel_values`."""
    return ClassSet.from_dict({"names": names_by_value(read_pixel_values(path))})


def _id2label(path: Path) -> ClassSet:
    """Read Hugging Face's id2label.json, which maps mask values to names: `{"0": "wall", "1": "building"}`."""
    return ClassSet.from_dict({"names": names_by_value(_json(path))})


def read_label_colors(path: Path) -> ClassSet:
    """Read CamVid's label_colors.txt, with lines such as `64 128 64<tab>Animal`.

    In files of Datumaro and CVAT, all lines may be names without colors; the classes then get the colors of Pascal VOC.
    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/data/label_colors.txt

    Raises:
        DataError: a line has another form, there are no names or too many, or a name is repeated.
    """
    lines = [(number, line) for number, line in numbered_lines(_text(path)) if not line.startswith("#")]
    rows = [(number, line, line.split(maxsplit=3)) for number, line in lines]
    if rows and not any(_is_number(level) for _, _, parts in rows for level in parts[:3]):
        return ClassSet(tuple(line for _, line in lines), tuple(map(voc_color, range(len(lines)))))
    names, palette = [], []
    for number, line, parts in rows:
        if len(parts) < 4:
            raise DataError(
                f"{path}: line {number} is {line!r}; expected red, green, blue and a name, such as '64 128 64 Animal'"
            )
        names.append(parts[3])
        palette.append(_color(path, f"line {number}", parts[:3]))
    return ClassSet(tuple(names), tuple(palette))


def _object_info(path: Path) -> ClassSet:
    """Read ADE20K's table `Idx Ratio Train Val Name`; if a class has several names, the first name is used.

    The mask value 0, which the table does not list, becomes the class "other".

    https://github.com/CSAILVision/sceneparsing, objectInfo150.txt
    """
    rows = [(number, line.split(maxsplit=4)) for number, line in numbered_lines(_text(path))][1:]
    wrong = next((number for number, row in rows if len(row) < 5), None)
    if wrong:
        raise DataError(f"line {wrong} has too few columns; expected Idx, Ratio, Train, Val and Name")
    names = _numbered({row[0]: row[4].split(",")[0].strip() for _, row in rows}, first=1)
    palette = ((0, 0, 0), *ADE20K.palette) if len(names) == len(ADE20K) else ()
    return ClassSet(("other", *names), palette)


def _data_yaml(path: Path) -> ClassSet | None:
    """Read `names` in Ultralytics' data.yaml, a list or a mapping of numbers to names; return None without `names`.

    https://docs.ultralytics.com/datasets/
    """
    entries = read_yaml(path)
    if not isinstance(entries, Mapping) or "names" not in entries:
        return None
    return ClassSet.from_dict({"names": entries["names"]})


def _class_dict(path: Path) -> ClassSet:
    """Read a CSV table of names and colors with the columns `name`, `r`, `g` and `b`; other columns are skipped.

    https://github.com/GeorgeSeif/Semantic-Segmentation-Suite
    """
    try:
        rows = _table(path)
    except csv.Error as error:
        raise DataError(
            f"cannot be read ({error}); expected a first line 'name,r,g,b', then one class per line"
        ) from error
    heading = [cell.lower() for cell in rows[0]] if rows else []
    if not {*heading} >= COLUMNS:
        raise DataError(f"begins with {', '.join(heading)[:60]!r}; expected 'name,r,g,b' and one class per line")
    names, palette = [], []
    for number, row in enumerate(rows[1:], start=2):
        cells = dict(zip(heading, row, strict=False))
        if not cells["name"] or len(row) < len(heading):
            raise DataError(f"row {number} is {', '.join(row)[:60]!r}; expected the columns {', '.join(heading)}")
        names.append(cells["name"])
        palette.append(_color(path, f"row {number}", [cells[channel] for channel in "rgb"]))
    return ClassSet(tuple(names), tuple(palette))


def _class_table(path: Path) -> ClassSet | None:
    """Read a classes.csv with the columns of a class_dict.csv; return None for other tables."""
    try:
        with path.open("rb") as file:
            start = file.read(512).decode("latin-1").replace("\0", "")  # any encoding shows the ASCII of the heading
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); expected the names of classes") from error
    heading = next((line for line in start.splitlines() if line.strip()), "")
    columns = {re.sub("[^a-z_]", "", cell) for cell in re.split("[,;\t]", heading.lower())}
    return _class_dict(path) if columns >= COLUMNS else None


def _hasty(path: Path) -> ClassSet | None:
    """Read Hasty's label_classes.json, a list of classes with `png_index` (the mask value), `class_name` and `color`.

    The value 0 is the background if no class has it. Return None if the file is not such a list.

    https://docs.cloudfactory.com/export-formats/semantic-segmentation-png-images
    """
    entries = _json(path)
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) and "png_index" in e for e in entries):
        return None
    if not all(isinstance(entry["png_index"], int) for entry in entries):
        raise DataError("has a 'png_index' that is not a whole number; export the masks again")
    by_number = {entry["png_index"]: entry for entry in entries}
    if 0 not in by_number:
        by_number[0] = {"class_name": "background", "color": "#000000"}
    names = _numbered({number: entry.get("class_name") for number, entry in by_number.items()})
    colors = [str(by_number[number].get("color")) for number in range(len(names))]
    palette = [tuple(bytes.fromhex(color[1:7])) for color in colors if _is_hex(color)]
    return ClassSet.from_dict({"names": names, "palette": palette if len(palette) == len(names) else ()})


def _is_hex(text: str) -> bool:
    return bool(re.fullmatch(r"#[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?", text))


def _vistas(path: Path) -> ClassSet | None:
    """Read Mapillary Vistas' labels as classes; return None if config.json is the file of another program.

    All labels become classes, evaluated or not, with one exception: if only the last label is not evaluated, it is left
    out, and its number is the ignore index.
    """
    try:
        labels = read_vistas_labels(path)
    except DataError:
        if path.name == "config.json":  # a common name of other files
            return None
        raise
    if labels is None:
        return None
    if all(label.evaluated for label in labels[:-1]) and not labels[-1].evaluated and len(labels) > 1:
        return replace(vistas_classes(labels), ignore_index=len(labels) - 1)
    return vistas_classes([replace(label, evaluated=True) for label in labels])


READERS: Mapping[str, Callable[[Path], ClassSet | None]] = {
    "labelmap.txt": _labelmap,
    "dataset_meta.json": _dataset_meta,
    "_classes.csv": _roboflow,
    "id2label.json": _id2label,
    "label_colors.txt": read_label_colors,
    "codes.txt": read_codes,
    "objectInfo150.txt": _object_info,
    "data.yaml": _data_yaml,
    "dataset.yaml": _data_yaml,
    "class_dict.csv": _class_dict,
    "label_class_dict.csv": _class_dict,
    "class_dict_seg.csv": _class_dict,
    "classes.csv": _class_table,
    "label_classes.json": _hasty,
    "config_v2.0.json": _vistas,
    "config_v1.2.json": _vistas,
    "config.json": _vistas,
    "class_names.txt": read_class_names,
    "obj.names": read_codes,
    "classes.txt": read_codes,
}
"""The readers of class files of other tools by file name; the first of these files that exists in a folder is used."""

UNCERTAIN = frozenset({"config.json", "class_names.txt", "obj.names", "classes.txt"})
"""Class files whose names are also used for other purposes."""


def _numbered(entries: Any, first: int = 0) -> list[Any]:
    """Return the names of a mapping {number: name}, in the order of the numbers.

    The numbers, which may be text, must be `first`, `first` + 1 and so on, without gaps.
    """
    by_number = _by_number(entries)
    if sorted(by_number) != list(range(first, first + len(entries))):
        raise DataError(f"must number the names from {first} without gaps, but got {sorted(by_number)[:20]}")
    return [by_number[number] for number in sorted(by_number)]


def names_by_value(entries: Any) -> list[Any]:
    """Return a list of class names, indexed by mask value, from a mapping {mask value: name}.

    The values may be text such as "3". Values that are not in the mapping get names such as class_3. The mapping of
    black-and-white masks, {0: ..., 255: ...}, is an exception: it becomes a list of its two names.

    Raises:
        DataError: a value is not a number, or is 255 (ignored pixels) or more in a mapping other than
            {0: ..., 255: ...}.
    """
    by_number = _by_number(entries)
    if sorted(by_number) == [0, IGNORE_INDEX]:
        return [by_number[0], by_number[IGNORE_INDEX]]
    if max(by_number, default=0) >= MAX_CLASSES:
        raise DataError(
            f"names the value {max(by_number)}, but class numbers are 0 to {MAX_CLASSES - 1}, and {IGNORE_INDEX} means "
            "ignored pixels; remove its entry, or renumber the masks"
        )
    return [by_number.get(number, f"class_{number}") for number in range(max(by_number, default=-1) + 1)]


def _by_number(entries: Any) -> dict[int, Any]:
    if not isinstance(entries, Mapping) or not all(_is_number(str(key)) for key in entries):
        raise DataError(f"must map numbers to names, such as 0: road, 1: car, but got {str(entries)[:80]!r}")
    return {int(key): name for key, name in entries.items()}


def _color(path: Path, place: str, levels: Sequence[str]) -> Color:
    values = [int(level) if _is_number(level) else -1 for level in levels]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise DataError(
            f"{path}: {place} has the color {' '.join(levels)!r}; expected red, green and blue from 0 to 255"
        )
    return values[0], values[1], values[2]


def _rgb(path: Path, place: str, color: object) -> Color:
    levels = color if isinstance(color, list) else [color]
    return _color(path, place, [str(level)[:20] for level in levels[:4]])


def _is_number(text: str) -> bool:
    return text.strip().isdecimal() and len(text) < 6


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path), object_pairs_hook=without_conflicts)
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); export it again") from error
    except RecursionError as error:
        raise DataError(f"{path}: is nested too deeply; expected the names of classes") from error


def _table(path: Path) -> list[list[str]]:
    """Read the rows of a CSV table that are not empty; cells are separated by commas, semicolons or tabs.

    Raises:
        csv.Error: the file is not CSV.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows if any(row)]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; expected the names of classes")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); expected the names of classes") from error
    return decode_text(content, path, "the names of classes")
