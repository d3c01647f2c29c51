"""Options that several commands share, and the groups that the help shows them in."""

import ast
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from cyclopts import Group, Parameter

INPUT = Group("Input", sort_key=1)
OUTPUT = Group("Output", sort_key=2)
CLASSES = Group("Classes", sort_key=3)
REGIONS = Group("Regions", sort_key=4)
VIDEO = Group("Video", sort_key=5)
MODEL = Group("Model", sort_key=3)
LENGTH = Group("Length", sort_key=4)
OPTIMIZATION = Group("Optimization", sort_key=5)
AUGMENTATION = Group("Augmentation", sort_key=6)
NETWORK = Group("Network", sort_key=8)
OTHER = Group("Other", sort_key=9)


def option(help: str, group: Group, metavar: str | None = None, **settings: object) -> Parameter:  # noqa: A002
    """Describe an option for the help.

    Args:
        help: what it does; the terminal's width breaks the lines.
        group: the group that it is shown in.
        metavar: the name of its value, where the type says too little.
        settings: more arguments of `cyclopts.Parameter`.
    """
    return Parameter(help=help, group=group, metavar=metavar, show_default=_default, **settings)  # type: ignore[arg-type]


def _default(value: object) -> str | None:
    """Return a default as shown in the help; None for flags, which are off unless their help says otherwise."""
    return None if value is None or isinstance(value, bool) else str(value)


def flowed(text: str | None) -> str:
    """Join the lines of each paragraph of a docstring, so that only the terminal's width wraps the text."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text or "").split("\n\n"))


def options_of(
    settings: type, groups: Mapping[Group, str], metavars: Mapping[str, str], *, texts: Collection[str] = ()
) -> type:
    """Make a dataclass of a dataclass's settings as command-line options: a new setting is added in one place.

    The text below each setting describes it.

    Args:
        settings: the dataclass.
        groups: the names of its settings that are options, in the order in which the help shows them.
        metavars: the names of values, where the type says too little.
        texts: the settings that are read as texts, which the dataclass parses.
    """
    body = ast.parse(inspect.getsource(settings)).body[0]
    described = {}
    for setting, text in zip(body.body, body.body[1:], strict=False):  # type: ignore[attr-defined]
        if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr):
            described[ast.unparse(setting.target)] = " ".join(ast.literal_eval(text.value).split())
    defaults = {each.name: each.default for each in fields(settings)}
    kinds = get_type_hints(settings)

    found = []
    for group, names in groups.items():
        for name in names.split():
            kind, default = kinds[name], defaults[name]
            more: dict[str, object] = {}
            if name in texts:
                kind, default = (str | None, None) if default is None else (str, f"{default:g}")
            if kind is bool and default is not False:  # it is on, or the recipe's, and can be turned off
                more["negative"] = f"--no-{name.replace('_', '-')}"
            if kind == Sequence[str] | None:
                kind, more["consume_multiple"] = list[str] | None, True
            shown = option(described[name], group, metavars.get(name), **more)
            found.append((name, Annotated[kind, shown], field(default=default)))
    return make_dataclass("Options", found, namespace={"__module__": __name__}, frozen=True)


ModelFolder = Annotated[
    Path, Parameter(help="A model folder, such as runs/train/NAME/model, or torchvision/fcn_resnet50.")
]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], option("The device to compute on.", NETWORK)]
ImageSize = Annotated[
    str | None,
    option(
        "Another size for the network to see: native, HEIGHTxWIDTH, or the longer side, to which larger images are "
        "scaled down.",
        NETWORK,
        "SIZE",
    ),
]
RuntimeName = Annotated[
    Literal["auto", "torch", "openvino", "onnx"],
    option("The library that computes: auto is openvino on CPUs, else torch.", NETWORK, name="--runtime"),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    option("The precision of the convolutions; int8 for a quantized model.", NETWORK),
]
DataImages = Annotated[
    Path | None, option("The folder of the images, here or in DATA, if it is not found.", INPUT, "FOLDER")
]
DataMasks = Annotated[
    Path | None, option("The folder of the masks, here or in DATA, if it is not found.", INPUT, "FOLDER")
]
SplitFile = Annotated[
    Path | None, option("A file with a line NAME SPLIT for each image: train, val or test.", INPUT, "FILE")
]
