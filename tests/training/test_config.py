import pytest

from maskpencil.errors import ConfigError
from maskpencil.training.config import TrainConfig, read_config, write_config


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
