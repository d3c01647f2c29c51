"""`maskpencil info`."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy.typing as npt
from cyclopts import Parameter

from maskpencil.cli.options import INPUT, found_model, option, unused_gpu
from maskpencil.extras import EXTRAS, needed_for
from maskpencil.plain_text import visible
from maskpencil.terminal import show

PACKAGES = ("maskpencil", "openvino", "numpy", "pillow", "av", *EXTRAS["train"])


def command(
    topic: Annotated[
        str | None,
        Parameter(
            help="What to describe: a model folder; an exported file; a weights file, together with --backbone; the "
            "word backbones, for the names that train --backbone accepts; or the word recipes, for the settings of "
            "every recipe. By default this machine."
        ),
    ] = None,
    /,
    *,
    backbone: Annotated[
        str | None, option("With a weights file: show which of its tensors this backbone would load.", INPUT, "NAME")
    ] = None,
) -> None:
    """Show facts about this machine, a model, a weights file, the backbones or the recipes."""
    if backbone is not None:
        lines = weights(backbone, topic or "auto")
    elif topic is None:
        lines = machine()
    elif topic == "backbones":
        lines = backbones()
    elif topic == "recipes":
        lines = recipes()
    else:
        path = found_model(Path(topic), "info")
        lines = exported(path) if path.is_file() else model(path)
    show(*lines)


def machine() -> list[str]:
    """List the versions of packages, and the device, runtime and precision that `auto` chooses on this machine."""
    from maskpencil.hardware import choose_device, choose_precision, choose_runtime, computes_on_cpu

    on_cpu = computes_on_cpu()
    device = "cpu" if on_cpu else choose_device().type
    return [
        *(f"{name:<12} {_version(name)}" for name in PACKAGES),
        f"{'python':<12} {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"{'device':<12} {device}{_gpu_name() if device == 'cuda' else ''}",
        f"{'runtime':<12} {choose_runtime('auto', on_cpu=on_cpu)}",
        f"{'precision':<12} {choose_precision('auto', device)}",
        f"{'cores':<12} {os.cpu_count()}",
        *unused_gpu("auto"),
    ]


def backbones() -> list[str]:
    """List the names that `--backbone` accepts."""
    from maskpencil.models.backbones import list_backbones

    return [*list_backbones(), "and every timm model with features at strides 8, 16 and 32, by its timm name"]


def weights(backbone: str, file: str) -> list[str]:
    """Show where a backbone's weights come from, and the names of its tensors beside the names in the weights file."""
    with needed_for("reading a classifier's weights"):
        from maskpencil.models.backbones import create_backbone

    network = create_backbone(backbone, weights=file)
    loaded = network.loaded
    return [str(network.origin), *(map(visible, (*loaded.notes, *loaded.match.table)) if loaded else ())]


def recipes() -> list[str]:
    """List the recipes and their settings."""
    from maskpencil.training.recipes import DESCRIPTIONS, RECIPES

    lines = []
    for name, settings in RECIPES.items():
        lines.append(f"{name}: {DESCRIPTIONS[name]}")
        lines += [f"  --{key.replace('_', '-'):<20} {_shown(value)}" for key, value in settings.items()]
    return lines


def model(path: Path) -> list[str]:
    """Show what a model folder holds."""
    from maskpencil.model_folder import read_model_config
    from maskpencil.runtimes.graph_files import read_arrays

    config = read_model_config(path)
    lines = [
        f"{'network':<12} {config.title}, {count_weights(read_arrays(path)) / 1e6:.1f} million weights",
        f"{'image size':<12} {config.preprocessing.image_size or 'not scaled'}",
        f"{'classes':<12} {', '.join(map(visible, config.classes.names))}",
    ]
    return lines + [f"{name.replace('_', ' '):<12} {value}" for name, value in config.training.items()]


def exported(path: Path) -> list[str]:
    """Show what an exported file holds."""
    from maskpencil.exported import ExportedModel

    facts = ExportedModel.from_file(path).facts
    return [
        f"{'exported':<12} weights in {facts.weights}",
        f"{'classes':<12} {', '.join(map(visible, facts.classes.names))}",
        *(f"{name.replace('_', ' '):<12} {facts.metadata()[name]}" for name in ("input", "outputs")),
    ]


def count_weights(tensors: Mapping[str, npt.NDArray[Any]]) -> int:
    """Count the trained weights of a network, without the statistics and counters of batch normalization."""
    statistics = (".running_mean", ".running_var")
    return sum(
        tensor.size for name, tensor in tensors.items() if tensor.dtype.kind == "f" and not name.endswith(statistics)
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed; pip install 'maskpencil[train]' adds it"


def _gpu_name() -> str:
    import torch

    return f" ({torch.cuda.get_device_name()})"


def _shown(value: object) -> str:
    if value is None:
        return "auto"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
