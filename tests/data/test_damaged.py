"""Damaged data folders of every form: an error, a warning or the same label maps; never a crash or a silent change.

`MASKPENCIL_DAMAGED=2000` tries as many cases in all. What can't be noticed is never done to a folder: another valid
coordinate or class, an entry less in a list, a list of files cut between two lines.
"""

import json
import math
import os
import re
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from tests.forms import FORMS

from maskpencil.data.folder import DataFolder, open_folder
from maskpencil.errors import MaskPencilError

CASES = max(1, math.ceil(int(os.environ.get("MASKPENCIL_DAMAGED", "104")) / len(FORMS)))
"""Of each form."""

MOST_SECONDS = 10

Random = np.random.Generator
LabelMap = npt.NDArray[np.uint8]

RASTERS = (".png", ".jpg", ".tif")
TREES = (".json", ".ndjson", ".xml", ".yaml")

OF_PARTS = ("a mask per class", "a mask per object", "Label Studio's brush")
"""Forms with several masks of an image, of which one may be missing: that it is gone cannot be seen."""

WITHOUT_SIZES = ("VIA", "VIA's table", "written as yolo")
"""Forms that do not state the size of an image: that another one is in its place cannot be seen."""


class UnseenError(Exception):
    """A damage does not apply to a file, or could not be noticed."""


def choose(random: Random, values: Any) -> Any:
    values = list(values)
    if not values:
        raise UnseenError
    return values[random.integers(len(values))]


# ---- damages: each changes a file and says how


def cut(path: Path, root: Path, random: Random) -> str:
    if path.suffix in (".txt", ".csv", ".ndjson"):
        raise UnseenError  # what is left of lines may be valid
    data = path.read_bytes()
    length = int(random.integers(1, len(data)))
    path.write_bytes(data[:length])
    return f"cut after {length} of {len(data)} bytes"


def empty(path: Path, root: Path, random: Random) -> str:
    if path.suffix == ".txt" and path.parent.parent.name == "labels":
        raise UnseenError  # of an image without objects
    path.write_bytes(b"")
    return "emptied"


