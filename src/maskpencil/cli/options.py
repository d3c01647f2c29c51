"""Define the arguments and options shared by several commands: groups, help, and the meaning of MODEL and DATA."""

import ast
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import Group, Parameter

from maskpencil.errors import ConfigError, ModelError
from maskpencil.extras import how_to_install
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.imported import PREFIX
from maskpencil.model_folder import CONFIG, WEIGHTS
from maskpencil.parsing import parse_image_size
from maskpencil.terminal import say

if TYPE_CHECKING:
    from maskpencil.exported import ExportedModel
    from maskpencil.remote import RemoteSegmenter
    from maskpencil.segmenter import Segmenter, SizeOverride


def _show_as_options(console: Any, options: Any, panel: Any) -> None:
    """Print an option group of the help; cyclopts would print the group with --help like a list of commands."""
    from cyclopts.help import DefaultFormatter  # slow to import
    from cyclopts.help.specs import get_default_parameter_columns

    DefaultFormatter(column_specs=get_default_parameter_columns)(console, options, panel)


INPUT = Group("Input", sort_key=1)
OUTPUT = Group("Output", sort_key=2)
CLASSES = Group("Classes", sort_key=3)
REGIONS = Group("Regions", sort_key=4)
VIDEO = Group("Video", sort_key=5)
MODEL = Group("Model", sort_key=3)
LENGTH = Group("Length", sort_key=4)
OPTIMIZATION = Group("Optimization", sort_key=5)
AUGMENTATION = Group("Augmentation", sort_key=6)
SERVER = Group("Server", sort_key=7)
NETWORK = Group("Network", sort_key=8)
OTHER = Group("Other", sort_key=9, help_formatter=_show_as_options)


def option(help: str, group: Group, metavar: str | None = None, **settings: object) -> Parameter:  # noqa: A002
    """Describe an option for the help.

    Args:
        help: a description of the option; lines are wrapped at the terminal's width.
        group: the group of options in which the help shows it.
        metavar: the placeholder of the option's value in the help; by default the name of the type.
        settings: more arguments of `cyclopts.Parameter`.
    """
    return Parameter(help=help, group=group, metavar=metavar, show_default=_default, **settings)  # type: ignore[arg-type]


def _default(value: object) -> str | None:
    """Format a default value for the help; return None, so that the help shows no default, for flags and for None.

    A flag is off by default unless its help says otherwise.
    """
    return None if value is None or isinstance(value, bool) else str(value)


