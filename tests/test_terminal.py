import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import maskpencil
from maskpencil.progress import ProgressBar
from maskpencil.terminal import say, show

EVIL = "\x1b]0;owned\x07[red]a\nerror: b[/nothing]\u202e:car:\udcff"
SHOWN = r"\x1b]0;owned\x07[red]a\nerror: b[/nothing]\u202e:car:\xff"

SPEAKERS = {"terminal.py", "progress.py", "cli/failures.py"}
"""Modules that write to terminals: the one way, the bar that uses it, and what turns other packages into it."""


def calls(nodes: list[ast.AST]) -> set[str]:
    """The dotted names of what is called, such as sys.stderr.write, and those that are named at all in `sys`."""
    names = {dotted(node.func) for node in nodes if isinstance(node, ast.Call)}
    return names | {dotted(node) for node in nodes if isinstance(node, ast.Attribute)}


def dotted(node: ast.AST) -> str:
    """A name with dots, as ast.unparse gives it in a hundred times the time; () in it stands for all else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "()"


@pytest.mark.slow
def test_nothing_in_the_package_prints_past_the_terminal_module():
    root = Path(maskpencil.__file__).parent
    allowed = {
        "cli/__init__.py": {"Console"},  # the help, written to terminal.RESULTS
        "inference/video/writers.py": {"sys.stdout", "sys.stdout.fileno", "os.write"},  # raw frames for another program
        "models/backbones/downloads.py": {"sys.stderr", "sys.stderr.isatty"},  # where torch shows a download
    }
    forbidden = ("print", "pprint", "Console", "warnings.warn", "traceback.print_exc", "traceback.print_exception")
    past = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = {
            alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
        }
        found = {
            call
            for call in calls(nodes)
            if call in forbidden or call.startswith(("sys.stdout", "sys.stderr", "sys.__std", "logging.", "os.write"))
        } | ({"logging", "stdout", "stderr"} & imported)
        if name not in SPEAKERS:
            past += [f"{name}: {call}" for call in sorted(found - allowed.get(name, set()))]
    assert past == []


def test_a_line_on_standard_error_is_one_plain_line(capsys):
    say(EVIL)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_results_are_plain_lines_one_for_each(capsys):
    show("a", EVIL, ("b ", (1, 2, 3), EVIL))
    assert capsys.readouterr().out == f"a\n{SHOWN}\nb   {SHOWN}\n"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_bar_shows_names_as_they_are(is_terminal):
    page = Console(file=io.StringIO(), force_terminal=is_terminal, width=300, color_system=None)
    with ProgressBar(EVIL, 4, console=page) as bar:
        bar.update(1, EVIL)
        if bar._bar:
            bar._bar.refresh()
        bar.say(EVIL)
    text = page.file.getvalue()
    assert SHOWN in text
    assert "owned\x07" not in text
    assert "\nerror" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_names_that_the_terminal_cannot_encode_are_shown_as_escapes(encoding):
    script = "from maskpencil.terminal import show, say; show('道路 ä'); say('道路 ä')"
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", script], capture_output=True, env={"PYTHONIOENCODING": encoding}
    )
    expected = rb"\u9053\u8def " + "ä".encode(encoding, "backslashreplace") + b"\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, expected, 0)


def test_swatches_are_colors_only_where_the_terminal_shows_them(capsys, monkeypatch):
    monkeypatch.setattr("maskpencil.terminal.Results.isatty", lambda _: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    show(((1, 2, 3),))
    assert capsys.readouterr().out == "\x1b[48;2;1;2;3m  \x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    show(((1, 2, 3),))
    assert capsys.readouterr().out == "  \n"
