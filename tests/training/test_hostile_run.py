import os

import pytest

from maskpencil.errors import ConfigError, DataError
from maskpencil.training.config import read_config
from maskpencil.training.run_folder import RunFolder, read_fingerprint

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "a: " + "[" * 10_000 + "]" * 10_000,
        "a: " + "9" * 5000,
        "a: !!python/object/apply:os.system [ls]",
        "a: b\n" * 20_000,
        "\0",
        "[1, 2]",
        "",
    ],
)
def test_settings_of_a_run_that_were_made_to_do_harm_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read as training settings") as error:
        read_config(tmp_path / "config.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs: many\n", r"config\.yaml: --epochs must be a whole number, but got 'many'"),
        ("hue: 3\nsize: 4\n", r"config\.yaml: unknown training settings: hue, size; remove them"),
    ],
)
def test_an_error_in_the_settings_of_a_run_names_the_file(tmp_path, text, expected):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected):
        read_config(tmp_path / "config.yaml")


def test_settings_in_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read as training settings"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"data": 5}',
        b'{"data": "x", "other": "y"}',
        b'{"images": "x"}',
        b'{"data": "x", "data": "y"}',
        b"[]",
        b"",
        b"\xff",
    ],
)
def test_a_run_without_a_data_set_is_refused_in_one_line(tmp_path, content):
    run = RunFolder(tmp_path)
    run.data.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.json: .*; start a new run"):
        run.read_source()


def test_what_a_run_trains_on_comes_back_also_where_its_name_is_not_utf8(tmp_path):
    run = RunFolder(tmp_path)
    run.data.write_text('{"data": "/data/\\udcff", "masks": "m"}')
    assert run.read_source() == {"data": "/data/\udcff", "masks": "m"}


def test_a_fingerprint_of_deep_nesting_is_refused(tmp_path):
    (tmp_path / "fingerprint.json").write_bytes(b"[" * 100_000)
    with pytest.raises(DataError, match="is damaged"):
        read_fingerprint(tmp_path / "fingerprint.json")