def flowed(text: str | None) -> str:
    """Join the lines of each paragraph of a docstring, so that the help can wrap them at the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text or "").split("\n\n"))


_METAVARS: Mapping[object, str] = {int: "N", int | None: "N", float: "NUMBER", float | None: "NUMBER"}
"""The default placeholders of values in the help, by the type of the setting."""


def _as_option(name: str) -> str:
    return "--" + name.replace("_", "-")


def options_of(
    settings: type, groups: Mapping[Group, str], metavars: Mapping[str, str], *, texts: Collection[str] = ()
) -> type:
    """Make a dataclass of command-line options from the fields of a dataclass of settings.

    The docstring below each field becomes the help of its option; the name of a field in backticks, such as
    `batch_size`, becomes the option --batch-size.

    Args:
        settings: the dataclass of settings.
        groups: the names of the fields that become options, in the order in which the help shows them.
        metavars: the placeholders of values in the help, by field. The placeholder of a field without an entry is N for
            whole numbers, NUMBER for other numbers, else the name of the type.
        texts: the fields whose options take a string, which `settings` converts to the type of the field.
    """
    body = ast.parse(inspect.getsource(settings)).body[0]
    described = {}
    for setting, text in zip(body.body, body.body[1:], strict=False):  # type: ignore[attr-defined]
        if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr):
            described[ast.unparse(setting.target)] = " ".join(ast.literal_eval(text.value).split())
    defaults = {each.name: each.default for each in fields(settings)}
    names_of_fields = re.compile(rf"`({'|'.join(defaults)})`")
    kinds = get_type_hints(settings)

    found = []
    for group, names in groups.items():
        for name in names.split():
            kind, default = kinds[name], defaults[name]
            more: dict[str, object] = {}
            if name in texts:
                kind, default = (str | None, None) if default is None else (str, f"{default:g}")
            if kind is bool and default is not False:  # it is on, or the recipe's, and can be turned off
                more["negative"] = _as_option(f"no_{name}")
            if kind == Sequence[str] | None:
                kind, more["consume_multiple"] = list[str] | None, True
            text = names_of_fields.sub(lambda found: _as_option(found[1]), described[name])
            shown = option(text, group, metavars.get(name) or _METAVARS.get(kind), **more)
            found.append((name, Annotated[kind, shown], field(default=default)))
    return make_dataclass("Options", found, namespace={"__module__": __name__}, frozen=True)


ModelFolder = Annotated[
    Path,
    Parameter(help="A model folder, such as runs/train/NAME/model, or a published model: torchvision/fcn_resnet50."),
]
ModelOrServer = Annotated[
    Path,
    Parameter(
        help="A model folder, such as runs/train/NAME/model, a published model: torchvision/fcn_resnet50, or a server "
        "of maskpencil serve: http://HOST:PORT, or http://HOST:PORT/NAME for one of its models."
    ),
]
TokenFile = Annotated[
    Path | None,
    option("If MODEL is a server: a file with the token that the server demands.", NETWORK, "FILE"),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    option(
        "The device to compute on: cpu, cuda (an NVIDIA or AMD GPU) or mps (the GPU of a Mac); auto chooses cuda if "
        "this machine has a GPU for it, else mps if possible, else cpu.",
        NETWORK,
    ),
]
ImageSize = Annotated[
    str | None,
    option(
        "The size to which images are scaled: native (not scaled), HEIGHTxWIDTH, or a number N: images "
        "whose longer side is above N pixels are scaled down in proportion, so that this side has N pixels. By default "
        "the size stored in the model.",
        NETWORK,
        "SIZE",
    ),
]
RuntimeName = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    option("The library that runs the network; auto chooses openvino on CPUs, else torch.", NETWORK, name="--runtime"),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    option(
        "The number format of convolutions; auto chooses int8 for a quantized model on CPUs, else bf16 if the device "
        "computes bf16 natively, else fp32.",
        NETWORK,
    ),
]
DataImages = Annotated[
    Path | None,
    option(
        "The folder of images: a path, or the name of a folder in DATA; by default found automatically.",
        INPUT,
        "FOLDER",
    ),
]
DataMasks = Annotated[
    Path | None,
    option(
        "The folder of masks: a path, or the name of a folder in DATA; by default found automatically.",
        INPUT,
        "FOLDER",
    ),
]
SplitFile = Annotated[
    Path | None,
    option(
        "A text file that assigns images to splits: each line has the name of an image, then train, val or test.",
        INPUT,
        "FILE",
    ),
]


IMPORTED_SUFFIXES = (".caffemodel", ".pth", ".pt", ".safetensors")
"""Files of weights that `maskpencil import` reads, for the networks it supports."""

FOREIGN_SUFFIXES = (".bin", ".h5", ".keras", ".pb", ".tflite", ".engine", ".ckpt", ".pkl", ".blob")
"""The suffixes of network files that cannot be read."""

FILE_COMMANDS = ("predict", "evaluate", "report", "serve", "benchmark", "info")
"""The commands that take an exported file in place of a model folder."""

MAX_EXAMINED_FILES = 10_000
"""The number of files that are examined to find out whether a folder holds images."""

SERVER_COMMANDS = ("predict", "evaluate", "report")
"""The commands that take the address of a server in place of a model folder."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def found_model(model: Path, command: str, others: Sequence[str | Path] = ()) -> Path:
    """Return the best model of a run, and print a message, if `model` is the folder of a run; else return `model`.

    Args:
        model: the argument MODEL of the command.
        command: the words typed before the model, such as "predict".
        others: the arguments after the model.

    Raises:
        ConfigError: `model` is not a model, but one of the `others` is; or `model` is the address of a server, which
            the command does not take.
        ModelError: `model` is a file that the command does not take, or a folder of images.
    """
    from maskpencil.exported import is_exported  # slow to import
    from maskpencil.remote.address import address_text

    address = address_text(model)
    if address and command not in SERVER_COMMANDS:
        raise ConfigError(
            f"{address}: is the address of a server, which only {', '.join(SERVER_COMMANDS[:-1])} and "
            f"{SERVER_COMMANDS[-1]} take as a model; give a model folder"
        )
    if is_model(model) or not model.exists() or (command in FILE_COMMANDS and is_exported(model)):
        return model
    if is_model(model / "model"):
        say(f"{model}: is a run; its best model is used: {model / 'model'}")
        return model / "model"
    for other in map(Path, others):
        if is_model(other) or is_model(other / "model") or str(other).startswith(PREFIX):
            raise ConfigError(
                f"{model}: is not a model, but {other} is; give the model first: maskpencil {command} {other} {model}"
            )
    if model.is_file():
        raise ModelError(f"{model}: is a file; expected a model folder; {_model_in_place_of_file(model, command)}")
    if CONFIG not in {path.name for path in model.iterdir()} and _holds_images(model):
        raise ModelError(
            f"{model}: is a folder of images; expected a model before it: maskpencil {command} MODEL {model}"
        )
    return model


