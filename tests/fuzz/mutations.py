"""Seeded ways to damage files: bytes of any format, chunks of binary ones, the structure of JSON, YAML and XML."""

import copy
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import yaml

Random = np.random.Generator

BOUNDS = [0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 10**6, 2**24, 2**27, 2**30]
BOUNDS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
"""Numbers that length fields are set to."""


class Raw(str):
    """A text that is written to JSON unquoted and unescaped."""

    __slots__ = ()


def choose(random: Random, values: list[Any]) -> Any:
    return values[random.integers(len(values))]


# ---- bytes


def damaged_bytes(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """Damage the bytes of any file, a few times; `other` is a file to take pieces of."""
    for _ in range(choose(random, [1, 1, 1, 2, 4])):
        data = choose(random, _BYTES)(data, random, other) if data else data
    return data


def _flip(data: bytes, random: Random, _: bytes) -> bytes:
    values = bytearray(data)
    reach = len(values) if random.random() < 0.6 else min(96, len(values))
    for place in random.integers(reach, size=random.integers(1, 12)):
        values[place] ^= 1 << random.integers(8)
    return bytes(values)


def _overwrite(data: bytes, random: Random, _: bytes) -> bytes:
    start = int(random.integers(len(data)))
    length = int(min(len(data) - start, random.integers(1, 33)))
    fill = choose(random, [bytes(length), b"\xff" * length, random.bytes(length)])
    return data[:start] + fill + data[start + length :]


def _truncate(data: bytes, random: Random, _: bytes) -> bytes:
    return data[: random.integers(len(data))]


def _cut_out(data: bytes, random: Random, _: bytes) -> bytes:
    start, end = sorted(random.integers(len(data) + 1, size=2))
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random, _: bytes) -> bytes:
    start, end = sorted(random.integers(len(data) + 1, size=2))
    return data[:end] + data[start:end] * int(choose(random, [1, 1, 2, 9])) + data[end:]


def _insert(data: bytes, random: Random, _: bytes) -> bytes:
    place = int(random.integers(len(data) + 1))
    return data[:place] + random.bytes(int(random.integers(1, 40))) + data[place:]


def _splice(data: bytes, random: Random, other: bytes) -> bytes:
    here, there = int(random.integers(len(data))), int(random.integers(len(other) + 1))
    return data[:here] + other[there:] if random.random() < 0.5 else other[: min(there, 200)] + data[here:]


def _set_number(data: bytes, random: Random, _: bytes) -> bytes:
    """Set any 1, 2, 4 or 8 bytes to a number on a border, or near the one that is there."""
    width = choose(random, [1, 2, 2, 4, 4, 4, 8])
    if len(data) < width:
        return data
    reach = len(data) - width + 1
    place = int(random.integers(reach if random.random() < 0.5 else min(reach, 256)))
    order = choose(random, ["little", "big"])
    found = int.from_bytes(data[place : place + width], order)
    number = choose(random, [*BOUNDS, len(data), found + 1, found - 1, found * 2, found * 1000, -found])
    return data[:place] + (number % 256**width).to_bytes(width, order) + data[place + width :]


def _set_length(data: bytes, random: Random, other: bytes) -> bytes:
    """Change the length that stands before or after a four letter name, as in PNG, MP4, WebP and AVI."""
    names = [match.start() for match in re.finditer(rb"[A-Za-z][A-Za-z0-9 _]{3}", data)]
    places = [place for place in (choose(random, [name - 4, name + 4]) for name in names) if 0 <= place < len(data) - 4]
    if not places:
        return _set_number(data, random, other)
    place, order = choose(random, places), choose(random, ["little", "big"])
    found = int.from_bytes(data[place : place + 4], order)
    number = choose(random, [*BOUNDS, len(data), found + 1, found - 1, found * 2, found + 8])
    return data[:place] + (number % 2**32).to_bytes(4, order) + data[place + 4 :]


_BYTES = [_flip, _flip, _overwrite, _truncate, _cut_out, _repeat, _insert, _splice]
_BYTES += [_set_number, _set_number, _set_number, _set_length, _set_length]


# ---- chunks


