"""`maskpencil info`."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskpencil.cli.arguments import found_model
from maskpencil.plain_text import visible
from maskpencil.terminal import show


def command(
    topic: Annotated[str | None, Parameter(help="A model folder, 'backbones' or 'recipes'; else this machine.")] = None,
    /,
) -> None:
    """Show facts about this machine, a model, the backbones or the recipes."""
    if topic is None:
        lines = machine()
    elif topic == "backbones":
        lines = backbones()
    elif topic == "recipes":
        lines = recipes()
    else:
        lines = model(found_model(Path(topic), "info"))
    show(*lines)


def machine() -> list[str]:
    """Versions, and what `auto` means here."""
    import torch

    from maskpencil.hardware import choose_device, choose_precision

    device = choose_device("auto")
    names = ("maskpencil", "torch", "torchvision", "timm", "accelerate", "numpy", "pillow", "av")
    return [
        *(f"{name:<12} {version(name)}" for name in names),
        f"{'python':<12} {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"{'device':<12} {device.type}{f' ({torch.cuda.get_device_name()})' if device.type == 'cuda' else ''}",
        f"{'precision':<12} {choose_precision('auto', device)}",
        f"{'threads':<12} {torch.get_num_threads()}",
    ]


def backbones() -> list[str]:
    """The names `--backbone` takes."""
    from maskpencil.models.backbones import list_backbones

    return [*list_backbones(), "and every timm model that offers features at strides 8, 16 and 32, by its name"]


def recipes() -> list[str]:
    """The presets and their settings."""
    from maskpencil.training.recipes import DESCRIPTIONS, RECIPES

    lines = []
    for name, settings in RECIPES.items():
        lines.append(f"{name}: {DESCRIPTIONS[name]}")
        lines += [f"  --{key.replace('_', '-'):<20} {_shown(value)}" for key, value in settings.items()]
    return lines


def model(path: Path) -> list[str]:
    """What a model folder holds."""
    from maskpencil.model_folder import read_model_folder

    parts = read_model_folder(path)
    config, size = parts.model.config, parts.preprocessing.image_size
    count = sum(parameter.numel() for parameter in parts.model.parameters())
    lines = [
        f"{'network':<12} {config.title}, {count / 1e6:.1f} million weights",
        f"{'image size':<12} {size or 'as it comes'}",
        f"{'classes':<12} {', '.join(map(visible, parts.classes.names))}",
    ]
    return lines + [f"{name.replace('_', ' '):<12} {value}" for name, value in parts.training.items()]


def _shown(value: object) -> str:
    if value is None:
        return "auto"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
