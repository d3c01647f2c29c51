"""Read and write model folders: `model.safetensors`, `config.json` and a model card, never pickle.

`runtimes.export` adds the network's graph, for the runtimes OpenVINO and ONNX Runtime.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from maskpencil.classes import MAX_CLASSES, ClassSet
from maskpencil.errors import MaskPencilError, ModelError
from maskpencil.files import folder_written_whole
from maskpencil.parsing import shown
from maskpencil.plain_text import markdown
from maskpencil.preprocessing import Preprocessing
from maskpencil.regular_files import mapping, number, one_of, open_regular, read_json, reason_of, text, whole

if TYPE_CHECKING:
    from maskpencil.models.build import Network

# torch is imported inside functions: the other runtimes read model folders without it

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

Check = Callable[[object, str], object]

_YES_OR_NO = partial(one_of, known=(True, False))


def _backbone(value: object, what: str) -> str:
    name = text(value, what, longest=100)
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", name):  # timm would take hf-hub:NAME for a download
        raise ValueError(f"{what} must be a name such as 'vgg16', but got {shown(name)}")
    return name


ARCHITECTURES: Mapping[str, Mapping[str, Check]] = {
    "FCN": {
        "num_classes": partial(whole, low=1, high=MAX_CLASSES),
        "backbone": _backbone,
        "stride": partial(one_of, known=(32, 16, 8, 4, 2)),
        "fully_connected": _YES_OR_NO,
        "in_channels": partial(whole, low=1, high=255),
        "dropout": partial(number, low=0, high=1),
        "learned_upsampling": partial(one_of, known=("all", "twofold", "none")),
        "at_once_scales": _YES_OR_NO,
        "as_released": _YES_OR_NO,
    },
    "torchvision": {
        "num_classes": partial(whole, low=1, high=MAX_CLASSES),
        "network": partial(one_of, known=("fcn_resnet50", "fcn_resnet101")),
    },
}
"""For each architecture the names of its settings, each with the function that checks the value of the setting before
the network is built; all settings except `num_classes` have defaults."""


@dataclass(frozen=True)
class ModelConfig:
    """The content of a model folder except the weights.

    `architecture` holds the settings of the network, `training` describes the training, both as plain values.
    """

    architecture: Mapping[str, Any]
    classes: ClassSet
    preprocessing: Preprocessing
    training: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The usual name of the network, such as "FCN-8s on vgg16", made without importing torch."""
        entries = self.architecture
        if entries["name"] == "torchvision":
            return f"torchvision's {entries.get('network', 'fcn_resnet50')}"
        scales = " at once" if entries.get("at_once_scales") else ""
        return f"FCN-{entries.get('stride', 8)}s{scales} on {entries.get('backbone', 'vgg16')}"


@dataclass(frozen=True)
class ModelParts:
    """The content of a model folder; `training` is a description of the training, as plain values."""

    model: "Network"
    classes: ClassSet
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)


