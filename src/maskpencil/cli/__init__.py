"""Define the command line; each command has its own file, which is loaded only if the command is used."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, cast

from maskpencil.errors import ConfigError, MaskPencilError, StalledError
from maskpencil.extras import needed_for
from maskpencil.signals import ended_by_signals, exit_code
from maskpencil.terminal import RESULTS, finish, open_closed_streams, say, show

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "demo": "Try everything: draw scenes, train a network, segment a video.",
    "check": "Show how images and masks are read, and list their faults.",
    "convert": "Convert a data set to the format of another tool.",
    "train": "Train a network on a folder of images and masks.",
    "evaluate": "Score a model on a folder of images and masks.",
    "report": "Show how good a model is, where it fails and which labels are suspect.",
    "export": "Write a model to files for other programs, checked against the model.",
    "verify": "Check that an exported file gives the same masks as the model.",
    "page": "Write a model as an HTML page that segments images without a server.",
    "quantize": "Convert a model to int8, faster on CPUs, and measure the loss.",
    "predict": "Segment images, folders of images, videos, streams and cameras.",
    "serve": "Segment images that are sent over HTTP.",
    "heatmap": "Draw where in an image a network detects a class.",
    "benchmark": "Compare the speed of a model in all runtimes on this machine.",
    "import": "Make a model folder from the weights of another project.",
    "info": "Describe this machine, a model, the backbones or the recipes.",
}

MODULES = {"import": "import_weights"}
"""The modules of commands whose names are not valid Python identifiers."""

USAGE = """\
Usage: maskpencil COMMAND [ARGUMENTS] [OPTIONS]

Train segmentation networks on folders of images and masks, and apply them to
images and videos.

Commands:
{commands}

Options:
  -h, --help   Show this help, or, after a command, the help of the command.
  --version    Show the version.
  --debug      After a command: print the traceback of an error.

To see all of it at work, type: maskpencil demo"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: success. 1: an error in the data or the model. 2: an error in the command line. 130: interrupted by Ctrl-C. 143:
        ended by SIGTERM. 129: ended by SIGHUP, because the terminal was closed.
    """
    open_closed_streams()
    os.environ["PYTHONSAFEPATH"] = "1"  # processes that are started import nothing from the current folder
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with ended_by_signals() as ended:
            code = _answer(words, debug=debug)
    except KeyboardInterrupt as interrupt:
        number = ended.number or signal.SIGINT
        how = f"ended by {signal.Signals(number).name}" if ended.number else "interrupted"
        say(f"{how}{f'; {interrupt}' if str(interrupt) else ''}")
        code = exit_code(number)
    except Exception as error:  # the last resort: nothing that a user meets is a traceback
        from maskpencil.cli.failures import memory_refused, say_failure, say_traceback

        if debug:
            say_traceback(error)
        if isinstance(error, MaskPencilError) and not memory_refused(error):
            say(f"error: {error}")
        else:
            say_failure(error, words[0])
        code = 2 if isinstance(error, ConfigError) else 1
        if isinstance(error, StalledError):
            os._exit(finish(code))  # without waiting for a thread that never ends
    return finish(code)


def _answer(words: Sequence[str], *, debug: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        show(*usage().splitlines())
        return 0
    if words[0] == "--version":
        from importlib.metadata import version  # slow to import, not needed for the usage

        show(version("maskpencil"))
        return 0
    if words[0] not in COMMANDS:
        from maskpencil.cli.failures import instead_of_command

        say(f"error: there is no command {words[0]!r}{instead_of_command(words[0], COMMANDS)}")
        return 2
    from maskpencil.cli.failures import as_plain_lines

    as_plain_lines(quiet=not debug)
    with needed_for(f"maskpencil {words[0]}"):
        return _run(words[0], words[1:])


def usage() -> str:
    """Return the help of the whole program, written without cyclopts, whose import would take longer."""
    return USAGE.format(commands="\n".join(f"  {name:<12} {words}" for name, words in COMMANDS.items()))


def _run(name: str, words: Sequence[str]) -> int:
    from cyclopts import App, CycloptsError, Parameter  # slow to import, not needed for the usage
    from rich.console import Console

    from maskpencil.cli.options import OTHER, flowed

    module = importlib.import_module(f"maskpencil.cli.{MODULES.get(name, name)}")
    app = App(
        name=f"maskpencil {name}",
        help=flowed(module.command.__doc__),
        console=Console(file=cast("IO[str]", RESULTS)),
        help_format="plaintext",
        version_flags=(),
        default_parameter=Parameter(negative_bool=(), negative_iterable=()),
        group_parameters=OTHER,
        result_action="return_value",
        suppress_keyboard_interrupt=False,  # `main` reports it
    )
    app.default(module.command)
    app["--help"].group = OTHER
    app.usage = f"Usage: maskpencil {name} {' '.join((*_arguments(app), '[OPTIONS]'))}"
    try:
        return int(app(words, exit_on_error=False, print_error=False) or 0)
    except CycloptsError as error:
        from maskpencil.cli.failures import explained

        say(f"error: {explained(error, name, words, app)}; see maskpencil {name} --help")
        return 2


def _arguments(app: "App") -> list[str]:
    """Return the names of the positional arguments as a usage line shows them: MODEL, [DATA], SOURCES..."""
    names = []
    for argument in app.assemble_argument_collection():
        if argument.name.isupper():
            is_several = argument.field_info.kind is argument.field_info.VAR_POSITIONAL
            name = f"{argument.name}..." if is_several else argument.name
            names.append(name if argument.required or is_several else f"[{name}]")
    return names
