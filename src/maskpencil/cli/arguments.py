"""The arguments MODEL and DATA: what is taken for them, and what was meant where they are something else."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from maskpencil.errors import ConfigError, DataError, ModelError
from maskpencil.images import IMAGE_SUFFIXES
from maskpencil.imported import PREFIX
from maskpencil.model_folder import CONFIG, WEIGHTS
from maskpencil.terminal import say

IMPORTED_SUFFIXES = (".caffemodel", ".pth", ".pt", ".safetensors")
"""Files of weights that `maskpencil import` reads, for the networks it supports."""

FOREIGN_SUFFIXES = (".onnx", ".xml", ".bin", ".h5", ".keras", ".pb", ".tflite", ".engine", ".ckpt", ".pkl", ".blob")
"""Files of networks that nothing here reads."""

SOME = 10_000
"""The number of files that are looked at to see whether a folder holds images."""


def found_model(model: Path, command: str, others: Sequence[str | Path] = ()) -> Path:
    """Return the model that an argument means: itself, or the best model of a run, which is said.

    Args:
        model: the argument.
        command: what was typed before it, such as "predict".
        others: the arguments after it.

    Raises:
        ConfigError: the model is one of the `others`.
        ModelError: the argument is a file or folder that is no model; what does not exist is left to its reader.
    """
    if _is_model(model) or not model.exists():
        return model
    if _is_model(model / "model"):
        say(f"{model}: is a run; its best model is used: {model / 'model'}")
        return model / "model"
    for other in map(Path, others):
        if _is_model(other) or _is_model(other / "model") or str(other).startswith(PREFIX):
            raise ConfigError(
                f"{model}: is no model, but {other} is, and the model comes first: maskpencil {command} {other} {model}"
            )
    if model.is_file():
        raise ModelError(f"{model}: is a file, and models are folders; {_model_in_place_of_file(model, command)}")
    if CONFIG not in {path.name for path in model.iterdir()} and _holds_images(model):
        raise ModelError(
            f"{model}: is a folder of images, and a model was expected before it: maskpencil {command} MODEL {model}"
        )
    return model


def refuse_model_as_data(data: Path, command: str) -> None:
    """Refuse a model or a run in place of images and masks.

    Raises:
        DataError: it is one of these.
    """
    if _is_model(data):
        remedy = (
            f"to start from it, type maskpencil train DATA --init {data}"
            if command == "train"
            else f"expected a folder of images and masks; of the model itself tells maskpencil info {data}"
        )
        raise DataError(f"{data}: is a model and no data; {remedy}")
    if _is_model(data / "model") or (data / "checkpoints").is_dir():
        remedy = (
            f"type maskpencil train --resume {data}" if command == "train" else "expected the data it was trained on"
        )
        raise DataError(f"{data}: is a training run and no data; {remedy}")


def _is_model(path: Path) -> bool:
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def _model_in_place_of_file(file: Path, command: str) -> str:
    """What to type in place of a file where a model was expected."""
    for folder in file.absolute().parents[:2]:
        if _is_model(folder):
            return f"this one is a part of a model: maskpencil {command} {folder}"
    suffix = file.suffix.lower()
    if suffix in IMPORTED_SUFFIXES:
        return f"make one of these weights with maskpencil import {file} --out NEW_MODEL"
    if suffix in FOREIGN_SUFFIXES:
        return "networks of other programs are not read; a model is made by maskpencil train DATA"
    return f"the model comes first: maskpencil {command} MODEL {file}"


def _holds_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in islice(folder.rglob("*"), SOME))
