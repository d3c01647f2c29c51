import pytest

from maskpencil.errors import ConfigError
from maskpencil.parsing import parse_image_size, parse_time
from maskpencil.training.config import (
    LOSS_TERMS,
    LearningRate,
    TrainConfig,
    parse_auto_image_size,
    parse_crop_size,
    parse_learning_rate,
    parse_loss,
    read_config,
    write_config,
)
from maskpencil.training.losses import TERMS


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"learning_rate": "sum:0"},
        {"learning_rate": "fast"},
        {"learning_rate": "mean:1"},
        {"clip_norm": -1.0},
        {"momentum": 1.0},
        {"dropout": 1.0},
        {"flip": 1.5},
        {"weight_decay": -0.1},
        {"scale": (2.0, 1.0)},
        {"image_size": "big"},
        {"crop_size": "0x10"},
        {"seed": -1},
        {"loss": "entropy"},
        {"loss": "dice+"},
        {"average": 1.0},
        {"accumulate": 0},
        {"checkpoint_minutes": 0.0},
        {"time_budget": "soon"},
        {"time_budget": "0m"},
        {"time_budget": "20m", "epochs": 3},
        {"time_budget": "20m", "validate_every": 3},
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_option_name(settings):
    with pytest.raises(ConfigError, match="--" + next(iter(settings)).replace("_", "-")):
        TrainConfig(**settings)


def test_a_written_configuration_reads_back_equal(tmp_path):
    config = TrainConfig(backbone="vgg16", epochs=3, scale=(0.5, 2.0), seed=7)
    write_config(tmp_path / "config.yaml", config)
    assert read_config(tmp_path / "config.yaml") == config


def test_an_unknown_setting_in_a_file_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("epoch: 3\n")
    with pytest.raises(ConfigError, match="epoch"):
        read_config(tmp_path / "config.yaml")


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_config(tmp_path / "config.yaml")


def test_sizes_are_read_as_height_and_width():
    assert parse_image_size("160x576") == (160, 576)
    assert parse_image_size("512") == 512
    assert parse_image_size("native") is None
    assert parse_auto_image_size("auto") == "auto"
    assert parse_crop_size("240x320") == (240, 320)
    assert parse_crop_size("none") is None


def test_a_rate_says_which_loss_it_is_for():
    assert parse_learning_rate(0.1) == parse_learning_rate("1e-1") == LearningRate(0.1, "mean")
    assert parse_learning_rate("sum:1e-10") == LearningRate(1e-10, "sum")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("20m", 1200),
        ("1h30m", 5400),
        ("1h", 3600),
        ("1.5h", 5400),
        ("1h1m1s", 3661),
        ("1:30", 90),
        ("0:01:30.5", 90.5),
    ],
)
def test_times_are_read_as_seconds(text, seconds):
    assert parse_time("--time-budget", text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1m", "1m1h", "1 m", "1:60"])
def test_values_that_are_not_times_are_refused(text):
    with pytest.raises(ConfigError, match=r"--time-budget must (be a time such as|have seconds below 60)"):
        parse_time("--time-budget", text)


@pytest.mark.parametrize(
    ("text", "message"), [("20", "have a unit, such as 20s or 20m"), ("0s", "be longer than zero")]
)
def test_a_time_budget_is_a_time_and_not_a_number(text, message):
    with pytest.raises(ConfigError, match=f"--time-budget must {message}, but got '{text}'"):
        parse_time("--time-budget", text)


def test_every_term_that_is_named_is_there():
    assert {*LOSS_TERMS} == {"cross-entropy", *TERMS}
    assert parse_loss("cross-entropy+dice") == ("cross-entropy", "dice")