def is_model(path: Path) -> bool:
    """Return whether a path is a model folder."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def _model_in_place_of_file(file: Path, command: str) -> str:
    """Return the advice for a file that was given instead of a model."""
    for folder in file.absolute().parents[:2]:
        if is_model(folder):
            return f"the file belongs to a model folder: maskpencil {command} {folder}"
    from maskpencil.exported import EXPORTED_SUFFIXES  # slow to import

    if file.suffix.lower() in EXPORTED_SUFFIXES and command not in FILE_COMMANDS:
        return f"exported files are for {', '.join(FILE_COMMANDS[:-1])} and {FILE_COMMANDS[-1]}"
    suffix = file.suffix.lower()
    if suffix == ".pt2":
        return "torch programs are run by torch.export.load; give the model folder, or export it with --to onnx"
    if suffix in IMPORTED_SUFFIXES:
        return f"convert these weights with maskpencil import {file} --out NEW_MODEL"
    if suffix in FOREIGN_SUFFIXES:
        return "networks in this format cannot be read; train a model with maskpencil train DATA"
    return f"the model comes first: maskpencil {command} MODEL {file}"


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in islice(folder.rglob("*"), MAX_EXAMINED_FILES))


def load_predictor(
    model: Path,
    *,
    runtime: str,
    device: str,
    precision: str,
    image_size: str | None = None,
    memory: str | None = None,
    tile: int | None = None,
    compiled: bool = False,
    token_file: Path | None = None,
) -> "Segmenter | ExportedModel | RemoteSegmenter":
    """Load a model as `load_segmenter` does, load an exported file, or connect to a server.

    Exported files and servers have no options, except that a server takes a `token_file`.

    Raises:
        ConfigError: an option is out of range or does not fit the model, this machine does not have the device or the
            runtime, or the server refuses this client.
        ModelError: the model cannot be read, or the server does not answer.
    """
    from maskpencil.exported import ExportedModel, is_exported
    from maskpencil.remote import RemoteSegmenter, address_text

    address = address_text(model)
    if token_file is not None and not address:
        raise ConfigError(f"--token-file is for a server, but {model} is not a server; leave --token-file out")
    if not address and not is_exported(model):
        return load_segmenter(
            model,
            runtime=runtime,
            device=device,
            precision=precision,
            image_size=image_size,
            memory=memory,
            tile=tile,
            compiled=compiled,
        )
    on_cpu = ("auto",) if address else ("auto", "cpu")
    given = {"--runtime": runtime != "auto", "--device": device not in on_cpu, "--compile": compiled}
    given |= {
        "--memory": memory is not None,
        "--precision": precision != "auto",
        "--image-size": image_size is not None,
        "--tile": tile is not None,
    }
    for name in (name for name, is_given in given.items() if is_given):
        if address:
            raise ConfigError(
                f"{name} does not apply to the server {address}, which computes as it was started; leave {name} out, "
                "or start the server with it"
            )
        raise ConfigError(
            f"{name} does not apply to the exported file {model}, which runs on the CPU as it was exported; leave "
            f"{name} out, or give the model folder"
        )
    return RemoteSegmenter(address, token_file=token_file) if address else ExportedModel.from_file(model)


def load_segmenter(
    model: Path,
    *,
    runtime: str,
    device: str,
    precision: str,
    image_size: str | None = None,
    memory: str | None = None,
    tile: int | None = None,
    compiled: bool = False,
) -> "Segmenter":
    """Load a model with the given options; `image_size`, `memory` and `tile` keep their defaults if None.

    Raises:
        ConfigError: an option is out of range, or this machine does not have the device or the runtime.
        ModelError: the model cannot be read.
    """
    from maskpencil.segmenter import MEMORY, Segmenter

    size: SizeOverride = None if image_size is None else parse_image_size(image_size) or "native"
    limit = None if memory is None else parse_bytes("--memory", memory)
    segmenter = Segmenter.from_pretrained(
        model,
        runtime=runtime,
        device=device,
        precision=precision,
        compiled=compiled,
        memory=limit or MEMORY,
        tile=tile,
        image_size=size,
    )
    for line in unused_gpu(device):
        say(line)
    if limit and isinstance(size, tuple):
        _refuse_too_large(segmenter, size, limit)
    return segmenter


def unused_gpu(device: str) -> list[str]:
    """Return a list with a note if this machine may have a GPU that torch is missing for, else []."""
    from maskpencil.hardware import may_lack_torch_for_gpu

    if device != "auto" or not may_lack_torch_for_gpu():
        return []
    remedy = how_to_install("torch")
    return [
        f"note: computing on the CPU; to use a GPU, maskpencil needs {remedy}; or add --device cpu to hide this note"
    ]


def _refuse_too_large(segmenter: "Segmenter", size: tuple[int, int], limit: int) -> None:
    """Raise `ConfigError` if an untiled image of working size (H, W) needs more memory than `limit` bytes."""
    from maskpencil.segmenter import MAX_UNTILED_PIXELS

    pixels = size[0] * size[1]
    if pixels > MAX_UNTILED_PIXELS and (needed := pixels * segmenter.runtime.profile.bytes_per_pixel) > limit:
        raise ConfigError(
            f"images scaled to {size[0]}x{size[1]} need about {needed / 2**30:.1f} GiB, but --memory allows "
            f"{limit / 2**30:.1f} GiB; give a smaller --image-size, --image-size native, or more --memory"
        )


def parse_bytes(option: str, text: str) -> int:
    """Read an amount of memory, such as `2GiB`, `512M` or `4096` (bytes), as bytes; units are powers of 1024.

    Raises:
        ConfigError: the text has none of these forms, or the number is 0.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), flags=re.IGNORECASE)
    count = float(parts[1]) * _UNITS[parts[2].upper()] if parts else 0.0
    if not count >= 1:
        raise ConfigError(f"{option} must be an amount such as 2GiB or 512MiB, but got {text!r}")
    return int(count)
