"""Read the code blocks of the pages in README.md and docs/, and run them.

A block is fenced and has a language, which says what is done with it:

- `python` is executed; the blocks of a page share their names.
- `console`: lines after `$ ` are commands of `maskpencil`, run in this process; the lines below a command are its
  output, in which `...` stands for anything, as in doctest. A command that shows `error:` must fail, others must not.
- `yaml`, after `<!-- file: NAME -->`: the file is written, for the blocks that follow.
- `text`, after `<!-- folder: NAME -->`: a listing; the first word of each line must exist in that folder.

`<!-- not run: REASON -->` before a block leaves it out. Python is then compiled, and the options of commands are
parsed.
"""

import contextlib
import doctest
import functools
import importlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from maskpencil.cli import COMMANDS, MODULES, main

ROOT = Path(__file__).parents[1]

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

LANGUAGES = ("console", "python", "text", "yaml")

MARKER = re.compile(r"<!-- (not run|file|folder): (.+) -->")

OUTPUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

OTHERS = {"cd", "curl", "ffplay", "git", "openssl", "podman", "source", "systemctl"}
"""Programs whose lines are shown and neither run nor checked; only blocks that are not run may hold them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the marker before it: its kind and value, or two empty texts."""

    page: Path
    line: int
    language: str
    text: str
    marker: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether the block is run, written or compared, and not only parsed."""
        return self.marker[0] != "not run"


@dataclass(frozen=True)
class Command:
    """A command of a console block and the output shown below it."""

    line: str
    output: str

    @property
    def words(self) -> list[str]:
        """The words of the command, up to a pipe."""
        words = shlex.split(self.line, comments=True)
        return words[: words.index("|")] if "|" in words else words


def blocks(page: Path) -> list[Block]:
    """Read the fenced blocks of a page."""
    found: list[Block] = []
    marker, opened, lines = ("", ""), None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if opened is not None:
            if line == "```":
                text = "\n".join(lines) + "\n"
                found.append(Block(page, opened[0], opened[1], text, marker))
                marker, opened, lines = ("", ""), None, []
            else:
                lines.append(line)
        elif line.startswith("```"):
            opened = (number, line[3:])
        elif match := MARKER.fullmatch(line):
            marker = (match[1], match[2])
        elif line:
            marker = ("", "")
    assert opened is None, f"{page}: the block of line {opened} has no end"
    return found


def prose(page: Path) -> list[str]:
    """Read the lines of a page outside of its fenced blocks."""
    parts = re.split(r"^```.*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return "".join(parts[::2]).splitlines()


def commands(text: str) -> list[Command]:
    """Read the commands of a console block; a line that ends with a backslash continues in the next."""
    found: list[Command] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        else:
            assert found, f"an output before the first command: {line}"
            found[-1] = Command(found[-1].line, f"{found[-1].output}{line}\n")
    return found


def run_block(block: Block, names: dict[str, Any]) -> None:
    """Run a block in the current folder; `names` are those of the page's Python blocks so far."""
    if block.language == "python":
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)
    elif block.language == "console":
        for command in commands(block.text):
            _run(command, str(block))
    elif block.language == "yaml":
        kind, name = block.marker
        assert kind == "file", f"{block}: say which file this is: <!-- file: NAME -->"
        Path(name).write_text(block.text, encoding="utf-8")
    else:
        kind, name = block.marker
        assert kind == "folder", f"{block}: say which folder this lists: <!-- folder: NAME -->"
        missing = [line for line in block.text.splitlines() if not (Path(name) / line.split()[0]).exists()]
        assert not missing, f"{block}: not in {name}: {missing}"


def _run(command: Command, where: str) -> None:
    words, output = command.words, io.StringIO()
    assert words[0] == "maskpencil", f"{where}: only maskpencil is run; mark the block: <!-- not run: REASON -->"
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(words[1:])
    printed = output.getvalue()
    assert (code != 0) == ("error:" in command.output), f"{where}: {command.line}: exit code {code}\n{printed}"
    if command.output and not doctest.OutputChecker().check_output(command.output, printed, OUTPUT):
        raise AssertionError(f"{where}: {command.line}\nshown:\n{command.output}\nprinted:\n{printed}")


def check_block(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check what can be checked of a block that is not run: that Python compiles, that commands and options exist."""
    if block.language == "python":
        compile(block.text, str(block), "exec")
    if block.language == "console":
        for command in commands(block.text):
            problem = _problem(command.words, monkeypatch)
            assert not problem, f"{block}: {command.line}: {problem}"


def _problem(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is wrong with a command line, without running it."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"make has no {unknown}" if unknown else ""
    if words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        unknown = [extra for word in words for extra in re.findall(r"\[(\w+)\]", word) if extra not in extras]
        return f"there is no extra {unknown}" if unknown else ""
    if "maskpencil" not in words:
        return "" if words[0] in OTHERS else f"{words[0]} is neither run nor checked"
    return _parsed(words[words.index("maskpencil") + 1 :], monkeypatch)


def _parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the words to the real command line, with the command itself replaced by one that does nothing."""
    if words[0] not in COMMANDS:
        return "" if words[0].startswith("-") else f"there is no command {words[0]}"
    module = importlib.import_module(f"maskpencil.cli.{MODULES.get(words[0], words[0])}")

    @functools.wraps(module.command)
    def nothing(*_: Any, **__: Any) -> None:
        """Do nothing."""

    output = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stderr(output):
        patch.setattr(module, "command", nothing)
        return output.getvalue() if main(words) else ""


def broken_links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links and images that are no file, or no heading of a page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        if "://" not in target and not (path.exists() and (not heading or heading in _headings(path))):
            yield target


def _headings(page: Path) -> list[str]:
    """Return the headings of a page as links name them."""
    titles = [line.lstrip("# ").lower() for line in prose(page) if line.startswith("#")]
    return [re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles]
