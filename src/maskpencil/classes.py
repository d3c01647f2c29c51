"""`ClassSet`: the names, colors and ignore index of the classes a mask can hold."""

import colorsys
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from maskpencil.errors import ConfigError, DataError
from maskpencil.files import written_whole
from maskpencil.parsing import is_several, read_whole, shown
from maskpencil.plain_text import is_utf8
from maskpencil.regular_files import decode_text, read_regular, reason_of

IGNORE_INDEX = 255
"""The value of ignored pixels, which count in no loss and no metric, in memory and in the files that this package
writes.

Example:
    >>> target = np.array([[0, 1, mp.IGNORE_INDEX]])
    >>> int((target != mp.IGNORE_INDEX).sum())
    2
"""

MAX_CLASSES = 255
"""The largest number of classes that an 8-bit label map can hold besides `IGNORE_INDEX`."""

MAX_NAME = 500
MAX_IGNORE_INDEX = 2**16

MAX_YAML_BYTES = 2**16
MAX_YAML_DEPTH = 16

Color = tuple[int, int, int]


@dataclass(frozen=True)
class ClassSet:
    """Ordered classes: class i is called `names[i]` and drawn in the color `palette[i]` (red, green, blue, 0-255).

    `ignore_index` is the value of ignored pixels in the mask files of these classes; in label maps, ignored
    pixels are always `IGNORE_INDEX` (255).

    Example:
        >>> classes = mp.ClassSet(("road", "car"), palette=((128, 64, 128), (0, 0, 142)))
        >>> len(classes), classes.index("car"), classes.palette[0]
        (2, 1, (128, 64, 128))

    Raises:
        DataError: there are no names or too many, a name repeats, the palette has the wrong form or length, or the
            ignore index is the index of a class.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _plain_names(self.names))
        object.__setattr__(self, "palette", _plain_palette(self.palette))
        try:
            object.__setattr__(self, "ignore_index", read_whole("ignore_index", self.ignore_index))
        except ConfigError as error:
            raise DataError(str(error)) from error
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise DataError(f"a class set must have 1 to {MAX_CLASSES} classes, but got {len(self.names)}")
        for name in self.names:
            if not 1 <= len(name) <= MAX_NAME or "\0" in name:
                raise DataError(
                    f"a class name must be a string of 1 to {MAX_NAME} characters without NUL, but got {shown(name)}"
                )
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise DataError(f"class names must differ, but {', '.join(map(repr, repeated))} occurs more than once")
        if broken := [name for name in self.names if not is_utf8(name)]:
            raise DataError(f"a class name must be valid Unicode, but {broken[0]!r} is not; rename the class")
        if not self.palette:
            object.__setattr__(self, "palette", distinct_colors(len(self.names)))
        if len(self.palette) != len(self.names):
            raise DataError(
                f"palette must have as many colors as there are classes ({len(self.names)}), "
                f"but got {len(self.palette)}"
            )
        if not -MAX_IGNORE_INDEX <= self.ignore_index <= MAX_IGNORE_INDEX:
            limit = MAX_IGNORE_INDEX
            raise DataError(f"ignore_index must be from {-limit} to {limit}, but got {shown(self.ignore_index)}")
        if 0 <= self.ignore_index < len(self.names):
            raise DataError(
                f"ignore_index must not be the index of a class, but {self.ignore_index} is the index of "
                f"{self.names[self.ignore_index]!r}"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def colors(self) -> npt.NDArray[np.uint8]:
        """The palette as a (K, 3) uint8 array."""
        return np.array(self.palette, dtype=np.uint8)

    def index(self, name: str) -> int:
        """Return the index of the class `name`.

        Raises:
            DataError: there is no such class.
        """
        if not isinstance(name, str):
            raise DataError(f"a class name must be a string, but got {shown(name)}")
        if name not in self.names:
            names = {known.casefold(): known for known in self.names}
            close = get_close_matches(name.casefold(), names, 1, cutoff=0.65)
            hint = f"; did you mean {names[close[0]]}?" if close else ""
            raise DataError(f"there is no class {name!r}; the classes are {', '.join(self.names)}{hint}")
        return self.names.index(name)

    def to_dict(self) -> dict[str, Any]:
        """Return the classes as plain lists and numbers, as in classes.yaml."""
        return {
            "names": list(self.names),
            "palette": [list(c) for c in self.palette],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "ClassSet":
        """Build a class set from the content of classes.yaml; `palette` and `ignore_index` may be missing.

        Raises:
            DataError: `names` is missing or an entry has the wrong form.
        """
        names = entries.get("names")
        if isinstance(names, Mapping):  # {0: road, 1: car}
            if any(isinstance(number, bool) for number in names) or {*names} != {*range(len(names))}:
                raise DataError(f"'names' must be numbered from 0 without gaps, but got {shown(list(names))}")
            names = [names[i] for i in range(len(names))]
        if not isinstance(names, list | tuple):
            raise DataError(f"'names' must be a list of class names, but got {shown(names)}")
        if not all(isinstance(name, str | int | float) and not isinstance(name, bool) for name in names):
            raise DataError(
                f"each of the 'names' must be a string or a number, but got {shown(names)}; put other names, such as "
                "null, in quotes"
            )
        palette = entries.get("palette") or ()
        if not isinstance(palette, list | tuple) or not all(isinstance(color, list | tuple) for color in palette):
            raise DataError(f"'palette' must be a list of [red, green, blue], but got {shown(palette)}")
        ignore_index = entries.get("ignore_index", IGNORE_INDEX)
        if not isinstance(ignore_index, int) or isinstance(ignore_index, bool):
            raise DataError(f"'ignore_index' must be a whole number, but got {shown(ignore_index)}")
        return cls(tuple(str(name) for name in names), tuple(tuple(color) for color in palette), ignore_index)


def read_classes(path: str | Path) -> ClassSet:
    """Read a classes.yaml file: `names`, and optionally `palette` and `ignore_index`.

    Raises:
        DataError: the file is missing, not YAML, or does not describe classes.
    """
    entries = read_yaml(path)
    if not isinstance(entries, Mapping):
        raise DataError(
            f"{path}: holds {type(entries).__name__}; expected 'names: [road, car]' and an optional palette"
        )
    try:
        return ClassSet.from_dict(entries)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file of plain values: lists, mappings, strings and numbers.

    Raises:
        DataError: the file cannot be read or is not YAML, or has content that could exhaust memory: anchors and
            aliases, tags, more than `MAX_YAML_BYTES` bytes, or more than `MAX_YAML_DEPTH` levels.
    """
    path = Path(path)
    try:
        loader = _PlainLoader(decode_text(read_regular(path, limit=MAX_YAML_BYTES), path, "a YAML file"))
        try:
            return loader.get_single_data()
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        finally:
            loader.dispose()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}); expected a YAML file") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # invalid dates and numbers raise the last two
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is not valid YAML ({reason}); correct the file") from error