def damaged_png(data: bytes, random: Random) -> bytes:
    """Damage the chunks of a PNG and make their checksums right again."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = int(random.integers(len(chunks)))
    name, content = chunks[number]
    kind = random.integers(6)
    if kind == 0:
        chunks.insert(number, chunks[number])
    elif kind == 1:
        del chunks[number]
    elif kind == 2:
        chunks.insert(int(random.integers(len(chunks))), chunks.pop(number))
    elif kind == 3:
        new = choose(random, [b"iCCP", b"tRNS", b"PLTE", b"eXIf", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT", b"gAMA"])
        chunks.insert(int(random.integers(1, len(chunks))), (new, random.bytes(int(random.integers(40)))))
    elif name == b"IDAT" and kind == 4:
        rows = zlib.decompressobj().decompress(content)
        chunks[number] = name, zlib.compress(damaged_bytes(rows, random) * int(choose(random, [1, 1, 100])))
    else:
        chunks[number] = name, damaged_bytes(content, random)
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def damaged_tiff(data: bytes, random: Random) -> bytes:
    """Change entries of a classic TIFF's directories: tag, type, count, value or the place of the next directory."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] not in (b"*\0", b"\0*"):
        return damaged_bytes(data, random)
    values, directories = bytearray(data), []
    place = struct.unpack_from(f"{order}I", data, 4)[0]
    while 0 < place < len(data) - 6 and place not in directories:
        directories.append(place)
        count = struct.unpack_from(f"{order}H", data, place)[0]
        after = place + 2 + 12 * count
        place = struct.unpack_from(f"{order}I", data, after)[0] if after + 4 <= len(data) else 0
    for _ in range(choose(random, [1, 1, 2, 3])):
        start = choose(random, directories)
        count = struct.unpack_from(f"{order}H", data, start)[0]
        entry = start + 2 + 12 * int(random.integers(count))
        kind = random.integers(6)
        if kind == 0:
            struct.pack_into(
                f"{order}H", values, entry, choose(random, [256, 257, 258, 259, 262, 277, 284, 317, 320, 338])
            )
        elif kind == 1:
            struct.pack_into(f"{order}H", values, entry + 2, int(random.integers(20)))
        elif kind == 2:
            struct.pack_into(f"{order}I", values, entry + 4, choose(random, BOUNDS) % 2**32)
        elif kind == 3:
            struct.pack_into(f"{order}I", values, start + 2 + 12 * count, choose(random, [*directories, 8, len(data)]))
        elif kind == 4:
            struct.pack_into(f"{order}H", values, entry + 8, int(random.integers(65536)))
        else:
            struct.pack_into(f"{order}I", values, entry + 8, choose(random, [*BOUNDS, *range(9), len(data)]) % 2**32)
    return bytes(values)


# ---- text


HOSTILE_TEXTS = [
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "a/../b",
    "\0",
    "a\nb",
    "\x1b[2J\x1b]0;x\x07",
    "\u202eabc",
    "\ud800",
]
HOSTILE_TEXTS += [
    "x" * 300,
    "x" * 100_000,
    "é" * 130,
    "😀",
    "nan",
    "-1",
    "1e999",
    "True",
    "null",
    "con",
    "C:\\x",
    "a" * 255 + "/b",
]
HOSTILE_TEXTS += [
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.png",
    "%s%n",
    "{0}",
    "[red]x[/]",
    "[/",
    "ı",
    "ß",
    "a\r",
    "#",
    "~",
    "*",
]

HOSTILE_NUMBERS = [
    0,
    -1,
    1,
    2,
    3,
    255,
    256,
    65536,
    10**6,
    10**7,
    2**31,
    2**63,
    2**64,
    10**30,
    -(10**9),
    0.5,
    1e-320,
    1e300,
    -0.0,
]

_HUGE = [Raw("9" * 5000), Raw("[" * 100_000 + "]" * 100_000), Raw('{"a":' * 20_000 + "1" + "}" * 20_000)]
_ODD = [
    Raw("NaN"),
    Raw("Infinity"),
    Raw("-Infinity"),
    Raw("1e999"),
    Raw("-"),
    Raw(""),
    Raw('"\\ud800"'),
    Raw('"\\u0000"'),
]
YAML_VALUES = [
    Raw(text)
    for text in ("!!python/name:os.system", "!!binary aGk=", "&a [*a]", "*b", ".nan", ".inf", "0x7fffffffffff")
]
YAML_VALUES += [
    Raw(text) for text in ("2024-01-01", "yes", "~", "!!set {a, b}", "{[1]: 2}", "1_000", "0o17", "1:30", "!!float x")
]