def blank(path: Path, root: Path, random: Random) -> str:
    """Overwrite the end with zeros, as after a crash of the system."""
    if path.suffix in (".txt", ".csv") and path.parent.parent.name == "labels":
        raise UnseenError
    data = path.read_bytes()
    length = int(random.integers(len(data) // 4, len(data)))
    path.write_bytes(data[:length] + bytes(len(data) - length))
    return f"zeros after {length} of {len(data)} bytes"


def replace(path: Path, root: Path, random: Random) -> str:
    """Put the content of another file of another kind, or of an image of another size, in its place."""
    others = [other for other in sorted(root.rglob("*")) if other.is_file() and other.suffix != path.suffix]
    if path.suffix in RASTERS:
        size = sizes_of(path)
        others = [other for other in others if other.suffix not in RASTERS]
        others += [
            other for other in sorted(root.rglob(f"*{path.suffix}")) if other.is_file() and sizes_of(other) != size
        ]
    other = choose(random, others)
    shutil.copyfile(other, path)
    return f"replaced by {other.relative_to(root)}"


def sizes_of(path: Path) -> str:
    """Every file of an image has its size in its content; the images of a form have a size each."""
    from PIL import Image

    with Image.open(path) as image:
        return str(image.size)


def swap(path: Path, root: Path, random: Random) -> str:
    """Exchange two images or masks of another size."""
    if path.suffix not in RASTERS:
        raise UnseenError
    others = [other for other in sorted(path.parent.glob(f"*{path.suffix}")) if sizes_of(other) != sizes_of(path)]
    other = choose(random, others)
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)
    return f"swapped with {other.name}"


def _renamed(path: Path, name: str) -> str:
    if path.with_name(name).exists():
        raise UnseenError
    path.rename(path.with_name(name))
    return f"renamed to {name}"


def rename(path: Path, root: Path, random: Random) -> str:
    name = choose(random, [f"renamed{path.suffix}", f"{path.stem}_copy{path.suffix}", f"{path.stem} (1){path.suffix}"])
    return _renamed(path, name)


def lose_suffix(path: Path, root: Path, random: Random) -> str:
    name = choose(random, [path.stem, f"{path.name}.bak", f"{path.stem}.tmp", f".{path.name}"])
    return _renamed(path, name)


def change_case(path: Path, root: Path, random: Random) -> str:
    name = choose(random, [path.name.upper(), path.stem.upper() + path.suffix, path.stem + path.suffix.upper()])
    return _renamed(path, name)


def delete(path: Path, root: Path, random: Random) -> str:
    path.unlink()
    return "deleted"


def as_folder(path: Path, root: Path, random: Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder in its place"


WRONG = (None, [], {}, [[]], [None], {"a": 1}, -1, -(10**9), 10**30, 1e300, math.nan, math.inf)

FREE = (
    r"/(info|licenses|_via_settings|_via_attributes|_via_image_id_list|_via_data_format_version|file_attributes)(/|$)"
)


def damage_tree(path: Path, root: Path, random: Random) -> str:
    """Change one entry of a JSON, YAML or XML file: gone, of another type, negative, huge or not a number."""
    if path.suffix == ".xml":
        return _damage_xml(path, random)
    text = path.read_text()
    lines = text.splitlines() if path.suffix == ".ndjson" else [text]
    number = int(random.integers(len(lines)))
    content = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(lines[number])
    node, key, place = choose(random, _places(content))
    old = node[key]
    if isinstance(node, dict) and random.random() < 0.3:
        del node[key]
        told = f"{place} gone"
    else:
        node[key] = choose(random, [value for value in WRONG if value != old])
        told = f"{place} is {node[key]!r} instead of {json.dumps(old)[:60]}"
    lines[number] = yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content)
    path.write_text("\n".join(lines))
    return told


def _places(node: Any, above: str = "") -> Iterator[tuple[Any, Any, str]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key, f"{above}/{key}"
        if isinstance(value, dict | list):
            yield from _places(value, f"{above}/{key}")


def _damage_xml(path: Path, random: Random) -> str:
    tree = ET.parse(path)
    element = choose(random, [element for element in tree.iter() if element.attrib])
    name = choose(random, element.attrib)
    old = element.attrib.pop(name)
    told = f"<{element.tag}> {name}={old[:60]!r} gone"
    if random.random() < 0.7:
        element.set(name, choose(random, ["", "?", "-1", "-1000000", "1e30", "nan", "9" * 40, "1,2;3"]))
        told = f"<{element.tag}> {name}={element.get(name)!r} instead of {old[:60]!r}"
    tree.write(path)
    return told


def damage_line(path: Path, root: Path, random: Random) -> str:
    """Change one word of a text file."""
    text = path.read_text()
    words = list(re.finditer(r"[^\s,]+", text))
    word = choose(random, words)
    new = choose(random, ["", "?", "-1", "-1000000", "1e30", "nan", "9" * 40, "\0"])
    path.write_text(text[: word.start()] + new + text[word.end() :])
    return f"{new!r} instead of {word[0]!r} in line {text.count(chr(10), 0, word.start()) + 1}"


TOLD = re.compile(r"left out|background|each (class|mask)|read as .*:")
"""Notes that name a change, other than those on splits and on where the names of classes are from."""

Damage = Callable[[Path, Path, Random], str]
ANY: tuple[Damage, ...] = (cut, empty, blank, replace, rename, lose_suffix, change_case, delete, as_folder)
OF_RASTERS: tuple[Damage, ...] = (*ANY, cut, swap)
OF_TREES: tuple[Damage, ...] = (*ANY, *[damage_tree] * 12)
OF_LINES: tuple[Damage, ...] = (*ANY, *[damage_line] * 5)


def damage(form: str, root: Path, random: Random) -> str:
    """Damage one file of a folder; returns what was done."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix not in RASTERS]
    while True:
        path = choose(random, texts if texts and random.random() < 0.6 else files)
        kinds = OF_RASTERS if path.suffix in RASTERS else OF_TREES if path.suffix in TREES else OF_LINES
        kind = choose(random, kinds)
        if kind in (delete, lose_suffix, as_folder) and form in OF_PARTS and _is_mask(path):
            continue
        if kind in (replace, swap) and form in WITHOUT_SIZES and path.suffix in RASTERS:
            continue
        try:
            told = kind(path, root, random)
        except UnseenError:
            continue
        return f"{path.relative_to(root)}: {told}"


def _is_mask(path: Path) -> bool:
    return path.parent.name == "masks" or path.name.startswith("task-")


# ---- what is seen of it


@dataclass(frozen=True)
class Read:
    """What was read of a folder: (name, pixels of the image, label map) of each pair, classes and lines."""

    pairs: tuple[tuple[str, bytes, LabelMap], ...]
    classes: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a damaged folder; `fault` is what is wrong with that, or ""."""

    kind: str
    line: str
    fault: str = ""


def read(root: Path) -> Read:
    lines: list[str] = []
    data: DataFolder = open_folder(root)
    data.check_images(tell=lines.append)
    read_pairs = []
    for pairs in data.splits.values():
        for pair in pairs:
            image, label_map = data.read_pair(pair)
            read_pairs.append((pair.name, image.tobytes(), label_map))
    return Read(tuple(read_pairs), data.classes.names, (*data.notes, *lines))


def outcome(whole: Read, root: Path, told: str) -> Outcome:
    start = time.perf_counter()
    try:
        found = read(root)
    except MaskPencilError as error:
        line = str(error)
        fault = "" if "\n" not in line and re.search(r"[\w)]+(\.\w+|/)", line) else "the error names no file"
        return Outcome("error", line, fault or _slow(start))
    except Exception as error:
        return Outcome("crash", "", f"{type(error).__name__}: {error}")
    new = [line for line in found.lines if line not in whole.lines]
    said = [line for line in new if line.startswith("warning: ") or TOLD.search(line)]
    changed, what = _change(whole, found)
    file = Path(told.partition(":")[0])
    renamed = re.findall(r": renamed to (.*)", told)
    names = [file.name, file.stem, *renamed, *(Path(name).stem for name in renamed)]
    names += [part for name in renamed if (part := Path(name).stem.partition("_")[2])]  # a class in a file's name
    names += [*(Path(name).name for name in changed), "background", "read as"]
    named = any(name.lower() in line.lower() for line in said for name in names)
    fault = what if what and not named else ""
    return Outcome("warning" if said else "unchanged", " | ".join(said), fault or _slow(start))


def _slow(start: float) -> str:
    seconds = time.perf_counter() - start
    return f"took {seconds:.0f} s" if seconds > MOST_SECONDS else ""


def _change(whole: Read, found: Read) -> tuple[list[str], str]:
    """Return the images whose label maps differ from the original ones, but for the order of the classes, and how."""
    by_pixels = {pixels: label_map for _, pixels, label_map in whole.pairs}
    by_name = {name: label_map for name, _, label_map in whole.pairs}
    couples: Counter[tuple[int, int]] = Counter()
    own: dict[str, set[tuple[int, int]]] = {}
    for name, pixels, label_map in found.pairs:
        expected = by_pixels.get(pixels, by_name.get(name))
        if expected is None or expected.shape != label_map.shape:
            return [name], f"{name} is another image"
        own[name] = set(zip(expected.ravel().tolist(), label_map.ravel().tolist(), strict=True))
        couples.update(own[name])
    # most images are whole, so that the most frequent couple of a class is its right one
    right = {true: max((n, got) for (other, got), n in couples.items() if other == true)[1] for true, _ in couples}
    changed = [name for name, pairs in own.items() if any(right[true] != got for true, got in pairs)]
    if changed or len({*right.values()}) < len(right):
        return changed, f"label maps of {changed} differ silently: {sorted(couples)}"
    if set(whole.classes) == set(found.classes):
        moved = [(a, b) for a, b in right.items() if a < 255 and (b == 255 or whole.classes[a] != found.classes[b])]
        if moved:
            return [*own], f"classes are exchanged silently: {moved}"
    gone = [name for name, pixels, _ in whole.pairs if pixels not in {pixels for _, pixels, _ in found.pairs}]
    more = len(whole.pairs) > len(found.pairs)
    return (gone, f"{gone} are gone silently") if more else ([], "")


def tried(form: str, number: int, whole: Path, expected: Read, place: Path) -> tuple[str, Outcome]:
    """Damage a copy of a folder and open it."""
    random = np.random.default_rng([zlib.crc32(form.encode()), number])
    shutil.copytree(whole, place)
    told = damage(form, place, random)
    return told, outcome(expected, place, told)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_damage_is_refused_or_named(form: str, tmp_path: Path) -> None:
    FORMS[form](tmp_path / "whole")
    expected = read(tmp_path / "whole")
    assert len(expected.pairs) >= 5
    faults = []
    for number in range(CASES):
        place = tmp_path / f"{number}"
        told, found = tried(form, number, tmp_path / "whole", expected, place)
        if found.fault:
            faults.append(f"{number}: {told} -> {found.fault}")
        shutil.rmtree(place)
    assert faults == []
