"""What other people's programs hold on to: it changes on purpose or not at all."""

import dataclasses
import re
from pathlib import Path

import maskpencil
from maskpencil import errors
from maskpencil.cli import COMMANDS
from maskpencil.training.config import TrainConfig

ROOT = Path(__file__).parents[1]


def test_the_public_names_are_these():
    assert sorted(maskpencil.__all__) == [
        *("ClassSet", "ConfigError", "ConfusionMatrix", "DataError", "IGNORE_INDEX", "ImageError", "MaskPencilError"),
        *("ModelError", "OutputError", "Prediction", "Run", "Scores", "Segmenter", "TrainConfig", "TrainingError"),
        *("VideoError", "check", "evaluate", "predict", "train"),
    ]
    assert set(maskpencil.__all__) == set(dir(maskpencil))


def test_every_public_name_can_be_had_and_explains_itself():
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
        *("stride", "fully_connected", "learned_upsampling", "at_once_scales"),
        *("dropout", "epochs", "batch_size", "optimizer", "learning_rate", "backbone_rate", "weight_decay", "head_l2"),
        *("freeze", "cache_views", "loss", "average", "time_budget", "accumulate", "checkpoint_minutes"),
        *("sync_batch_norm", "compile", "tracker"),
        *("schedule", "class_weights", "image_size", "crop_size", "scale", "flip", "color_jitter", "coarse_share"),
        *("validate_every", "seed", "device", "precision", "workers"),
    }


def test_the_commands_are_these_and_the_readme_uses_no_other():
    assert set(COMMANDS) == {
        *(
            "demo",
            "check",
            "convert",
            "train",
            "evaluate",
            "quantize",
            "predict",
            "heatmap",
            "benchmark",
            "import",
            "info",
        ),
    }
    used = re.findall(r"^(?:\.venv/bin/)?maskpencil (\w+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert {"train", "predict", "evaluate", "info"} <= set(used) <= set(COMMANDS)


def test_every_option_in_the_readme_is_a_setting():
    options = set(re.findall(r"--([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    settings = {field.name.replace("_", "-") for field in dataclasses.fields(TrainConfig)}
    assert options <= settings | {
        "debug",  # of all commands
        "nproc-per-node",  # torchrun's
        *("fix", "to", "annotations", "images", "masks", "split-file"),
        *("json", "split"),
        "resume",
        "out",
        "regions",
        "min-area",
        "region-classes",
        "class",
        "backbone",
        "threshold",
        *(
            "memory",
            "geotiff",
            "abstain",
            "confidence",
            "entropy",
            "augment",
            "smooth",
            "masks",
            "every",
            "start",
            "end",
            "show",
            "no-overlays",
            "stdout",
        ),
    }
