"""The command line: one command a file, each loaded only when it is asked for."""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from maskpencil.errors import ConfigError, MaskPencilError, StalledError

COMMANDS = {
    "demo": "Draw a street, train a small network on it, colour a film of a drive.",
    "check": "Tell how a folder of pictures and masks is understood, and what is wrong with it.",
    "convert": "Write a data set in the format of another tool.",
    "train": "Train a network on a folder of pictures and masks.",
    "evaluate": "Score a model on a labelled folder.",
    "quantize": "Make a model that CPUs run in int8, faster, and measure what it loses.",
    "predict": "Colour pictures, folders of pictures and films.",
    "heatmap": "Show where a classifier or a model sees a class.",
    "benchmark": "Time methods side by side on this machine.",
    "import": "Make a model of another project's weights.",
    "info": "Tell of this machine, a model, the backbones or the recipes.",
}

MODULES = {"import": "import_weights"}
"""The files of the commands that are no Python names."""

USAGE = """\
Usage: maskpencil COMMAND [ARGUMENTS] [OPTIONS]

From a folder of pictures and masks to a network that colours every pixel.

Commands:
{commands}

Options:
  -h, --help   Show this, or after a command its own help.
  --version    Show the version.
  --debug      After a command: show where an error came from.

maskpencil demo shows everything at work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code.

    0: done. 1: the user's data or model is at fault. 2: the command line is at fault. 130: interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version  # slow to import, not needed for the usage

        print(version("maskpencil"))
        return 0
    if words[0] not in COMMANDS:
        meant = "".join(f"; did you mean {close}?" for close in get_close_matches(words[0], COMMANDS, 1, cutoff=0.65))
        hint = meant or f"; the commands are {', '.join(COMMANDS)}"
        print(f"error: there is no command {words[0]!r}{hint}", file=sys.stderr)
        return 2
    if not debug:  # what Pillow warns of is told in our own words, or of no use
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        return _run(words[0], words[1:])
    except MaskPencilError as error:
        if debug:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        if isinstance(error, StalledError):
            _leave_at_once()
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # whoever read what is printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else flushing it at the exit fails again
        return 0
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{f'; {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return 130


def _leave_at_once() -> NoReturn:
    """End the process with exit code 1 without waiting for its threads, one of which never ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def usage() -> str:
    """The help of the whole program; written without cyclopts, which takes longer to import than to read this."""
    return USAGE.format(commands="\n".join(f"  {name:<12} {words}" for name, words in COMMANDS.items()))


def _run(name: str, words: Sequence[str]) -> int:
    from cyclopts import App, CycloptsError, Parameter  # slow to import, not needed for the usage

    module = importlib.import_module(f"maskpencil.cli.{MODULES.get(name, name)}")
    app = App(
        name=f"maskpencil {name}",
        help_format="plaintext",
        version_flags=(),
        default_parameter=Parameter(negative_iterable=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `main` tells what is to be said
    )
    app.default(module.command)
    try:
        return int(app(words, exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        print(f"error: {' '.join(str(error).split()).rstrip('.')}; see maskpencil {name} --help", file=sys.stderr)
        return 2
