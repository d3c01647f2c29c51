"""The model folder: `model.safetensors`, `config.json` and a model card. Never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from maskpencil.classes import ClassSet
from maskpencil.errors import MaskPencilError, ModelError
from maskpencil.files import folder_written_whole
from maskpencil.models.architectures import Network, describe, rebuild
from maskpencil.models.backbones.weights import load_strictly, read_tensors
from maskpencil.preprocessing import Preprocessing

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class ModelParts:
    """Everything a model folder holds; `training` says where the weights come from, in plain values."""

    model: Network
    classes: ClassSet
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)


def write_model_folder(path: str | Path, parts: ModelParts) -> None:
    """Write a model folder, whole or not at all; a folder of that name is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    config = {
        "format_version": FORMAT_VERSION,
        "architecture": describe(parts.model),
        "classes": parts.classes.to_dict(),
        "preprocessing": parts.preprocessing.to_dict(),
        "training": dict(parts.training),
    }
    with folder_written_whole(path) as folder:
        state = {name: tensor.contiguous() for name, tensor in parts.model.state_dict().items()}
        try:
            save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # it reports a full disk so
            raise OSError(str(error)) from error
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(parts), encoding="utf-8")


def read_model_folder(path: str | Path) -> ModelParts:
    """Read a model folder back.

    Raises:
        ModelError: a file is missing, damaged, of a newer format, or the tensors do not fit the architecture.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such model folder; expected the 'model' folder of a training run")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            hint = "; did you mean its 'model' folder?" if (folder / "model" / CONFIG).is_file() else ""
            raise ModelError(f"{folder}: {name} is missing; a model folder holds {CONFIG} and {WEIGHTS}{hint}")
    config = _read_config(folder / CONFIG)
    try:
        model = rebuild(config["architecture"])
        classes = ClassSet.from_dict(config["classes"])
        preprocessing = Preprocessing.from_dict(config["preprocessing"])
    except MaskPencilError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{folder / CONFIG}: does not describe a model ({reason}); write the folder again") from error
    weights = folder / WEIGHTS
    load_strictly(model, read_tensors(weights), unused=(), source=str(weights), expected=f"its {CONFIG}")
    return ModelParts(model, classes, preprocessing, config.get("training", {}))


def model_card(parts: ModelParts) -> str:
    """A short description for people, in Markdown."""
    config, training = parts.model.config, parts.training
    lines = [
        f"# {config.title}",
        "",
        "A fully convolutional network that gives every pixel of a picture one of these classes: "
        + ", ".join(parts.classes.names)
        + ".",
        "",
        "```",
        "maskpencil predict PATH_OF_THIS_FOLDER photo.jpg",
        "```",
        "",
    ]
    if training:
        lines += ["## Training", "", *(f"- {name.replace('_', ' ')}: {value}" for name, value in training.items()), ""]
    return "\n".join(lines)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); write the model folder again") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int):
        raise ModelError(f"{path}: has no format_version; expected a model folder of this program")
    if version > FORMAT_VERSION:
        raise ModelError(f"{path}: has format {version}, this program reads up to {FORMAT_VERSION}; update maskpencil")
    return dict(config)