def write_model_folder(path: str | Path, parts: ModelParts) -> None:
    """Write a model folder whole or not at all, replacing an existing model folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from maskpencil.models.build import describe

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
        except SafetensorError as error:  # such as on a full disk
            raise OSError(str(error)) from error
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(parts), encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """Return a digest of a model's weights, architecture and preprocessing: 32 hexadecimal digits.

    Raises:
        ModelError: a file cannot be read.
    """
    digest = hashlib.blake2b(_description(folder), digest_size=16)
    with weights_file(folder) as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()


def graph_fingerprint(folder: Path) -> str:
    """Return a digest of a model's architecture and preprocessing, without its weights: 32 hexadecimal digits.

    Raises:
        ModelError: config.json cannot be read.
    """
    return hashlib.blake2b(_description(folder), digest_size=16).hexdigest()


@contextmanager
def weights_file(folder: Path) -> Iterator[BinaryIO]:
    """Open the weights file of a model folder for reading while the `with` block runs.

    Raises:
        ModelError: the file cannot be opened, or is not a regular file.
    """
    try:
        with open_regular(folder / WEIGHTS) as file:
            yield file
    except OSError as error:
        raise ModelError(
            f"{folder / WEIGHTS}: cannot be read as weights ({reason_of(error)}); copy or download it again"
        ) from error


def _description(folder: Path) -> bytes:
    config = _read_config(folder / CONFIG)
    described = [config.get(name) for name in ("architecture", "preprocessing")]
    return json.dumps(described, sort_keys=True).encode()


def read_model_config(path: str | Path) -> ModelConfig:
    """Read the configuration of a model folder, and check that the file of weights exists.

    Raises:
        ModelError: a file is missing or damaged, or of a newer format.
    """
    folder = Path(path)
    if folder.is_file():
        raise ModelError(f"{folder}: is a file; expected a model folder; name the model first, then the images or data")
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such model folder; expected the 'model' folder of a training run")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            hint = "; did you mean its 'model' folder?" if (folder / "model" / CONFIG).is_file() else ""
            raise ModelError(f"{folder}: {name} is missing; a model folder holds {CONFIG} and {WEIGHTS}{hint}")
    config = _read_config(folder / CONFIG)
    with _described(folder):
        architecture = _checked_architecture(config["architecture"])
        classes = ClassSet.from_dict(mapping(config["classes"], "classes"))
        preprocessing = Preprocessing.from_dict(mapping(config["preprocessing"], "preprocessing"))
        training = mapping(config.get("training", {}), "training")
        if len(classes) != architecture["num_classes"]:
            raise ValueError(f"the network has {architecture['num_classes']} classes, but {len(classes)} are named")
        if architecture.get("in_channels", 3) != 3:
            raise ValueError(f"images have 3 channels, but the network takes {architecture['in_channels']}")
        return ModelConfig(architecture, classes, preprocessing, training)


def read_model_folder(path: str | Path) -> ModelParts:
    """Read a model folder with its weights.

    Raises:
        ModelError: a file is missing, damaged or of a newer format, or the tensors do not fit the architecture.
    """
    import torch

    from maskpencil.models.backbones.weights import (
        load_strictly,
        read_tensors,
        refuse_misfit,
        refuse_non_finite,
        shapes_in,
    )
    from maskpencil.models.build import rebuild

    folder = Path(path)
    config = read_model_config(folder)
    weights, expected = folder / WEIGHTS, f"its {CONFIG}"
    with _described(folder), torch.device("meta"):  # shapes only
        blank = rebuild(config.architecture)
    refuse_misfit(blank, shapes_in(weights), unused=(), source=str(weights), expected=expected)
    with _described(folder):
        model = rebuild(config.architecture)
    tensors = read_tensors(weights)
    refuse_non_finite(tensors, source=str(weights))
    load_strictly(model, tensors, unused=(), source=str(weights), expected=expected)
    return ModelParts(model, config.classes, config.preprocessing, config.training)


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """Convert errors about entries of config.json in the `with` block to a `ModelError` that names the file."""
    try:
        yield
    except MaskPencilError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{folder / CONFIG}: does not describe a model ({reason}); save or import the model again"
        ) from error


def _checked_architecture(value: object) -> dict[str, Any]:
    """Check the entry `architecture` of config.json before the network is built, and return it.

    Raises:
        KeyError: an entry is missing.
        ValueError: an entry is unknown or out of range.
    """
    architecture = mapping(value, "architecture")
    name = architecture["name"]
    checks = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if checks is None:
        raise ValueError(f"the architecture is {shown(name)}; expected {' or '.join(ARCHITECTURES)}; update maskpencil")
    for key, entry in architecture.items():
        if key == "name":
            continue
        if key not in checks:
            raise ValueError(
                f"the architecture {name} has no setting {shown(key)}; its settings are {', '.join(checks)}"
            )
        checks[key](entry, f"architecture.{key}")
    if "num_classes" not in architecture:
        raise KeyError("architecture.num_classes")
    return architecture


def model_card(parts: ModelParts) -> str:
    """Return a short description of the model in Markdown."""
    config, training = parts.model.config, parts.training
    lines = [
        f"# {markdown(config.title)}",
        "",
        "A fully convolutional network that gives every pixel of an image one of these classes: "
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
    config = read_json(path, error=ModelError, remedy="write the model folder again")
    version = config.get("format_version") if isinstance(config, dict) else None
    if not isinstance(version, int) or version < 1:
        raise ModelError(f"{path}: has no format_version; expected a model folder written by maskpencil")
    if version > FORMAT_VERSION:
        raise ModelError(f"{path}: has format_version {version}; expected {FORMAT_VERSION} or less; update maskpencil")
    return dict(config)
