"""The model folder: `model.safetensors`, `config.json` and a model card. Never pickle.

`runtimes.graph` adds what other runtimes than torch make of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskpencil.classes import ClassSet
from maskpencil.errors import MaskPencilError, ModelError
from maskpencil.files import folder_written_whole
from maskpencil.plain_text import markdown
from maskpencil.preprocessing import Preprocessing

if TYPE_CHECKING:
    from maskpencil.models.architectures import Network

# torch is imported inside functions: a model folder is understood without it where another runtime has the network

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class ModelConfig:
    """What a model folder says of itself, apart from its weights; `architecture` in plain values."""

    architecture: Mapping[str, Any]
    classes: ClassSet
    preprocessing: Preprocessing
    training: Mapping[str, Any]


@dataclass(frozen=True)
class ModelParts:
    """Everything a model folder holds; `training` says where the weights come from, in plain values."""

    model: "Network"
    classes: ClassSet
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)


def write_model_folder(path: str | Path, parts: ModelParts) -> None:
    """Write a model folder, whole or not at all; a folder of that name is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from maskpencil.models.architectures import describe

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


def fingerprint(folder: Path) -> str:
    """A name that follows from weights, architecture and preprocessing: 32 hexadecimal digits."""
    digest = hashlib.blake2b(_description(folder), digest_size=16)
    with (folder / WEIGHTS).open("rb") as file:
        while chunk := file.read(2**24):
            digest.update(chunk)
    return digest.hexdigest()


def graph_fingerprint(folder: Path) -> str:
    """A name that follows from architecture and preprocessing alone: 32 hexadecimal digits."""
    return hashlib.blake2b(_description(folder), digest_size=16).hexdigest()


def _description(folder: Path) -> bytes:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    described = [config.get(name) for name in ("architecture", "preprocessing")]
    return json.dumps(described, sort_keys=True).encode()


def read_model_config(path: str | Path) -> ModelConfig:
    """Read what a model folder says of itself; of its weights just that they are there.

    Raises:
        ModelError: a file is missing or damaged, or of a newer format.
    """
    folder = Path(path)
    if folder.is_file():
        raise ModelError(
            f"{folder}: is a file, and models are folders; the model comes first, before what it is to see"
        )
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such model folder; expected the 'model' folder of a training run")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            hint = "; did you mean its 'model' folder?" if (folder / "model" / CONFIG).is_file() else ""
            raise ModelError(f"{folder}: {name} is missing; a model folder holds {CONFIG} and {WEIGHTS}{hint}")
    config = _read_config(folder / CONFIG)
    with _described(folder):
        return ModelConfig(
            config["architecture"],
            ClassSet.from_dict(config["classes"]),
            Preprocessing.from_dict(config["preprocessing"]),
            config.get("training", {}),
        )


def read_model_folder(path: str | Path) -> ModelParts:
    """Read a model folder back.

    Raises:
        ModelError: a file is missing, damaged, of a newer format, or the tensors do not fit the architecture.
    """
    from maskpencil.models.architectures import rebuild
    from maskpencil.models.backbones.weights import load_strictly, read_tensors

    folder = Path(path)
    config = read_model_config(folder)
    with _described(folder):
        model = rebuild(config.architecture)
    weights = folder / WEIGHTS
    load_strictly(model, read_tensors(weights), unused=(), source=str(weights), expected=f"its {CONFIG}")
    return ModelParts(model, config.classes, config.preprocessing, config.training)


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the entries of config.json into one clear error."""
    try:
        yield
    except MaskPencilError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{folder / CONFIG}: does not describe a model ({reason}); write the folder again") from error


def model_card(parts: ModelParts) -> str:
    """A short description for people, in Markdown."""
    config, training = parts.model.config, parts.training
    lines = [
        f"# {markdown(config.title)}",
        "",
        "A fully convolutional network that gives every pixel of a picture one of these classes: "
        + ", ".join(map(markdown, parts.classes.names))
        + ".",
        "",
        "```",
        "maskpencil predict PATH_OF_THIS_FOLDER photo.jpg",
        "```",
        "",
    ]
    if training:
        lines += [
            "## Training",
            "",
            *(f"- {markdown(name.replace('_', ' '))}: {markdown(str(value))}" for name, value in training.items()),
            "",
        ]
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
