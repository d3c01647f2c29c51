from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from maskpencil.errors import ConfigError
from maskpencil.parsing import (
    did_you_mean,
    read_choice,
    read_duration,
    read_flag,
    read_number,
    read_path,
    read_text,
    read_whole,
    shown,
)


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_all_kinds_become_plain(three: object) -> None:
    assert type(read_whole("n", three)) is int
    assert read_whole("n", three) == 3


@pytest.mark.parametrize(
    "half", [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)]
)
def test_numbers_of_all_kinds_become_plain(half: object) -> None:
    assert type(read_number("x", half)) is float
    assert read_number("x", half) == 0.5


@pytest.mark.parametrize("wrong", [None, "3", b"3", 3.0, True, np.True_, [3], (3,), np.array([3, 4]), 3j, {}, object()])
def test_values_that_are_not_whole_numbers_are_refused_by_name_and_value(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"^n must be a whole number, but got ") as caught:
        read_whole("n", wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [None, "0.5", b"1", True, np.False_, [0.5], np.array([0.5]), 1j, float("nan"), np.inf, torch.ones(2), 10**400],
)
def test_values_that_are_not_finite_numbers_are_refused_by_name_and_value(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"^x must be a finite number, but got ") as caught:
        read_number("x", wrong)
    assert "\n" not in str(caught.value)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"n must be a whole number of 1 or more, but got 0"):
        read_whole("n", 0, least=1)
    with pytest.raises(ConfigError, match=r"x must be a number from 0 to 1, but got 1.5"):
        read_number("x", np.float32(1.5), least=0, most=1)


def test_flags_are_nothing_but_true_and_false() -> None:
    assert read_flag("f", np.True_) is True
    for wrong in (1, "yes", None):
        with pytest.raises(ConfigError, match=r"f must be True or False, but got "):
            read_flag("f", wrong)


def test_a_wrong_choice_names_the_nearest() -> None:
    assert read_choice("c", np.str_("adam"), ("sgd", "adam")) == "adam"
    assert read_choice("s", np.int64(16), (8, 16)) == 16
    with pytest.raises(ConfigError, match=r"c must be sgd, muon or adamw, but got 'AdamW'; did you mean adamw?"):
        read_choice("c", "AdamW", ("sgd", "muon", "adamw"))
    for wrong in (True, "8", 8.0, None):
        with pytest.raises(ConfigError, match=r"s must be 1 or 8, but got "):
            read_choice("s", wrong, (1, 8))


def test_paths_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert read_path("p", "~/data") == read_path("p", Path("~/data")) == Path("/somewhere/data")
    assert read_path("p", "a/~") == Path("a/~")


@pytest.mark.parametrize("wrong", ["", None, 3, b"data", ["data"], "a\0b"])
def test_values_that_are_not_paths_are_refused_by_name_and_value(wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"^p must be a path, but got "):
        read_path("p", wrong)


def test_a_string_is_plain_and_not_empty() -> None:
    assert type(read_text("t", np.str_("a"))) is str
    with pytest.raises(ConfigError, match=r"t must be a string that is not empty, but got ''"):
        read_text("t", "")


def test_hints_and_values_are_short() -> None:
    assert did_you_mean("batchsize", ["batch_size", "epochs"]) == "; did you mean batch_size?"
    assert did_you_mean("xyz", ["batch_size"]) == did_you_mean(3, ["batch_size"]) == ""
    assert len(shown(np.zeros((50, 50)))) <= 80
    assert "\n" not in shown(np.zeros((50, 50)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90.5", 90.5),
        ("90s", 90),
        ("1m30s", 90),
        ("1m30", 90),
        ("1:30", 90),
        ("0:01:30.25", 90.25),
        ("1h30m", 5400),
        ("100:00:00", 360_000),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert read_duration("--start", text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:75", "1:2:3:4", "ten", "1e3", "nan", "1s1m", None, 90])
def test_values_that_are_not_durations_are_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="--start must"):
        read_duration("--start", text)