def write_classes(path: str | Path, classes: ClassSet) -> None:
    """Write a classes.yaml file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_whole(path) as temporary:
        text = yaml.safe_dump(
            classes.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
        )
        temporary.write_text(text, encoding="utf-8")


def _plain_names(names: Any) -> tuple[str, ...]:
    """Return class names as a tuple of `str`, also if they are of a subclass of `str`, such as NumPy's.

    Raises:
        DataError: the names are not strings, or are one string instead of several.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DataError(f"names must be a list of class names, but got {shown(names)}")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"names must be a list of class names, but one is {shown(name)}")
    return tuple(str.__str__(name) for name in names)


def _plain_palette(palette: Any) -> tuple[Color, ...]:
    """Return colors, which may be the rows of an array, as tuples of `int`.

    Raises:
        DataError: a color is not three whole numbers from 0 to 255.
    """
    if not isinstance(palette, Iterable):
        raise DataError(f"palette must be a list of [red, green, blue], but got {shown(palette)}")
    plain = []
    for color in palette:
        try:
            values = [read_whole("a color", value) for value in color] if is_several(color) else []
        except ConfigError:
            values = []
        if len(values) != 3 or not all(0 <= value <= 255 for value in values):
            found = shown(list(color) if is_several(color) else color)
            raise DataError(f"a color must be three whole numbers from 0 to 255, but got {found}")
        plain.append((values[0], values[1], values[2]))
    return tuple(plain)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Return `count` colors that are easy to distinguish, the same at every call; the first color is black."""
    golden_angle = 0.381966  # as a share of the circle: hues never repeat
    colors: list[Color] = [(0, 0, 0)]
    for i in range(count - 1):
        saturation, value = ((0.85, 0.95), (0.55, 0.8), (0.95, 0.65), (0.4, 1.0))[i // 6 % 4]
        red, green, blue = colorsys.hsv_to_rgb((0.02 + i * golden_angle) % 1, saturation, value)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors[:count])


class _PlainLoader(yaml.SafeLoader):
    """A YAML loader that raises `DataError` as soon as it reads an anchor, an alias, a tag or deep nesting.

    Class names are read as they are written, so that `010` does not become 8. As in YAML 1.2, `yes`, `no`, `on` and
    `off` are text. Keys that occur twice, of which YAML loaders keep the last, are errors.
    """

    depth = 0

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise DataError(
                        f"line {key.start_mark.line + 1} has {shown(key.value)} for the second time; remove one of them"
                    )
                seen.add(key.value)
                if key.value == "names":
                    _keep_text(value)
        return node

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None):
            raise DataError(f"line {line} has an anchor or alias (& or *), which is not supported; write the value out")
        if getattr(event, "tag", None):
            raise DataError(f"line {line} has the tag {event.tag!r}, which is not supported; write a plain value")
        if self.depth == MAX_YAML_DEPTH:
            raise DataError(f"line {line} is nested more than {MAX_YAML_DEPTH} levels deep; expected a list of names")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_TRUTH = "tag:yaml.org,2002:bool"

_PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != _TRUTH]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(_TRUTH, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def _keep_text(names: yaml.Node) -> None:
    """Make the class names in a list or in the values of a mapping text, except for missing names."""
    nodes: list[yaml.Node] = []
    if isinstance(names, yaml.SequenceNode):
        nodes = names.value
    elif isinstance(names, yaml.MappingNode):
        nodes = [value for _, value in names.value]
    for node in nodes:
        if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
            node.tag = _TEXT
