"""The public interface on which other programs depend changes only on purpose."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import IO, Any, get_args, get_type_hints

import pytest
import torch
from PIL import Image

import maskpencil
from maskpencil import errors
from maskpencil.cli import COMMANDS
from maskpencil.inference.sources import Source
from maskpencil.models.build import Network
from maskpencil.training.config import TrainConfig

ROOT = Path(__file__).parents[1]

ONLY_FOR_ANNOTATIONS = {
    "torch": torch,
    "Network": Network,
    "IO": IO,
    "Image": Image,
    "Source": Source,
    **{name: getattr(maskpencil, name) for name in ("Prediction", "Predictor", "Region")},
}


def test_the_public_names_are_these():
    assert sorted(maskpencil.__all__) == [
        *("CheckReport", "ClassScores", "ClassSet", "ConfigError", "ConfusionMatrix", "DataError"),
        *("DetailedClassScores", "DetailedScores", "ExportOptions", "ExportedFiles", "ExportedModel", "Fault"),
        *("IGNORE_INDEX", "ImageError", "ImageScores", "MaskPencilError", "ModelError", "ObjectScores", "OutputError"),
        *("PageSize", "Places", "PredictOptions", "Prediction", "PredictionReport", "Predictor", "Region"),
        *(
            "RemoteSegmenter",
            "ReportOptions",
            "RoadScores",
            "Run",
            "Scores",
            "Segmenter",
            "ServeOptions",
            "StalledError",
            "TrainConfig",
        ),
        *("TrainingError", "VideoError", "VideoOptions", "check", "evaluate", "export_model", "predict", "serve"),
        *("train", "verify_export", "write_page", "write_report", "write_site"),
    ]
    assert set(maskpencil.__all__) == set(dir(maskpencil))


def test_every_public_name_can_be_imported_and_has_a_docstring():
    for name in maskpencil.__all__:
        value = getattr(maskpencil, name)
        assert name == "IGNORE_INDEX" or value.__doc__


def test_the_error_tree_is_as_drawn():
    drawn = re.findall(r"^.*?(\w+Error)\b", errors.__doc__, flags=re.MULTILINE)
    assert set(drawn) == {name for name in vars(errors) if name.endswith("Error")}
    assert all(issubclass(getattr(errors, name), errors.MaskPencilError) for name in drawn)
    assert issubclass(errors.ConfigError, ValueError)


def test_the_training_settings_are_these():
    assert {field.name for field in dataclasses.fields(TrainConfig)} == {
        *("recipe", "backbone", "weights", "init", "as_released", "momentum", "bias_rate", "clip_norm"),
        *("fixed_statistics", "then_finetune", "stride", "fully_connected", "learned_upsampling", "at_once_scales"),
        *("dropout", "epochs", "batch_size", "optimizer", "learning_rate", "backbone_rate", "weight_decay", "head_l2"),
        *("freeze", "cache_views", "loss", "average", "time_budget", "accumulate", "checkpoint_minutes"),
        *("sync_batch_norm", "compile", "tracker"),
        *("schedule", "class_weights", "image_size", "crop_size", "scale", "flip", "color_jitter", "coarse_share"),
        *("validate_every", "seed", "device", "precision", "workers"),
    }


def test_the_commands_are_these():
    assert set(COMMANDS) == {
        *("demo", "check", "convert", "train", "evaluate", "report", "quantize", "predict", "heatmap", "benchmark"),
        *("export", "import", "info", "page", "serve", "verify"),
    }


def test_the_front_page_names_the_two_commands_and_the_three_that_a_newcomer_needs():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"make demo", "make test"} <= set(re.findall(r"^\$ (make \w+)$", page, flags=re.MULTILINE))
    assert {"train", "evaluate", "predict"} <= set(re.findall(r"^\$ maskpencil (\w+)", page, flags=re.MULTILINE))


def test_the_types_of_public_names_are_public_or_have_their_place_in_the_manual():
    manual = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    lacking = {}
    for name in maskpencil.__all__:
        for kind in _types_of(getattr(maskpencil, name)):
            place = f"{kind.__module__}.{kind.__qualname__}"
            if kind is not getattr(maskpencil, kind.__name__, None) and f"`{place}`" not in manual:
                lacking[place] = name
    assert not lacking, "export them, or name their module in docs/python.md"


def test_every_module_path_in_the_manual_leads_to_what_it_names():
    manual = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for module, name in re.findall(r"`(maskpencil(?:\.\w+)+)\.([A-Z]\w*)`", manual):
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_places_are_paths_in_any_form():
    assert maskpencil.Places("images", masks=Path("masks")) == maskpencil.Places(Path("images"), Path("masks"))
    with pytest.raises(errors.ConfigError, match=r"^images must be a path"):
        maskpencil.Places(images=3)


def _types_of(value: object) -> set[type]:
    """The types of this package in the signatures of a function, or of a class and its public methods and fields."""
    if not isinstance(value, type):
        return _types_in(_hints(value)) if callable(value) else set()
    found = _types_in(_hints(value))
    for name, member in vars(value).items():
        if name == "__init__" or not name.startswith("_"):
            member = getattr(member, "__func__", getattr(member, "fget", member))
            found |= _types_in(_hints(member)) if inspect.isfunction(member) else set()
    return found


def _hints(value: object) -> dict[str, Any]:
    """Annotations, with the names that a module imports for annotations alone."""
    module = importlib.import_module(value.__module__)
    return get_type_hints(value, {**vars(module), **ONLY_FOR_ANNOTATIONS})


def _types_in(hints: object) -> set[type]:
    if isinstance(hints, type) and not get_args(hints):
        return {hints} if hints.__module__.startswith("maskpencil") else set()
    parts = hints.values() if isinstance(hints, dict) else hints if isinstance(hints, list) else get_args(hints)
    return set().union(*(_types_in(part) for part in parts))
