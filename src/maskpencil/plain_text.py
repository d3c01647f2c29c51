"""Make texts from users, files and models safe to show on a terminal and to write as CSV, Markdown or JSON."""

import html
import json
import re
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Invisible characters that are kept, since Persian words and emoji contain such characters."""

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Categories of characters that move the cursor, break or reorder a line, cannot be encoded or are invisible."""

_MARKUP = re.compile(r"[\\`*\[\]|~$]|\b_|_\b|(?<=\bwww)\.|:(?=//)|^[#+-]")
"""The characters with a meaning in Markdown: for emphasis, code, links, tables and formulas, and, at the start of a
line, headings and lists."""

_ALTERNATIVES = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")

_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return the text as one line of visible characters that have no effect on a terminal.

    Control characters, line breaks, direction marks and other invisible characters become escapes such as `\n`,
    `\x1b` or `\u202e`; bytes of a file name that are not UTF-8 become `\xff`. Everything else stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def counted(number: int, noun: str) -> str:
    """Return a number and a noun, which is in the plural unless the number is 1: "1 mask", "2 masks", "2 classes"."""
    plural = noun + ("es" if noun.endswith(("s", "x")) else "s")
    return f"{number} {noun if number == 1 else plural}"


def worded(text: str, number: int) -> str:
    """Write a number into a text: `{n}` becomes the number, `{mask|masks}` becomes "mask" for 1, else "masks"."""
    chosen = _ALTERNATIVES.sub(lambda match: match[1 if number == 1 else 2], text)
    return chosen.replace("{n}", str(number))


def csv_cell(text: str) -> str:
    """Return the text for a cell of a CSV file: valid UTF-8 that no spreadsheet reads as a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def markdown(text: str) -> str:
    """Return the text with Markdown and HTML escaped, for a line of Markdown."""
    return _MARKUP.sub(r"\\\g<0>", html.escape(visible(text), quote=False))


def json_text(value: Any, *, indent: int | None = None) -> str:
    r"""Return the value as ASCII JSON that every parser reads.

    In file names each byte that is not UTF-8 is written as the text `\x` and its two hexadecimal digits.
    """
    text = json.dumps(value, indent=indent)
    if "\\ud" in text:  # half of a surrogate pair, which strict parsers refuse, or an ordinary pair
        plain = _SURROGATE.sub(lambda found: json.dumps(_seen(found[0]))[1:-1], json.dumps(value, ensure_ascii=False))
        text = json.dumps(json.loads(plain), indent=indent)
    return text


def is_utf8(text: str) -> bool:
    """Return whether a text, such as a file's name, can be encoded as UTF-8."""
    return not _SURROGATE.search(text)


def _seen(letter: str) -> str:
    if letter in _JOINERS or unicodedata.category(letter) not in _HIDDEN:
        return letter
    if "\udc80" <= letter <= "\udcff":  # Python's form of a byte that is not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