def hostile_value(random: Random, more: tuple[Any, ...] = ()) -> Any:
    """Return a value that is seldom valid."""
    kind = random.integers(9 + bool(more))
    if kind < 2:
        return choose(random, [None, True, False, [], {}, [[]], [None], {"a": 1}, [1, "a", None], ""])
    if kind < 4:
        return choose(random, HOSTILE_TEXTS)
    if kind < 6:
        return choose(random, HOSTILE_NUMBERS)
    if kind == 6:
        return choose(random, _HUGE)
    if kind == 7:
        return choose(random, _ODD)
    return (
        [choose(random, HOSTILE_NUMBERS)] * int(choose(random, [1, 2, 3, 6, 1000]))
        if kind == 8
        else choose(random, list(more))
    )


def json_text(value: Any) -> str:
    """Write JSON with `Raw` texts unquoted and unescaped."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_text(key)}: {json_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return json.dumps(value)


def damaged_json(text: str, random: Random) -> bytes:
    """Damage the structure of a JSON text a few times."""
    return _encoded(json_text(_changed(json.loads(text), random, ())), random)


def damaged_yaml(text: str, random: Random) -> bytes:
    """Damage the structure of a YAML text, whose keys stand a line each, a few times."""
    content = _changed(yaml.safe_load(text), random, tuple(YAML_VALUES))
    if not isinstance(content, dict):
        return _encoded(json_text(content), random)
    return _encoded("".join(f"{key}: {json_text(value)}\n" for key, value in content.items()), random)


def _changed(content: Any, random: Random, more: tuple[Any, ...]) -> Any:
    holder = [content]
    for _ in range(choose(random, [1, 1, 1, 2, 3])):
        _change(holder, random, more)
    return holder[0]


def _encoded(text: str, random: Random) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    kind = random.integers(30)
    if kind == 0:
        return b"\xef\xbb\xbf" + data
    if kind == 1:
        return data.decode("utf-8", "replace").encode("utf-16")
    return data + data if kind == 2 else data


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """All (container, key) of a tree."""
    for key, value in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _change(holder: list[Any], random: Random, more: tuple[Any, ...]) -> None:
    places = list(_places(holder))
    # every depth of the tree gets its share: numbers at the bottom are many
    by_kind = [place for place in places if isinstance(place[0], dict)] or places
    node, key = choose(random, by_kind if random.random() < 0.7 else places)
    value, kind = node[key], random.integers(10)
    if kind < 4:
        node[key] = hostile_value(random, more)
    elif kind == 4 and node is not holder:
        del node[key]
    elif kind == 5 and isinstance(node, dict):
        again = {f"{name}": inner for name, inner in node.items()}
        text = json_text(again)[:-1] + f", {json_text(key)}: {json_text(hostile_value(random, more))}}}"
        node.clear()
        node.update({Raw(text[1:-1].partition(":")[0]): Raw(text[1:-1].partition(":")[2])})
    elif kind == 6 and isinstance(node, dict):
        node[choose(random, [*HOSTILE_TEXTS, *(str(other) for _, other in places)])] = node.pop(key)
    elif kind == 7:
        other, name = choose(random, places)
        node[key] = copy.deepcopy(other[name])
    elif kind == 8 and isinstance(value, list):
        node[key] = value * int(choose(random, [0, 2, 3, 300]))
    elif isinstance(value, bool | int | float):
        node[key] = choose(random, [-value, value + 1, value * 1000, float(value), str(value), value - 0.5, [value]])
    elif isinstance(value, str):
        extra = choose(random, HOSTILE_TEXTS)
        node[key] = choose(random, [value + extra, extra + value, value.upper(), value[:-1], value[::-1]])
    else:
        node[key] = choose(random, [[value], {"x": value}, Raw("[" * 600 + json_text(value) + "]" * 600)])


def damaged_xml(text: str, random: Random) -> bytes:
    """Damage the structure of an XML text a few times."""
    if random.random() < 0.06:
        entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
        kind = choose(
            random,
            [f'<!DOCTYPE x [<!ENTITY a0 "x">{entities}]>', '<!DOCTYPE x [<!ENTITY a8 SYSTEM "file:///etc/passwd">]>'],
        )
        body = re.sub(r"^<\?xml.*?\?>", "", text)
        return (kind + body.replace('name="', 'name="&a8;', 3)).encode()
    root = ET.fromstring(text)
    for _ in range(choose(random, [1, 1, 1, 2, 4])):
        parents = [element for element in root.iter() if len(element)]
        parent, kind = choose(random, parents), random.integers(10)
        number = int(random.integers(len(parent)))
        child = parent[number]
        if kind < 6:
            element = choose(random, [element for element in root.iter() if element.attrib] or [root])
            name = choose(random, list(element.attrib) or ["x"])
            number = choose(
                random, [*HOSTILE_NUMBERS, "1,2,3", "?", "-1,-1", "..", "f64", "u1", "Parameter", "Const", "Result"]
            )
            element.set(
                name,
                choose(random, [str(number), str(choose(random, HOSTILE_TEXTS[:8] + HOSTILE_TEXTS[12:])), str(number)]),
            )
        elif kind == 6:
            parent.remove(child)
        elif kind == 7:
            parent.insert(number, copy.deepcopy(child))
        elif kind == 8:
            choose(random, parents).append(copy.deepcopy(child))
        else:
            child.text = choose(random, [*map(str, HOSTILE_NUMBERS), "x" * 1000])
    data = ET.tostring(root, encoding="unicode")
    data = "".join(letter for letter in data if letter >= " " or letter in "\n\t").encode("utf-8", "surrogatepass")
    return b"<a>" * 50_000 + data if random.random() < 0.02 else data


def damaged_lines(text: str, random: Random) -> bytes:
    """Damage a text of lines and words a few times."""
    lines = text.splitlines() or [""]
    for _ in range(choose(random, [1, 1, 2, 3])):
        number, kind = int(random.integers(len(lines))), random.integers(8)
        words = re.split(r"([ ,:\t;]+)", lines[number])
        place = int(random.integers(len(words)))
        if kind < 4:
            words[place] = str(choose(random, [*HOSTILE_TEXTS, *HOSTILE_NUMBERS, "9" * 5000, "NaN", "inf", "١٢"]))
            lines[number] = "".join(words)
        elif kind == 4:
            lines = lines[:number] + lines[number + 1 :] or [""]
        elif kind == 5:
            lines.insert(int(random.integers(len(lines) + 1)), lines[number])
        elif kind == 6:
            lines = lines * int(choose(random, [2, 50, 400]))
        else:
            lines[number] = lines[number] + choose(random, [" 1", ",", " 0.5 0.5", "\t", ":", '"', " \x00"])
    ending = choose(random, ["\n", "\n", "\n", "\r\n", "\r"])
    data = ending.join(lines).encode("utf-8", "surrogatepass") + ending.encode()
    kind = random.integers(20)
    if kind == 0:
        return data.decode("utf-8", "replace").encode("utf-16")
    return b"\xef\xbb\xbf" + data if kind == 1 else data


def damaged(name: str, data: bytes, random: Random, other: bytes = b"") -> bytes:
    """Damage a file of that name as suits its format, or as bytes."""
    suffix = name.rpartition(".")[2].lower()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    structured: dict[str, Callable[[], bytes]] = {
        "json": lambda: damaged_json(text, random),
        "yaml": lambda: damaged_yaml(text, random),
        "xml": lambda: damaged_xml(text, random),
        "txt": lambda: damaged_lines(text, random),
        "csv": lambda: damaged_lines(text, random),
        "png": lambda: damaged_png(data, random),
        "tif": lambda: damaged_tiff(data, random),
    }
    share = 0.5 if suffix in ("png", "tif") else 0.85
    if suffix in structured and random.random() < share:
        # what was damaged before may have no structure left
        with suppress(ValueError, RecursionError, struct.error, zlib.error, yaml.YAMLError, ET.ParseError):
            return structured[suffix]()
    return damaged_bytes(data, random, other)
