import codecs
import json
import subprocess
import sys

import pytest

from maskpencil.plain_text import csv_cell, is_utf8, json_text, markdown, visible

HOSTILE = {
    "a terminal's title": ("\x1b]0;owned\x07x", r"\x1b]0;owned\x07x"),
    "a color": ("\x1b[31mred", r"\x1b[31mred"),
    "a line of its own": ("a.png\nerror: all is lost", r"a.png\nerror: all is lost"),
    "the line written over": ("a.png\rfit for training", r"a.png\rfit for training"),
    "a line to Unicode": ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
    "another direction": ("a\u202egnp.exe\u2066b", r"a\u202egnp.exe\u2066b"),
    "C1": ("\x9b5m\x9d0;t\x9c", r"\x9b5m\x9d0;t\x9c"),
    "backspaces": ("safe\x08\x08\x7f\x00", r"safe\x08\x08\x7f\x00"),
    "bytes": ("\udcff\udc9b.png", r"\xff\x9b.png"),
    "half a pair": ("\ud83dx", r"\ud83dx"),
    "nothing to see": ("a\ufeff\u200b\u00adb", r"a\ufeff\u200b\xadb"),
    "form feeds": ("\x0b\x0c\x1c\x1e", r"\x0b\x0c\x1c\x1e"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_characters_with_an_effect_on_a_terminal_become_escapes(kind):
    text, shown = HOSTILE[kind]
    assert visible(text) == shown
    assert visible(shown) == shown, "what is shown already stays"


@pytest.mark.parametrize(
    "name",
    ["äöü ß", "道路", "حافلة", "می‌خواهم", "🚗👩‍🚀", "e\u0301", "a\u3000b\u00a0c", "[red]x[/red]", ":car:", r"C:\new"],
)
def test_ordinary_names_are_shown_as_they_are(name):
    assert visible(name) == name


def test_no_control_character_of_unicode_is_left():
    shown = visible("".join(map(chr, range(0x11000))))
    assert len(shown.splitlines()) == 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(name):
    assert csv_cell(name) == f"'{name}"


def test_ordinary_cells_are_unchanged_and_hidden_formulas_are_escaped():
    assert csv_cell("masks/a=b.png") == "masks/a=b.png"
    assert csv_cell("\t=1+1") == r"\t=1+1"
    csv_cell("\udcff").encode("utf-8")


def test_names_in_markdown_are_neither_markup_nor_html():
    assert markdown("<script>x</script>") == "&lt;script&gt;x&lt;/script&gt;"
    assert markdown("[a](javascript:b)") == r"\[a\](javascript:b)"
    assert markdown("![a](https://b)") == r"!\[a\](https\://b)"
    assert markdown("a\n# b") == r"a\\n# b"
    assert markdown("# head") == r"\# head"
    assert markdown("`x` *y* _z_ |") == r"\`x\` \*y\* \_z\_ \|"
    assert markdown("traffic_light 道路, FCN-8s") == "traffic_light 道路, FCN-8s"


def test_json_with_any_names_is_read_by_strict_parsers():
    names = {"bad\udcff\udc80.png": ["\ud83d", "道路", "🚗", "\\udcff", "a\nb"]}
    text = json_text(names)
    assert text.isascii()
    assert json.loads(text) == {r"bad\xff\x80.png": [r"\ud83d", "道路", "🚗", "\\udcff", "a\nb"]}
    json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    assert json_text({"🚗": 1.5}, indent=2) == json.dumps({"🚗": 1.5}, indent=2)


def test_names_that_are_not_utf8_are_recognized():
    assert is_utf8("道路 🚗 \x1b")
    assert not is_utf8(codecs.decode(b"\xff.png", "utf-8", "surrogateescape"))


def test_it_needs_no_other_package():
    script = "import sys, maskpencil.terminal; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "rich", "yaml", "cyclopts"} & set(done.stdout.split())
